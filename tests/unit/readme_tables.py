"""The tables and drawings of the READMEs that are made from the code. Run it to write them; test_readme.py compares."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

import readme_limits
from citations import CONTRACT, linked
from prometheus_client import Metric

from seatrial.check import CHECKS
from seatrial.cluster.servers import DEFAULT, SERVERS, Wheel
from seatrial.drills import CATALOGUE
from windlass import config, states
from windlass.auth.calls import CALLS
from windlass.auth.principal import Role
from windlass.dispatch.kafka.metrics import KafkaMetrics
from windlass.store.rights import REMOVAL, TABLES
from windlass.store.server import TRIED
from windlass.telemetry.metrics import Metrics
from windlass.variable import Variable

ROOT = Path(__file__).parents[2]
COMMAND = "python tests/unit/readme_tables.py"

ENFORCED_IN: Mapping[str, tuple[str, ...]] = {
    "NL": ("store/lanes.py", "store/apply.py"),
    "NP": ("advance.py", "store/apply.py"),
    "LX": ("store/sql/job.sql", "dispatch/polling.py"),
    "FN": ("store/lease.py", "store/sql/apply.sql"),
    "S1x": ("advance.py", "store/sql/instance.sql"),
    "DB": ("store/sql/job.sql", "sweep/leases.py"),
    "RT": ("store/lanes.py", "dispatch/wake.py"),
    "LV": ("sweep/leases.py", "sweep/timers.py"),
    "PK": ("dispatch/wake.py", "dispatch/polling.py"),
    "AV": ("store/lanes.py", "app.py"),
    "MP": ("app.py", "telemetry/metrics.py"),
    "BC": ("config.py", "app.py"),
    "TP": ("sweep/timers.py", "store/sql/timer.sql"),
    "PT": ("engine.py", "api/health.py"),
    "OC": ("store/sql/outbox.sql", "dispatch/relay.py"),
    "PO": ("store/sql/outbox.sql", "dispatch/plan.py"),
    "LD": ("dispatch/leader.py", "store/sql/leader.sql"),
    "BO": ("dispatch/relay.py", "dispatch/kafka/librdkafka.py"),
    "PW": ("dispatch/kafka/librdkafka.py", "dispatch/kafka/one_name.py"),
    "CC": ("store/sql/job.sql", "store/migrations/own/0001_pre_windlass.sql"),
    "CB": ("store/database.py", "dispatch/wake.py"),
    "FL": ("store/lanes.py", "store/database.py"),
    "RY": ("store/database.py", "store/schema.py"),
    "SK": ("../../charts/windlass/templates/_env.tpl", "dsn.py"),
    "CR": ("tls/watch.py", "api/grpc_tls.py"),
    "RN": ("store/sql/retention.sql", "sweep/retention.py"),
    "MEM": ("memory.py", "api/connection.py"),
    "LAT": ("store/lanes.py", "api/connection.py"),
    "SPREAD": ("api/grpc.py", "config.py"),
    "FLAT": ("store/lanes.py", "telemetry/output.py"),
    "RO": ("../../charts/windlass/templates/migrate.yaml", "../../charts/windlass/templates/deployment.yaml"),
}
"""Where the engine or the chart keeps what a check asks for, by hand: files from engine/windlass on."""

COMPUTED_DEFAULTS = {
    "DB_MAX_CONNS": "4 per CPU, at least 4",
    "WINDLASS_MEMORY_BYTES_MAX": "of the container",
    "WINDLASS_NODE_NAME": "the host's name and 6 digits",
}
"""Defaults that differ from machine to machine, in words."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a README between two comments that name it."""

    readme: str
    name: str
    make: Callable[[], str]

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}: written by {COMMAND} -->\n"

    @property
    def end(self) -> str:
        return f"<!-- /{self.name} -->"

    def written(self, text: str) -> str:
        """The README with this part made anew. Raises ValueError when the comments are not there, once each."""
        if text.count(self.begin) != 1 or text.count(self.end) != 1:
            raise ValueError(f"{self.readme}: {self.begin.strip()} ... {self.end} must stand there once")
        before, rest = text.split(self.begin)
        return before + self.begin + self.make() + self.end + rest.split(self.end)[1]


def guarantee_of(check: str) -> str:
    """The sentence that a failed verdict quotes."""
    sentence: str = import_module(_module(check)).GUARANTEE
    return sentence


