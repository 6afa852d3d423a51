"""TP: timers take effect when they are due: not before, and soon after (contract 5.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, STEPS_OBSERVED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.instant import instant_us
from seatrial.check.step_once import INTERRUPTED
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "A timer takes effect at or after its time and within the bound, unless its step has ended before."
)


class Fate(msgspec.Struct, frozen=True):
    """What became of one timer; all in microseconds of the database's clock."""

    timer: Op
    late_us: int | None
    """From its time to its effect, to the end of its step where that came first, or to the end of the run where
    neither came; negative when it was early. None when it is marked fired and had no effect.
    """


@assuming("TP", GUARANTEE, PAIRED, OBSERVED, STEPS_OBSERVED, EFFECTIVE, LOADED)
def punctuality(history: History) -> Verdict:
    """Parameters: `timer_lateness_bound_s`; `timers_min` (1): how many must have come due."""
    facts = facts_of(history)
    findings = Findings(facts)
    bound_s = facts.number("timer_lateness_bound_s")
    due = 0
    latest_s = 0.0
    for instance_id in facts.timers_of:
        for fate in fates(facts, instance_id):
            due += 1
            value = fate.timer.value
            named = f"the timer of instance {instance_id} to {value['target_step_id']}"
            ids = (instance_id, str(value["step_execution_id"]))
            if fate.late_us is None:
                text = f"{named} was due at {value['fire_at']} and never took effect"
                findings.add(text, *ids, at=(fate.timer.index,))
                continue
            late_s = fate.late_us / 1e6
            latest_s = max(latest_s, late_s)
            if late_s < 0:
                findings.add(f"{named} took effect {-late_s:.3f} s early", *ids, at=(fate.timer.index,))
            elif late_s > bound_s:
                text = f"{named} took effect {late_s:.3f} s late, the bound is {bound_s:g} s"
                findings.add(text, *ids, at=(fate.timer.index,))
    figures = {
        "timers_due": due,
        "timer_lateness_max_s": round(latest_s, 3),
        "timer_lateness_bound_s": bound_s,
    }
    summary = f"{due} timers came due, the latest took effect after {latest_s:.3f} s of at most {bound_s:g} s"
    wanted = int(facts.number("timers_min", 1))
    vacuous = f"{due} timers came due, at least {wanted} were expected" if due < wanted else None
    return findings.verdict("TP", GUARANTEE, summary, figures, vacuous=vacuous)


def fates(facts: Facts, instance_id: str) -> Iterator[Fate]:
    """Of the timers that came due while their step was open, and of those that ended their step too early."""
    timers = [timer for timer in facts.timers_of.get(instance_id, ()) if timer.value.get("fire_at")]
    entries = _entries(facts, instance_id)
    for timer in sorted(timers, key=lambda each: instant_us(each.value["fire_at"])):
        parent = facts.steps.get(timer.value["step_execution_id"])
        if parent is None:
            continue
        fire_us = instant_us(timer.value["fire_at"])
        ended_us = instant_us(parent.value["ended_at"]) if parent.value.get("ended_at") else None
        mine = entries.get(timer.value["target_step_id"], [])
        if ended_us is not None and ended_us < fire_us:
            if timer.value.get("interrupting") and _is_interrupted(parent) and ended_us in mine:
                mine.remove(ended_us)
                yield Fate(timer, ended_us - fire_us)
            continue
        # Its effect is the first entry of its target that no earlier timer caused, while its step was open.
        caused_us = (
            next((at_us for at_us in mine if at_us >= fire_us), None) if timer.value["fired"] else None
        )
        if caused_us is not None and (ended_us is None or caused_us <= ended_us):
            mine.remove(caused_us)
            yield Fate(timer, caused_us - fire_us)
        elif ended_us is not None:
            yield Fate(timer, ended_us - fire_us)
        elif timer.value["fired"]:
            yield Fate(timer, _early_us(mine, fire_us, instant_us(parent.value["started_at"])))
        elif (passed_us := _now_us(facts) - fire_us) >= 0:
            yield Fate(timer, passed_us)


def _early_us(entries: list[int], fire_us: int, begun_us: int) -> int | None:
    """A timer that fired and has no effect after its time may have had it before."""
    before = [at_us for at_us in entries if begun_us <= at_us < fire_us]
    if not before:
        return None
    entries.remove(before[-1])
    return before[-1] - fire_us


def _now_us(facts: Facts) -> int:
    """The database's clock was at least here at the end: the latest instant it wrote into a step."""
    instants = (row.value.get(name) for row in facts.steps.values() for name in ("started_at", "ended_at"))
    return max((instant_us(text) for text in instants if text), default=0)


def _entries(facts: Facts, instance_id: str) -> dict[str, list[int]]:
    """When each step was entered, in order."""
    found: dict[str, list[int]] = {}
    steps: Sequence[Op] = facts.steps_of.get(instance_id, ())
    for row in steps:
        found.setdefault(row.value["step_id"], []).append(instant_us(row.value["started_at"]))
    for instants in found.values():
        instants.sort()
    return found


def _is_interrupted(step: Op) -> bool:
    return step.value["status"] == "FAILED" and INTERRUPTED in str(step.value.get("failure_reason"))
