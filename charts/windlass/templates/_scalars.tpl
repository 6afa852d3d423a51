{{/* A number as it was written: helm reads YAML's integers as floats, and would print 1e+06. */}}
{{- define "windlass.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) (lt . 1e15) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* Not by toYaml, here and for whole objects: on a character that YAML cannot show it prints nothing and says nothing,
     and it writes 2000000 as 2e+06, which Kubernetes takes for no integer. JSON is YAML, too. */}}
{{- define "windlass.stringMap" -}}
{{- $lines := list -}}
{{- range $key, $value := . -}}
{{- $lines = append $lines (printf "%q: %q" $key (include "windlass.scalar" $value)) -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}

{{- define "windlass.isTrue" -}}
{{- if has (. | toString | lower) (list "1" "t" "true") -}}true{{- else -}}false{{- end -}}
{{- end -}}
