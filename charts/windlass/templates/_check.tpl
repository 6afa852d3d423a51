{{/* Mistakes that only show when two values are compared. All are reported at once, each with its remedy;
     no message contains the value of a credential. */}}
{{- define "windlass.check" -}}
{{- $problems := list -}}
{{- range list "names" "postgresql" "session" "migrations" "ports" "kafka" "redis" "auth" "tls" "replicas" "budget" "rollout" "pools" "jobs" "monitors" "labels" "variables" "containers" "volumes" -}}
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

{{- define "windlass.check.auth" -}}
{{- $auth := .Values.auth -}}
{{- $tests := .Values.tests -}}
{{- if and $auth.existingSecret $tests.enabled (not $tests.existingSecret) }}
auth.existingSecret asks every caller for a token, helm test too: set tests.existingSecret to a Secret with one of the role admin, or tests.enabled to false
{{- else if and $tests.existingSecret (not $auth.existingSecret) }}
tests.existingSecret is set but not used, since auth.existingSecret asks for no token: set it too, or remove tests.existingSecret
{{- end }}
{{- end -}}

{{- define "windlass.check.kafka" -}}
{{- $kafka := .Values.kafka -}}
{{- $topics := .Values.topics -}}
{{- if include "windlass.usesKafka" . -}}
{{- if not (include "windlass.kafka.seedBrokers" .) }}
{{ ternary "engine.dispatchMode" "dispatchMode of a pool" (eq .Values.engine.dispatchMode "kafka_outbox") }} is kafka_outbox but no broker is named: set kafka.seedBrokers to host:port
{{- end }}
{{- if eq $kafka.transport "sasl_scram_tls" -}}
{{- include "windlass.check.kafka.secured" $kafka }}
{{- else }}
{{- range $key := list "saslUsername" "saslPassword" "existingSecret" "tlsCaPath" "tlsServerName" "tls.existingSecret" "tls.existingConfigMap" -}}
{{- if get (ternary $kafka.tls $kafka (hasPrefix "tls." $key)) (trimPrefix "tls." $key) }}
kafka.{{ $key }} is set but not used, since kafka.transport is plaintext: set kafka.transport to sasl_scram_tls, or remove kafka.{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $topics.enabled (not (and $topics.definitions.existingConfigMap $topics.definitions.files)) }}
topics.enabled is set but no definitions are named: set topics.definitions.existingConfigMap, and its keys in topics.definitions.files
{{- end }}
{{- else if $topics.enabled }}
topics.enabled is set but no pod dispatches by kafka_outbox: set engine.dispatchMode to kafka_outbox, or remove topics.enabled
{{- end }}
{{- end -}}

{{/* Takes the section kafka. */}}
{{- define "windlass.check.kafka.secured" -}}
{{- $inline := or .saslUsername .saslPassword -}}
{{- if and $inline .existingSecret }}
kafka.saslUsername or kafka.saslPassword and kafka.existingSecret are both set: keep one way
{{- else if not (or .existingSecret (and .saslUsername .saslPassword)) }}
kafka.transport is sasl_scram_tls but the credentials are missing: set kafka.existingSecret, or kafka.saslUsername and kafka.saslPassword for a trial
{{- end }}
{{- if gt (len (compact (list .tlsCaPath .tls.existingSecret .tls.existingConfigMap))) 1 }}
more than one of kafka.tlsCaPath, kafka.tls.existingSecret and kafka.tls.existingConfigMap is set: keep one
{{- end }}
{{- end -}}

