{{/* What belongs to this release, whatever its part in it. */}}
{{- define "windlass.instance" -}}
app.kubernetes.io/name: {{ include "windlass.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Takes root and pool. Immutable in a Deployment: never to change between releases of the chart. Pools are components of
     their own, or the autoscaler of the one would count the pods of the other. */}}
{{- define "windlass.selector" -}}
{{ include "windlass.instance" .root }}
app.kubernetes.io/component: {{ include "windlass.component" .pool }}
{{- end -}}

{{- define "windlass.component" -}}
{{- if eq .role "scheduler" -}}
scheduler
{{- else -}}
{{- ternary (printf "engine-%s" .name) "engine" (ne .name "") -}}
{{- end -}}
{{- end -}}

{{/* The engine pods of all pools, no scheduler's and no Job's: for Services, the budget and everything else about "the pods
     that serve". */}}
{{- define "windlass.serving" -}}
{{ include "windlass.instance" . }}
windlass/serves: api
{{- end -}}

{{/* Takes root and component; extra labels are optional and win over the common ones. */}}
{{- define "windlass.labels" -}}
{{- $root := .root -}}
{{ include "windlass.instance" $root }}
app.kubernetes.io/component: {{ .component }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
app.kubernetes.io/part-of: windlass
{{- with merge (dict) (.extra | default dict) $root.Values.commonLabels }}
{{ include "windlass.stringMap" . }}
{{- end }}
{{- end -}}

{{/* Takes root, name and component; extra (labels) and annotations are optional and win over the common ones. */}}
{{- define "windlass.metadata" -}}
name: {{ .name | quote }}
namespace: {{ include "windlass.namespace" .root | quote }}
labels: {{- include "windlass.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations: {{- include "windlass.stringMap" . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes hook, weight and annotations: what makes an object a hook. An operator's annotations win, so that a weight or an
     Argo CD wave can be set. A hook that failed stays, for its log. */}}
{{- define "windlass.hookAnnotations" -}}
{{- $own := dict "helm.sh/hook" .hook "helm.sh/hook-weight" (.weight | toString) "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
{{- merge (dict) .annotations $own | toJson -}}
{{- end -}}
