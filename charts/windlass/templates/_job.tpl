{{/* One-off work before the pods. Takes root, name, settings (its section of the values), hook (its events), args, and
     mounted: postgresql, kafka. As a hook it refers to nothing that the release only makes later: its ServiceAccount, if
     it has one, is a hook itself, and so is the Secret with inline credentials, those of this very upgrade. As a plain Job
     its name changes with its content, for a Job's template can never change. */}}
{{- define "windlass.job" -}}
{{- $root := .root -}}
{{- $hooked := .settings.useHelmHooks -}}
{{- $hookSecret := include "windlass.nameWith" (dict "root" $root "suffix" .name) -}}
{{- $spec := include "windlass.job.spec" (merge (dict "ownSecret" (ternary $hookSecret (include "windlass.fullname" $root) $hooked)) .) -}}
{{- if $hooked }}
{{- $earlier := include "windlass.hookAnnotations" (dict "hook" .hook "weight" -5 "annotations" .settings.annotations) | fromJson -}}
{{ include "windlass.jobs.serviceAccount" (dict "root" $root "name" .name "hookAnnotations" $earlier) }}
{{- with include "windlass.secretData" $root -}}
apiVersion: v1
kind: Secret
metadata: {{- include "windlass.metadata" (dict "root" $root "name" $hookSecret "component" $.name "annotations" $earlier) | nindent 2 }}
type: Opaque
data: {{- trim . | nindent 2 }}
---
{{ end -}}
apiVersion: batch/v1
kind: Job
metadata: {{- include "windlass.metadata" (dict "root" $root "name" $hookSecret "component" .name "annotations" (include "windlass.hookAnnotations" (dict "hook" .hook "weight" 0 "annotations" .settings.annotations) | fromJson)) | nindent 2 }}
{{- else }}
{{- $hash := print $spec (include "windlass.secretData" $root) | sha256sum | trunc 8 -}}
{{ include "windlass.jobs.serviceAccount" (dict "root" $root "name" .name "hookAnnotations" .settings.annotations) }}
apiVersion: batch/v1
kind: Job
metadata: {{- include "windlass.metadata" (dict "root" $root "name" (include "windlass.nameWith" (dict "root" $root "suffix" (printf "%s-%s" .name $hash))) "component" .name "annotations" .settings.annotations) | nindent 2 }}
{{- end }}
spec: {{- $spec | nindent 2 }}
{{- end -}}

{{- define "windlass.job.spec" -}}
activeDeadlineSeconds: {{ int64 .settings.activeDeadlineSeconds }}
backoffLimit: 3
template:
  metadata:
    labels: {{- include "windlass.labels" (dict "root" .root "component" .name "extra" .root.Values.jobs.podLabels) | nindent 6 }}
    {{- with .root.Values.jobs.podAnnotations }}
    annotations: {{- include "windlass.stringMap" . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "windlass.jobs.pod" . | nindent 4 }}
    {{- include "windlass.pod" . | nindent 4 }}
      {{- with .volume }}
      - {{ toJson . }}
      {{- end }}
    containers:
      - name: {{ .name }}
        command: {{ toJson .command }}
        env:
          {{- if .postgresql }}
          {{- include "windlass.env.postgres" . | nindent 10 }}
          {{- end }}
          {{- if and .migrates .root.Values.migrations.appRole }}
          {{- include "windlass.env.retention" .root | nindent 10 }}
          {{- end }}
          {{- if .kafka }}
          {{- include "windlass.env.kafka" . | nindent 10 }}
          {{- end }}
          - name: WE_LOG_LEVEL
            value: {{ .root.Values.engine.logLevel | quote }}
          {{- with include "windlass.env.strict" .root }}
          {{- trim . | nindent 10 }}
          {{- end }}
          {{- with include "windlass.env.extra" .root }}
          {{- trim . | nindent 10 }}
          {{- end }}
        {{- include "windlass.container" . | nindent 8 }}
          {{- with .mount }}
          - {{ toJson . }}
          {{- end }}
{{- end -}}