{{- define "windlass.check.replicas" -}}
{{- $autoscaling := .Values.autoscaling -}}
{{- $keda := .Values.keda -}}
{{- range $name := list "autoscaling" "keda" -}}
{{- with get $.Values $name -}}
{{- if and .enabled (gt (int64 .minReplicas) (int64 .maxReplicas)) }}
{{ $name }}.minReplicas {{ int64 .minReplicas }} is above {{ $name }}.maxReplicas {{ int64 .maxReplicas }}: lower the first or raise the second
{{- end }}
{{- end -}}
{{- end -}}
{{- if and $autoscaling.enabled $keda.enabled }}
autoscaling.enabled and keda.enabled would scale the same Deployment: keep one
{{- end }}
{{- if and $autoscaling.enabled (not (or (dig "requests" "cpu" "" .Values.resources) (dig "limits" "cpu" "" .Values.resources))) }}
autoscaling.enabled measures CPU against its request, but no request is set: set resources.requests.cpu
{{- end }}
{{- if and $keda.enabled (not $keda.queues) }}
keda.enabled is set but there is no queue to scale by: add a jobType and its targetLength to keda.queues
{{- end }}
{{- end -}}

{{- define "windlass.check.budget" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if $budget.enabled -}}
{{- $source := ternary "autoscaling.minReplicas" (ternary "keda.minReplicas" "replicaCount" .Values.keda.enabled) .Values.autoscaling.enabled -}}
{{- $fewest := int64 (ternary .Values.autoscaling.minReplicas (ternary .Values.keda.minReplicas .Values.replicaCount .Values.keda.enabled) .Values.autoscaling.enabled) -}}
{{- range .Values.pools -}}{{- $fewest = add $fewest (int64 .replicas) -}}{{- end -}}
{{- $min := include "windlass.scalar" $budget.minAvailable -}}
{{- $max := include "windlass.scalar" $budget.maxUnavailable -}}
{{- $stay := ternary (ceil (divf (mulf (trimSuffix "%" $min | float64) $fewest) 100)) ($min | float64) (hasSuffix "%" $min) | int64 -}}
{{- if and $max $min }}
podDisruptionBudget.minAvailable {{ $min }} and maxUnavailable {{ $max }} exclude each other: set podDisruptionBudget.minAvailable to ""
{{- else if and $min (gt $fewest 0) (ge $stay $fewest) }}
podDisruptionBudget.minAvailable {{ $min }} with {{ $source }} {{ $fewest }} blocks every node drain: raise {{ $source }}, or set podDisruptionBudget.maxUnavailable to 1 instead of minAvailable
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.rollout" -}}
{{- $needed := add (int64 .Values.preStopSeconds) (int64 .Values.engine.shutdownGraceSeconds) 5 -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) $needed }}
terminationGracePeriodSeconds {{ int64 .Values.terminationGracePeriodSeconds }} would kill pods that are still draining (preStopSeconds, engine.shutdownGraceSeconds and 5 s for the relay): set it to {{ $needed }} or more
{{- end }}
{{- if not (or (ne (include "windlass.scalar" .Values.rollingUpdate.maxSurge | trimSuffix "%") "0") (ne (include "windlass.scalar" .Values.rollingUpdate.maxUnavailable | trimSuffix "%") "0")) }}
rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0, so no pod could ever be replaced: set rollingUpdate.maxSurge to 1
{{- end }}
{{- end -}}

{{- define "windlass.check.pools" -}}
{{- $seen := dict -}}
{{- range .Values.pools -}}
{{- if hasKey $seen .name }}
pools names {{ .name }} twice: give each pool its own name
{{- end }}
{{- if and (gt (int64 $.Values.scheduler.replicas) 0) (eq .name "scheduler") }}
pools names scheduler, which is the name of the schedulers' Deployment: give the pool another name
{{- end }}
{{- $_ := set $seen .name true -}}
{{- end }}
{{- end -}}

{{- define "windlass.check.jobs" -}}
{{- range $name := list "migrations" "topics" -}}
{{- if and $.Values.tests.enabled (hasKey (get $.Values $name).annotations "argocd.argoproj.io/hook") }}
{{ $name }}.annotations sets argocd.argoproj.io/hook, which makes Argo CD treat Helm's test as an ordinary pod: leave it out, since Argo CD reads Helm's hooks, or set tests.enabled to false
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.monitors" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
serviceMonitor.enabled and podMonitor.enabled would scrape every pod twice: keep one
{{- end }}
{{- end -}}
