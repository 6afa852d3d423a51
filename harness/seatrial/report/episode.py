"""A fault from its injection to its heal, read back from the history; unknown names get a plain band."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seatrial.check.facts import Fault, facts_of
from seatrial.history import Call, History

State = Literal["down", "paused", "cut", "fault"]
_STATES: tuple[tuple[str, State], ...] = (
    ("kill", "down"),
    ("crash", "down"),
    ("stop", "down"),
    ("restart", "down"),
    ("pause", "paused"),
    ("cut", "cut"),
    ("terminate", "cut"),
    ("partition", "cut"),
)


@dataclass(frozen=True, slots=True)
class Episode:
    """Seconds since the run began. `effective_s` is when its effect was seen; None when it never was."""

    name: str
    targets: tuple[str, ...]
    state: State
    lanes: tuple[str, ...]
    """The lanes it marks: replicas, workers, `database`."""
    start_s: float
    effective_s: float | None
    end_s: float
    healed: bool
    detail: str
    """Its parameters."""
    evidence: str


def episodes(history: History, zero_s: float, end_s: float) -> tuple[Episode, ...]:
    return tuple(_episode(fault, zero_s, end_s) for fault in facts_of(history).faults)


def _episode(fault: Fault, zero_s: float, run_end_s: float) -> Episode:
    name, call = fault.name, fault.call
    state: State = next((state for word, state in _STATES if name.startswith(word)), "fault")
    start_s = fault.invoked_s - zero_s
    effective_s = fault.effective_s - zero_s if fault.effective_s is not None else None
    if fault.healed_s is not None:
        ended_s = fault.healed_s - zero_s
    elif call.end is not None and (name.startswith("terminate") or effective_s is None):
        # What was over at once, or never began, has nothing to heal.
        ended_s = call.end.t_s - zero_s
    else:
        ended_s = run_end_s
    return Episode(
        name=name,
        targets=fault.targets,
        state=state,
        lanes=("database",) if "database" in name or "postgres" in name else fault.targets,
        start_s=start_s,
        effective_s=effective_s,
        end_s=max(start_s, min(ended_s, run_end_s)),
        healed=fault.heal is not None,
        detail=_said(_mapping(call.invoke.value.get("parameters"))),
        evidence=_evidence(call),
    )


def _evidence(call: Call) -> str:
    if call.end is None:
        return "no answer: it is not known whether it had an effect"
    if call.end.type != "ok":
        return "had no effect: " + str((call.end.error or {}).get("message") or call.end.type)
    said = {name: value for name, value in call.end.value.items() if name != "target"}
    return _said(said) or "done"


def _said(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_brief(inner)}" for name, inner in value.items())


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_said(value)})"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
