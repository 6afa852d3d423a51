"""The definitions of a run, as far as a judge needs them: which step may follow which (contract 3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from seatrial.check.facts import Facts, happened


class Boundary(msgspec.Struct, frozen=True):
    target: str
    interrupting: bool


class Step(msgspec.Struct, frozen=True):
    id: str
    type: str
    targets: tuple[str, ...]
    """The next steps: one of them, or all of them for a PARALLEL_GATEWAY; empty for a dead end."""
    conditional: bool
    """The target is chosen by an expression, which may fail the instance instead."""
    boundaries: tuple[Boundary, ...]


class Join(msgspec.Struct, frozen=True):
    gateway: str
    branches: int
    shared: bool
    """Several gateways name it, so arrivals cannot be attributed to one."""


class Blueprint(msgspec.Struct, frozen=True):
    definition_id: str
    first: str
    steps: Mapping[str, Step]
    joins: Mapping[str, Join]
    chained_id: str | None

    @property
    def forks(self) -> bool:
        return any(step.type == "PARALLEL_GATEWAY" for step in self.steps.values())

    @property
    def has_boundaries(self) -> bool:
        return any(step.boundaries for step in self.steps.values())


class Blueprints:
    """By id and version; by id alone where only one document of that id was ever uploaded."""

    def __init__(self, facts: Facts) -> None:
        self._by_version: dict[tuple[str, int], Blueprint] = {}
        self._by_id: dict[str, list[Blueprint]] = {}
        for call in facts.calls_of("upload"):
            if not happened(call):
                continue
            blueprint = parse(call.invoke.value["definition"])
            known = self._by_id.setdefault(blueprint.definition_id, [])
            if blueprint not in known:
                known.append(blueprint)
            if call.end is not None and call.outcome == "ok":
                self._by_version[blueprint.definition_id, int(call.end.value["version"])] = blueprint

    def of(self, instance: Mapping[str, Any]) -> Blueprint | None:
        """Of an observed instance row; None when its definition was not uploaded in this history."""
        exact = self._by_version.get(
            (instance["definition_id"], int(instance.get("definition_version") or 0))
        )
        only = self._by_id.get(instance["definition_id"], [])
        return exact or (only[0] if len(only) == 1 else None)

    def latest(self, definition_id: str) -> Blueprint | None:
        """The one uploaded last; None when that id was not uploaded in this history."""
        known = self._by_id.get(definition_id)
        return known[-1] if known else None


def parse(document: Mapping[str, Any]) -> Blueprint:
    """Raises KeyError for a document that no engine would have accepted."""
    steps = {raw["id"]: _step(raw) for raw in document["steps"]}
    gateways = [raw for raw in document["steps"] if raw["type"] == "PARALLEL_GATEWAY"]
    joins: dict[str, Join] = {}
    for raw in gateways:
        join_id = raw["joinStep"]
        if join_id in joins:
            joins[join_id] = msgspec.structs.replace(joins[join_id], shared=True)
        else:
            joins[join_id] = Join(raw["id"], len(raw["parallelNextSteps"]), shared=False)
    chained = document.get("nextWorkflowId") if document.get("autoStartNextWorkflow") else None
    return Blueprint(document["id"], document["steps"][0]["id"], steps, joins, chained or None)


def _step(raw: Mapping[str, Any]) -> Step:
    conditions = raw.get("conditionalNextSteps") or {}
    if raw["type"] == "PARALLEL_GATEWAY":
        targets = tuple(raw["parallelNextSteps"])
    elif raw["type"] == "END":
        targets = ()
    elif conditions:
        targets = tuple(dict.fromkeys(conditions.values()))
    else:
        targets = (raw["nextStep"],) if raw.get("nextStep") else ()
    boundaries = tuple(
        Boundary(event["targetStepId"], bool(event.get("interrupting")))
        for event in raw.get("boundaryEvents") or ()
    )
    timed = raw["type"] in {"SERVICE_TASK", "USER_TASK", "WAIT"}
    return Step(raw["id"], raw["type"], targets, bool(conditions), boundaries if timed else ())
