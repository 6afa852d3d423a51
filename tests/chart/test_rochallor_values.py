"""values/rochallor.yaml: what was written for Rochallor's chart is taken here, key by key, or refused by its name."""

from collections.abc import Iterator
from typing import Any

import pytest
from effects import nested
from overlay import read, values_of_overlay
from rendering import DATABASE, REPOSITORY, Values, deployment, engine, merged, refusal_of, rendered

PATH = REPOSITORY / "values" / "rochallor.yaml"
SECTIONS = (
    "engine.rest",
    "engine.grpc",
    "engine.metrics",
    "engine.db",
    "resources.requests",
    "resources.limits",
)
KEYS = [
    "replicaCount",
    "nameOverride",
    "fullnameOverride",
    "image.repository",
    "image.tag",
    "image.pullPolicy",
    "engine.dispatchMode",
    "engine.logLevel",
    "engine.auditLogEnabled",
    "engine.rest.port",
    "engine.grpc.port",
    "engine.metrics.port",
    "engine.db.maxConns",
    "engine.db.minConns",
    "postgresql.dsn",
    "postgresql.existingSecret",
    "postgresql.existingSecretKey",
    "kafka.seedBrokers",
    "kafka.transport",
    "kafka.saslMechanism",
    "kafka.saslUsername",
    "kafka.saslPassword",
    "kafka.existingSecret",
    "kafka.existingSecretUsernameKey",
    "kafka.existingSecretPasswordKey",
    "kafka.tlsCaPath",
    "kafka.tlsServerName",
    "kafka.outboxBatchSize",
    "migrations.enabled",
    "migrations.activeDeadlineSeconds",
    "migrations.annotations",
    "service.type",
    "service.annotations",
    "serviceAccount.create",
    "serviceAccount.name",
    "serviceAccount.annotations",
    "autoscaling.enabled",
    "autoscaling.minReplicas",
    "autoscaling.maxReplicas",
    "autoscaling.targetCPUUtilizationPercentage",
    "podDisruptionBudget.enabled",
    "podDisruptionBudget.minAvailable",
    "resources.requests.cpu",
    "resources.requests.memory",
    "resources.limits.memory",
    "podAnnotations",
    "podLabels",
    "nodeSelector",
    "tolerations",
    "affinity",
    "extraEnv",
    "extraVolumes",
    "extraVolumeMounts",
]
"""Every key of that chart, 0.1.0; docs/contract.md lists those that it has for the engine."""

BY_KAFKA: Values = {
    "engine": {"dispatchMode": "kafka_outbox"},
    "kafka": {
        "seedBrokers": "kafka:9092",
        "transport": "sasl_scram_tls",
        "saslMechanism": "SCRAM-SHA-512",
        "existingSecret": "rochallor-kafka",
        "outboxBatchSize": 200,
    },
}
"""That chart's overlay for Kafka, with the Secret that its page says to set beside it."""


def keys_of(values: Values, path: str = "") -> Iterator[str]:
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and value:
            yield from keys_of(value, here)
        else:
            yield here


def test_the_file_has_every_key_of_that_chart() -> None:
    assert set(keys_of(read(PATH))) == set(KEYS)


def test_it_is_taken_as_it_is() -> None:
    result = rendered(values_of_overlay(PATH))
    found = engine(result)
    env = {each["name"]: each.get("value") for each in found["env"]}
    assert deployment(result)["spec"]["replicas"] == 3
    assert found["image"] == "registry.example/windlass:0.1.0"
    assert found["resources"]["limits"]["memory"] == "256Mi"
    assert (env["DB_MAX_CONNS"], env["WE_DISPATCH_MODE"], env["WE_REST_PORT"]) == ("8", "polling", "8080")
    assert result.of_kind("PodDisruptionBudget")[0]["spec"]["minAvailable"] == 1
    assert result.of_kind("Job")[0]["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "windlass",
        "migrate",
    ]


def test_its_overlay_for_kafka_is_taken_too() -> None:
    env = engine(rendered(merged(values_of_overlay(PATH), BY_KAFKA)))["env"]
    found = {each["name"]: each.get("value", each.get("valueFrom")) for each in env}
    assert found["WE_KAFKA_TRANSPORT"] == "sasl_scram_tls"
    assert found["WE_KAFKA_SASL_USERNAME"] == {"secretKeyRef": {"name": "rochallor-kafka", "key": "username"}}


def test_its_image_is_refused_by_name() -> None:
    refusal = refusal_of(read(PATH))
    assert refusal == (
        "image.repository is registry.example/rochallor-engine, the engine of Rochallor, which lacks the commands of "
        "these pods: set image.repository to where your cluster finds the image of Windlass"
    )


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("podDisruptionBudget.minAvailable", 3, "set podDisruptionBudget.maxUnavailable to 1 instead"),
        ("autoscaling.enabled", True, "raise autoscaling.minReplicas"),
        ("extraEnv", [{"name": "WE_LOG_LEVEL", "value": "debug"}], "set engine.logLevel instead"),
        ("postgresql.dsn", "postgres://db/one", "keep one"),
        ("replicas", 2, "additional properties 'replicas' not allowed"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_set(key: str, value: Any, remedy: str) -> None:
    """That chart takes all of these: it blocks drains, sets a variable twice, prefers one of two, ignores a typo."""
    assert remedy in refusal_of(merged(values_of_overlay(PATH), nested(key, value)))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_by_itself_is_taken(key: str) -> None:
    """Whoever wrote down only what differs from that chart's own values."""
    node: Any = read(PATH)
    for part in key.split("."):
        node = node[part]
    refusal = refusal_of(merged(DATABASE, nested(key, node)))
    assert ("the engine of Rochallor" in refusal) == (key == "image.repository")
    assert bool(refusal) == (key == "image.repository"), refusal
