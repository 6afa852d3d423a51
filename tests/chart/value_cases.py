# ruff: noqa: E501  (one line a case: a table reads better than code)
"""Each key with a value, and the field where it must be found: the intention, in literals."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from effects import (
    ALERTED,
    ASKED,
    CLOSED,
    GUARDED,
    INLINE,
    ISSUED,
    KEDA,
    KEPT_KEYS,
    OWNED,
    OWNED_PARTS,
    PARTS,
    POOLED,
    POOLED_PARTS,
    SCALED,
    SCRAPED,
    TOPICS,
    TRACED,
    TRIAL,
    WOKEN,
    changed,
    context_of,
    nested,
)
from rendering import DATABASE, INSTANCE, KAFKA, Values, deployment, engine, merged

from seatrial.render import Rendered

Getter = Callable[[Rendered], Any]


@dataclass(frozen=True)
class Case:
    key: str
    value: Any
    get: Getter
    expected: Any
    context: Values = field(default_factory=lambda: DATABASE)
    #: what the render must differ from, where `context` alone would be refused
    before: Values | None = None


def variable(name: str) -> Getter:
    """The value, the secretKeyRef, or None when the variable is not set."""
    return lambda result: _variable(engine(result), name)


def of_job(name: str) -> Getter:
    """As `variable`, of the first Job's container."""
    return lambda result: _variable(
        result.of_kind("Job")[0]["spec"]["template"]["spec"]["containers"][0], name
    )


def _variable(container: Mapping[str, Any], name: str) -> Any:
    found = {entry["name"]: entry for entry in container["env"]}.get(name, {})
    return found.get("value", found.get("valueFrom", {}).get("secretKeyRef"))


def pod(*path: str) -> Getter:
    return lambda result: walk(deployment(result)["spec"]["template"], path)


def container(*path: str) -> Getter:
    return lambda result: walk(engine(result), path)


def first(kind: str, *path: str) -> Getter:
    return lambda result: walk(next(iter(result.of_kind(kind)), None), path)


def second(*path: str) -> Getter:
    """In the Deployment of the first pool."""
    return lambda result: walk(result.of_kind("Deployment")[1], path)


def threshold(name: str) -> Getter:
    """The number an alert's expression ends with, or is compared with first."""
    return lambda result: alert(name, "expr")(result).split(" > ")[1].split()[0]


def dashboard(file: str) -> Getter:
    return lambda result: json.loads(result.of_kind("ConfigMap")[0]["data"][file])["uid"]


def topics_command(partitions: str, replicas: str, *files: str) -> list[str]:
    given = ["--partitions", partitions, "--replication-factor", replicas, "--definitions"]
    return ["windlass", "topics", "--apply", *given, *(f"/etc/windlass/definitions/{file}" for file in files)]


def longest_name(result: Rendered) -> int:
    """In characters."""
    return max(len(found["metadata"]["name"]) for found in result.objects)


def secret(key: str) -> Getter:
    return lambda result: result.containers()[0].env[key]


def volume(name: str) -> Getter:
    """What the main Deployment's volume is made of, without its name."""

    def get(result: Rendered) -> Any:
        volumes = deployment(result)["spec"]["template"]["spec"]["volumes"]
        found: Mapping[str, Any] = next((each for each in volumes if each["name"] == name), {})
        return {key: value for key, value in found.items() if key != "name"} or None

    return get


def alert(name: str, *path: str) -> Getter:
    def get(result: Rendered) -> Any:
        (rule,) = result.of_kind("PrometheusRule")
        return walk({each["alert"]: each for each in rule["spec"]["groups"][0]["rules"]}, (name, *path))

    return get


def service_port(name: str) -> Getter:
    return lambda result: {
        port["name"]: port["port"]
        for service in result.of_kind("Service")
        for port in service["spec"]["ports"]
    }[name]


def walk(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if node is None:
            return None
        node = (node[int(key)] if int(key) < len(node) else None) if isinstance(node, list) else node.get(key)
    return node


def kafka(**keys: Any) -> Values:
    return merged(DATABASE, KAFKA, {"kafka": keys})


MIGRATED = merged(DATABASE, {"migrations": {"enabled": True}})
DIGEST = "sha256:" + "0123456789abcdef" * 4
TOLERATION = {"key": "dedicated", "operator": "Exists"}
SPREAD = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
AFFINITY: Values = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
VOLUME: Values = {"name": "ca", "configMap": {"name": "company-ca"}}
MOUNT: Values = {"name": "ca", "mountPath": "/etc/company-ca"}

CA = {"key": "ca.crt", "path": "ca.crt"}
PEER: Values = {"podSelector": {"matchLabels": {"app": "a"}}}
RELABELING = {"sourceLabels": ["pod"], "targetLabel": "node", "action": "replace"}
JOB = {"targetLabel": "job", "replacement": "rel-windlass"}
ALIAS: Values = {"ip": "10.0.0.7", "hostnames": ["kafka-0.example"]}
ENGINE = ("spec", "template", "spec", "containers", "0")
COMMAND = (*ENGINE, "command")
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "{{ .Release.Name }}-more", "namespace": "{{ .Release.Namespace }}"},
    "data": {"a": "{{ `{{ 1 }}` }} < 2000000"},
}

