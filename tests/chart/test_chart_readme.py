"""The README's table is the schema's, its commands and those of NOTES.txt are ones that helm takes."""

import re

import helm_python
import pytest
from effects import ENTERED, OWNED, ROUTED, TOPICS
from rendering import CHART, DATABASE, KAFKA, Values, merged, refusal_of, rendered
from values_table import values_yaml, written

POOL: Values = {
    "pools": [{"name": "outbox", "dispatchMode": "kafka_outbox", "replicas": 2}],
    "kafka": {"seedBrokers": "kafka:9092"},
}
GUARDED: Values = {"networkPolicy": {"enabled": True}}
IN_PARTS: Values = {"postgresql": {"host": "db", "user": "u", "secretKeys": {"password": "p"}}}
INLINE: Values = {"postgresql": {"existingSecret": "", "dsn": "host=db port=6432"}}
README = (CHART / "README.md").read_text()


def test_the_values_table_is_up_to_date() -> None:
    """One test, for the table takes seconds to make; that a stale one would be seen is the other half of it."""
    assert written(README) == README, "run: python tests/chart/values_table.py"
    stale = README.replace("| `replicaCount` |", "| `replicas` |")
    assert written(stale) != stale


def test_values_yaml_is_up_to_date() -> None:
    assert (CHART / "values.yaml").read_text() == values_yaml(), "run: python tests/chart/values_table.py"


def test_the_install_command_renders() -> None:
    command = next(
        block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "image.repository" in block
    )
    values = merged(*(helm_python.parse_set_string(pair) for pair in re.findall(r"--set (\S+)", command)))
    assert rendered(values).of_kind("Deployment")


def test_every_set_in_the_text_is_a_key() -> None:
    for quoted, bare in re.findall(r"--set (?:'([^']+)'|([a-z]\S+))", README):
        pair = (quoted or bare).strip("`")
        assert "additional properties" not in refusal_of(helm_python.parse_set_string(pair)), pair


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "Inside the cluster: http://rel-windlass.ns.svc:8080"),
        ({"service": {"type": "LoadBalancer"}}, "{.status.loadBalancer.ingress[0]}"),
        ({"service": {"type": "NodePort"}}, ".nodePort}"),
        ({"engine": {"rest": {"port": 8181}}}, "kubectl port-forward service/rel-windlass 8181:8181 -n ns"),
        (KAFKA, "Topics workflow.jobs.<jobType> must exist"),
        (POOL, "dispatching by kafka_outbox and polling."),
        (ENTERED, "REST from outside: http://jobs.example\n"),
        (ENTERED, "gRPC from outside: grpc.example\n"),
        (
            merged(ENTERED, {"ingress": {"tls": [{"secretName": "jobs-tls"}]}}),
            "REST from outside: https://jobs.example\n",
        ),
        (ROUTED, "kubectl get httproute rel-windlass -n ns"),
        (ROUTED, "kubectl get grpcroute rel-windlass -n ns"),
        ({}, "helm test rel -n ns"),
        ({"namespaceOverride": "other"}, "kubectl rollout status deployment/rel-windlass -n other"),
        (
            {"replicaCount": 3, "engine": {"db": {"maxConns": 16}}},
            "3 pods, and two more during a rollout, use up to 90 connections to PostgreSQL.",
        ),
        (
            merged(
                POOL, {"autoscaling": {"enabled": True, "maxReplicas": 4}, "engine": {"db": {"maxConns": 8}}}
            ),
            "6 pods, and two more during a rollout, use up to 80 connections to PostgreSQL.",
        ),
        (
            {"postgresql": {"session": {"existingSecretKey": "s"}}, "engine": {"db": {"maxConns": 8}}},
            "up to 24 connections to the pooler and 6 to PostgreSQL",
        ),
        (GUARDED, "lets pods reach the database at 5432: the real port is in a Secret"),
        (
            merged(GUARDED, {"postgresql": {"port": 6432, "session": {"existingSecretKey": "s"}}}),
            "at 6432 and 5432: the real",
        ),
        (
            merged(GUARDED, IN_PARTS, {"postgresql": {"secretKeys": {"port": "p"}}}),
            "lets pods reach the database at 5432: the real",
        ),
        (merged(OWNED, GUARDED, INLINE), "at 6432 and 5432: the real"),
        ({"postgresql": {"pooler": "transaction"}}, "jobs are found by polling only: postgresql.session"),
        (OWNED, "Only the Job migrates, with the role in the Secret windlass-db-owner.\n"),
        (
            merged(OWNED, {"migrations": {"appRole": "app"}}),
            "windlass-db-owner, and grants app what the engines need.",
        ),
        ({"engine": {"retentionDays": 0.5}}, "Instances are removed 0.5 days after their end"),
        (
            {"postgresql": {"existingSecret": "", "dsn": "postgres://db/one"}},
            "WARNING: postgresql.dsn stays readable",
        ),
    ],
)
def test_the_notes_say_what_comes_next(values: Values, line: str) -> None:
    notes = rendered(merged(DATABASE, values)).notes
    assert line in notes
    assert "postgres://" not in notes


