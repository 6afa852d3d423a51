"""Drills are chosen from the catalogue; values from files and drills come together as helm would have it."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from seatrial.cluster.options import Misuse
from seatrial.cluster.values import engine_variables, merge, read_values
from seatrial.drills import CATALOGUE, select
from seatrial.trial import new_options

OVERLAYS = Path(__file__).parents[3] / "values"
BESIDE = {"rochallor.yaml": "image: {repository: windlass}\npostgresql: {existingSecret: ''}\n"}
"""What an overlay has to have set beside it, as its first lines say; the Secret's DSN is the run's own."""


def test_drills_are_chosen_by_id_whatever_the_case_and_each_once() -> None:
    assert [chosen.id for chosen in select(["SMOKE", "smoke"])] == ["smoke"]
    assert [chosen.id for chosen in select([], everything=True)] == list(CATALOGUE)
    assert {chosen.id for chosen in select([], core=True)} == {
        known.id for known in CATALOGUE.values() if known.core
    }
    assert "smoke" in {chosen.id for chosen in select([], core=True)}


def test_an_unknown_drill_is_named_with_what_is_near_it() -> None:
    with pytest.raises(Misuse, match="no drill 'smoek'; near it: smoke"):
        select(["smoke", "smoek"])
    with pytest.raises(Misuse, match=r"no drill '!'; there are: smoke"):
        select(["!"])


def test_the_drills_values_win_and_environments_join() -> None:
    lower = {
        "engine": {"logLevel": "debug", "db": {"maxConns": 4}},
        "tolerations": [1],
        **engine_variables(A=1, B=2),
    }
    upper = {"engine": {"db": {"maxConns": 2}}, "tolerations": [], **engine_variables(B=3.5)}
    assert merge(lower, upper) == {
        "engine": {"logLevel": "debug", "db": {"maxConns": 2}},
        "tolerations": [],
        "extraEnv": [{"name": "A", "value": "1"}, {"name": "B", "value": "3.5"}],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "holds a list; a values file is a mapping"), ("a: [", "not YAML"), (None, "No such file")],
)
def test_a_values_file_that_is_none_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "values.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Misuse, match=message):
        read_values([path])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("postgresql:\n  dsn: postgres://u:S3cretXQZ: x\n", ": line 2, column 30"),
        ("postgresql: {dsn: S3cretXQZ\n", ": line 2, column 1"),
        ("dsn: 'S3cretXQZ\x01'\n", ""),
        ("dsn: !!int S3cretXQZ\n", ""),
        ("dsn: !S3cretXQZ x\n", ": line 1, column 6"),
        ("password: 2026-13-77\n", ""),
    ],
)
def test_of_a_values_file_only_the_place_is_told(tmp_path: Path, text: str, place: str) -> None:
    """PyYAML's message quotes the line: "postgres://u:S3cretXQZ: x"."""
    path = tmp_path / "values.yaml"
    path.write_text(text)
    with pytest.raises(Misuse) as refused:
        read_values([path])
    assert str(refused.value) == f"--values {path}: not YAML{place}"
    assert "S3cretXQZ" not in "".join(traceback.format_exception(refused.value))


def test_later_values_files_win(tmp_path: Path) -> None:
    for name, text in (("a", "engine: {logLevel: debug}\nx: 1"), ("b", "x: 2"), ("c", "")):
        (tmp_path / name).write_text(text)
    found = read_values([tmp_path / name for name in "abc"])
    assert found == {"engine": {"logLevel": "debug"}, "x": 2}


def test_the_login_of_a_broker_comes_from_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEATRIAL_KAFKA_USERNAME", "ada")
    with pytest.raises(Misuse, match="SEATRIAL_KAFKA_PASSWORD is set; set both"):
        new_options(brokers="kafka-0:9092", report_dir=tmp_path)
    monkeypatch.setenv("SEATRIAL_KAFKA_PASSWORD", "not-to-be-shown")
    options = new_options(brokers=" kafka-0:9092 , kafka-1:9092", report_dir=tmp_path)
    assert options.brokers == "kafka-0:9092,kafka-1:9092"
    assert options.broker_login is not None
    assert options.broker_login.mechanism is None
    assert "not-to-be-shown" not in repr(options)


def test_a_story_told_in_kafka_mode_is_judged_by_its_dispatches() -> None:
    polling, through_kafka = CATALOGUE["D1"], CATALOGUE["D1-kafka"]
    assert (polling.mode, through_kafka.mode) == ("polling", "kafka")
    assert through_kafka.scenario is polling.scenario
    assert {"OC", "PO"} <= set(through_kafka.checks)
    assert not {"LX", "FN"} & set(through_kafka.checks)
    names = {entry["name"] for entry in through_kafka.values["extraEnv"]}
    assert names == {entry["name"] for entry in polling.values["extraEnv"]} | {"WINDLASS_REDELIVERY_SECONDS"}


@pytest.mark.parametrize("file", sorted(OVERLAYS.glob("*.yaml")), ids=lambda file: file.name)
def test_every_overlay_can_go_on_trial(file: Path, tmp_path: Path) -> None:
    """Credentials and addresses that an operator adds are the run's to bring."""
    files = [file]
    if file.name in BESIDE:
        files.append(tmp_path / "beside.yaml")
        files[-1].write_text(BESIDE[file.name])
    assert new_options(values=files).values == tuple(files)


def test_what_is_missing_beside_them_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(
        "engine: {dispatchMode: kafka_outbox}\nkafka: {transport: sasl_scram_tls, saslMechanism: PLAIN}"
    )
    with pytest.raises(Misuse, match="saslMechanism"):
        new_options(values=[path])
