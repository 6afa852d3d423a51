"""RT: how long no call of the clients succeeded (the gap between two successes, as CloudNativePG measures it)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.facts import Facts, Fault, error_status, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = "Clients succeed again in time: under load no gap between two successful calls exceeds the bound."

KINDS = ("start", "complete", "poll")


class Gap(msgspec.Struct, frozen=True):
    """Monotonic times between which no start or complete succeeded."""

    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        return self.to_s - self.from_s


@assuming("RT", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def recovery_time(history: History) -> Verdict:
    """Parameters: `recovery_bound_s`, from a fault's effect; `recovery_after_heal_bound_s` (none), from its heal, for a
    fault during which nobody could serve. The window is the time under load: the phases from `load` up to `drain`.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    bound_s = facts.number("recovery_bound_s")
    gap = longest_gap(facts)
    recoveries = [
        _recovery(facts, fault, bound_s, findings) for fault in facts.faults if fault.effective_s is not None
    ]
    if gap is not None and gap.length_s > bound_s:
        text = f"no start or complete succeeded for {gap.length_s:.3f} s, the bound is {bound_s:g} s"
        findings.add(text, at=_ops_in(facts, gap))
    after_heal_s = (
        _recovered_after_heals(facts, findings) if facts.has("recovery_after_heal_bound_s") else None
    )
    figures: dict[str, Any] = {
        "recovery_bound_s": bound_s,
        "recovery_s": round(gap.length_s, 3) if gap is not None else None,
        "gap_from_s": gap.from_s if gap is not None else None,
        "faults": recoveries,
    }
    for kind in KINDS:
        measured = [
            each["recovery_s"][kind] for each in recoveries if each["recovery_s"].get(kind) is not None
        ]
        if measured:
            figures[f"recovery_{kind}_s"] = max(measured)
    longest = f"{gap.length_s:.3f} s" if gap is not None else "none"
    summary = f"longest gap {longest} of at most {bound_s:g} s over {len(recoveries)} faults"
    if after_heal_s is not None:
        figures["recovery_after_heal_s"] = round(after_heal_s, 3)
        summary += f", calls succeeded {after_heal_s:.3f} s after the heal"
    vacuous = None
    if not recoveries:
        vacuous = "no fault was injected"
    elif gap is None or not any(_under_load(facts, fault, bound_s) for fault in facts.faults):
        vacuous = "no call was attempted while a fault had an effect"
    return findings.verdict("RT", GUARANTEE, summary, figures, vacuous=vacuous)


def _recovered_after_heals(facts: Facts, findings: Findings) -> float | None:
    """The longest time from a heal to the first success of a kind of call that was tried; each that comes too late, and
    each call that still fails then, is found. None when no fault was healed.
    """
    bound_s = facts.number("recovery_after_heal_bound_s")
    ended_s = facts.load_window_s[1]
    longest_s: float | None = None
    for fault in facts.faults:
        healed_s = fault.healed_s
        if healed_s is None:
            continue
        for kind in KINDS:
            tried = [
                call
                for call in facts.calls_of(kind)
                if healed_s <= call.invoke.t_s <= ended_s and _is_of(facts, fault, call)
            ]
            if not tried:
                continue
            success_s = _first_success_s(tried, healed_s)
            took_s = (success_s if success_s is not None else ended_s) - healed_s
            longest_s = max(took_s, longest_s or 0.0)
            late = [call for call in tried if _is_broken(call) and call.invoke.t_s > healed_s + bound_s]
            at = (fault.call.invoke.index, *(call.invoke.index for call in (late or tried)[:10]))
            if late:
                failed_s = late[-1].invoke.t_s - healed_s
                text = f"{kind} still failed {failed_s:.3f} s after {fault} was healed, the bound is {bound_s:g} s"
                findings.add(text, at=at)
            elif took_s > bound_s:
                text = f"no {kind} succeeded for {took_s:.3f} s after {fault} was healed, the bound is {bound_s:g} s"
                findings.add(text, at=at)
    return longest_s


