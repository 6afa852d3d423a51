{{/* TLS at the engine's ports: its files, and what speaks to the ports. */}}
{{- define "windlass.tls.isOn" -}}
{{- if .Values.tls.existingSecret -}}true{{- end -}}
{{- end -}}

{{- define "windlass.tls.ofMetrics" -}}
{{- if and .Values.tls.existingSecret (eq (include "windlass.isTrue" .Values.tls.metrics) "true") -}}true{{- end -}}
{{- end -}}

{{- define "windlass.env.tls" -}}
{{- $tls := .Values.tls -}}
{{- if $tls.existingSecret }}
- name: WINDLASS_TLS_CERT_FILE
  value: /etc/windlass/tls/tls.crt
- name: WINDLASS_TLS_KEY_FILE
  value: /etc/windlass/tls/tls.key
{{- if $tls.clientCASecret }}
- name: WINDLASS_TLS_CLIENT_CA_FILE
  value: {{ printf "/etc/windlass/tls-client-ca/%s" $tls.clientCAKey | quote }}
{{- end }}
{{- if not (include "windlass.tls.ofMetrics" .) }}
- name: WINDLASS_TLS_METRICS
  value: "false"
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.tls.volumes" -}}
{{- $tls := .Values.tls -}}
{{- if $tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ $tls.existingSecret | quote }}
    items: [{ key: tls.crt, path: tls.crt }, { key: tls.key, path: tls.key }]
{{- if $tls.clientCASecret }}
- name: tls-client-ca
  secret:
    secretName: {{ $tls.clientCASecret | quote }}
    items: [{ key: {{ $tls.clientCAKey | quote }}, path: {{ $tls.clientCAKey | quote }} }]
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.tls.mounts" -}}
{{- $tls := .Values.tls -}}
{{- if $tls.existingSecret }}
# Folders: a renewed certificate comes by a swap of links inside.
- name: tls
  mountPath: /etc/windlass/tls
  readOnly: true
{{- if $tls.clientCASecret }}
- name: tls-client-ca
  mountPath: /etc/windlass/tls-client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{/* Of the pod of helm test: the CA alone, which comes with the certificate. */}}
{{- define "windlass.tls.caVolume" -}}
{{- $tls := .Values.tls -}}
{{- if and $tls.existingSecret $tls.caKey }}
- name: tls-ca
  secret:
    secretName: {{ $tls.existingSecret | quote }}
    items: [{ key: {{ $tls.caKey | quote }}, path: {{ $tls.caKey | quote }} }]
{{- end }}
{{- end -}}

{{- define "windlass.tls.caMount" -}}
{{- $tls := .Values.tls -}}
{{- if and $tls.existingSecret $tls.caKey }}
- name: tls-ca
  mountPath: /etc/windlass/tls-ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* Prometheus comes by the pods' addresses, which no certificate names. */}}
{{- define "windlass.tls.monitor" -}}
{{- if include "windlass.tls.ofMetrics" . }}
scheme: https
tlsConfig:
  serverName: {{ .Values.tls.serverName | default (printf "%s.%s.svc" (include "windlass.fullname" .) (include "windlass.namespace" .)) | quote }}
  {{- if .Values.tls.caKey }}
  ca:
    secret:
      name: {{ .Values.tls.existingSecret | quote }}
      key: {{ .Values.tls.caKey | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.tls" -}}
{{- $tls := .Values.tls -}}
{{- if not $tls.existingSecret }}
{{- range $key := list "clientCASecret" "serverName" }}
{{- if get $tls $key }}
tls.{{ $key }} is set but not used, since tls.existingSecret names no certificate: set it too, or remove tls.{{ $key }}
{{- end }}
{{- end }}
{{- else if eq .Values.probes.liveness.protocol "grpc" }}
probes.liveness.protocol is grpc, but the kubelet speaks no TLS over gRPC, and tls.existingSecret turns it on: set probes.liveness.protocol to http
{{- end }}
{{- end -}}
