{{- define "windlass.check.redis" -}}
{{- $redis := .Values.redis -}}
{{- $keys := compact (values $redis.secretKeys) -}}
{{- if include "windlass.usesRedis" . -}}
{{- if and $redis.url $redis.secretKeys.url }}
redis.url and redis.secretKeys.url are both set: keep one
{{- else if not (or $redis.url $redis.secretKeys.url) }}
engine.wakeBus is redis but nothing says where it is: set redis.existingSecret and redis.secretKeys.url, or redis.url
{{- else if ne $redis.url (trim $redis.url) }}
redis.url begins or ends with a blank or a line end: remove it
{{- else if and $redis.url (not (regexMatch "^(redis|valkey)s?([+](sentinel|cluster))?://" $redis.url)) }}
redis.url is not the address of a Redis: write redis://host:6379
{{- end }}
{{- if and $keys (not $redis.existingSecret) }}
redis.secretKeys names keys but no Secret that holds them: set redis.existingSecret
{{- else if and $redis.existingSecret (not $keys) }}
redis.existingSecret is set but none of its keys is used: set redis.secretKeys.url or redis.secretKeys.password
{{- end }}
{{- if and $redis.tls.existingSecret $redis.tls.existingConfigMap }}
redis.tls.existingSecret and redis.tls.existingConfigMap are both set: keep one
{{- end }}
{{- if and (include "windlass.ca.isMounted" $redis.tls) (regexMatch "^(redis|valkey)[+:]" $redis.url) }}
redis.tls has a CA but redis.url does not ask for TLS: begin it with rediss
{{- end }}
{{- else }}
{{- $given := dict "url" $redis.url "existingSecret" $redis.existingSecret "secretKeys" $keys "tls" (include "windlass.ca.isMounted" $redis.tls) -}}
{{- range $key, $value := $given -}}
{{- if $value }}
redis.{{ $key }} is set but not used, since engine.wakeBus is {{ $.Values.engine.wakeBus }}: set engine.wakeBus to redis, or remove redis.{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
