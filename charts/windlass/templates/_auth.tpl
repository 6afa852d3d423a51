{{/* Who may call: the tokens file, the issuer of JWTs, and which web pages may read answers. */}}
{{- define "windlass.auth.isOn" -}}
{{- if or .Values.auth.existingSecret .Values.auth.jwt.issuer -}}true{{- end -}}
{{- end -}}

{{- define "windlass.env.auth" -}}
{{- $auth := .Values.auth -}}
{{- if $auth.existingSecret }}
- name: WINDLASS_TOKENS_FILE
  value: {{ printf "/etc/windlass/tokens/%s" $auth.existingSecretKey | quote }}
{{- end }}
{{- if $auth.metricsTokens.enabled }}
- name: WINDLASS_METRICS_TOKENS
  value: "true"
{{- end }}
{{- with .Values.cors.origins }}
- name: WINDLASS_CORS_ORIGINS
  value: {{ join "," . | quote }}
{{- end }}
{{- if $auth.jwt.issuer }}
{{- include "windlass.env.jwt" $auth.jwt }}
{{- end }}
{{- end -}}

{{/* Takes auth.jwt. */}}
{{- define "windlass.env.jwt" }}
- name: WINDLASS_JWT_ISSUER
  value: {{ .issuer | quote }}
- name: WINDLASS_JWT_AUDIENCE
  value: {{ .audience | quote }}
{{- if include "windlass.ca.isMounted" .jwks }}
- name: WINDLASS_JWT_JWKS_FILE
  value: {{ printf "/etc/windlass/jwks/%s" .jwks.key | quote }}
{{- else }}
- name: WINDLASS_JWT_JWKS_URL
  value: {{ .jwksUrl | quote }}
{{- end }}
{{- if include "windlass.ca.isMounted" .tls }}
- name: WINDLASS_JWT_CA_PATH
  value: {{ printf "/etc/windlass/jwt-ca/%s" .tls.caKey | quote }}
{{- end }}
{{- $roles := list -}}
{{- range .roles -}}
{{- $roles = append $roles (printf "%s=%s" .value .role) -}}
{{- end }}
- name: WINDLASS_JWT_ROLES
  value: {{ join "," $roles | quote }}
- name: WINDLASS_JWT_ROLES_CLAIM
  value: {{ .rolesClaim | quote }}
- name: WINDLASS_JWT_NAME_CLAIM
  value: {{ .nameClaim | quote }}
{{- with .jobTypesClaim }}
- name: WINDLASS_JWT_JOB_TYPES_CLAIM
  value: {{ . | quote }}
{{- end }}
{{- with .definitionsClaim }}
- name: WINDLASS_JWT_DEFINITIONS_CLAIM
  value: {{ . | quote }}
{{- end }}
- name: WINDLASS_JWT_LEEWAY_SECONDS
  value: {{ int64 .leewaySeconds | quote }}
- name: WINDLASS_JWT_REFRESH_SECONDS
  value: {{ int64 .refreshSeconds | quote }}
{{- end -}}

{{/* The port of the issuer's keys, empty when they are not fetched. */}}
{{- define "windlass.jwt.port" -}}
{{- with .Values.auth.jwt.jwksUrl -}}
{{- regexReplaceAll "^https://(\\[[^]]*\\]|[^/:?]*)(:([0-9]+))?([/?].*)?$" . "${3}" | default "443" -}}
{{- end -}}
{{- end -}}

{{/* What scrapes and counts sends a token; without metricsTokens.enabled its Secret is refused. Takes root. */}}
{{- define "windlass.metricsToken.isSent" -}}
{{- if .Values.auth.metricsTokens.existingSecret -}}true{{- end -}}
{{- end -}}

{{- define "windlass.check.auth" -}}
{{- $auth := .Values.auth -}}
{{- $tests := .Values.tests -}}
{{- $isOn := include "windlass.auth.isOn" . -}}
{{- if and $isOn $tests.enabled (not $tests.existingSecret) }}
{{ ternary "auth.existingSecret" "auth.jwt.issuer" (ne $auth.existingSecret "") }} asks every caller for a token, helm test too: set tests.existingSecret to a Secret with one of the role admin, or tests.enabled to false
{{- else if and $tests.existingSecret (not $isOn) }}
tests.existingSecret is set but not used, since auth.existingSecret and auth.jwt.issuer ask for no token: set one of them too, or remove tests.existingSecret
{{- end }}
{{- $metrics := $auth.metricsTokens -}}
{{- $scrapes := or .Values.serviceMonitor.enabled .Values.podMonitor.enabled .Values.keda.enabled -}}
{{- if $metrics.enabled -}}
{{- if not $isOn }}
auth.metricsTokens.enabled asks for tokens, but neither auth.existingSecret nor auth.jwt.issuer says which are good: set one, or auth.metricsTokens.enabled to false
{{- end }}
{{- if and $scrapes (not $metrics.existingSecret) }}
auth.metricsTokens.enabled asks whoever scrapes or counts queues for a token: set auth.metricsTokens.existingSecret to a Secret with one of the role metrics, which serviceMonitor, podMonitor and keda send
{{- end }}
{{- else if $metrics.existingSecret }}
auth.metricsTokens.existingSecret is set but not used: set auth.metricsTokens.enabled too, or remove it
{{- end }}
{{- include "windlass.check.jwt" $auth.jwt -}}
{{- if and $isOn (has "*" .Values.cors.origins) }}
cors.origins has *, so that any web page could read what tokens guard: list the origins
{{- end }}
{{- end -}}

{{/* Takes auth.jwt. */}}
{{- define "windlass.check.jwt" -}}
{{- $mounted := include "windlass.ca.isMounted" .jwks -}}
{{- if .issuer -}}
{{- if not .audience }}
auth.jwt.issuer is set without auth.jwt.audience: name it, or JWTs made for other services would be good here
{{- end }}
{{- if not .roles }}
auth.jwt.issuer is set without auth.jwt.roles, so that no JWT may do anything: say which value gives which role
{{- end }}
{{- if and .jwksUrl $mounted }}
auth.jwt.jwksUrl and auth.jwt.jwks both say where the issuer's keys are: keep one
{{- else if not (or .jwksUrl $mounted) }}
auth.jwt.issuer is set, but nothing says where its keys are: set auth.jwt.jwksUrl, or a Secret or ConfigMap in auth.jwt.jwks
{{- end }}
{{- if and (include "windlass.ca.isMounted" .tls) (not .jwksUrl) }}
auth.jwt.tls is set but not used, since no auth.jwt.jwksUrl is fetched: remove it
{{- end }}
{{- range $name := list "jwks" "tls" -}}
{{- $source := get $ $name -}}
{{- if and $source.existingSecret $source.existingConfigMap }}
auth.jwt.{{ $name }} names a Secret and a ConfigMap: keep one
{{- end }}
{{- end }}
{{- else -}}
{{- range $key := list "audience" "jwksUrl" "roles" -}}
{{- if get $ $key }}
auth.jwt.{{ $key }} is set but not used, since there is no auth.jwt.issuer: set it too, or remove auth.jwt.{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
