{{- define "windlass.check.postgresql" -}}
{{- $postgresql := .Values.postgresql -}}
{{- if include "windlass.postgresql.isSplit" . -}}
{{- include "windlass.check.postgresql.parts" $postgresql }}
{{- else if not (or $postgresql.dsn $postgresql.existingSecret) }}
no database: set postgresql.existingSecret to the name of a Secret that holds the DSN, or postgresql.dsn for a trial
{{- else if and $postgresql.dsn $postgresql.existingSecret }}
postgresql.dsn and postgresql.existingSecret are both set: keep one
{{- else if ne $postgresql.dsn (trim $postgresql.dsn) }}
postgresql.dsn begins or ends with a blank or a line end: remove it
{{- else if and $postgresql.dsn (not (regexMatch "^postgres(ql)?://|^[a-z_]+ *=" $postgresql.dsn)) }}
postgresql.dsn is not a DSN: write postgres://user:password@host:port/database or "host=... dbname=..."
{{- end }}
{{- if and $postgresql.sslmode (contains "sslmode" $postgresql.dsn) }}
postgresql.dsn and postgresql.sslmode both set the TLS mode: keep one
{{- end }}
{{- if and $postgresql.tls.existingSecret $postgresql.tls.existingConfigMap }}
postgresql.tls.existingSecret and postgresql.tls.existingConfigMap are both set: keep one
{{- end }}
{{- if and (eq "verify-ca" $postgresql.sslmode) (not (include "windlass.ca.isMounted" $postgresql.tls)) }}
postgresql.sslmode is verify-ca but there is no CA to verify with: set postgresql.tls.existingSecret or postgresql.tls.existingConfigMap, or sslmode to verify-full for a public CA
{{- end }}
{{- end -}}

{{/* Takes the section postgresql. */}}
{{- define "windlass.check.postgresql.parts" -}}
{{- $postgresql := . -}}
{{- $keys := $postgresql.secretKeys -}}
{{- if $postgresql.dsn }}
postgresql.dsn and parts of it (host, user, database or secretKeys) are both set: keep one way
{{- end }}
{{- range $part := list "host" "user" "database" -}}
{{- if and (get $postgresql $part) (get $keys $part) }}
postgresql.{{ $part }} and postgresql.secretKeys.{{ $part }} are both set: keep one
{{- else if and (ne $part "database") (not (get $postgresql $part)) (not (get $keys $part)) }}
the database is given in parts and its {{ $part }} is missing: set postgresql.{{ $part }} or postgresql.secretKeys.{{ $part }}
{{- end }}
{{- end -}}
{{- if and (compact (values $keys)) (not $postgresql.existingSecret) }}
postgresql.secretKeys names keys but no Secret that holds them: set postgresql.existingSecret
{{- end }}
{{- if and $postgresql.existingSecret (not (compact (values $keys))) }}
postgresql.existingSecret is set together with the database's parts, but none of its keys is used: set postgresql.secretKeys.password, or remove postgresql.existingSecret
{{- end }}
{{- if ne $postgresql.existingSecretKey "dsn" }}
postgresql.existingSecretKey is set but not used, since the database is given in parts: remove one of them
{{- end }}
{{- if and (include "windlass.ca.isMounted" $postgresql.tls) (not (has $postgresql.sslmode (list "require" "verify-ca" "verify-full"))) }}
postgresql.tls has a CA but postgresql.sslmode does not verify with it: set postgresql.sslmode to verify-full
{{- end }}
{{- end -}}

{{- define "windlass.check.session" -}}
{{- $postgresql := .Values.postgresql -}}
{{- $session := $postgresql.session -}}
{{- $isSplit := eq (include "windlass.postgresql.isSplit" .) "true" -}}
{{- if and $session.host $session.existingSecretKey }}
postgresql.session.host and postgresql.session.existingSecretKey are both set: keep one
{{- end }}
{{- if and $session.host (not $isSplit) }}
postgresql.session.host has no user or database, since the database is not given in parts: set postgresql.session.existingSecretKey to the key of a whole DSN
{{- end }}
{{- if and $session.existingSecret (not $session.existingSecretKey) }}
postgresql.session.existingSecret is set but none of its keys is used: set postgresql.session.existingSecretKey
{{- else if and $session.existingSecretKey (not (or $session.existingSecret $postgresql.existingSecret)) }}
postgresql.session.existingSecretKey names a key but no Secret that holds it: set postgresql.session.existingSecret
{{- else if and (not $isSplit) (eq $session.existingSecretKey $postgresql.existingSecretKey) (has $session.existingSecret (list "" $postgresql.existingSecret)) }}
postgresql.session.existingSecretKey is the key of the DSN itself: name that of another DSN, or leave it out
{{- end }}
{{- end -}}

{{- define "windlass.check.migrations" -}}
{{- $migrations := .Values.migrations -}}
{{- $postgresql := .Values.postgresql -}}
{{- $keys := compact (values $migrations.secretKeys) -}}
{{- if and $migrations.existingSecret (not $migrations.enabled) }}
migrations.existingSecret is set but no Job uses it, and engines whose role differs from it never migrate: set migrations.enabled to true, or remove migrations.existingSecret
{{- end }}
{{- if not $migrations.existingSecret }}
{{- range $key := compact (list (ternary "user" "" (ne $migrations.user "")) (ternary "secretKeys" "" (ne (len $keys) 0)) (ternary "appRole" "" (ne $migrations.appRole ""))) }}
migrations.{{ $key }} is set but the Job has no role of its own: set migrations.existingSecret
{{- end }}
{{- else if include "windlass.postgresql.isSplit" . }}
{{- include "windlass.check.migrations.parts" (dict "migrations" $migrations "postgresql" $postgresql) }}
{{- else }}
{{- range $key := compact (list (ternary "user" "" (ne $migrations.user "")) (ternary "secretKeys" "" (ne (len $keys) 0))) }}
migrations.{{ $key }} is set but not used, since the database is not given in parts: remove it, and let migrations.existingSecretKey name the key of a whole DSN
{{- end }}
{{- if and (eq $migrations.existingSecret $postgresql.existingSecret) (eq $migrations.existingSecretKey $postgresql.existingSecretKey) }}
migrations.existingSecret and its key are those of the engines: name another key or Secret, or remove it
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes migrations and postgresql. */}}
{{- define "windlass.check.migrations.parts" -}}
{{- $keys := .migrations.secretKeys -}}
{{- if and .migrations.user $keys.user }}
migrations.user and migrations.secretKeys.user are both set: keep one
{{- else if not (or .migrations.user $keys.user) }}
migrations.existingSecret is set, the database is given in parts, and the Job's user is missing: set migrations.user or migrations.secretKeys.user
{{- else if not (or $keys.user $keys.password) }}
migrations.existingSecret is set but none of its keys is used: set migrations.secretKeys.password, or remove migrations.existingSecret
{{- else if and $keys.user (eq .migrations.existingSecret .postgresql.existingSecret) (eq $keys.user .postgresql.secretKeys.user) }}
migrations.existingSecret and its key of the user are those of the engines: name another key or Secret, or remove it
{{- end }}
{{- if ne .migrations.existingSecretKey "dsn" }}
migrations.existingSecretKey is set but not used, since the database is given in parts: remove it
{{- end }}
{{- end -}}
