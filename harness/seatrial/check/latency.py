"""LAT: who sends little is answered as before, whatever somebody else sends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.facts import CANCELLED_CODE, Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "Neighbours keep their pace: while somebody presses on the engine, 99 of 100 calls of the others take at most so "
    "many times as long as before it."
)


class Taken(msgspec.Struct, frozen=True):
    """One call of a neighbour, and how long it took."""

    call: Call
    took_s: float


@assuming("LAT", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def latency(history: History) -> Verdict:
    """Rows `pressure` say when there was some. Parameters: `latency_calls`: the kinds of calls that are judged, of
    clients and workers; `latency_factor_max`: how many times as long they may take; `latency_floor_s` (0): what is
    fast enough anyway; `latency_longest_s` (any): no call under pressure may take longer; `latency_calls_min` (100):
    how many there must be with pressure, and how many without.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    quiet, pressed = _taken(facts, under_pressure=False), _taken(facts, under_pressure=True)
    factor, floor_s = facts.number("latency_factor_max"), facts.number("latency_floor_s", 0.0)
    quiet_s, pressed_s = p99_s(quiet), p99_s(pressed)
    bound_s = max(factor * quiet_s, floor_s)
    slowest = sorted(pressed, key=lambda each: -each.took_s)
    if quiet and pressed_s > bound_s:
        text = (
            f"p99 is {pressed_s * 1000:.0f} ms under pressure and {quiet_s * 1000:.0f} ms without, the bound is "
            f"{bound_s * 1000:.0f} ms"
        )
        findings.add(text, at=[each.call.invoke.index for each in slowest[:5]])
    if facts.has("latency_longest_s"):
        longest_s = facts.number("latency_longest_s")
        for each in slowest:
            if each.took_s > longest_s:
                where = f" at {each.call.invoke.node}" if each.call.invoke.node else ""
                text = f"{each.call.invoke.f} by {each.call.invoke.process}{where} took {each.took_s:.2f} s"
                findings.add(f"{text}, the longest may take {longest_s:g} s", at=(each.call.invoke.index,))
    figures: dict[str, Any] = {
        "calls_quiet": len(quiet),
        "calls_pressed": len(pressed),
        "p99_quiet_ms": round(quiet_s * 1000, 1),
        "p99_pressed_ms": round(pressed_s * 1000, 1),
        "p99_bound_ms": round(bound_s * 1000, 1),
        "longest_pressed_ms": round(slowest[0].took_s * 1000, 1) if slowest else 0,
    }
    summary = (
        f"p99 {figures['p99_quiet_ms']:g} ms of {len(quiet)} calls without pressure, {figures['p99_pressed_ms']:g} ms "
        f"of {len(pressed)} with it, the longest {figures['longest_pressed_ms']:g} ms"
    )
    wanted = int(facts.number("latency_calls_min", 100))
    vacuous = None
    for which, calls in (("without pressure", quiet), ("under pressure", pressed)):
        if len(calls) < wanted:
            vacuous = f"{len(calls)} calls {which}, {wanted} were expected"
    return findings.verdict("LAT", GUARANTEE, summary, figures, vacuous=vacuous)


def nearest_rank(values: Iterable[float], share: float) -> float:
    """The percentile of that share; 0 of none."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


def p99_s(calls: Iterable[Taken]) -> float:
    return nearest_rank((each.took_s for each in calls), 0.99)


def _taken(facts: Facts, *, under_pressure: bool) -> Sequence[Taken]:
    """Calls that were made in such a part of the load; one that was never answered lasted until the last line."""
    kinds = facts.words("latency_calls")
    windows = _windows(facts, under_pressure=under_pressure)
    last_s = facts.ops[-1].t_s
    return [
        Taken(call, (call.end.t_s if call.end is not None else last_s) - call.invoke.t_s)
        for call in facts.calls
        if call.invoke.f in kinds
        and call.invoke.process.startswith(("client-", "worker-"))
        and not _is_cancelled(call)
        and any(begun_s <= call.invoke.t_s < ended_s for begun_s, ended_s in windows)
    ]


def _is_cancelled(call: Call) -> bool:
    """By its caller, as at the end of a drill."""
    return call.end is not None and (call.end.error or {}).get("code") == CANCELLED_CODE


def _windows(facts: Facts, *, under_pressure: bool) -> Sequence[tuple[float, float]]:
    rows = facts.rows("pressure")
    ends = [*(op.t_s for op in rows[1:]), math.inf]
    return [(op.t_s, end_s) for op, end_s in zip(rows, ends, strict=True) if op.value["on"] is under_pressure]
