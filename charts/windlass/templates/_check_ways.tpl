{{/* The ways in: Service, Ingress and Gateway API. */}}
{{- define "windlass.check.ways" -}}
{{- $service := .Values.service -}}
{{- if and (eq $service.ipFamilyPolicy "SingleStack") (gt (len $service.ipFamilies) 1) }}
service.ipFamilyPolicy is SingleStack but service.ipFamilies has two: name one family, or set service.ipFamilyPolicy to PreferDualStack
{{- end }}
{{- include "windlass.check.ways.ingress" .Values.ingress }}
{{- include "windlass.check.ways.routes" . }}
{{- end -}}

{{/* Takes the section ingress. */}}
{{- define "windlass.check.ways.ingress" -}}
{{- $rest := list -}}
{{- range .hosts -}}{{- $rest = append $rest .host -}}{{- end -}}
{{- if and .enabled (not .hosts) }}
ingress.enabled is set but no host leads to REST: set ingress.hosts
{{- end }}
{{- if and .grpc.enabled (not .grpc.hosts) }}
ingress.grpc.enabled is set but no host leads to gRPC: set ingress.grpc.hosts
{{- end }}
{{- if and .enabled .grpc.enabled -}}
{{- range .hosts -}}
{{- $isWhole := not .paths -}}
{{- range .paths -}}{{- if eq .path "/" -}}{{- $isWhole = true -}}{{- end -}}{{- end -}}
{{- if and $isWhole (has .host $.grpc.hosts) }}
ingress.hosts and ingress.grpc.hosts both lead every path of {{ .host }} somewhere: give gRPC a host of its own, or set paths of ingress.hosts to /v1 and the like
{{- end }}
{{- end }}
{{- end }}
{{- include "windlass.check.ways.tls" (dict "key" "ingress.tls" "tls" .tls "hostsKey" "ingress.hosts" "hosts" $rest) }}
{{- include "windlass.check.ways.tls" (dict "key" "ingress.grpc.tls" "tls" .grpc.tls "hostsKey" "ingress.grpc.hosts" "hosts" .grpc.hosts) }}
{{- end -}}

{{/* Takes key, tls, hostsKey and hosts. A wildcard may be for any of them. */}}
{{- define "windlass.check.ways.tls" -}}
{{- range .tls -}}
{{- range .hosts -}}
{{- if not (or (hasPrefix "*." .) (has . $.hosts)) }}
{{ $.key }} has a certificate for {{ . }}, which {{ $.hostsKey }} does not name: add it there, or remove it here
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "windlass.check.ways.routes" -}}
{{- $http := .Values.httpRoute -}}
{{- $grpc := .Values.grpcRoute -}}
{{- range $name := list "httpRoute" "grpcRoute" -}}
{{- with get $.Values $name -}}
{{- if and .enabled (not .parentRefs) }}
{{ $name }}.enabled is set but no Gateway is named: set {{ $name }}.parentRefs
{{- end }}
{{- end }}
{{- end }}
{{- if and $http.enabled $grpc.enabled -}}
{{- $shared := list -}}
{{- range $http.hostnames -}}{{- if has . $grpc.hostnames -}}{{- $shared = append $shared . -}}{{- end -}}{{- end -}}
{{- $areAll := and (not $http.hostnames) (not $grpc.hostnames) -}}
{{- range $http.parentRefs -}}
{{- if and (or $shared $areAll) (has . $grpc.parentRefs) }}
httpRoute and grpcRoute are both attached to {{ .name }} for {{ join ", " $shared | default "every hostname" }}, and a Gateway takes only one of them: give each hostnames of its own
{{- end }}
{{- end }}
{{- end }}
{{- $request := trimSuffix "s" $http.timeouts.request -}}
{{- $attempt := trimSuffix "s" $http.timeouts.backendRequest -}}
{{- range $name, $seconds := dict "request" $request "backendRequest" $attempt -}}
{{- if and $seconds (ne $seconds "0") (lt (int64 $seconds) 31) }}
httpRoute.timeouts.{{ $name }} {{ $seconds }}s would cut calls that may take 30 s, as long polls do: set it to 35s
{{- end }}
{{- end }}
{{- if and $request $attempt (ne $request "0") (gt (int64 $attempt) (int64 $request)) }}
httpRoute.timeouts.backendRequest {{ $attempt }}s is longer than httpRoute.timeouts.request {{ $request }}s: lower the first or raise the second
{{- end }}
{{- end -}}
