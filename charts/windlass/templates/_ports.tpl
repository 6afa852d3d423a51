{{/* The database's ports as far as the values tell them, separated by blanks. */}}
{{- define "windlass.postgresql.ports" -}}
{{- $postgresql := .Values.postgresql -}}
{{- $given := list (int64 $postgresql.port | toString) -}}
{{- $ports := $given -}}
{{- if $postgresql.dsn -}}
{{- $ports = include "windlass.dsn.ports" $postgresql.dsn | splitList " " -}}
{{- end -}}
{{- if include "windlass.postgresql.hasSession" . -}}
{{- $ports = append $ports (int64 $postgresql.session.port | toString) -}}
{{- end -}}
{{- if and .Values.migrations.existingSecret (not (include "windlass.postgresql.isSplit" .)) -}}
{{- $ports = concat $ports $given -}}
{{- end -}}
{{- $ports | uniq | join " " -}}
{{- end -}}

{{/* Takes a DSN: a URL with one or more hosts, or keywords. */}}
{{- define "windlass.dsn.ports" -}}
{{- $ports := list -}}
{{- $named := regexFindAll "(^|[?&\\s])port *= *'?[0-9,]+" (. | replace "%2C" "," | replace "%2c" ",") -1 -}}
{{- range $named -}}
{{- $ports = concat $ports (splitList "=" . | last | trimAll " '" | splitList "," ) -}}
{{- end -}}
{{- if not $ports -}}
{{- range regexFind "://[^/?#]*" . | trimPrefix "://" | splitList "@" | last | splitList "," -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "5432") -}}
{{- end -}}
{{- end -}}
{{- compact $ports | join " " -}}
{{- end -}}

{{/* Some port is in a Secret, which a chart cannot read. */}}
{{- define "windlass.postgresql.portIsHidden" -}}
{{- $postgresql := .Values.postgresql -}}
{{- $isSplit := eq (include "windlass.postgresql.isSplit" .) "true" -}}
{{- if or $postgresql.secretKeys.port $postgresql.session.existingSecretKey (and (not $isSplit) (or $postgresql.existingSecret .Values.migrations.existingSecret)) -}}true{{- end -}}
{{- end -}}
