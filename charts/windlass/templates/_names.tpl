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

{{- define "windlass.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* Takes root and suffix: the full name and the suffix in 63 characters. A full name that is cut keeps a hash of itself,
     so that two long releases stay apart. */}}
{{- define "windlass.nameWith" -}}
{{- $full := include "windlass.fullname" .root -}}
{{- $room := sub 62 (len .suffix) | int -}}
{{- if gt (len $full) $room -}}
{{- $full = printf "%s-%s" ($full | trunc (sub $room 9 | int) | trimSuffix "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- printf "%s-%s" $full .suffix -}}
{{- end -}}

{{- define "windlass.schedulerName" -}}
{{- include "windlass.nameWith" (dict "root" . "suffix" "scheduler") -}}
{{- end -}}

{{- define "windlass.metricsName" -}}
{{- include "windlass.nameWith" (dict "root" . "suffix" "metrics") -}}
{{- end -}}

{{- define "windlass.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "windlass.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Takes root, and image: a pool's tag and digest, or nothing. A pool's tag beats the digest of all. */}}
{{- define "windlass.image" -}}
{{- $common := .root.Values.image -}}
{{- $own := .image | default dict -}}
{{- $registry := dig "imageRegistry" "" (.root.Values.global | default dict) -}}
{{- $repository := ternary (printf "%s/%s" $registry $common.repository) $common.repository (ne $registry "") -}}
{{- $digest := $own.digest | default (ternary "" $common.digest (not (empty $own.tag))) -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($own.tag | default $common.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
