{{/* Contract of the chart with the engine: which value becomes which variable. */}}
{{- define "windlass.env" -}}
{{- $engine := .Values.engine -}}
{{- include "windlass.env.postgres" (dict "root" . "ownSecret" (include "windlass.fullname" .)) }}
- name: WE_DISPATCH_MODE
  value: {{ $engine.dispatchMode | quote }}
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
{{- if eq $engine.dispatchMode "kafka_outbox" }}
{{ include "windlass.env.kafka" . }}
{{- end }}
- name: WINDLASS_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- include "windlass.env.extra" . }}
{{- end -}}

{{- define "windlass.env.postgres" -}}
{{- $postgresql := .root.Values.postgresql -}}
- name: WE_POSTGRES_DSN
  valueFrom:
    secretKeyRef:
      name: {{ $postgresql.existingSecret | default .ownSecret | quote }}
      key: {{ ternary $postgresql.existingSecretKey "dsn" (ne $postgresql.existingSecret "") | quote }}
{{- end -}}

{{/* Absent in polling mode, so that going back to it needs neither the broker nor its Secret. */}}
{{- define "windlass.env.kafka" -}}
{{- $kafka := .Values.kafka -}}
- name: WE_KAFKA_SEED_BROKERS
  value: {{ include "windlass.kafka.seedBrokers" . | quote }}
- name: WE_KAFKA_TRANSPORT
  value: {{ $kafka.transport | quote }}
{{- if eq $kafka.transport "sasl_scram_tls" }}
- name: WE_KAFKA_SASL_MECHANISM
  value: {{ $kafka.saslMechanism | quote }}
- name: WE_KAFKA_SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $kafka.existingSecret | default (include "windlass.fullname" .) | quote }}
      key: {{ ternary $kafka.existingSecretUsernameKey "kafka-username" (ne $kafka.existingSecret "") | quote }}
- name: WE_KAFKA_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $kafka.existingSecret | default (include "windlass.fullname" .) | quote }}
      key: {{ ternary $kafka.existingSecretPasswordKey "kafka-password" (ne $kafka.existingSecret "") | quote }}
{{- with include "windlass.kafka.caPath" . }}
- name: WE_KAFKA_TLS_CA_PATH
  value: {{ . | quote }}
{{- end }}
{{- with $kafka.tlsServerName }}
- name: WE_KAFKA_TLS_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- end }}
- name: WE_OUTBOX_BATCH_SIZE
  value: {{ int64 $kafka.outboxBatchSize | quote }}
{{- end -}}

{{- define "windlass.kafka.seedBrokers" -}}
{{- if kindIs "slice" .Values.kafka.seedBrokers -}}
{{- join "," .Values.kafka.seedBrokers -}}
{{- else -}}
{{- .Values.kafka.seedBrokers | trim -}}
{{- end -}}
{{- end -}}

{{- define "windlass.kafka.usesTls" -}}
{{- if and (eq .Values.engine.dispatchMode "kafka_outbox") (eq .Values.kafka.transport "sasl_scram_tls") -}}true{{- end -}}
{{- end -}}

{{- define "windlass.kafka.caPath" -}}
{{- if .Values.kafka.tls.existingSecret -}}
{{- printf "/etc/windlass/kafka-tls/%s" .Values.kafka.tls.caKey -}}
{{- else -}}
{{- .Values.kafka.tlsCaPath -}}
{{- end -}}
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