def test_the_notes_name_services_that_are_there() -> None:
    result = rendered(DATABASE)
    ports = {
        (found["metadata"]["name"], str(port["port"]))
        for found in result.of_kind("Service")
        for port in found["spec"]["ports"]
    }
    named = set(re.findall(r"port-forward service/(\S+) \d+:(\d+)", result.notes))
    assert len(named) == 2
    assert named <= ports


SECRETS: Values = {
    "auth": {"existingSecret": "tokens", "metricsTokens": {"enabled": True}},
    "tests": {"existingSecret": "token"},
}
BEARER = ' -H "Authorization: Bearer $TOKEN"'


@pytest.mark.parametrize(
    ("values", "api", "bearer", "metrics", "metrics_bearer"),
    [
        ({}, "http", "", "http", ""),
        ({"tls": {"existingSecret": "tls"}}, "https", "", "https", ""),
        ({"tls": {"existingSecret": "tls", "metrics": False}}, "https", "", "http", ""),
        (SECRETS, "http", BEARER, "http", BEARER),
        (merged(SECRETS, {"auth": {"metricsTokens": {"enabled": False}}}), "http", BEARER, "http", ""),
    ],
    ids=["plain", "TLS", "TLS but for metrics", "tokens", "tokens but for metrics"],
)
def test_the_notes_call_the_ports_as_they_are(
    values: Values, api: str, bearer: str, metrics: str, metrics_bearer: str
) -> None:
    notes = rendered(merged(DATABASE, values)).notes
    curl = {"http": "curl http", "https": "curl --insecure https"}
    assert f"Inside the cluster: {api}://rel-windlass.ns.svc:8080\n" in notes
    assert ("does not name localhost" in notes) == (api == "https")
    assert re.findall(r"^  (curl .*)$", notes, re.MULTILINE) == [
        f"{curl[api]}://localhost:8080/ready",
        f"{curl[api]}://localhost:8080/v1/definitions{bearer}",
        f"{curl[metrics]}://localhost:9091/metrics{metrics_bearer}",
    ]


def test_the_notes_name_no_test_that_is_not_there() -> None:
    assert "helm test" not in rendered(merged(DATABASE, {"tests": {"enabled": False}})).notes


def test_the_notes_tell_nothing_that_is_not_on() -> None:
    told = (
        rendered(DATABASE).notes
        + rendered(
            merged(DATABASE, {"postgresql": {"pooler": "transaction", "session": {"existingSecretKey": "s"}}})
        ).notes
    )
    for word in ("polling only", "Only the Job", "are removed", "from outside", "Gateway"):
        assert word not in told


@pytest.mark.parametrize(
    "values",
    [
        {"networkPolicy": {"enabled": True, "databasePorts": [6432]}},
        merged(GUARDED, IN_PARTS),
        merged(GUARDED, INLINE),
        merged(GUARDED, IN_PARTS, {"migrations": OWNED["migrations"] | {"user": "o", "secretKeys": {"password": "p"}}}),
        {},
    ],
    ids=["named", "in parts", "in the DSN", "an owner in parts", "no policy"],
)  # fmt: skip
def test_the_notes_doubt_no_port_that_the_values_tell(values: Values) -> None:
    assert "real port is in a Secret" not in rendered(merged(DATABASE, values)).notes


def test_topics_that_the_chart_makes_are_nobody_s_work() -> None:
    assert "must exist before" not in rendered(TOPICS).notes
