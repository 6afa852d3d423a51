{{/* One Deployment of engines. Takes root and pool: name ("" is the main one), role, dispatchMode, replicas, image. */}}
{{- define "windlass.deployment" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $pool := .pool -}}
{{- $name := ternary (include "windlass.nameWith" (dict "root" $root "suffix" $pool.name)) (include "windlass.fullname" $root) (ne $pool.name "") -}}
{{- $component := include "windlass.component" $pool -}}
{{- $servesApi := ne $pool.role "scheduler" -}}
{{- $mounted := dict "root" $root "image" $pool.image "postgresql" true "kafka" (eq $pool.dispatchMode "kafka_outbox") "redis" true "tokens" true "tls" true -}}
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "windlass.metadata" (dict "root" $root "name" $name "component" $component) | nindent 2 }}
spec:
  {{- if not (kindIs "invalid" $pool.replicas) }}
  replicas: {{ int64 $pool.replicas }}
  {{- end }}
  revisionHistoryLimit: {{ int64 $values.revisionHistoryLimit }}
  minReadySeconds: {{ int64 $values.minReadySeconds }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: {{ include "windlass.scalar" $values.rollingUpdate.maxUnavailable }}
      maxSurge: {{ include "windlass.scalar" $values.rollingUpdate.maxSurge }}
  selector:
    matchLabels: {{- include "windlass.selector" (dict "root" $root "pool" $pool) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "windlass.labels" (dict "root" $root "component" $component "extra" $values.podLabels) | nindent 8 }}
        windlass/serves: {{ ternary "api" "schedules" $servesApi }}
      annotations:
        kubectl.kubernetes.io/default-container: engine
        {{- with include "windlass.secretData" $root }}
        checksum/secret: {{ sha256sum . }}
        {{- end }}
        {{- with $values.podAnnotations }}
        {{- include "windlass.stringMap" . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "windlass.serviceAccountName" $root | quote }}
      terminationGracePeriodSeconds: {{ int64 $values.terminationGracePeriodSeconds }}
      {{- with $values.affinity }}
      affinity: {{ toJson . }}
      {{- end }}
      topologySpreadConstraints:
        {{- range $values.topologySpreadConstraints }}
        - {{ toJson . }}
        {{- else }}
        {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "windlass.selector" (dict "root" $root "pool" $pool) | nindent 14 }}
          # The pods of an old version that is leaving do not count.
          matchLabelKeys: [pod-template-hash]
        {{- end }}
        {{- end }}
      {{- include "windlass.pod" $mounted | nindent 6 }}
      {{- with $values.extraInitContainers }}
      initContainers:
        {{- range . }}
        - {{ include "windlass.extraContainer" . }}
        {{- end }}
      {{- end }}
      containers:
        - name: engine
          command: ["windlass", {{ $pool.role | quote }}]
          env: {{- include "windlass.env" (dict "root" $root "pool" $pool) | nindent 12 }}
          ports:
            - name: rest
              containerPort: {{ int64 $values.engine.rest.port }}
            {{- if $servesApi }}
            - name: grpc
              containerPort: {{ int64 $values.engine.grpc.port }}
            {{- end }}
            - name: metrics
              containerPort: {{ int64 $values.engine.metrics.port }}
          {{- include "windlass.probes" (dict "root" $root "grpc" $servesApi) | nindent 10 }}
          {{- if $servesApi }}
          {{- with int64 $values.preStopSeconds }}
          # Endpoints forget the pod before it stops listening; else a rollout fails calls.
          lifecycle:
            preStop:
              exec:
                command: ["sleep", {{ . | quote }}]
          {{- end }}
          {{- end }}
          {{- include "windlass.container" $mounted | nindent 10 }}
        {{- range $values.extraContainers }}
        - {{ include "windlass.extraContainer" . }}
        {{- end }}
{{- end -}}

{{/* Takes root, and grpc: whether the pod listens for it. */}}
{{- define "windlass.probes" -}}
{{- $probes := .root.Values.probes -}}
# The listeners open when the migrations are done: by default ten minutes for them.
startupProbe:
  {{- include "windlass.probe.alive" . | nindent 2 }}
  {{- include "windlass.probe.timing" $probes.startup | nindent 2 }}
# Never asks the database: a restart does not mend a database.
livenessProbe:
  {{- include "windlass.probe.alive" . | nindent 2 }}
  {{- include "windlass.probe.timing" $probes.liveness | nindent 2 }}
readinessProbe:
  httpGet:
    path: /ready
    port: rest
    {{- if include "windlass.tls.isOn" .root }}
    scheme: HTTPS
    {{- end }}
  {{- include "windlass.probe.timing" $probes.readiness | nindent 2 }}
{{- end -}}

{{- define "windlass.probe.alive" -}}
{{- if and .grpc (eq .root.Values.probes.liveness.protocol "grpc") -}}
grpc:
  port: {{ int64 .root.Values.engine.grpc.port }}
{{- else -}}
httpGet:
  path: /healthz
  port: rest
  {{- if include "windlass.tls.isOn" .root }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "windlass.probe.timing" -}}
periodSeconds: {{ int64 .periodSeconds }}
timeoutSeconds: {{ int64 .timeoutSeconds }}
failureThreshold: {{ int64 .failureThreshold }}
{{- end -}}
