{{/* A number as it was written: helm reads YAML's integers as floats, and would print 1e+06. */}}
{{- define "windlass.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) (lt . 1e15) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{- define "windlass.stringMap" -}}
{{- $strings := dict -}}
{{- range $key, $value := . -}}
{{- $_ := set $strings $key (include "windlass.scalar" $value) -}}
{{- end -}}
{{- toYaml $strings -}}
{{- end -}}

{{- define "windlass.isTrue" -}}
{{- if has (. | toString | lower) (list "1" "t" "true") -}}true{{- else -}}false{{- end -}}
{{- end -}}
