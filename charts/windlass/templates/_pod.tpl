{{/* What the engine's pods and those of the Jobs have in common. Takes root, and what is mounted: postgresql, kafka, redis,
     tokens, and tls; tlsCa: the CA alone. */}}
{{- define "windlass.pod" -}}
{{- $values := .root.Values -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- range $key, $id := $values.podSecurityContext }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $key }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- include "windlass.stringMap" . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with $values.hostAliases }}
hostAliases: {{ toJson . }}
{{- end }}
{{- with $values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with $values.dnsConfig }}
dnsConfig: {{ toJson . }}
{{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  {{- range $name, $tls := include "windlass.ca.mounts" . | fromYaml }}
  - name: {{ $name }}
    {{- if $tls.existingSecret }}
    secret:
      secretName: {{ $tls.existingSecret | quote }}
      items: [{ key: {{ $tls.caKey | quote }}, path: {{ $tls.caKey | quote }} }]
    {{- else }}
    configMap:
      name: {{ $tls.existingConfigMap | quote }}
      items: [{ key: {{ $tls.caKey | quote }}, path: {{ $tls.caKey | quote }} }]
    {{- end }}
  {{- end }}
  {{- if and .tokens $values.auth.existingSecret }}
  - name: tokens
    secret:
      secretName: {{ $values.auth.existingSecret | quote }}
      items: [{ key: {{ $values.auth.existingSecretKey | quote }}, path: {{ $values.auth.existingSecretKey | quote }} }]
  {{- end }}
  {{- if .tls }}
  {{- include "windlass.tls.volumes" .root | nindent 2 }}
  {{- else if .tlsCa }}
  {{- include "windlass.tls.caVolume" .root | nindent 2 }}
  {{- end }}
  {{- range $values.extraVolumes }}
  - {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* Takes root, image (a pool's, or nothing), and what is mounted. */}}
{{- define "windlass.container" -}}
{{- $values := .root.Values -}}
image: {{ include "windlass.image" . | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
{{- with $values.extraEnvFrom }}
envFrom: {{ toJson . }}
{{- end }}
securityContext: {{ include "windlass.restricted" . }}
{{- with $values.resources }}
resources: {{ toJson . }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- range $name, $_ := include "windlass.ca.mounts" . | fromYaml }}
  - name: {{ $name }}
    mountPath: /etc/windlass/{{ $name }}
    readOnly: true
  {{- end }}
  {{- if and .tokens $values.auth.existingSecret }}
  # The folder and not the file alone: a file would stay as it was when the Secret changes.
  - name: tokens
    mountPath: /etc/windlass/tokens
    readOnly: true
  {{- end }}
  {{- if .tls }}
  {{- include "windlass.tls.mounts" .root | nindent 2 }}
  {{- else if .tlsCa }}
  {{- include "windlass.tls.caMount" .root | nindent 2 }}
  {{- end }}
  {{- range $values.extraVolumeMounts }}
  - {{ toJson . }}
  {{- end }}
{{- end -}}

{{- define "windlass.restricted" -}}
{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
{{- end -}}

{{/* An operator's container, as strict as ours in all that it does not say itself. */}}
{{- define "windlass.extraContainer" -}}
{{- merge (dict) . (dict "securityContext" (include "windlass.restricted" . | fromJson)) | toJson -}}
{{- end -}}

{{- define "windlass.ca.isMounted" -}}
{{- if or .existingSecret .existingConfigMap -}}true{{- end -}}
{{- end -}}

{{/* The CAs to mount, by the volume's name. */}}
{{- define "windlass.ca.mounts" -}}
{{- $mounts := dict -}}
{{- if and .postgresql (include "windlass.ca.isMounted" .root.Values.postgresql.tls) -}}
{{- $_ := set $mounts "postgresql-ca" .root.Values.postgresql.tls -}}
{{- end -}}
{{- if and .kafka (include "windlass.kafka.isSecured" .root) (include "windlass.ca.isMounted" .root.Values.kafka.tls) -}}
{{- $_ := set $mounts "kafka-ca" .root.Values.kafka.tls -}}
{{- end -}}
{{- if and .redis (include "windlass.usesRedis" .root) (include "windlass.ca.isMounted" .root.Values.redis.tls) -}}
{{- $_ := set $mounts "redis-ca" .root.Values.redis.tls -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end -}}