def longest_gap(facts: Facts) -> Gap | None:
    """The longest wait for a success that some client was trying for, inside the window; None without one.

    It runs from a success (or from the first attempt after it, when nobody was trying just then) to the next one, or
    to the end of the window. Nothing counts before the first success or fault.
    """
    begun_s, ended_s = facts.load_window_s
    successes = sorted(
        call.end.t_s
        for f in ("start", "complete")
        for call in facts.calls_of(f)
        if call.end is not None and call.outcome == "ok" and begun_s <= call.end.t_s <= ended_s
    )
    faults = [fault.invoked_s for fault in facts.faults if begun_s <= fault.invoked_s <= ended_s]
    opening_s = min([*successes[:1], *faults], default=None)
    if opening_s is None:
        return None
    attempts = _attempts(facts)
    invoked = sorted(call.invoke.t_s for call in attempts)
    answered = sorted(call.end.t_s if call.end is not None else call.invoke.t_s for call in attempts)
    longest: Gap | None = None
    for before_s, to_s in pairwise([opening_s, *(at_s for at_s in successes if at_s > opening_s), ended_s]):
        next_attempt = bisect_right(invoked, before_s)
        in_flight = next_attempt - bisect_right(answered, before_s)
        if in_flight:
            from_s = before_s
        elif next_attempt < len(invoked) and invoked[next_attempt] <= to_s:
            from_s = invoked[next_attempt]
        else:
            continue
        if longest is None or to_s - from_s > longest.length_s:
            longest = Gap(from_s, to_s)
    return longest


def _attempts(facts: Facts) -> list[Call]:
    """Starts and completes, and the polls that failed: a worker that cannot poll completes nothing."""
    calls = [call for f in ("start", "complete") for call in facts.calls_of(f)]
    return calls + [call for call in facts.calls_of("poll") if _is_broken(call)]


def _under_load(facts: Facts, fault: Fault, bound_s: float) -> bool:
    ended_s = facts.load_window_s[1]
    until_s = min(ended_s, (fault.effective_s or fault.invoked_s) + bound_s)
    return any(fault.invoked_s <= call.invoke.t_s <= until_s for call in _attempts(facts))


def _recovery(facts: Facts, fault: Fault, bound_s: float, findings: Findings) -> dict[str, Any]:
    """Seconds from the fault's effect to the first later success of each kind of call that the fault made fail."""
    effective_s = fault.effective_s if fault.effective_s is not None else fault.invoked_s
    ended_s = facts.load_window_s[1]
    recovered: dict[str, float | None] = {}
    for kind in KINDS:
        calls = facts.calls_of(kind)
        broken = [
            call
            for call in calls
            if _is_broken(call)
            and fault.invoked_s <= call.invoke.t_s <= ended_s
            and _is_of(facts, fault, call)
        ]
        if not broken:
            continue
        first_s = min(call.invoke.t_s for call in broken)
        success_s = _first_success_s(calls, first_s)
        recovered[kind] = round(max(0.0, success_s - effective_s), 3) if success_s is not None else None
        late = [
            call
            for call in broken
            if call.invoke.t_s > effective_s + bound_s and (success_s is None or call.invoke.t_s < success_s)
        ]
        if late:
            failed_s = late[-1].invoke.t_s - effective_s
            text = f"{kind} still failed {failed_s:.3f} s after {fault}, the bound is {bound_s:g} s"
            findings.add(text, at=(fault.call.invoke.index, *(call.invoke.index for call in late[-10:])))
    return {"fault": str(fault), "effect_at_s": effective_s, "recovery_s": recovered}


def _is_of(facts: Facts, fault: Fault, call: Call) -> bool:
    """Whether it was over before another fault began after this one was healed: that one has failures of its own."""
    healed_s = fault.healed_s if fault.healed_s is not None else float("inf")
    next_s = min((each.invoked_s for each in facts.faults if each.invoked_s > healed_s), default=float("inf"))
    return call.end is None or call.end.t_s <= next_s


def _is_broken(call: Call) -> bool:
    """Not answered, or answered that the system is at fault; a refusal (4xx) is an answer."""
    status = error_status(call)
    return status is not None and (status == 0 or status >= 500)


def _first_success_s(calls: Sequence[Call], after_s: float) -> float | None:
    return min(
        (
            call.end.t_s
            for call in calls
            if call.end is not None and call.outcome == "ok" and call.end.t_s > after_s
        ),
        default=None,
    )


def _ops_in(facts: Facts, gap: Gap) -> list[int]:
    """The last success before, a few attempts inside, the first success after."""
    inside = [call for call in _attempts(facts) if gap.from_s <= call.invoke.t_s <= gap.to_s]
    edges = [
        call.end.index
        for f in ("start", "complete")
        for call in facts.calls_of(f)
        if call.end is not None and call.end.t_s in {gap.from_s, gap.to_s}
    ]
    return [*edges, *(call.invoke.index for call in inside[:10])]