def guarantees() -> str:
    """One row for each check."""
    rows = ["| | guarantee | enforced in | checked by | drilled by |", "| --- | --- | --- | --- | --- |"]
    for check in CHECKS:
        if check not in ENFORCED_IN:
            raise LookupError(
                f"ENFORCED_IN in {__file__} lacks {check}; say where the engine keeps what it asks for"
            )
        enforced = ", ".join(
            _link(name.rpartition("/")[2], f"engine/windlass/{name}".replace("engine/windlass/../../", ""))
            for name in ENFORCED_IN[check]
        )
        module = f"{_module(check).replace('.', '/')}.py"
        checked = _link(module.rpartition("/")[2], f"harness/{module}")
        rows.append(
            f"| **{check}** | {guarantee_of(check)} | {enforced} | {checked} | {_drilled_by(check)} |"
        )
    return _lines(rows)


def drills() -> str:
    contract = (ROOT / CONTRACT).read_text(encoding="utf-8")
    rows = [
        "| drill | core | mode | what happens | what must hold | judged by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for drill in CATALOGUE.values():
        module = f"{drill.scenario.__module__.replace('.', '/')}.py"
        sets = (("core", drill.core), ("kind", drill.on_kind), ("compose", drill.on_compose))
        core = " ".join(name for name, is_in in sets if is_in)
        promise = linked(drill.promise, contract, f"../{CONTRACT}")
        row = (_link(drill.id, module), core, drill.mode, drill.title, promise, " ".join(drill.checks))
        rows.append(f"| {' | '.join(row)} |")
    return _lines(rows)


def chart_mutants() -> str:
    """From the catalogue under tests/mutants."""
    found = runpy.run_path(str(ROOT / "tests/mutants/chart_catalogue.py"))["CHART_MUTANTS"]
    rows = ["| mutant | what is broken in the chart | drill | caught by |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {each.name} | {each.breaks} | {each.drill} | {' or '.join(each.caught_by)} |" for each in found
    ]
    return _lines(rows)


def compose_mutants() -> str:
    """From the catalogue under tests/mutants."""
    found = runpy.run_path(str(ROOT / "tests/mutants/compose_catalogue.py"))["COMPOSE_MUTANTS"]
    rows = ["| mutant | what is broken in the balancer | drill | caught by |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {each.name} | {each.breaks} | {each.drill} | {' or '.join(each.caught_by)} |" for each in found
    ]
    return _lines(rows)


def mutants() -> str:
    """From the catalogue under tests/mutants."""
    found = runpy.run_path(str(ROOT / "tests/mutants/catalogue.py"))["MUTANTS"]
    rows = ["| mutant | what is broken in it | drill | caught by |", "| --- | --- | --- | --- |"]
    for mutant in found:
        drill = mutant.drill if mutant.transport == "rest" else f"{mutant.drill}, {mutant.transport}"
        name = _link(mutant.name, f"../tests/mutants/{mutant.name}.py")
        rows.append(f"| {name} | {mutant.breaks} | {drill} | {' or '.join(mutant.caught_by)} |")
    return _lines(rows)


def postgres() -> str:
    """What the engine says it was tried on, and where the harness takes each version from."""
    if tuple(SERVERS) != TRIED:
        raise LookupError(
            f"the engine was tried on {TRIED}, the harness runs {tuple(SERVERS)}; make them the same"
        )
    rows = ["| PostgreSQL | | tests run on |", "| --- | --- | --- |"]
    rows += [f"| before {TRIED[0]} | refused at boot | |"]
    for major, server in SERVERS.items():
        origin = (
            f"the wheel {server.distribution} {server.release}"
            if isinstance(server, Wheel)
            else server.origin
        )
        rows.append(f"| {major} | supported, tried | {origin}{', the default' * (major == DEFAULT)} |")
    rows += [f"| after {TRIED[-1]} | not tried: a warning at boot | |"]
    return _lines(rows)


def diagram(transitions: Mapping[Any, str]) -> str:
    """Mermaid of one table of windlass/states.py; the first member is where everything begins."""
    kind: type[StrEnum] = type(next(iter(transitions))[0])
    left = {start for start, _ in transitions}
    rows = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(kind))}"]
    # A second colon would end the label.
    rows += [
        f"    {start} --> {end}: {cause.replace(':', ',')}" for (start, end), cause in transitions.items()
    ]
    rows += [f"    {member} --> [*]" for member in kind if member not in left]
    return _lines([*rows, "```"])


def variables() -> str:
    rows = ["| variable | default | allowed | |", "| --- | --- | --- | --- |"]
    for variable in config.variables():
        yaml = f" (`{variable.yaml_key}`)" if variable.yaml_key else ""
        file = f" or `{variable.file_name}`" if variable.file_name else ""
        cells = (f"`{variable.name}`{yaml}{file}", _default(variable), variable.limits, variable.description)
        rows.append(f"| {' | '.join(cells)} |")
    return _lines(rows)


