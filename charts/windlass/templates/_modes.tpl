{{/* Every dispatch mode that some pod of this release runs in, separated by blanks. */}}
{{- define "windlass.modes" -}}
{{- $modes := list .Values.engine.dispatchMode -}}
{{- range .Values.pools -}}
{{- $modes = append $modes (.dispatchMode | default $.Values.engine.dispatchMode) -}}
{{- end -}}
{{- $modes | uniq | sortAlpha | join " " -}}
{{- end -}}

{{/* Takes root and pool, one of values.pools. Beside schedulers it needs no sweeps of its own, but a relay of its own if its
     mode is not theirs. */}}
{{- define "windlass.poolRole" -}}
{{- $mode := .root.Values.engine.dispatchMode -}}
{{- ternary "api" "serve" (and (gt (int64 .root.Values.scheduler.replicas) 0) (eq (.pool.dispatchMode | default $mode) $mode)) -}}
{{- end -}}

{{- define "windlass.usesKafka" -}}
{{- if contains "kafka_outbox" (include "windlass.modes" .) -}}true{{- end -}}
{{- end -}}

{{- define "windlass.kafka.isSecured" -}}
{{- if and (include "windlass.usesKafka" .) (eq .Values.kafka.transport "sasl_scram_tls") -}}true{{- end -}}
{{- end -}}

{{- define "windlass.kafka.seedBrokers" -}}
{{- if kindIs "slice" .Values.kafka.seedBrokers -}}
{{- join "," .Values.kafka.seedBrokers -}}
{{- else -}}
{{- .Values.kafka.seedBrokers | trim -}}
{{- end -}}
{{- end -}}

{{/* The engines migrate when they start. Those whose migrations have a role of their own lack the right to. */}}
{{- define "windlass.migratesOnStartup" -}}
{{- if and .Values.migrations.onStartup (not .Values.migrations.existingSecret) -}}true{{- end -}}
{{- end -}}

{{- define "windlass.usesRedis" -}}
{{- if eq .Values.engine.wakeBus "redis" -}}true{{- end -}}
{{- end -}}

{{/* Sessions go another way than the pool. */}}
{{- define "windlass.postgresql.hasSession" -}}
{{- if or .Values.postgresql.session.existingSecretKey .Values.postgresql.session.host -}}true{{- end -}}
{{- end -}}

{{/* The database comes in parts, and not as one DSN. */}}
{{- define "windlass.postgresql.isSplit" -}}
{{- $postgresql := .Values.postgresql -}}
{{- if or $postgresql.host $postgresql.user $postgresql.database (compact (values $postgresql.secretKeys)) -}}true{{- end -}}
{{- end -}}
