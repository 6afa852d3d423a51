{{/* A name that the chart uses itself would be there twice: an error under server-side apply, undefined elsewhere. */}}
{{- define "windlass.check.labels" -}}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "helm.sh/chart" "windlass/serves" -}}
{{- $values := .Values -}}
{{- $maps := dict "commonLabels" $values.commonLabels "podLabels" $values.podLabels "serviceMonitor.labels" $values.serviceMonitor.labels "podMonitor.labels" $values.podMonitor.labels "prometheusRule.labels" $values.prometheusRule.labels "dashboards.labels" $values.dashboards.labels -}}
{{- range $name, $labels := $maps -}}
{{- range $key, $_ := $labels -}}
{{- if has $key $own }}
{{ $name }} sets {{ $key }}, which is the chart's own: choose another label
{{- end }}
{{- end }}
{{- end }}
{{- range $key, $_ := $values.podAnnotations -}}
{{- if has $key (list "checksum/secret" "kubectl.kubernetes.io/default-container") }}
podAnnotations sets {{ $key }}, which is the chart's own: choose another annotation
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.variables" -}}
{{- $seen := dict -}}
{{- $variables := include "windlass.check.ownVariables" $ | fromYaml -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $variables .name }}
extraEnv sets {{ .name }}: set {{ get $variables .name }} instead
{{- end }}
{{- if hasKey $seen .name }}
extraEnv sets {{ .name }} twice: keep one
{{- end }}
{{- $_ := set $seen .name true -}}
{{- end }}
{{- end -}}

{{- define "windlass.check.containers" -}}
{{- $seen := dict "engine" true "migrate" true "topics" true "test" true -}}
{{- range concat .Values.extraInitContainers .Values.extraContainers -}}
{{- if hasKey $seen .name }}
the name {{ .name }} of an extra container is already used: choose another
{{- end }}
{{- $_ := set $seen .name true -}}
{{- end }}
{{- end -}}

{{- define "windlass.check.volumes" -}}
{{- $own := list "tmp" "postgresql-ca" "kafka-ca" "redis-ca" "tokens" "tls" "tls-client-ca" "tls-ca" "definitions" -}}
{{- $volumes := dict -}}
{{- range .Values.extraVolumes -}}
{{- if has .name $own }}
extraVolumes sets {{ .name }}, which is the chart's own: choose another name
{{- else if hasKey $volumes .name }}
extraVolumes sets {{ .name }} twice: keep one
{{- end }}
{{- $_ := set $volumes .name true -}}
{{- end }}
{{- $paths := dict "/tmp" true "/etc/windlass/postgresql-ca" true "/etc/windlass/kafka-ca" true "/etc/windlass/redis-ca" true "/etc/windlass/tokens" true "/etc/windlass/tls" true "/etc/windlass/tls-client-ca" true "/etc/windlass/tls-ca" true "/etc/windlass/definitions" true -}}
{{- range .Values.extraVolumeMounts -}}
{{- if not (hasKey $volumes .name) }}
extraVolumeMounts mounts {{ .name }}, which is not a volume: add it to extraVolumes
{{- end }}
{{- if hasKey $paths .mountPath }}
extraVolumeMounts mounts {{ .mountPath }}, which is already used: choose another path
{{- end }}
{{- $_ := set $paths .mountPath true -}}
{{- end }}
{{- end -}}

{{- define "windlass.check.ownVariables" -}}
WE_POSTGRES_DSN: postgresql.existingSecret
WINDLASS_POSTGRES_POOLER: postgresql.pooler
WINDLASS_POSTGRES_SESSION_DSN: postgresql.session.existingSecretKey
PGHOST: postgresql.host
PGPORT: postgresql.port
PGUSER: postgresql.user
PGPASSWORD: postgresql.secretKeys.password
PGDATABASE: postgresql.database
WINDLASS_SCHEMA: postgresql.schema
PGSSLMODE: postgresql.sslmode
PGSSLROOTCERT: postgresql.tls.existingSecret
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
WINDLASS_WAKE_BUS: engine.wakeBus
WINDLASS_REDIS_URL: redis.existingSecret
WINDLASS_REDIS_PASSWORD: redis.secretKeys.password
WINDLASS_REDIS_TLS_CA_PATH: redis.tls.existingSecret
WINDLASS_SHUTDOWN_GRACE_SECONDS: engine.shutdownGraceSeconds
WINDLASS_RETENTION_DAYS: engine.retentionDays
WINDLASS_STRICT_SETTINGS: engine.strictSettings
WINDLASS_TOKENS_FILE: auth.existingSecret
WINDLASS_TLS_CERT_FILE: tls.existingSecret
WINDLASS_TLS_KEY_FILE: tls.existingSecret
WINDLASS_TLS_CLIENT_CA_FILE: tls.clientCASecret
WINDLASS_TLS_METRICS: tls.metrics
WINDLASS_MIGRATE_ON_START: migrations.onStartup
WINDLASS_NODE_NAME: nothing (it is the pod's name)
WINDLASS_SERVER_ID: nothing (it is the pod's name)
{{- end -}}
