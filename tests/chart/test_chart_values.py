"""Each key acts: what an operator writes is found where it belongs, and nowhere by accident."""

import pytest
from effects import context_of, effects, examples_of
from fields import Case, variable
from rendering import DATABASE, EVERYTHING, KAFKA, deployment, merged, rendered
from value_cases import CASES, kafka, values_of
from values_schema import leaves, schema

NODES = {".".join(path): node for path, node in leaves(schema()) if path != ("enabled",)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.key}={case.value}"[:60])
def test_a_key_acts_where_it_belongs_and_only_when_set(case: Case) -> None:
    context = case.before or (case.context if case.context is not DATABASE else context_of(case.key))
    assert case.get(rendered(values_of(case))) == case.expected
    assert rendered(values_of(case)).objects != rendered(context).objects


def test_every_key_of_the_schema_is_in_the_table() -> None:
    assert {case.key for case in CASES} == set(NODES)


@pytest.mark.parametrize("key", NODES)
def test_no_key_is_accepted_and_ignored(key: str) -> None:
    """By mutation: each example of each key changes some field of some object."""
    for example in examples_of(key, NODES[key]):
        assert effects(key, example), example


def test_a_key_that_nothing_reads_would_be_seen() -> None:
    assert effects("enabled", True) == []


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
        "WINDLASS_SHUTDOWN_GRACE_SECONDS": "30",
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


def test_everything_on_renders_every_kind() -> None:
    result = rendered(merged({"postgresql": {"dsn": "postgres://a:b@db/one"}}, KAFKA, EVERYTHING))
    assert sorted(found["kind"] for found in result.objects) == [
        "ConfigMap", "Deployment", "Deployment", "Deployment", "HorizontalPodAutoscaler", "Job", "Job", "NetworkPolicy",
        "Pod", "PodDisruptionBudget", "PodDisruptionBudget", "PrometheusRule", "Secret", "Secret", "Secret", "Service",
        "Service", "Service", "ServiceAccount", "ServiceMonitor",
    ]  # fmt: skip
