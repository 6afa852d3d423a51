{{/* Contract of the chart with the engine: which value becomes which variable. Takes root and pool. */}}
{{- define "windlass.env" -}}
{{- $engine := .root.Values.engine -}}
{{- include "windlass.env.postgres" (dict "root" .root "ownSecret" (include "windlass.fullname" .root)) }}
- name: WE_DISPATCH_MODE
  value: {{ .pool.dispatchMode | quote }}
- name: WE_LOG_LEVEL
  value: {{ $engine.logLevel | quote }}
- name: WE_AUDIT_LOG_ENABLED
  value: {{ include "windlass.isTrue" $engine.auditLogEnabled | quote }}
- name: WE_REST_PORT
  value: {{ int64 $engine.rest.port | quote }}
- name: WE_GRPC_PORT
  value: {{ int64 $engine.grpc.port | quote }}
- name: WE_METRICS_PORT
  value: {{ int64 $engine.metrics.port | quote }}
{{- with include "windlass.scalar" $engine.db.maxConns }}
- name: DB_MAX_CONNS
  value: {{ . | quote }}
{{- end }}
{{- with include "windlass.scalar" $engine.db.minConns }}
- name: DB_MIN_CONNS
  value: {{ . | quote }}
{{- end }}
{{- if eq .pool.dispatchMode "kafka_outbox" }}
{{ include "windlass.env.kafka" (dict "root" .root "ownSecret" (include "windlass.fullname" .root)) }}
- name: WE_OUTBOX_BATCH_SIZE
  value: {{ int64 .root.Values.kafka.outboxBatchSize | quote }}
{{- end }}
{{- include "windlass.env.wakeBus" .root }}
{{- if .root.Values.auth.existingSecret }}
- name: WINDLASS_TOKENS_FILE
  value: {{ printf "/etc/windlass/tokens/%s" .root.Values.auth.existingSecretKey | quote }}
{{- end }}
{{- include "windlass.env.tls" .root }}
- name: WINDLASS_SHUTDOWN_GRACE_SECONDS
  value: {{ int64 $engine.shutdownGraceSeconds | quote }}
{{- include "windlass.env.retention" .root }}
{{- include "windlass.env.strict" .root }}
{{- if not (include "windlass.migratesOnStartup" .root) }}
- name: WINDLASS_MIGRATE_ON_START
  value: "false"
{{- end }}
- name: WINDLASS_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- include "windlass.env.extra" .root }}
{{- end -}}

{{/* Takes root, ownSecret, and migrates: whether this is the Job, which may have a role of its own. A database in parts is
     told in libpq's own variables: a password is then never quoted, escaped or put together, whatever is in it. */}}
{{- define "windlass.env.postgres" -}}
{{- $postgresql := .root.Values.postgresql -}}
{{- $hasOwnRole := and .migrates (ne .root.Values.migrations.existingSecret "") -}}
{{- $login := $postgresql -}}
{{- if $hasOwnRole -}}{{- $login = .root.Values.migrations -}}{{- end -}}
- name: WE_POSTGRES_DSN
{{- if include "windlass.postgresql.isSplit" .root }}
  value: "postgresql://"
{{- $parts := dict "HOST" $postgresql.host "PORT" (ternary (int64 $postgresql.port | toString) "" (eq $postgresql.secretKeys.port "")) "USER" $login.user "DATABASE" $postgresql.database "PASSWORD" "" }}
{{- range $part, $written := $parts }}
{{- $source := ternary $login $postgresql (has $part (list "USER" "PASSWORD")) }}
{{- $key := get $source.secretKeys (lower $part) }}
{{- if $key }}
- name: PG{{ $part }}
  valueFrom:
    secretKeyRef:
      name: {{ $source.existingSecret | quote }}
      key: {{ $key | quote }}
{{- else if $written }}
- name: PG{{ $part }}
  value: {{ $written | quote }}
{{- end }}
{{- end }}
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ $login.existingSecret | default .ownSecret | quote }}
      key: {{ ternary $login.existingSecretKey "dsn" (ne $login.existingSecret "") | quote }}
{{- end }}
{{- if and (ne $postgresql.pooler "auto") (or (not $hasOwnRole) (include "windlass.postgresql.isSplit" .root)) }}
- name: WINDLASS_POSTGRES_POOLER
  value: {{ $postgresql.pooler | quote }}
{{- end }}
{{- with $postgresql.session }}
{{- if .host }}
- name: WINDLASS_POSTGRES_SESSION_DSN
  value: {{ printf "postgresql://%s:%d" .host (int64 .port) | quote }}
{{- else if and .existingSecretKey (not $hasOwnRole) }}
- name: WINDLASS_POSTGRES_SESSION_DSN
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | default $postgresql.existingSecret | quote }}
      key: {{ .existingSecretKey | quote }}
{{- end }}
{{- end }}
{{- with $postgresql.schema }}
- name: WINDLASS_SCHEMA
  value: {{ . | quote }}
{{- end }}
{{- with $postgresql.sslmode }}
- name: PGSSLMODE
  value: {{ . | quote }}
{{- end }}
{{- if include "windlass.ca.isMounted" $postgresql.tls }}
- name: PGSSLROOTCERT
  value: {{ printf "/etc/windlass/postgresql-ca/%s" $postgresql.tls.caKey | quote }}
{{- end }}
{{- end -}}