def limits() -> str:
    rows = ["| what | limit | what it protects | beyond it |", "| --- | --- | --- | --- |"]
    rows += [f"| {' | '.join(row)} |" for row in readme_limits.rows()]
    return _lines(rows)


def rights() -> str:
    rows = [
        "| table | rights of the role that runs the engine | and to remove old rows |",
        "| --- | --- | --- |",
    ]
    rows += [
        f"| `{table}` | {', '.join(TABLES.get(table, ()))} | {', '.join(REMOVAL.get(table, ()))} |"
        for table in dict.fromkeys([*TABLES, *REMOVAL])
    ]
    return _lines(rows)


def metrics() -> str:
    """Those of both modes, without the process's own (process_*)."""
    rows = ["| metric | type | labels | only in mode | |", "| --- | --- | --- | --- | --- |"]
    names = {mode: {m.name for m, _ in _families(mode)} for mode in ("polling", "kafka_outbox")}
    only = {name: mode for mode in names for name in names[mode] if any(name not in names[m] for m in names)}
    found = [*_families("polling"), *(f for f in _families("kafka_outbox") if f[0].name in only)]
    for metric, labels in found:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        cells = (f"`{name}`", metric.type, ", ".join(labels), only.get(metric.name, ""), metric.documentation)
        rows.append(f"| {' | '.join(cells)} |")
    return _lines(rows)


def rollouts() -> str:
    """What was last recorded of them."""
    return _lines(runpy.run_path(str(ROOT / "tests/kind/rollout_figures.py"))["rows"]())


def calls() -> str:
    """Who may call what."""
    rows = [
        f"| may | REST | gRPC | {' | '.join(Role)} |",
        f"| --- | --- | --- |{' --- |' * len(Role)}",
    ]
    for call in CALLS:
        names = ["<br>".join(f"`{name}`" for name in names) for names in (call.rest, call.rpcs)]
        cells = (
            ["open"] * len(Role) if call.roles is None else ["yes" * (role in call.roles) for role in Role]
        )
        rows.append(f"| {' | '.join([call.action, *names, *cells])} |")
    return _lines(rows)


BLOCKS = (
    Block("docs/tokens.md", "calls", calls),
    Block("README.md", "guarantees", guarantees),
    Block("harness/README.md", "drills", drills),
    Block("harness/README.md", "mutants", mutants),
    Block("harness/README.md", "chart-mutants", chart_mutants),
    Block("harness/README.md", "compose-mutants", compose_mutants),
    Block("charts/windlass/README.md", "rollouts", rollouts),
    Block("engine/README.md", "instance", lambda: diagram(states.INSTANCE_TRANSITIONS)),
    Block("engine/README.md", "step", lambda: diagram(states.STEP_TRANSITIONS)),
    Block("engine/README.md", "job", lambda: diagram(states.JOB_TRANSITIONS)),
    Block("engine/README.md", "user-task", lambda: diagram(states.USER_TASK_TRANSITIONS)),
    Block("engine/README.md", "rights", rights),
    Block("engine/README.md", "postgres", postgres),
    Block("engine/README.md", "limits", limits),
    Block("engine/README.md", "variables", variables),
    Block("engine/README.md", "metrics", metrics),
)


def _module(check: str) -> str:
    return CHECKS[check].__module__


def _drilled_by(check: str) -> str:
    judged = [drill.id for drill in CATALOGUE.values() if check in drill.checks]
    others = [drill.id for drill in CATALOGUE.values() if check not in drill.checks]
    if judged and len(others) < len(judged) / 2:
        return "every drill" if not others else f"every drill but {' '.join(others)}"
    return " ".join(judged) or "no drill yet"


def _default(variable: Variable) -> str:
    if variable.name in COMPUTED_DEFAULTS:
        return COMPUTED_DEFAULTS[variable.name]
    if variable.required_when:
        return (
            "required" if variable.required_when == "always" else f"required with `{variable.required_when}`"
        )
    return f"`{variable.default_text}`" if variable.default_text else ""


def _families(dispatch_mode: str) -> Iterator[tuple[Metric, tuple[str, ...]]]:
    registry = Metrics(dispatch_mode).registry
    if dispatch_mode == "kafka_outbox":
        KafkaMetrics(registry)
    for collector in registry._collector_to_names:
        labels = tuple(getattr(collector, "_labelnames", ()))
        for metric in collector.collect():
            if not metric.name.startswith("process_"):
                yield metric, labels


def _link(text: str, target: str) -> str:
    return f"[{text}]({target})"


def _lines(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"


def main() -> None:
    for block in BLOCKS:
        path = ROOT / block.readme
        path.write_text(block.written(path.read_text()))


if __name__ == "__main__":
    main()
