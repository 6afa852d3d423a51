{{/* Not of the Jobs: they make no spans. */}}
{{- define "windlass.env.tracing" -}}
{{- $tracing := .Values.tracing -}}
{{- if $tracing.endpoint }}
- name: WINDLASS_OTLP_ENDPOINT
  value: {{ $tracing.endpoint | quote }}
- name: WINDLASS_TRACE_RATIO
  value: {{ include "windlass.scalar" $tracing.sampleRatio | quote }}
{{- with $tracing.existingSecret }}
- name: WINDLASS_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $tracing.existingSecretKey | quote }}
{{- end }}
{{- if include "windlass.ca.isMounted" $tracing.tls }}
- name: WINDLASS_OTLP_TLS_CA_PATH
  value: {{ printf "/etc/windlass/otlp-ca/%s" $tracing.tls.caKey | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The collector's port, which a network policy opens. */}}
{{- define "windlass.collectorPort" -}}
{{- $authority := regexReplaceAll "^https?://([^/]*).*$" .Values.tracing.endpoint "${1}" -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (hasPrefix "https:" .Values.tracing.endpoint)) -}}
{{- end -}}

{{- define "windlass.check.tracing" -}}
{{- $tracing := .Values.tracing -}}
{{- $ca := include "windlass.ca.isMounted" $tracing.tls -}}
{{- if and $tracing.tls.existingSecret $tracing.tls.existingConfigMap }}
tracing.tls.existingSecret and tracing.tls.existingConfigMap are both set: keep one
{{- end }}
{{- if $tracing.endpoint -}}
{{- if hasSuffix "/v1/traces" (trimSuffix "/" $tracing.endpoint) }}
tracing.endpoint ends with /v1/traces, which the engine adds: leave it out
{{- end }}
{{- if and $ca (hasPrefix "http:" $tracing.endpoint) }}
tracing.tls has a CA but tracing.endpoint does not ask for TLS: begin it with https
{{- end }}
{{- else -}}
{{- range $key, $value := dict "existingSecret" $tracing.existingSecret "tls" $ca "sampleRatio" (ternary "" "set" (eq 1.0 (float64 $tracing.sampleRatio))) -}}
{{- if $value }}
tracing.{{ $key }} is set but not used, since tracing.endpoint names no collector: set it, or remove tracing.{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