# fmt: off
CASES = [
    Case("nameOverride", "orders", first("Deployment", "metadata", "name"), "rel-orders"),
    Case("fullnameOverride", "orders", first("Deployment", "metadata", "name"), "orders"),
    Case("fullnameOverride", "c" * 55, longest_name, 63, merged(DATABASE, {"dashboards": {"enabled": True}})),
    Case("replicaCount", 3, first("Deployment", "spec", "replicas"), 3),
    Case("image.repository", "r.example:5000/w", container("image"), "r.example:5000/w:0.1.0"),
    Case("image.tag", "1.10", container("image"), "windlass:1.10"),
    Case("image.digest", DIGEST, container("image"), f"windlass@{DIGEST}"),
    Case("image.pullPolicy", "Always", container("imagePullPolicy"), "Always"),
    Case("imagePullSecrets", [{"name": "reg"}], pod("spec", "imagePullSecrets"), [{"name": "reg"}]),
    Case("engine.dispatchMode", "kafka_outbox", variable("WE_DISPATCH_MODE"), "kafka_outbox", merged(DATABASE, {"kafka": {"seedBrokers": "kafka:9092"}})),
    Case("engine.dispatchMode", "polling", first("Secret"), None, INLINE),
    Case("engine.logLevel", "debug", variable("WE_LOG_LEVEL"), "debug"),
    Case("engine.auditLogEnabled", "false", variable("WE_AUDIT_LOG_ENABLED"), "false"),
    Case("engine.rest.port", 8081, variable("WE_REST_PORT"), "8081"),
    Case("engine.rest.port", 8081, container("ports", "0", "containerPort"), 8081),
    Case("engine.rest.port", 8081, service_port("rest"), 8081),
    Case("engine.grpc.port", 9191, variable("WE_GRPC_PORT"), "9191"),
    Case("engine.grpc.port", 9191, container("ports", "1", "containerPort"), 9191),
    Case("engine.grpc.port", 9191, service_port("grpc"), 9191),
    Case("engine.metrics.port", 9192, variable("WE_METRICS_PORT"), "9192"),
    Case("engine.metrics.port", 9192, container("ports", "2", "containerPort"), 9192),
    Case("engine.metrics.port", 9192, service_port("metrics"), 9192),
    Case("engine.db.maxConns", 16, variable("DB_MAX_CONNS"), "16"),
    Case("engine.db.minConns", 2, variable("DB_MIN_CONNS"), "2"),
    Case("engine.db.minConns", 0, variable("DB_MIN_CONNS"), "0"),
    Case("postgresql.dsn", "host=db dbname=two", secret("WE_POSTGRES_DSN"), "host=db dbname=two", TRIAL),
    Case("postgresql.existingSecret", "own", variable("WE_POSTGRES_DSN"), {"name": "own", "key": "dsn"}),
    Case("postgresql.existingSecretKey", "uri", variable("WE_POSTGRES_DSN"), {"name": "windlass-db", "key": "uri"}),
    Case("kafka.seedBrokers", "a:1, b:2", variable("WE_KAFKA_SEED_BROKERS"), "a:1, b:2", kafka()),
    Case("kafka.seedBrokers", ["a:1", "b:2"], variable("WE_KAFKA_SEED_BROKERS"), "a:1,b:2", kafka()),
    Case("kafka.transport", "plaintext", variable("WE_KAFKA_TRANSPORT"), "plaintext", kafka(existingSecret=""), kafka()),
    Case("kafka.saslMechanism", "SCRAM-SHA-256", variable("WE_KAFKA_SASL_MECHANISM"), "SCRAM-SHA-256", kafka()),
    Case("kafka.saslUsername", "other", variable("WE_KAFKA_SASL_USERNAME"), {"name": "rel-windlass", "key": "kafka-username"}, INLINE),
    Case("kafka.saslPassword", "other", variable("WE_KAFKA_SASL_PASSWORD"), {"name": "rel-windlass", "key": "kafka-password"}, INLINE),
    Case("kafka.saslPassword", "other", first("Secret", "data", "kafka-password"), "b3RoZXI=", INLINE),
    Case("kafka.saslUsername", "other", first("Secret", "data", "kafka-username"), "b3RoZXI=", INLINE),
    Case("kafka.existingSecret", "own", variable("WE_KAFKA_SASL_USERNAME"), {"name": "own", "key": "username"}, kafka()),
    Case("kafka.existingSecret", "own", variable("WE_KAFKA_SASL_PASSWORD"), {"name": "own", "key": "password"}, kafka()),
    Case("kafka.existingSecretUsernameKey", "u", variable("WE_KAFKA_SASL_USERNAME"), {"name": "windlass-kafka", "key": "u"}, kafka()),
    Case("kafka.existingSecretPasswordKey", "p", variable("WE_KAFKA_SASL_PASSWORD"), {"name": "windlass-kafka", "key": "p"}, kafka()),
    Case("kafka.tlsCaPath", "/etc/ssl/ca.pem", variable("WE_KAFKA_TLS_CA_PATH"), "/etc/ssl/ca.pem", kafka()),
    Case("kafka.tlsServerName", "kafka.example", variable("WE_KAFKA_TLS_SERVER_NAME"), "kafka.example", kafka()),
    Case("kafka.tls.existingSecret", "kafka-ca", volume("kafka-ca"), {"secret": {"secretName": "kafka-ca", "items": [CA]}}, kafka()),
    Case("kafka.tls.existingConfigMap", "ca", volume("kafka-ca"), {"configMap": {"name": "ca", "items": [CA]}}, kafka()),
    Case("kafka.tls.existingConfigMap", "ca", variable("WE_KAFKA_TLS_CA_PATH"), "/etc/windlass/kafka-ca/ca.crt", kafka()),
    Case("kafka.tls.existingSecret", "kafka-ca", variable("WE_KAFKA_TLS_CA_PATH"), "/etc/windlass/kafka-ca/ca.crt", kafka()),
    Case("kafka.tls.caKey", "ca.pem", variable("WE_KAFKA_TLS_CA_PATH"), "/etc/windlass/kafka-ca/ca.pem", kafka(tls={"existingSecret": "kafka-ca"})),
    Case("engine.wakeBus", "none", variable("WINDLASS_WAKE_BUS"), "none"),
    Case("engine.wakeBus", "postgres", variable("WINDLASS_WAKE_BUS"), None, merged(DATABASE, {"engine": {"wakeBus": "none"}})),
    Case("engine.wakeBus", "redis", variable("WINDLASS_WAKE_BUS"), "redis", merged(DATABASE, {"redis": {"url": "redis://one"}}), DATABASE),
    Case("auth.existingSecret", "own", volume("tokens"), {"secret": {"secretName": "own", "items": [{"key": "tokens.toml", "path": "tokens.toml"}]}}),
    Case("auth.existingSecret", "own", container("volumeMounts", "1"), {"name": "tokens", "mountPath": "/etc/windlass/tokens", "readOnly": True}),
    Case("auth.existingSecretKey", "t", variable("WINDLASS_TOKENS_FILE"), "/etc/windlass/tokens/t"),
    Case("auth.metricsTokens.enabled", True, variable("WINDLASS_METRICS_TOKENS"), "true"),
    Case("auth.metricsTokens.existingSecret", "own", first("ServiceMonitor", "spec", "endpoints", "0", "authorization"), {"type": "Bearer", "credentials": {"name": "own", "key": "token"}}),
    Case("auth.metricsTokens.existingSecret", "own", first("PodMonitor", "spec", "podMetricsEndpoints", "0", "authorization"), {"type": "Bearer", "credentials": {"name": "own", "key": "token"}},
         merged(SCRAPED, {"serviceMonitor": {"enabled": False}, "podMonitor": {"enabled": True}})),
    Case("auth.metricsTokens.existingSecret", "own", first("TriggerAuthentication", "spec", "secretTargetRef"), [{"parameter": "token", "name": "own", "key": "token"}], merged(SCRAPED, KEDA)),
    Case("auth.metricsTokens.enabled", True, first("ScaledObject", "spec", "triggers", "0", "authenticationRef"), {"name": "rel-windlass"},
         merged(SCRAPED, KEDA), merged(ASKED, KEDA)),
    Case("auth.metricsTokens.enabled", True, first("ScaledObject", "spec", "triggers", "0", "metadata", "authMode"), "bearer",
         merged(SCRAPED, KEDA), merged(ASKED, KEDA)),
    Case("auth.metricsTokens.existingSecretKey", "k", first("ServiceMonitor", "spec", "endpoints", "0", "authorization", "credentials", "key"), "k"),
    Case("auth.jwt.issuer", "https://other", variable("WINDLASS_JWT_ISSUER"), "https://other"),
    Case("auth.jwt.audience", "other", variable("WINDLASS_JWT_AUDIENCE"), "other"),
    Case("auth.jwt.jwksUrl", "https://other/keys", variable("WINDLASS_JWT_JWKS_URL"), "https://other/keys"),
    Case("auth.jwt.jwksUrl", "https://[fd00::1]:8443/k", first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 8443}], merged(ISSUED, {"networkPolicy": {"enabled": True}})),
    Case("auth.jwt.jwksUrl", "https://other/keys", first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 443}],
         merged(ISSUED, {"networkPolicy": {"enabled": True}, "auth": {"jwt": {"jwksUrl": "https://other:1"}}})),
    Case("auth.jwt.jwks.existingSecret", "own", volume("jwks"), {"secret": {"secretName": "own", "items": [{"key": "jwks.json", "path": "jwks.json"}]}}),
    Case("auth.jwt.jwks.existingConfigMap", "own", volume("jwks"), {"configMap": {"name": "own", "items": [{"key": "jwks.json", "path": "jwks.json"}]}}),
    Case("auth.jwt.jwks.existingSecret", "own", container("volumeMounts", "1"), {"name": "jwks", "mountPath": "/etc/windlass/jwks", "readOnly": True},
         KEPT_KEYS, ISSUED),
    Case("auth.jwt.jwks.key", "k.json", variable("WINDLASS_JWT_JWKS_FILE"), "/etc/windlass/jwks/k.json"),
    Case("auth.jwt.tls.existingSecret", "ca", variable("WINDLASS_JWT_CA_PATH"), "/etc/windlass/jwt-ca/ca.crt"),
    Case("auth.jwt.tls.existingConfigMap", "ca", volume("jwt-ca"), {"configMap": {"name": "ca", "items": [CA]}}),
    Case("auth.jwt.tls.caKey", "ca.pem", variable("WINDLASS_JWT_CA_PATH"), "/etc/windlass/jwt-ca/ca.pem"),
    Case("auth.jwt.roles", [{"value": "a", "role": "admin"}, {"value": "b=c", "role": "client"}], variable("WINDLASS_JWT_ROLES"), "a=admin,b=c=client"),
    Case("auth.jwt.roles[].value", "v", variable("WINDLASS_JWT_ROLES"), "v=worker"),
    Case("auth.jwt.roles[].role", "metrics", variable("WINDLASS_JWT_ROLES"), "w=metrics"),
    Case("auth.jwt.rolesClaim", "realm_access.roles", variable("WINDLASS_JWT_ROLES_CLAIM"), "realm_access.roles"),
    Case("auth.jwt.nameClaim", "email", variable("WINDLASS_JWT_NAME_CLAIM"), "email"),
    Case("auth.jwt.jobTypesClaim", "jt", variable("WINDLASS_JWT_JOB_TYPES_CLAIM"), "jt"),
    Case("auth.jwt.definitionsClaim", "d", variable("WINDLASS_JWT_DEFINITIONS_CLAIM"), "d"),
    Case("auth.jwt.leewaySeconds", 5, variable("WINDLASS_JWT_LEEWAY_SECONDS"), "5"),
    Case("auth.jwt.refreshSeconds", 60, variable("WINDLASS_JWT_REFRESH_SECONDS"), "60"),
    Case("cors.origins", ["https://a", "https://b:1"], variable("WINDLASS_CORS_ORIGINS"), "https://a,https://b:1"),
    Case("networkPolicy.issuerTo", [PEER], first("NetworkPolicy", "spec", "egress", "2", "to"), [PEER]),
    Case("tests.existingSecret", "own", first("Pod", "spec", "containers", "0", "env", "2"), {"name": "WINDLASS_TOKEN", "valueFrom": {"secretKeyRef": {"name": "own", "key": "token"}}}),
    Case("tests.existingSecretKey", "k", first("Pod", "spec", "containers", "0", "env", "2", "valueFrom", "secretKeyRef"), {"name": "windlass-admin", "key": "k"}),
    Case("redis.url", "redis://two", variable("WINDLASS_REDIS_URL"), {"name": "rel-windlass", "key": "redis-url"}, merged(DATABASE, {"engine": {"wakeBus": "redis"}}), DATABASE),
    Case("redis.url", "redis://two", first("Secret", "data", "redis-url"), "cmVkaXM6Ly90d28="),
    Case("redis.existingSecret", "own", variable("WINDLASS_REDIS_URL"), {"name": "own", "key": "u"}),
    Case("redis.secretKeys.url", "k", variable("WINDLASS_REDIS_URL"), {"name": "windlass-redis", "key": "k"}),
    Case("redis.secretKeys.password", "pw", variable("WINDLASS_REDIS_PASSWORD"), {"name": "windlass-redis", "key": "pw"}),
    Case("redis.tls.existingSecret", "ca", variable("WINDLASS_REDIS_TLS_CA_PATH"), "/etc/windlass/redis-ca/ca.crt"),
    Case("redis.tls.existingSecret", "ca", pod("spec", "volumes", "1", "secret", "secretName"), "ca"),
    Case("redis.tls.existingConfigMap", "ca", pod("spec", "volumes", "1", "configMap", "name"), "ca"),
    Case("redis.tls.caKey", "ca.pem", variable("WINDLASS_REDIS_TLS_CA_PATH"), "/etc/windlass/redis-ca/ca.pem"),
    Case("redis.tls.caKey", "ca.pem", container("volumeMounts", "1"), {"name": "redis-ca", "mountPath": "/etc/windlass/redis-ca", "readOnly": True},
         merged(WOKEN, {"redis": {"tls": {"existingSecret": "ca"}}}), WOKEN),
    Case("tracing.endpoint", "http://one:4318", variable("WINDLASS_OTLP_ENDPOINT"), "http://one:4318"),
    Case("tracing.sampleRatio", 0.05, variable("WINDLASS_TRACE_RATIO"), "0.05", TRACED),
    Case("tracing.existingSecret", "own", variable("WINDLASS_OTLP_HEADERS"), {"name": "own", "key": "headers"}, TRACED),
    Case("tracing.existingSecretKey", "k", variable("WINDLASS_OTLP_HEADERS"), {"name": "otlp", "key": "k"}, merged(TRACED, {"tracing": {"existingSecret": "otlp"}})),
    Case("tracing.tls.existingSecret", "ca", volume("otlp-ca"), {"secret": {"secretName": "ca", "items": [CA]}}, TRACED),
    Case("tracing.tls.existingSecret", "ca", variable("WINDLASS_OTLP_TLS_CA_PATH"), "/etc/windlass/otlp-ca/ca.crt", TRACED),
    Case("tracing.tls.existingConfigMap", "ca", volume("otlp-ca"), {"configMap": {"name": "ca", "items": [CA]}}, TRACED),
    Case("tracing.tls.caKey", "ca.pem", variable("WINDLASS_OTLP_TLS_CA_PATH"), "/etc/windlass/otlp-ca/ca.pem", merged(TRACED, {"tracing": {"tls": {"existingSecret": "ca"}}})),
    Case("kafka.outboxBatchSize", 1000000, variable("WE_OUTBOX_BATCH_SIZE"), "1000000", kafka()),
    Case("migrations.enabled", True, first("Job", "metadata", "annotations", "helm.sh/hook"), "pre-upgrade"),
    Case("migrations.activeDeadlineSeconds", 600, first("Job", "spec", "activeDeadlineSeconds"), 600, MIGRATED),
    Case("migrations.annotations", {"a.b/wave": -1}, first("Job", "metadata", "annotations", "a.b/wave"), "-1", MIGRATED),
    Case("service.type", "LoadBalancer", first("Service", "spec", "type"), "LoadBalancer"),
    Case("service.annotations", {"a.b/c": True}, first("Service", "metadata", "annotations"), {"a.b/c": "true"}),
    Case("serviceAccount.create", False, pod("spec", "serviceAccountName"), "default"),
    Case("serviceAccount.create", False, first("ServiceAccount"), None),
    Case("serviceAccount.name", "orders", pod("spec", "serviceAccountName"), "orders"),
    Case("serviceAccount.name", "orders", first("ServiceAccount", "metadata", "name"), "orders"),
    Case("serviceAccount.annotations", {"a": "b"}, first("ServiceAccount", "metadata", "annotations"), {"a": "b"}),
    Case("autoscaling.enabled", True, first("HorizontalPodAutoscaler", "spec", "scaleTargetRef", "name"), "rel-windlass"),
    Case("autoscaling.enabled", True, first("Deployment", "spec", "replicas"), None),
    Case("autoscaling.minReplicas", 2, first("HorizontalPodAutoscaler", "spec", "minReplicas"), 2, SCALED),
    Case("autoscaling.maxReplicas", 9, first("HorizontalPodAutoscaler", "spec", "maxReplicas"), 9, SCALED),
    Case("autoscaling.targetCPUUtilizationPercentage", 60,
         first("HorizontalPodAutoscaler", "spec", "metrics", "0", "resource", "target", "averageUtilization"), 60, SCALED),
    Case("podDisruptionBudget.enabled", True, first("PodDisruptionBudget", "spec", "maxUnavailable"), 1),
    Case("podDisruptionBudget.minAvailable", "50%", first("PodDisruptionBudget", "spec", "minAvailable"), "50%", GUARDED),
    Case("podDisruptionBudget.minAvailable", 3, first("PodDisruptionBudget", "spec", "minAvailable"), 3, GUARDED),
    Case("podDisruptionBudget.maxUnavailable", 1, first("PodDisruptionBudget", "spec", "maxUnavailable"), 1, merged(GUARDED, {"podDisruptionBudget": {"maxUnavailable": 2}})),
    Case("podDisruptionBudget.maxUnavailable", "30%", first("PodDisruptionBudget", "spec", "maxUnavailable"), "30%", GUARDED),
    Case("resources.requests", {"cpu": 2}, container("resources", "requests", "cpu"), 2),
    Case("resources.limits", {"memory": "2Gi"}, container("resources", "limits", "memory"), "2Gi"),
    Case("podAnnotations", {"a.b/c": 1000000}, pod("metadata", "annotations", "a.b/c"), "1000000"),
    Case("podLabels", {"team": 7}, pod("metadata", "labels", "team"), "7"),
    Case("podSecurityContext.runAsUser", 2, pod("spec", "securityContext", "runAsUser"), 2),
    Case("podSecurityContext.runAsUser", None, pod("spec", "securityContext", "runAsUser"), None),
    Case("podSecurityContext.runAsGroup", 4294967294, pod("spec", "securityContext", "runAsGroup"), 4294967294),
    Case("podSecurityContext.fsGroup", 4, pod("spec", "securityContext", "fsGroup"), 4),
    Case("nodeSelector", {"disk": True}, pod("spec", "nodeSelector"), {"disk": "true"}),
    Case("tolerations", [TOLERATION], pod("spec", "tolerations"), [TOLERATION]),
    Case("affinity", AFFINITY, pod("spec", "affinity"), AFFINITY),
    Case("topologySpreadConstraints", [SPREAD], pod("spec", "topologySpreadConstraints"), [SPREAD]),
    Case("priorityClassName", "high", pod("spec", "priorityClassName"), "high"),
    Case("terminationGracePeriodSeconds", 60, pod("spec", "terminationGracePeriodSeconds"), 60),
    Case("extraEnv", [{"name": "WINDLASS_X", "value": 1e6}], variable("WINDLASS_X"), "1000000"),
    Case("extraEnv", [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], variable("X"), {"name": "s", "key": "k"}),
    Case("extraEnv", [{"name": "X", "value": "1"}], first("Job", *ENGINE, "env", "-1"), {"name": "X", "value": "1"}, MIGRATED),
    Case("extraEnvFrom", [{"secretRef": {"name": "s"}}], container("envFrom"), [{"secretRef": {"name": "s"}}]),
    Case("extraVolumes", [VOLUME], pod("spec", "volumes", "1"), VOLUME),
    Case("extraVolumeMounts", [MOUNT], container("volumeMounts", "1"), MOUNT, merged(DATABASE, {"extraVolumes": [VOLUME]})),
    Case("global.imageRegistry", "r.example:5000", container("image"), "r.example:5000/windlass:0.1.0"),
    Case("namespaceOverride", "orders", first("Deployment", "metadata", "namespace"), "orders"),
    Case("commonLabels", {"team": "a"}, first("Service", "metadata", "labels", "team"), "a"),
    Case("commonLabels", {"team": "a"}, pod("metadata", "labels", "team"), "a"),
    Case("commonAnnotations", {"a.b/c": 1}, first("Service", "metadata", "annotations", "a.b/c"), "1"),
    Case("scheduler.replicas", 2, second("spec", "replicas"), 2),
    Case("scheduler.replicas", 2, second(*ENGINE, "command"), ["windlass", "scheduler"]),
    Case("scheduler.replicas", 2, first("Deployment", *ENGINE, "command"), ["windlass", "api"]),
    Case("scheduler.replicas", 1, second("spec", "selector", "matchLabels"), INSTANCE | {"app.kubernetes.io/component": "scheduler"}),
    Case("pools", [{"name": "b", "replicas": 2}], second("spec", "replicas"), 2),
    Case("pools[].name", "b", second("metadata", "name"), "rel-windlass-b"),
    Case("pools[].name", "b", second("spec", "selector", "matchLabels"), INSTANCE | {"app.kubernetes.io/component": "engine-b"}),
    Case("pools[].replicas", 0, second("spec", "replicas"), 0),
    Case("pools[].dispatchMode", "polling", second(*ENGINE, "env", "1", "value"), "polling"),
    Case("pools[].image.tag", "0.2", second(*ENGINE, "image"), "windlass:0.2"),
    Case("pools[].image.digest", DIGEST, second(*ENGINE, "image"), f"windlass@{DIGEST}"),
    Case("engine.shutdownGraceSeconds", 40, variable("WINDLASS_SHUTDOWN_GRACE_SECONDS"), "40",
         merged(DATABASE, {"terminationGracePeriodSeconds": 60})),
    Case("postgresql.host", "pg", variable("PGHOST"), "pg", PARTS),
    Case("postgresql.host", "pg-0,pg-1", variable("PGHOST"), "pg-0,pg-1", PARTS),
    Case("postgresql.host", "pg", variable("WE_POSTGRES_DSN"), "postgresql://", PARTS),
    Case("postgresql.port", 6432, variable("PGPORT"), "6432", PARTS),
    Case("postgresql.database", "orders", variable("PGDATABASE"), "orders", PARTS),
    Case("postgresql.user", "orders", variable("PGUSER"), "orders", PARTS),
    Case("postgresql.secretKeys.port", "p", variable("PGPORT"), {"name": "windlass-db", "key": "p"}, PARTS),
    Case("postgresql.secretKeys.database", "d", variable("PGDATABASE"), {"name": "windlass-db", "key": "d"}, PARTS),
    Case("postgresql.secretKeys.password", "p", variable("PGPASSWORD"), {"name": "windlass-db", "key": "p"}, PARTS),
    Case("postgresql.secretKeys.password", "", variable("PGPASSWORD"), None,
         merged(PARTS, {"postgresql": {"host": "", "secretKeys": {"host": "h"}}})),
    Case("postgresql.secretKeys.host", "h", variable("PGHOST"), {"name": "windlass-db", "key": "h"},
         merged(PARTS, {"postgresql": {"host": ""}}), PARTS),
    Case("postgresql.secretKeys.user", "u", variable("PGUSER"), {"name": "windlass-db", "key": "u"},
         merged(PARTS, {"postgresql": {"user": ""}}), PARTS),
    Case("postgresql.sslmode", "require", variable("PGSSLMODE"), "require"),
    Case("postgresql.tls.existingSecret", "ca", variable("PGSSLROOTCERT"), "/etc/windlass/postgresql-ca/ca.crt"),
    Case("postgresql.tls.existingSecret", "ca", volume("postgresql-ca"), {"secret": {"secretName": "ca", "items": [CA]}}),
    Case("postgresql.tls.existingConfigMap", "ca", volume("postgresql-ca"), {"configMap": {"name": "ca", "items": [CA]}}),
    Case("postgresql.tls.existingConfigMap", "ca", container("volumeMounts", "1", "mountPath"), "/etc/windlass/postgresql-ca"),
    Case("postgresql.tls.caKey", "root.pem", variable("PGSSLROOTCERT"), "/etc/windlass/postgresql-ca/root.pem",
         merged(DATABASE, {"postgresql": {"tls": {"existingSecret": "ca"}}})),
    Case("engine.retentionDays", 90, variable("WINDLASS_RETENTION_DAYS"), "90"),
    Case("engine.retentionDays", 0.5, variable("WINDLASS_RETENTION_DAYS"), "0.5"),
    Case("engine.retentionDays", 90, of_job("WINDLASS_RETENTION_DAYS"), None, OWNED),
    Case("engine.retentionDays", 90, of_job("WINDLASS_RETENTION_DAYS"), "90", merged(OWNED, {"migrations": {"appRole": "app"}})),
    Case("engine.strictSettings", True, variable("WINDLASS_STRICT_SETTINGS"), "true"),
    Case("engine.strictSettings", True, of_job("WINDLASS_STRICT_SETTINGS"), "true", OWNED),
    Case("postgresql.schema", "orders", variable("WINDLASS_SCHEMA"), "orders"),
    Case("postgresql.schema", "orders", of_job("WINDLASS_SCHEMA"), "orders", OWNED),
    Case("postgresql.pooler", "session", variable("WINDLASS_POSTGRES_POOLER"), "session"),
    Case("postgresql.pooler", "auto", variable("WINDLASS_POSTGRES_POOLER"), None, merged(DATABASE, {"postgresql": {"pooler": "none"}})),
    Case("postgresql.pooler", "transaction", of_job("WINDLASS_POSTGRES_POOLER"), "transaction", MIGRATED),
    Case("postgresql.pooler", "transaction", of_job("WINDLASS_POSTGRES_POOLER"), "transaction", OWNED_PARTS),
    Case("postgresql.pooler", "transaction", of_job("WINDLASS_POSTGRES_POOLER"), None, OWNED),
    Case("postgresql.session.existingSecretKey", "k", variable("WINDLASS_POSTGRES_SESSION_DSN"), {"name": "windlass-db", "key": "k"}),
    Case("postgresql.session.existingSecretKey", "k", of_job("WINDLASS_POSTGRES_SESSION_DSN"), {"name": "windlass-db", "key": "k"}, MIGRATED),
    Case("postgresql.session.existingSecretKey", "k", of_job("WINDLASS_POSTGRES_SESSION_DSN"), None, OWNED),
    Case("postgresql.session.existingSecretKey", "k", first("NetworkPolicy", "spec", "egress", "1", "ports"), [{"port": 6432}, {"port": 5432}],
         merged(CLOSED, {"postgresql": {"port": 6432}})),
    Case("postgresql.session.existingSecretKey", "k", first("NetworkPolicy", "spec", "egress", "1", "ports"), [{"port": 5432}], CLOSED),
    Case("postgresql.session.existingSecret", "own", variable("WINDLASS_POSTGRES_SESSION_DSN"), {"name": "own", "key": "session-dsn"}, POOLED),
    Case("postgresql.session.host", "pg", variable("WINDLASS_POSTGRES_SESSION_DSN"), "postgresql://pg:5432", PARTS),
    Case("postgresql.session.host", "pg", of_job("WINDLASS_POSTGRES_SESSION_DSN"), "postgresql://pg:5432", OWNED_PARTS),
    Case("postgresql.session.port", 5433, variable("WINDLASS_POSTGRES_SESSION_DSN"), "postgresql://db-direct:5433", POOLED_PARTS),
    Case("postgresql.session.port", 5433, first("NetworkPolicy", "spec", "egress", "1", "ports"), [{"port": 5432}, {"port": 5433}],
         merged(POOLED, {"networkPolicy": {"enabled": True}})),
    Case("migrations.existingSecret", "own", of_job("WE_POSTGRES_DSN"), {"name": "own", "key": "dsn"}, MIGRATED),
    Case("migrations.existingSecret", "own", variable("WE_POSTGRES_DSN"), {"name": "windlass-db", "key": "dsn"}, MIGRATED),
    Case("migrations.existingSecret", "own", variable("WINDLASS_MIGRATE_ON_START"), "false", MIGRATED),
    Case("migrations.existingSecret", "own", first("Job", "metadata", "annotations", "helm.sh/hook"), "pre-install,pre-upgrade", MIGRATED),
    Case("migrations.existingSecretKey", "uri", of_job("WE_POSTGRES_DSN"), {"name": "windlass-db-owner", "key": "uri"}, OWNED),
    Case("migrations.appRole", "app", first("Job", *COMMAND), ["windlass", "migrate", "--app-role", "app"], OWNED),
    Case("migrations.user", "root", of_job("PGUSER"), "root", OWNED_PARTS),
    Case("migrations.user", "root", variable("PGUSER"), "w", OWNED_PARTS),
    Case("migrations.secretKeys.user", "u", of_job("PGUSER"), {"name": "windlass-db-owner", "key": "u"},
         merged(OWNED_PARTS, {"migrations": {"user": ""}}), OWNED_PARTS),
    Case("migrations.secretKeys.password", "p", of_job("PGPASSWORD"), {"name": "windlass-db-owner", "key": "p"}, OWNED_PARTS),
    Case("migrations.secretKeys.password", "p", of_job("PGHOST"), "db", OWNED_PARTS),
    Case("migrations.secretKeys.password", "p", variable("PGPASSWORD"), {"name": "windlass-db", "key": "pw"}, OWNED_PARTS),
    Case("migrations.onStartup", False, variable("WINDLASS_MIGRATE_ON_START"), "false"),
    Case("migrations.onStartup", False, first("Job", "metadata", "annotations", "helm.sh/hook"), "pre-install,pre-upgrade", MIGRATED),
    Case("migrations.useHelmHooks", False, first("Job", "metadata", "annotations"), None, MIGRATED),
    Case("topics.enabled", True, first("Job", "metadata", "annotations", "helm.sh/hook"), "pre-install,pre-upgrade",
         merged(TOPICS, {"topics": {"enabled": False}})),
    Case("topics.partitions", 4, first("Job", *COMMAND),
         topics_command("4", "3", "pay.json"), TOPICS),
    Case("topics.replicationFactor", 1, first("Job", *COMMAND), topics_command("8", "1", "pay.json"), TOPICS),
    Case("topics.definitions.files", ["a.json", "b"], first("Job", *COMMAND), topics_command("8", "3", "a.json", "b"), TOPICS),
    Case("topics.definitions.existingConfigMap", "d", first("Job", "spec", "template", "spec", "volumes", "-1"),
         {"name": "definitions", "configMap": {"name": "d"}}, TOPICS),
    Case("topics.activeDeadlineSeconds", 9, first("Job", "spec", "activeDeadlineSeconds"), 9, TOPICS),
    Case("topics.annotations", {"a.b/wave": -1}, first("Job", "metadata", "annotations", "a.b/wave"), "-1", TOPICS),
    Case("topics.useHelmHooks", False, first("Job", "metadata", "annotations"), None, TOPICS),
    *(Case(f"probes.{probe}.{key}", 7, container(f"{probe}Probe", key), 7)
      for probe in ("startup", "liveness", "readiness") for key in ("periodSeconds", "timeoutSeconds", "failureThreshold")),
    Case("probes.liveness.protocol", "grpc", container("livenessProbe", "grpc"), {"port": 9090}),
    Case("probes.liveness.protocol", "grpc", container("startupProbe", "grpc"), {"port": 9090}),
    Case("preStopSeconds", 9, container("lifecycle", "preStop", "exec", "command"), ["sleep", "9"]),
    Case("preStopSeconds", 0, container("lifecycle"), None),
    Case("rollingUpdate.maxSurge", "50%", first("Deployment", "spec", "strategy", "rollingUpdate", "maxSurge"), "50%"),
    Case("rollingUpdate.maxUnavailable", 1, first("Deployment", "spec", "strategy", "rollingUpdate", "maxUnavailable"), 1),
    Case("minReadySeconds", 0, first("Deployment", "spec", "minReadySeconds"), 0),
    Case("revisionHistoryLimit", 2, first("Deployment", "spec", "revisionHistoryLimit"), 2),
    Case("autoscaling.behavior", {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": None},
         first("HorizontalPodAutoscaler", "spec", "behavior", "scaleUp", "selectPolicy"), "Disabled", SCALED),
    Case("keda.enabled", True, first("ScaledObject", "spec", "scaleTargetRef", "name"), "rel-windlass",
         merged(KEDA, {"keda": {"enabled": False}})),
    Case("keda.enabled", True, first("Deployment", "spec", "replicas"), None, merged(KEDA, {"keda": {"enabled": False}})),
    Case("keda.minReplicas", 2, first("ScaledObject", "spec", "minReplicaCount"), 2, KEDA),
    Case("keda.maxReplicas", 9, first("ScaledObject", "spec", "maxReplicaCount"), 9, KEDA),
    Case("keda.pollingIntervalSeconds", 5, first("ScaledObject", "spec", "pollingInterval"), 5, KEDA),
    Case("keda.queues", [{"jobType": "a", "targetLength": 1}, {"jobType": "b%20c", "targetLength": 1}],
         first("ScaledObject", "spec", "triggers", "1", "metadata", "url"), "http://rel-windlass-metrics.ns.svc:9091/metrics/b%20c", KEDA),
    Case("keda.queues[].jobType", "ship", first("ScaledObject", "spec", "triggers", "0", "metadata", "url"),
         "http://rel-windlass-metrics.ns.svc:9091/metrics/ship", KEDA),
    Case("keda.queues[].targetLength", 1000000, first("ScaledObject", "spec", "triggers", "0", "metadata", "targetValue"), "1000000", KEDA),
    Case("keda.behavior", {"scaleUp": {"selectPolicy": "Disabled"}},
         first("ScaledObject", "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleUp", "selectPolicy"), "Disabled", KEDA),
    Case("keda.annotations", {"a": "b"}, first("ScaledObject", "metadata", "annotations"), {"a": "b"}, KEDA),
    Case("networkPolicy.enabled", True, first("NetworkPolicy", "spec", "policyTypes"), ["Ingress", "Egress"]),
    Case("networkPolicy.apiFrom", [PEER], first("NetworkPolicy", "spec", "ingress", "0", "from"),
         [{"podSelector": {"matchLabels": INSTANCE}}, PEER], CLOSED),
    Case("networkPolicy.metricsFrom", [PEER], first("NetworkPolicy", "spec", "ingress", "1", "from"), [PEER], CLOSED),
    Case("networkPolicy.databaseTo", [PEER], first("NetworkPolicy", "spec", "egress", "1", "to"), [PEER], CLOSED),
    Case("networkPolicy.databasePorts", [6432], first("NetworkPolicy", "spec", "egress", "1", "ports"), [{"port": 6432}], CLOSED),
    Case("tracing.endpoint", "https://[::1]:4319/otlp", first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 4319}], merged(DATABASE, {"networkPolicy": {"enabled": True}})),
    Case("tracing.endpoint", "https://vendor.example/otlp", first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 443}], merged(DATABASE, {"networkPolicy": {"enabled": True}})),
    Case("tracing.endpoint", "http://collector", first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 80}], merged(DATABASE, {"networkPolicy": {"enabled": True}})),
    Case("networkPolicy.collectorTo", [PEER], first("NetworkPolicy", "spec", "egress", "2", "to"), [PEER], merged(TRACED, {"networkPolicy": {"enabled": True}})),
    Case("networkPolicy.redisTo", [PEER], first("NetworkPolicy", "spec", "egress", "2", "to"), [PEER]),
    Case("networkPolicy.redisPorts", [7000], first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 7000}]),
    Case("networkPolicy.redisPorts", [], first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 6379}],
         merged(WOKEN, {"networkPolicy": {"enabled": True}}), merged(WOKEN, {"networkPolicy": {"enabled": True, "redisPorts": [1]}})),
    Case("redis.url", "redis+sentinel://one/main", first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 6379}, {"port": 26379}],
         merged(WOKEN, {"redis": {"existingSecret": "", "secretKeys": {"url": ""}}, "networkPolicy": {"enabled": True}}), merged(WOKEN, {"networkPolicy": {"enabled": True}})),
    Case("networkPolicy.brokerTo", [PEER], first("NetworkPolicy", "spec", "egress", "2", "to"), [PEER], CLOSED),
    Case("networkPolicy.brokerPorts", [1, 2], first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 1}, {"port": 2}], CLOSED),
    Case("networkPolicy.extraIngress", [{"from": [PEER]}], first("NetworkPolicy", "spec", "ingress", "-1"), {"from": [PEER]}, CLOSED),
    Case("networkPolicy.extraEgress", [{"to": [PEER]}], first("NetworkPolicy", "spec", "egress", "-1"), {"to": [PEER]}, CLOSED),
    Case("kafka.seedBrokers", ["a:1", "b:2", "c:1"], first("NetworkPolicy", "spec", "egress", "2", "ports"), [{"port": 1}, {"port": 2}], CLOSED),
    Case("postgresql.port", 6432, first("NetworkPolicy", "spec", "egress", "1", "ports"), [{"port": 6432}], CLOSED),
    *(Case(f"{section}.{key}", value, first(kind, *path), expected, merged(DATABASE, {section: {"enabled": True}}))
      for section, kind, endpoint in (("serviceMonitor", "ServiceMonitor", "endpoints"), ("podMonitor", "PodMonitor", "podMetricsEndpoints"))
      for key, value, path, expected in (
          ("interval", "15s", ("spec", endpoint, "0", "interval"), "15s"),
          ("scrapeTimeout", "5s", ("spec", endpoint, "0", "scrapeTimeout"), "5s"),
          ("labels", {"a": "b"}, ("metadata", "labels", "a"), "b"),
          ("annotations", {"a": "b"}, ("metadata", "annotations"), {"a": "b"}),
          ("relabelings", [RELABELING], ("spec", endpoint, "0", "relabelings"), [JOB, RELABELING]),
          ("metricRelabelings", [RELABELING], ("spec", endpoint, "0", "metricRelabelings"), [RELABELING]),
      )),
    Case("serviceMonitor.enabled", True, first("ServiceMonitor", "spec", "endpoints", "0", "port"), "metrics"),
    Case("podMonitor.enabled", True, first("PodMonitor", "spec", "podMetricsEndpoints", "0", "port"), "metrics"),
    Case("prometheusRule.enabled", True, first("PrometheusRule", "spec", "groups", "0", "name"), "rel-windlass"),
    Case("prometheusRule.labels", {"a": "b"}, first("PrometheusRule", "metadata", "labels", "a"), "b", ALERTED),
    Case("prometheusRule.annotations", {"a": "b"}, first("PrometheusRule", "metadata", "annotations"), {"a": "b"}, ALERTED),
    Case("prometheusRule.selector", 'job="x"', alert("WindlassDown", "expr"), 'absent(windlass_build_info{job="x"})', ALERTED),
    Case("prometheusRule.runbookUrl", "https://r/", alert("WindlassDown", "annotations", "runbook_url"), "https://r/WindlassDown.md", ALERTED),
    Case("prometheusRule.disabled", ["WindlassDown"], alert("WindlassDown"), None, ALERTED),
    *(Case(f"prometheusRule.thresholds.{key}", 0.75, threshold(name), "0.75", ALERTED)
      for key, name in (("pickupSeconds", "WindlassPickupSlow"), ("jobTimeouts", "WindlassJobTimeoutSpike"),
                        ("jobFailuresPerMinute", "WindlassJobsFailing"), ("errorRatio", "WindlassErrors"),
                        ("databaseSeconds", "WindlassDatabaseSlow"), ("consumerLagSeconds", "WindlassConsumerLag"),
                        ("retentionLateDays", "WindlassRetentionBehind"))),
    Case("prometheusRule.thresholds.outboxBacklog", 2000000, threshold("WindlassOutboxBacklog"), "2000000", ALERTED),
    Case("dashboards.enabled", True, dashboard("windlass-engine.json"), "windlass-engine"),
    Case("dashboards.labels", {"grafana_dashboard": "yes"}, first("ConfigMap", "metadata", "labels", "grafana_dashboard"), "yes",
         merged(DATABASE, {"dashboards": {"enabled": True}})),
    Case("dashboards.annotations", {"a": "b"}, first("ConfigMap", "metadata", "annotations"), {"a": "b"},
         merged(DATABASE, {"dashboards": {"enabled": True}})),
    Case("tests.enabled", False, first("Pod"), None),
    Case("tests.activeDeadlineSeconds", 9, first("Pod", "spec", "activeDeadlineSeconds"), 9),
    Case("tests.annotations", {"a": "b"}, first("Pod", "metadata", "annotations", "a"), "b"),
    Case("runtimeClassName", "gvisor", pod("spec", "runtimeClassName"), "gvisor"),
    Case("hostAliases", [ALIAS], pod("spec", "hostAliases"), [ALIAS]),
    Case("dnsPolicy", "None", pod("spec", "dnsPolicy"), "None"),
    Case("dnsConfig", {"searches": ["a.b"]}, pod("spec", "dnsConfig"), {"searches": ["a.b"]}),
    Case("extraInitContainers", [{"name": "a", "image": "b", "restartPolicy": "Always"}], pod("spec", "initContainers", "0", "restartPolicy"), "Always"),
    Case("extraInitContainers", [{"name": "a", "image": "b"}], pod("spec", "initContainers", "0", "securityContext", "readOnlyRootFilesystem"), True),
    Case("extraContainers", [{"name": "a", "image": "b", "securityContext": {"runAsUser": 7}}], pod("spec", "containers", "1", "securityContext", "runAsUser"), 7),
    Case("extraObjects", [OBJECT], first("ConfigMap", "metadata", "name"), "rel-more"),
    Case("extraObjects", [json.dumps(OBJECT)], first("ConfigMap", "data", "a"), "{{ 1 }} < 2000000"),
]
# fmt: on


def values_of(case: Case) -> Values:
    """A case in a context of its own, or in the key's."""
    if "[]" not in case.key and (case.context is not DATABASE or context_of(case.key) is DATABASE):
        return merged(case.context, nested(case.key, case.value))
    return changed(case.key, case.value)
