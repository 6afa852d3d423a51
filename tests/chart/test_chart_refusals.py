"""values/bad: each file is refused with the message in its first line. values/: each overlay renders."""

import re
from pathlib import Path

import pytest
from overlay import BAD, OVERLAYS, command_of, read, values_of_overlay
from rendering import CHART, DATABASE, REPOSITORY, Values, merged, refusal_of, rendered
from value_cases import OWN_VARIABLES

CANARY = "canary-3f9a1c"


def test_there_are_refusals_and_overlays() -> None:
    assert len(BAD) >= 60
    assert [path.stem for path in OVERLAYS] == ["kafka", "mixed", "production", "small-cluster"]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_values_are_refused_with_the_remedy(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    assert expected in refusal_of(read(path))


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_renders_with_the_command_in_its_head(path: Path) -> None:
    files, _ = command_of(path)
    assert files[-1] == f"values/{path.name}"
    assert rendered(values_of_overlay(path)).of_kind("Deployment")


def test_an_overlay_names_the_same_objects_under_another_release() -> None:
    second = rendered(values_of_overlay(REPOSITORY / "values" / "mixed.yaml"), release="windlass-outbox")
    first = rendered(DATABASE, release="windlass")
    names = [
        {(found["kind"], found["metadata"]["name"]) for found in result.objects} for result in (first, second)
    ]
    assert not names[0] & names[1]


def test_all_mistakes_are_named_at_once() -> None:
    refusal = refusal_of({"engine": {"dispatchMode": "kafka_outbox", "grpc": {"port": 8080}}})
    assert [line.split(":")[0] for line in refusal.splitlines()] == [
        "no database",
        "engine.rest.port, engine.grpc.port and engine.metrics.port are 8080, 8080, 9091",
        "engine.dispatchMode is kafka_outbox but no broker is named",
    ]


def test_a_release_name_that_no_service_can_have_is_refused() -> None:
    assert "gives the Service name 1st-windlass, which must begin with a letter" in refusal_of(
        DATABASE, "1st"
    )
    assert refusal_of(merged(DATABASE, {"fullnameOverride": "first"}), "1st") == ""


@pytest.mark.parametrize("key", ["kafka.saslUsername", "kafka.saslPassword", "kafka.existingSecret", "kafka.tlsCaPath",
                                 "kafka.tlsServerName"])  # fmt: skip
def test_nothing_that_plaintext_would_ignore_is_taken(key: str) -> None:
    value = "/etc/ca.pem" if key == "kafka.tlsCaPath" else "given"
    kafka = {"seedBrokers": "kafka:9092", key.removeprefix("kafka."): value}
    refusal = refusal_of(merged(DATABASE, {"engine": {"dispatchMode": "kafka_outbox"}, "kafka": kafka}))
    assert refusal.startswith(f"{key} is set but not used, since kafka.transport is plaintext")


def test_no_variable_that_the_chart_may_set_can_be_set_beside_it() -> None:
    assert len(OWN_VARIABLES) == 42
    for name in OWN_VARIABLES:
        refusal = refusal_of(merged(DATABASE, {"extraEnv": [{"name": name, "value": "x"}]}))
        assert refusal.startswith(f"extraEnv sets {name}: set "), name


@pytest.mark.parametrize(
    "values",
    [
        {"postgresql": {"dsn": CANARY}},
        {"postgresql": {"dsn": [CANARY]}},
        {"postgresql": {"dsn": f"postgres://u:{CANARY}@db/one", "existingSecret": "own"}},
        {"postgresql": {"dsn": f"postgres://u:{CANARY}@db/one"}, "replicas": 1},
        {"kafka": {"saslPassword": {"x": CANARY}}},
        {"redis": {"url": f"redis://:{CANARY}@one"}},
        {"engine": {"wakeBus": "redis"}, "redis": {"url": f":{CANARY}@one"}},
        {
            "engine": {"dispatchMode": "kafka_outbox"},
            "kafka": {"saslPassword": CANARY, "transport": "sasl_scram_tls", "existingSecret": "own"},
        },
    ],
    ids=range(8),
)
def test_no_refusal_shows_a_credential(values: Values) -> None:
    refusal = refusal_of(values)
    assert refusal
    assert CANARY not in refusal


def test_the_chart_reads_nothing_but_its_values() -> None:
    """No cluster, no clock, no chance: the same values give the same bytes anywhere."""
    for template in sorted((CHART / "templates").rglob("*.*")):
        found = re.search(r"\b(lookup|rand\w*|now|genCA|uuidv4|Capabilities)\b", template.read_text())
        assert found is None, f"{template.name}: {found}"
