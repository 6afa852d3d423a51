"""docs/contract.md says what the code has: messages, variables, metrics, log lines, audit kinds, tables, statuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from windlass import states
from windlass.api.faults import EARLY_CODES, OVERDUE, STATUSES
from windlass.api.gen import workflow_pb2 as pb
from windlass.config import variables
from windlass.definition.model import StepType
from windlass.dispatch.kafka.boot import KafkaEvent
from windlass.dispatch.kafka.metrics import KafkaMetrics
from windlass.telemetry.events import BrokerEvent, Event
from windlass.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "engine/windlass"
MODES = ("polling", "kafka_outbox")


@cache
def contract() -> str:
    return (ROOT / "docs/contract.md").read_text(encoding="utf-8")


def section(number: str) -> str:
    """From its heading to the next one."""
    found = re.search(rf"^#+ {re.escape(number)}\.? .*?(?=^#|\Z)", contract(), re.DOTALL | re.MULTILINE)
    assert found is not None, number
    return found[0]


def rows(number: str) -> Iterator[list[str]]:
    """The cells of the section's tables, heads left out."""
    lines = section(number).splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("| ") and not line.startswith("| ---") and not below.startswith("| ---"):
            yield [cell.strip().replace("*", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# -- gRPC


def test_the_enums_are_the_proto_s() -> None:
    for name, values in rows("2.2"):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        told = [f"{prefix}_UNSPECIFIED", *(f"{prefix}_{word}" for word in re.findall(r"[A-Z_]{2,}", values))]
        assert told == list(getattr(pb, name).keys()), name


@pytest.mark.parametrize("row", list(rows("2.3")), ids=lambda row: row[0])
def test_the_fields_are_the_proto_s(row: list[str]) -> None:
    told = {
        name: int(number) for number, name in re.findall(r"\b(\d+) ([a-z_]+)", row[1]) if name != "reserved"
    }
    assert told == {field.name: field.number for field in pb.DESCRIPTOR.message_types_by_name[row[0]].fields}


def test_every_rpc_is_there() -> None:
    told = {rpc for row in rows("2.1") for rpc in re.findall(r"[A-Z]\w+", row[0])}
    assert told == {method.name for method in pb.DESCRIPTOR.services_by_name["WorkflowEngine"].methods}


def test_the_statuses_are_those_of_one_table() -> None:
    told = {
        (status, row[2].partition(",")[0]) for row in rows("2.4") for status in re.findall(r"\d+", row[1])
    }
    in_code = {(str(http), grpc) for http, grpc in (*STATUSES.values(), OVERDUE)}
    assert told - {("431", "RESOURCE_EXHAUSTED")} == in_code - {("415", "INVALID_ARGUMENT")}
    codes = {row[0]: quoted(row[1]) for row in rows("1.2")}
    for kind, (http, _) in STATUSES.items():
        if kind.__name__ not in {"BootRefused", "Rejected"}:
            assert codes[str(http)] == [kind.code]
    for http, code in EARLY_CODES.items():
        assert codes[str(http)] == [code]


# -- names


def test_every_variable_is_declared_and_the_shared_ones_are_all_there() -> None:
    known = {variable.name for variable in variables()}
    told = set(re.findall(r"\b(?:WE|WINDLASS|DB)_[A-Z_]+[A-Z]\b", contract()))
    assert told <= known
    assert {name for name in known if not name.startswith(("WINDLASS_", "OTEL_"))} <= set(
        quoted(section("7.1"))
    )


def test_every_metric_has_its_type_labels_and_mode() -> None:
    told = {name: (row[1], tuple(quoted(row[2])), row[3]) for row in rows("8.1") for name in quoted(row[0])}
    assert told == {name: shape for name, shape in _metrics().items() if not name.startswith("windlass_")}


def _metrics() -> Mapping[str, tuple[str, tuple[str, ...], str]]:
    found: dict[str, tuple[str, tuple[str, ...], set[str]]] = {}
    for mode in MODES:
        registry = Metrics(mode).registry
        if mode != "polling":
            KafkaMetrics(registry)
        for collector in registry._collector_to_names:
            labels = tuple(getattr(collector, "_labelnames", ()))
            for metric in collector.collect():
                if not metric.name.startswith("process_"):
                    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
                    found.setdefault(name, (metric.type, labels, set()))[2].add(mode)
    return {
        name: (kind, labels, "" if len(modes) == len(MODES) else modes.pop())
        for name, (kind, labels, modes) in found.items()
    }


def test_every_log_line_is_an_event() -> None:
    events = {
        text
        for kind in (Event, BrokerEvent, KafkaEvent)
        for name, text in vars(kind).items()
        if name.isupper()
    }
    for row in rows("8.4"):
        assert set(quoted(row[0])) <= events | {""}, row[0]
    shapes = [re.escape(event).replace(r"\{", "{").replace(r"\}", "}") for event in events if event[0] == "["]
    boot = [line for line in quoted(section("6.5")) if line.startswith("[dispatch]")]
    for line in boot:
        assert any(re.fullmatch(re.sub(r"{\w+}", ".+", shape), line) for shape in shapes), line
    assert len(boot) == len(shapes)


def test_every_audit_kind_is_written_somewhere() -> None:
    source = "".join(path.read_text() for path in ENGINE.rglob("*") if path.suffix in {".py", ".sql"})
    kinds = [kind for row in rows("8.3") for kind in quoted(row[0]) if "{" not in kind]
    for kind in kinds:
        assert kind in source or re.fullmatch(r"instance-(completed|failed|cancelled)", kind), kind
    assert len(kinds) == 15


# -- the database


def test_the_tables_are_those_of_the_migrations() -> None:
    told = {
        quoted(row[0])[0]: {
            part.split()[0] for part in re.sub(r"[;(][^|]*?\)|\bpk\b ", _kept, row[1]).split(",")
        }
        for row in rows("9.1")
    }
    assert {table: columns - {""} for table, columns in told.items()} == _tables()


def _kept(match: re.Match[str]) -> str:
    return "pk " if match[0].startswith("pk") else ""


def _tables() -> Mapping[str, set[str]]:
    files = [*sorted((ENGINE / "store/migrations").rglob("*.sql")), ENGINE / "store/sql/schema.sql"]
    text = re.sub(r"--.*", "", "".join(path.read_text() for path in files))
    tables = {}
    for name, body in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\);", text, re.DOTALL):
        # A comma inside parentheses ends no column.
        flat = re.sub(r"\([^()]*\)", "", body)
        words = [part.split()[0] for part in flat.split(",") if part.strip()]
        tables[name] = {word for word in words if word != "UNIQUE"}
    for name, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (?:IF NOT EXISTS )?(\w+)", text):
        tables[name].add(column)
    return tables


def test_the_locks_are_those_of_the_statements() -> None:
    source = "".join(path.read_text() for path in (ENGINE / "store/sql").glob("*.sql"))
    told = [re.findall(r"\d{19}", row[1])[0] for row in rows("9.2")]
    assert sorted(told) == sorted(set(re.findall(r"\d{19}", source)))


# -- what is executed


def test_the_states_and_step_types_are_the_code_s() -> None:
    told = {row[0]: set(re.findall(r"\b[A-Z]{4,}\b", row[1])) for row in rows("5.1")}
    assert told["instance"] == set(states.InstanceStatus)
    assert told["step execution"] == set(states.StepStatus)
    assert told["job"] == set(states.JobStatus)
    assert told["user task"] == set(states.UserTaskStatus)
    for number in ("3.2", "5.2"):
        assert [row[0] for row in rows(number)] != []
        assert {row[0] for row in rows(number)} == set(StepType)
