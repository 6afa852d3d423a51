{{/* What the engine's pods and the migration's have in common. */}}
{{- define "windlass.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- range $key, $id := .Values.podSecurityContext }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $key }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- include "windlass.stringMap" . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  {{- range .Values.extraVolumes }}
  - {{ toJson . }}
  {{- end }}
{{- end -}}

{{- define "windlass.container" -}}
image: {{ include "windlass.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: ["windlass"]
{{- with .Values.extraEnvFrom }}
envFrom: {{ toJson . }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: ["ALL"]
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.resources }}
resources: {{ toJson . }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- range .Values.extraVolumeMounts }}
  - {{ toJson . }}
  {{- end }}
{{- end -}}
