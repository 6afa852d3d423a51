{{/* What the pods that run once have of their own. Takes root and name, which is that of the Job and its container. */}}
{{- define "windlass.jobs.pod" -}}
{{- $jobs := .root.Values.jobs -}}
restartPolicy: Never
{{- with include "windlass.jobs.serviceAccountName" . }}
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with $jobs.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- with $jobs.extraInitContainers }}
initContainers:
  {{- range . }}
  - {{ include "windlass.extraContainer" . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Empty: the namespace's default. Takes root and name. */}}
{{- define "windlass.jobs.serviceAccountName" -}}
{{- $account := .root.Values.jobs.serviceAccount -}}
{{- ternary (include "windlass.nameWith" (dict "root" .root "suffix" .name)) $account.name $account.create -}}
{{- end -}}

{{/* One for each Job: as a hook it goes when its Job has succeeded, and the next Job would miss it. Takes root, name and
     hookAnnotations, which are empty for a plain Job's. */}}
{{- define "windlass.jobs.serviceAccount" -}}
{{- $account := .root.Values.jobs.serviceAccount -}}
{{- if $account.create -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "windlass.metadata" (dict "root" .root "name" (include "windlass.jobs.serviceAccountName" .) "component" .name "annotations" (merge (dict) .hookAnnotations $account.annotations)) | nindent 2 }}
automountServiceAccountToken: false
---
{{ end -}}
{{- end -}}
