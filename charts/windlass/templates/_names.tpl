{{- define "windlass.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* A release name may hold dots, a Service name may not. */}}
{{- define "windlass.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := include "windlass.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | replace "." "-" | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A release name has at most 53 characters, so 54 of the full name still tell two releases apart. */}}
{{- define "windlass.metricsName" -}}
{{- printf "%s-metrics" (include "windlass.fullname" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- define "windlass.migrateName" -}}
{{- printf "%s-migrate" (include "windlass.fullname" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- define "windlass.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "windlass.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "windlass.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Immutable in a Deployment: never to change between releases of the chart. */}}
{{- define "windlass.selector" -}}
app.kubernetes.io/name: {{ include "windlass.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: engine
{{- end -}}

{{- define "windlass.release" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: windlass
{{- end -}}

{{- define "windlass.labels" -}}
{{ include "windlass.selector" . }}
{{ include "windlass.release" . }}
{{- end -}}

{{/* Another component than the engine's, or the Service would send it calls. */}}
{{- define "windlass.migrateLabels" -}}
app.kubernetes.io/name: {{ include "windlass.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: migrate
{{ include "windlass.release" . }}
{{- end -}}
