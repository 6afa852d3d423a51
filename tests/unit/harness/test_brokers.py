"""The brokers there are, what the rest of the harness learns of one before it runs, and what it must not know."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import seatrial
from seatrial.cluster import ClusterError
from seatrial.cluster.broker import BrokerLogin, BrokerProcess, ConsumerAccess
from seatrial.cluster.brokers import BROKERS, DEFAULT, kind_of, kind_of_mode
from seatrial.cluster.kafka.access import KafkaAccess
from seatrial.cluster.kafka.external import ExternalKafka
from seatrial.cluster.kafka.server import KafkaServer
from seatrial.cluster.kind.nodes import Images
from seatrial.drill import Drill
from seatrial.drills import CATALOGUE

HARNESS = Path(seatrial.__file__).parent
LOGIN = BrokerLogin("ada", "not-to-be-shown", ca_path="/ca.crt")


def test_the_names_of_topics_and_groups_stand_once() -> None:
    for word in ("workflow.jobs.", "workflow.workers."):
        found = [path for path in HARNESS.rglob("*.py") if f'"{word}' in path.read_text()]
        assert found == [HARNESS / "cluster" / "kafka" / "names.py"], word


def test_a_run_without_a_broker_loads_no_client_library() -> None:
    code = "import sys, seatrial.trial, seatrial.drills; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_broker_is_found_by_what_the_chart_is_told() -> None:
    for kind in BROKERS.values():
        assert kind_of(kind.mode_values) is kind
        assert kind_of_mode(kind.name) is kind
        assert kind.is_secured(kind.secured_values)
        assert not kind.is_secured(kind.address_values("there:1"))
    assert kind_of({}) is None
    assert kind_of({"engine": {"dispatchMode": "polling"}}) is None
    assert kind_of_mode("polling") is None
    assert kind_of_mode("both") is DEFAULT


def test_a_drill_of_no_known_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode 'pigeons'; choose polling, both or kafka"):
        replace(CATALOGUE["D1"], mode="pigeons")


def test_a_drill_is_told_through_any_broker() -> None:
    other = replace(DEFAULT, name="kafka", dispatch_mode="another_mode")
    told: Drill = CATALOGUE["D1"].through_broker(other)
    assert (told.id, told.mode) == ("D1-kafka", "kafka")


def test_what_the_environment_tells_of_a_broker_bears_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATRIAL_KAFKA_IMAGE", "mirror/kafka:1")
    assert Images.from_env().brokers == {"kafka": "mirror/kafka:1"}
    monkeypatch.setenv("SEATRIAL_KAFKA_IMAGE", "")
    assert Images.from_env().brokers == {"kafka": DEFAULT.image}


def test_the_access_of_a_worker_survives_its_way_and_shows_no_password() -> None:
    access = ExternalKafka("there:9092", LOGIN).consumer_access()
    assert "not-to-be-shown" not in repr(access)
    sent = msgspec.json.decode(msgspec.json.encode(access), type=ConsumerAccess)
    assert KafkaAccess.of_consumer(sent) == KafkaAccess(
        "there:9092",
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "ada",
            "sasl.password": "not-to-be-shown",
            "ssl.ca.location": "/ca.crt",
        },
    )


def test_what_is_somebody_elses_is_not_to_be_broken(tmp_path: Path) -> None:
    assert isinstance(KafkaServer(tmp_path / "kafka.log"), BrokerProcess)
    assert not isinstance(ExternalKafka("there:9092"), BrokerProcess)


def test_an_external_broker_is_met_as_it_was_given() -> None:
    plain, secured = ExternalKafka("there:9092"), ExternalKafka("there:9092", LOGIN)
    assert plain.engine_values(secured=False) == {
        "kafka": {"seedBrokers": "there:9092", "transport": "plaintext"}
    }
    with pytest.raises(ClusterError, match="SEATRIAL_KAFKA_USERNAME"):
        plain.engine_values(secured=True)
    for asked in (False, True):
        values = secured.engine_values(secured=asked)
        assert DEFAULT.is_secured(values)
        assert values["kafka"]["saslMechanism"] == "SCRAM-SHA-512"
        assert values["kafka"]["tlsCaPath"] == "/ca.crt"
    assert "as user=ada" in secured.boot_lines(secured=False)[-1]
    assert secured.secrets() == ["not-to-be-shown"]
    assert plain.secrets() == []