{{/* Takes root and ownSecret. Absent in polling mode, so that going back to it needs neither the broker nor its Secret. */}}
{{- define "windlass.env.kafka" -}}
{{- $kafka := .root.Values.kafka -}}
- name: WE_KAFKA_SEED_BROKERS
  value: {{ include "windlass.kafka.seedBrokers" .root | quote }}
- name: WE_KAFKA_TRANSPORT
  value: {{ $kafka.transport | quote }}
{{- if eq $kafka.transport "sasl_scram_tls" }}
- name: WE_KAFKA_SASL_MECHANISM
  value: {{ $kafka.saslMechanism | quote }}
- name: WE_KAFKA_SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $kafka.existingSecret | default .ownSecret | quote }}
      key: {{ ternary $kafka.existingSecretUsernameKey "kafka-username" (ne $kafka.existingSecret "") | quote }}
- name: WE_KAFKA_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $kafka.existingSecret | default .ownSecret | quote }}
      key: {{ ternary $kafka.existingSecretPasswordKey "kafka-password" (ne $kafka.existingSecret "") | quote }}
{{- $mounted := ternary (printf "/etc/windlass/kafka-ca/%s" $kafka.tls.caKey) "" (eq (include "windlass.ca.isMounted" $kafka.tls) "true") }}
{{- with $kafka.tlsCaPath | default $mounted }}
- name: WE_KAFKA_TLS_CA_PATH
  value: {{ . | quote }}
{{- end }}
{{- with $kafka.tlsServerName }}
- name: WE_KAFKA_TLS_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Not of the Jobs: they wake nobody. */}}
{{- define "windlass.env.wakeBus" -}}
{{- $redis := .Values.redis -}}
{{- if ne .Values.engine.wakeBus "postgres" }}
- name: WINDLASS_WAKE_BUS
  value: {{ .Values.engine.wakeBus | quote }}
{{- end }}
{{- if include "windlass.usesRedis" . }}
- name: WINDLASS_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ ternary $redis.existingSecret (include "windlass.fullname" .) (ne $redis.secretKeys.url "") | quote }}
      key: {{ $redis.secretKeys.url | default "redis-url" | quote }}
{{- with $redis.secretKeys.password }}
- name: WINDLASS_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $redis.existingSecret | quote }}
      key: {{ . | quote }}
{{- end }}
{{- if include "windlass.ca.isMounted" $redis.tls }}
- name: WINDLASS_REDIS_TLS_CA_PATH
  value: {{ printf "/etc/windlass/redis-ca/%s" $redis.tls.caKey | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of the Job, too, where it grants: removing needs more rights. */}}
{{- define "windlass.env.retention" -}}
{{- with .Values.engine.retentionDays }}
- name: WINDLASS_RETENTION_DAYS
  value: {{ include "windlass.scalar" . | quote }}
{{- end }}
{{- end -}}

{{/* Of the Job, too: it meets what extraEnv sets before any pod does. */}}
{{- define "windlass.env.strict" -}}
{{- if .Values.engine.strictSettings }}
- name: WINDLASS_STRICT_SETTINGS
  value: "true"
{{- end }}
{{- end -}}

{{- define "windlass.env.extra" -}}
{{- range .Values.extraEnv }}
- name: {{ .name | quote }}
  {{- if hasKey . "valueFrom" }}
  valueFrom: {{ toJson .valueFrom }}
  {{- else }}
  value: {{ include "windlass.scalar" .value | quote }}
  {{- end }}
{{- end }}
{{- end -}}
