{{- define "windlass.check.platform" -}}
{{- if eq .Values.platform "openshift" -}}
{{- range $key, $id := .Values.podSecurityContext -}}
{{- if and $id (ne (include "windlass.scalar" $id) "10001") }}
podSecurityContext.{{ $key }} {{ include "windlass.scalar" $id }} is set but not used, since platform openshift chooses the ids: remove it, or set platform to kubernetes
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.jobPods" -}}
{{- $jobs := .Values.jobs -}}
{{- $account := $jobs.serviceAccount -}}
{{- if and $account.create $account.name }}
jobs.serviceAccount.create makes one for each Job, and jobs.serviceAccount.name names one for all: keep one
{{- end }}
{{- if and $account.annotations (not $account.create) }}
jobs.serviceAccount.annotations is set but no ServiceAccount is created: set jobs.serviceAccount.create to true, or annotate your own
{{- end }}
{{- $seen := dict "engine" true "migrate" true "topics" true "test" true -}}
{{- range $jobs.extraInitContainers -}}
{{- if hasKey $seen .name }}
the name {{ .name }} in jobs.extraInitContainers is already used: choose another
{{- end }}
{{- $_ := set $seen .name true -}}
{{- end }}
{{- end -}}

{{/* Values of Rochallor's chart are taken as they are, but for its image: the pods' commands are not its. */}}
{{- define "windlass.check.image" -}}
{{- if hasSuffix "/rochallor-engine" .Values.image.repository }}
image.repository is {{ .Values.image.repository }}, the engine of Rochallor, which lacks the commands of these pods: set image.repository to where your cluster finds the image of Windlass
{{- end }}
{{- end -}}
