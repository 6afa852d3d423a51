"""A fault from its injection to its heal, read back from the history; unknown names get a plain band."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seatrial.history import Call, History

State = Literal["down", "paused", "cut", "fault"]
_STATES: tuple[tuple[str, State], ...] = (
    ("kill", "down"),
    ("crash", "down"),
    ("stop", "down"),
    ("restart", "down"),
    ("pause", "paused"),
    ("freeze", "paused"),
    ("cut", "cut"),
    ("terminate", "cut"),
    ("partition", "cut"),
)
_HEALS = ("-heal", "_heal")


@dataclass(frozen=True, slots=True)
class Episode:
    """Seconds since the run began. `bit_s` is when it was seen to have bitten; None when it never was."""

    name: str
    targets: tuple[str, ...]
    state: State
    lanes: tuple[str, ...]
    """The lanes it marks: replicas, workers, `database`."""
    start_s: float
    bit_s: float | None
    end_s: float
    healed: bool
    detail: str
    """Its parameters."""
    evidence: str


def episodes(history: History, zero_s: float, end_s: float) -> tuple[Episode, ...]:
    calls = [call for call in history.calls if call.invoke.process.startswith("fault")]
    heals = [call for call in calls if _is_heal(call)]
    return tuple(
        _episode(call, next((heal for heal in heals if _ends(heal, call)), None), zero_s, end_s)
        for call in calls
        if not _is_heal(call)
    )


def _episode(call: Call, heal: Call | None, zero_s: float, run_end_s: float) -> Episode:
    name = call.invoke.f
    state: State = next((state for word, state in _STATES if name.startswith(word)), "fault")
    targets = _targets(call.invoke.value)
    start_s = call.invoke.t_s - zero_s
    ok = call.end if call.end is not None and call.end.type == "ok" else None
    bit_s = ok.t_s - zero_s if ok is not None else None
    if heal is not None:
        ended_s = (heal.end or heal.invoke).t_s - zero_s
    elif call.end is not None and (name.startswith("terminate") or bit_s is None):
        # What was over at once, or never began, has nothing to heal.
        ended_s = call.end.t_s - zero_s
    else:
        ended_s = run_end_s
    return Episode(
        name=name,
        targets=targets,
        state=state,
        lanes=("database",) if "database" in name or "postgres" in name else targets,
        start_s=start_s,
        bit_s=bit_s,
        end_s=max(start_s, min(ended_s, run_end_s)),
        healed=heal is not None,
        detail=_said(_mapping(call.invoke.value.get("parameters"))),
        evidence=_evidence(call),
    )


def _is_heal(call: Call) -> bool:
    return call.invoke.f == "heal" or call.invoke.f.endswith(_HEALS)


def _ends(heal: Call, fault: Call) -> bool:
    """A heal ends what the same process injected before it, on the same target when both name one."""
    if heal.invoke.index < fault.invoke.index or heal.outcome != "ok":
        return False
    if heal.invoke.f == "heal":
        named = heal.invoke.value.get("fault", fault.invoke.f)
        if heal.invoke.process != fault.invoke.process or named != fault.invoke.f:
            return False
    elif heal.invoke.f not in {fault.invoke.f + ending for ending in _HEALS}:
        return False
    healed, hit = set(_targets(heal.invoke.value)), set(_targets(fault.invoke.value))
    return not healed or not hit or bool(healed & hit)


def _targets(value: Mapping[str, Any]) -> tuple[str, ...]:
    target = value.get("target", value.get("targets"))
    if isinstance(target, str):
        return (target,)
    if isinstance(target, Sequence):
        return tuple(str(one) for one in target)
    return ()


def _evidence(call: Call) -> str:
    if call.end is None:
        return "no answer: it is not known whether it had an effect"
    if call.end.type != "ok":
        return "had no effect: " + str((call.end.error or {}).get("message") or call.end.type)
    said = {name: value for name, value in call.end.value.items() if name not in {"target", "targets"}}
    return _said(said) or "done"


def _said(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_brief(inner)}" for name, inner in value.items())


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_said(value)})"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
