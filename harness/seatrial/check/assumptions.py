"""What must hold before a verdict means anything (etcd's "assumptions first").

A check names its assumptions. When an `essential` one is broken the check is not run and the verdict is INVALID;
when another one is broken a violation still stands (the promise was broken, whatever the fault did), but pass and
vacuous become INVALID.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import msgspec

from seatrial.check.facts import Facts, facts_of
from seatrial.history import Call, History
from seatrial.verdict import Check, Outcome, Verdict


class Assumption(msgspec.Struct, frozen=True):
    broken: Callable[[Facts], str | None]
    """Why it does not hold, or None."""
    essential: bool = False


def assuming(check: str, guarantee: str, *assumptions: Assumption) -> Callable[[Check], Check]:
    def under(judge: Check) -> Check:
        @wraps(judge)
        def judged(history: History) -> Verdict:
            facts = facts_of(history)
            for assumption in assumptions:
                if assumption.essential and (reason := assumption.broken(facts)):
                    return Verdict(check, guarantee, Outcome.INVALID, reason)
            verdict = judge(history)
            if verdict.outcome not in {Outcome.PASS, Outcome.VACUOUS}:
                return verdict
            others = (each for each in assumptions if not each.essential)
            reasons = [reason for each in others if (reason := each.broken(facts))]
            if not reasons:
                return verdict
            summary = f"{'; '.join(reasons)} (otherwise {verdict.outcome}: {verdict.summary})"
            return msgspec.structs.replace(verdict, outcome=Outcome.INVALID, summary=summary)

        return judged

    return under


def _without_effect(facts: Facts) -> str | None:
    for fault in facts.faults:
        if fault.effective_s is None:
            return f"the fault {fault} had no effect: {_why(fault.call)}"
    for heal in facts.heals:
        if heal.outcome != "ok":
            return f"a heal by {heal.invoke.process} did not succeed: {_why(heal)}"
    wanted = int(facts.number("faults_min", 0))
    if len(facts.faults) < wanted:
        return f"{len(facts.faults)} faults were injected, {wanted} were expected"
    return None


def _not_loaded(facts: Facts) -> str | None:
    done = sum(call.outcome == "ok" for f in ("start", "complete") for call in facts.calls_of(f))
    wanted = int(facts.number("ops_min", 1))
    return (
        f"{done} starts and completes succeeded, at least {wanted} were expected" if done < wanted else None
    )


def _not_observed(facts: Facts) -> str | None:
    if not facts.rows("instance"):
        return "the end state was not observed: no instance row"
    names = [name for _, name in facts.phases]
    if "observe" in names and "end" not in names:
        return "the observation was not finished: phase `observe` without phase `end`"
    return None


def _no_step_rows(facts: Facts) -> str | None:
    if not facts.rows("step"):
        return "the end state was not observed: no step row"
    serves = any(op.value["step_type"] == "SERVICE_TASK" for op in facts.rows("step"))
    if serves and facts.tables_observed and not facts.rows("job"):
        return "the end state was not observed: service steps but no job row"
    return None


def _mispaired(facts: Facts) -> str | None:
    if facts.reused_call is None:
        return None
    op = facts.reused_call.invoke
    return f"{op.process} used call number {op.call} twice for {op.f}: its answers cannot be told apart"


def _why(call: Call) -> str:
    if call.end is None:
        return "it was never answered"
    return str((call.end.error or {}).get("message") or f"answered {call.outcome}")


PAIRED = Assumption(_mispaired, essential=True)
"""Every answer belongs to exactly one call."""
OBSERVED = Assumption(_not_observed, essential=True)
"""The final state was read completely."""
STEPS_OBSERVED = Assumption(_no_step_rows, essential=True)
"""... with its step executions, and its jobs where the tables could be read."""
EFFECTIVE = Assumption(_without_effect)
"""Every fault had an effect and every heal succeeded (parameter `faults_min`: how many there must be)."""
LOADED = Assumption(_not_loaded)
"""At least `ops_min` (1) starts and completes succeeded."""
