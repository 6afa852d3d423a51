# ruff: noqa: E501  (one line a case: a table reads better than code)
"""Each key acts: what an operator writes is found where it belongs, and nowhere by accident."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from rendering import DATABASE, EVERYTHING, KAFKA, Values, deployment, engine, merged, rendered
from values_table import OPTIONAL, leaves, schema

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

    def get(result: Rendered) -> Any:
        found = {entry["name"]: entry for entry in engine(result)["env"]}.get(name, {})
        return found.get("value", found.get("valueFrom", {}).get("secretKeyRef"))

    return get


def pod(*path: str) -> Getter:
    return lambda result: _walk(deployment(result)["spec"]["template"], path)


def container(*path: str) -> Getter:
    return lambda result: _walk(engine(result), path)


def first(kind: str, *path: str) -> Getter:
    return lambda result: _walk(next(iter(result.of_kind(kind)), None), path)


def secret(key: str) -> Getter:
    return lambda result: result.containers()[0].env[key]


def service_port(name: str) -> Getter:
    return lambda result: {
        port["name"]: port["port"]
        for service in result.of_kind("Service")
        for port in service["spec"]["ports"]
    }[name]


def own_ca(result: Rendered) -> Any:
    spec = deployment(result)["spec"]["template"]["spec"]
    volume = next((volume for volume in spec["volumes"] if volume["name"] == "kafka-tls"), None)
    return volume and volume["secret"]["secretName"]


def _walk(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if node is None:
            return None
        node = node[int(key)] if isinstance(node, list) else node.get(key)
    return node


def kafka(**keys: Any) -> Values:
    return merged(DATABASE, KAFKA, {"kafka": keys})


INLINE = kafka(existingSecret="", saslUsername="user", saslPassword="secret")
SCALED = merged(DATABASE, {"autoscaling": {"enabled": True}})
GUARDED = merged(DATABASE, {"replicaCount": 4, "podDisruptionBudget": {"enabled": True}})
MIGRATED = merged(DATABASE, {"migrations": {"enabled": True}})
TRIAL: Values = {"postgresql": {"dsn": "postgres://a:b@db/one"}}
DIGEST = "sha256:" + "0123456789abcdef" * 4
TOLERATION = {"key": "dedicated", "operator": "Exists"}
SPREAD = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
AFFINITY: Values = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
VOLUME: Values = {"name": "ca", "configMap": {"name": "company-ca"}}
MOUNT: Values = {"name": "ca", "mountPath": "/etc/company-ca"}

# fmt: off
CASES = [
    Case("nameOverride", "orders", first("Deployment", "metadata", "name"), "rel-orders"),
    Case("fullnameOverride", "orders", first("Deployment", "metadata", "name"), "orders"),
    Case("replicaCount", 3, first("Deployment", "spec", "replicas"), 3),
    Case("image.repository", "r.example:5000/w", container("image"), "r.example:5000/w:0.1.0"),
    Case("image.tag", "1.10", container("image"), "windlass:1.10"),
    Case("image.digest", DIGEST, container("image"), f"windlass@{DIGEST}"),
    Case("image.pullPolicy", "Always", container("imagePullPolicy"), "Always"),
    Case("imagePullSecrets", [{"name": "reg"}], pod("spec", "imagePullSecrets"), [{"name": "reg"}]),
    Case("engine.dispatchMode", "kafka_outbox", variable("WE_DISPATCH_MODE"), "kafka_outbox",
         merged(DATABASE, {"kafka": {"seedBrokers": "kafka:9092"}})),
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
    Case("kafka.tls.existingSecret", "kafka-ca", own_ca, "kafka-ca", kafka()),
    Case("kafka.tls.existingSecret", "kafka-ca", variable("WE_KAFKA_TLS_CA_PATH"), "/etc/windlass/kafka-tls/ca.crt", kafka()),
    Case("kafka.tls.caKey", "ca.pem", variable("WE_KAFKA_TLS_CA_PATH"), "/etc/windlass/kafka-tls/ca.pem",
         kafka(tls={"existingSecret": "kafka-ca"})),
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
    Case("podDisruptionBudget.enabled", True, first("PodDisruptionBudget", "spec", "minAvailable"), 1,
         merged(DATABASE, {"replicaCount": 2})),
    Case("podDisruptionBudget.minAvailable", "50%", first("PodDisruptionBudget", "spec", "minAvailable"), "50%", GUARDED),
    Case("podDisruptionBudget.minAvailable", 3, first("PodDisruptionBudget", "spec", "minAvailable"), 3, GUARDED),
    Case("podDisruptionBudget.maxUnavailable", 1, first("PodDisruptionBudget", "spec", "maxUnavailable"), 1, GUARDED),
    Case("podDisruptionBudget.maxUnavailable", 1, first("PodDisruptionBudget", "spec", "minAvailable"), None, GUARDED),
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
    Case("extraEnvFrom", [{"secretRef": {"name": "s"}}], container("envFrom"), [{"secretRef": {"name": "s"}}]),
    Case("extraVolumes", [VOLUME], pod("spec", "volumes", "1"), VOLUME),
    Case("extraVolumeMounts", [MOUNT], container("volumeMounts", "1"), MOUNT, merged(DATABASE, {"extraVolumes": [VOLUME]})),
]
# fmt: on


def nested(key: str, value: Any) -> Values:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.key}={case.value}"[:60])
def test_a_key_acts_where_it_belongs_and_only_when_set(case: Case) -> None:
    changed = rendered(merged(case.context, nested(case.key, case.value)))
    assert case.get(changed) == case.expected
    assert changed.objects != rendered(case.before or case.context).objects


def test_every_key_of_the_schema_is_in_the_table() -> None:
    assert {case.key for case in CASES} | set(OPTIONAL) == {".".join(path) for path, _ in leaves(schema())}


def test_the_default_environment_is_the_contract() -> None:
    env = rendered({"postgresql": {"dsn": "postgres://a:b@db/one"}}).containers(pod_name="pod-7")[0].env
    assert env == {
        "WE_POSTGRES_DSN": "postgres://a:b@db/one",
        "WE_DISPATCH_MODE": "polling",
        "WE_LOG_LEVEL": "info",
        "WE_AUDIT_LOG_ENABLED": "true",
        "WE_REST_PORT": "8080",
        "WE_GRPC_PORT": "9090",
        "WE_METRICS_PORT": "9091",
        "WINDLASS_NODE_NAME": "pod-7",
    }


def test_polling_knows_nothing_of_kafka() -> None:
    result = rendered(
        merged(kafka(tls={"existingSecret": "kafka-ca"}), {"engine": {"dispatchMode": "polling"}})
    )
    assert "kafka" not in str(deployment(result)).lower()
    assert result.of_kind("Secret") == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (True, "true"),
        ("T", "true"),
        (1, "true"),
        ("1", "true"),
        (False, "false"),
        ("False", "false"),
        (0, "false"),
    ],
)
def test_the_audit_switch_is_one_whether_string_or_boolean(written: object, expected: str) -> None:
    result = rendered(merged(DATABASE, {"engine": {"auditLogEnabled": written}}))
    assert variable("WE_AUDIT_LOG_ENABLED")(result) == expected


def test_pool_bounds_are_one_whether_string_or_number() -> None:
    written = merged(DATABASE, {"engine": {"db": {"maxConns": "16", "minConns": "2"}}})
    number = merged(DATABASE, {"engine": {"db": {"maxConns": 16, "minConns": 2}}})
    assert rendered(written).objects == rendered(number).objects


def test_every_example_of_the_schema_renders_and_acts() -> None:
    contexts = {
        "engine": DATABASE, "postgresql.dsn": TRIAL, "kafka": kafka(), "kafka.saslUsername": INLINE,
        "kafka.tls.caKey": kafka(tls={"existingSecret": "kafka-ca"}), "migrations": MIGRATED,
        "autoscaling": SCALED, "podDisruptionBudget": GUARDED,
        "extraVolumeMounts": merged(DATABASE, {"extraVolumes": [VOLUME]}),
    }  # fmt: skip
    switches = {"migrations.enabled", "autoscaling.enabled", "podDisruptionBudget.enabled"}
    for path, node in leaves(schema()):
        key = ".".join(path)
        context = contexts.get(key, contexts.get(path[0], DATABASE))
        if key in switches:
            context = merged(DATABASE, {"replicaCount": 2})
        for example in node.get("examples", ()):
            changed = rendered(merged(context, nested(key, example)))
            assert changed.objects != rendered(context).objects, key


def test_everything_on_renders_every_kind() -> None:
    result = rendered(merged({"postgresql": {"dsn": "postgres://a:b@db/one"}}, KAFKA, EVERYTHING))
    assert sorted(found["kind"] for found in result.objects) == [
        "Deployment", "HorizontalPodAutoscaler", "Job", "PodDisruptionBudget", "Secret", "Secret", "Service",
        "Service", "ServiceAccount",
    ]  # fmt: skip
