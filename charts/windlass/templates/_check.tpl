{{/* Mistakes that only show when two values are seen together. All are named at once, each with its remedy;
     none shows the value of a credential. */}}
{{- define "windlass.check" -}}
{{- $problems := list -}}
{{- range list "names" "postgresql" "ports" "kafka" "replicas" "budget" "pod" -}}
{{- range include (printf "windlass.check.%s" .) $ | splitList "\n" -}}
{{- with trim . -}}{{- $problems = append $problems . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- join "\n" $problems | fail -}}
{{- end -}}
{{- end -}}

{{- define "windlass.check.names" -}}
{{- $full := include "windlass.fullname" . -}}
{{- if not (regexMatch "^[a-z]" $full) }}
the release name {{ .Release.Name }} gives the Service name {{ $full }}, which must begin with a letter: set fullnameOverride
{{- end }}
{{- end -}}

{{- define "windlass.check.postgresql" -}}
{{- $postgresql := .Values.postgresql -}}
{{- if not (or $postgresql.dsn $postgresql.existingSecret) }}
no database: set postgresql.existingSecret to the name of a Secret that holds the DSN, or postgresql.dsn for a trial
{{- else if and $postgresql.dsn $postgresql.existingSecret }}
postgresql.dsn and postgresql.existingSecret are both set: keep one
{{- else if and $postgresql.dsn (not (regexMatch "^postgres(ql)?://|^ *[a-z_]+ *=" $postgresql.dsn)) }}
postgresql.dsn is no DSN: write postgres://user:password@host:port/database or "host=... dbname=..."
{{- end }}
{{- end -}}

{{- define "windlass.check.ports" -}}
{{- $engine := .Values.engine -}}
{{- $ports := list (int64 $engine.rest.port) (int64 $engine.grpc.port) (int64 $engine.metrics.port) -}}
{{- if ne (len (uniq $ports)) 3 }}
engine.rest.port, engine.grpc.port and engine.metrics.port are {{ join ", " $ports }}: give each its own
{{- end }}
{{- $max := include "windlass.scalar" $engine.db.maxConns -}}
{{- $min := include "windlass.scalar" $engine.db.minConns -}}
{{- if and $max $min (gt (int64 $min) (int64 $max)) }}
engine.db.minConns {{ $min }} is above engine.db.maxConns {{ $max }}: lower the first or raise the second
{{- end }}
{{- end -}}

{{- define "windlass.check.kafka" -}}
{{- $kafka := .Values.kafka -}}
{{- if eq .Values.engine.dispatchMode "kafka_outbox" -}}
{{- if not (include "windlass.kafka.seedBrokers" .) }}
engine.dispatchMode is kafka_outbox and no broker is named: set kafka.seedBrokers to host:port
{{- end }}
{{- if eq $kafka.transport "sasl_scram_tls" -}}
{{- $inline := or $kafka.saslUsername $kafka.saslPassword -}}
{{- if and $inline $kafka.existingSecret }}
kafka.saslUsername or kafka.saslPassword and kafka.existingSecret are both set: keep one way
{{- else if not (or $kafka.existingSecret (and $kafka.saslUsername $kafka.saslPassword)) }}
kafka.transport is sasl_scram_tls and the credentials are missing: set kafka.existingSecret, or kafka.saslUsername and kafka.saslPassword for a trial
{{- end }}
{{- if and $kafka.tlsCaPath $kafka.tls.existingSecret }}
kafka.tlsCaPath and kafka.tls.existingSecret are both set: keep one
{{- end }}
{{- else }}
{{- range $key := list "saslUsername" "saslPassword" "existingSecret" "tlsCaPath" "tlsServerName" -}}
{{- if get $kafka $key }}
kafka.{{ $key }} is set and kafka.transport is plaintext, which would not use it: set kafka.transport to sasl_scram_tls, or remove kafka.{{ $key }}
{{- end }}
{{- end }}
{{- if $kafka.tls.existingSecret }}
kafka.tls.existingSecret is set and kafka.transport is plaintext, which would not use it: set kafka.transport to sasl_scram_tls, or remove kafka.tls.existingSecret
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.replicas" -}}
{{- $autoscaling := .Values.autoscaling -}}
{{- if $autoscaling.enabled -}}
{{- if gt (int64 $autoscaling.minReplicas) (int64 $autoscaling.maxReplicas) }}
autoscaling.minReplicas {{ int64 $autoscaling.minReplicas }} is above autoscaling.maxReplicas {{ int64 $autoscaling.maxReplicas }}: lower the first or raise the second
{{- end }}
{{- if not (or (dig "requests" "cpu" "" .Values.resources) (dig "limits" "cpu" "" .Values.resources)) }}
autoscaling.enabled measures CPU against its request, and there is none: set resources.requests.cpu
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.budget" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if $budget.enabled -}}
{{- $fewest := int64 (ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled) -}}
{{- $source := ternary "autoscaling.minReplicas" "replicaCount" .Values.autoscaling.enabled -}}
{{- $min := include "windlass.scalar" $budget.minAvailable -}}
{{- $max := include "windlass.scalar" $budget.maxUnavailable -}}
{{- $stay := ternary (ceil (divf (mulf (trimSuffix "%" $min | float64) $fewest) 100)) ($min | float64) (hasSuffix "%" $min) | int64 -}}
{{- if not (or $min $max) }}
podDisruptionBudget.enabled without minAvailable or maxUnavailable: set podDisruptionBudget.maxUnavailable to 1
{{- else if and $max $min (ne $min "1") }}
podDisruptionBudget.minAvailable {{ $min }} and maxUnavailable {{ $max }} exclude each other: set podDisruptionBudget.minAvailable to ""
{{- else if and (not $max) (gt $fewest 0) (ge $stay $fewest) }}
podDisruptionBudget.minAvailable {{ $min }} with {{ $source }} {{ $fewest }} blocks every node drain: raise {{ $source }}, or set podDisruptionBudget.maxUnavailable to 1
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.pod" -}}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "helm.sh/chart" -}}
{{- range $key, $_ := .Values.podLabels -}}
{{- if has $key $own }}
podLabels sets {{ $key }}, which is the chart's own: choose another label
{{- end }}
{{- end }}
{{- range $key, $_ := .Values.podAnnotations -}}
{{- if has $key (list "checksum/secret" "kubectl.kubernetes.io/default-container") }}
podAnnotations sets {{ $key }}, which is the chart's own: choose another annotation
{{- end }}
{{- end }}
{{- $seen := dict -}}
{{- $variables := include "windlass.check.variables" $ | fromYaml -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $variables .name }}
extraEnv sets {{ .name }}: set {{ get $variables .name }} in its place
{{- end }}
{{- if hasKey $seen .name }}
extraEnv sets {{ .name }} twice: keep one
{{- end }}
{{- $_ := set $seen .name true -}}
{{- end }}
{{- include "windlass.check.volumes" . }}
{{- end -}}

{{- define "windlass.check.volumes" -}}
{{- $volumes := dict -}}
{{- range .Values.extraVolumes -}}
{{- if has .name (list "tmp" "kafka-tls") }}
extraVolumes sets {{ .name }}, which is the chart's own: choose another name
{{- else if hasKey $volumes .name }}
extraVolumes sets {{ .name }} twice: keep one
{{- end }}
{{- $_ := set $volumes .name true -}}
{{- end }}
{{- $paths := dict "/tmp" true "/etc/windlass/kafka-tls" true -}}
{{- range .Values.extraVolumeMounts -}}
{{- if not (hasKey $volumes .name) }}
extraVolumeMounts mounts {{ .name }}, which is no volume: add it to extraVolumes
{{- end }}
{{- if hasKey $paths .mountPath }}
extraVolumeMounts mounts {{ .mountPath }}, which is taken: choose another path
{{- end }}
{{- $_ := set $paths .mountPath true -}}
{{- end }}
{{- end -}}

{{/* Two entries of one name are an error under server-side apply, and which of them wins is nobody's guess. */}}
{{- define "windlass.check.variables" -}}
WE_POSTGRES_DSN: postgresql.existingSecret
WE_DISPATCH_MODE: engine.dispatchMode
WE_LOG_LEVEL: engine.logLevel
WE_AUDIT_LOG_ENABLED: engine.auditLogEnabled
WE_REST_PORT: engine.rest.port
WE_GRPC_PORT: engine.grpc.port
WE_METRICS_PORT: engine.metrics.port
DB_MAX_CONNS: engine.db.maxConns
DB_MIN_CONNS: engine.db.minConns
WE_KAFKA_SEED_BROKERS: kafka.seedBrokers
WE_KAFKA_TRANSPORT: kafka.transport
WE_KAFKA_SASL_MECHANISM: kafka.saslMechanism
WE_KAFKA_SASL_USERNAME: kafka.existingSecret
WE_KAFKA_SASL_PASSWORD: kafka.existingSecret
WE_KAFKA_TLS_CA_PATH: kafka.tls.existingSecret
WE_KAFKA_TLS_SERVER_NAME: kafka.tlsServerName
WE_OUTBOX_BATCH_SIZE: kafka.outboxBatchSize
WINDLASS_NODE_NAME: nothing (it is the pod's name)
{{- end -}}
