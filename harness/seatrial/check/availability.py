"""AV: clients saw only the errors that the drill allows, only while it allows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.facts import Facts, Fault, error_status, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "Clients see only allowed errors, only while a fault has an effect; no replica exits by itself, and one that is "
    "told to stop ends in order."
)
IN_ORDER = 0
"""The exit code of a process that ended within its grace, with everything closed."""

UNAVAILABLE, OVERLOADED = 503, 429


@assuming("AV", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def availability(history: History) -> Verdict:
    """Parameters: `error_statuses_allowed` ([]; 0 is a lost connection or a time-out; 503 allows 429: calls queue while
    the database is away, and those that come then are refused early), `error_codes_allowed` (any),
    `never_failing` ([]: kinds of calls that may not fail, whatever is allowed to others), `errors_only_during_fault`
    (false; then `recovery_bound_s` after the heal ends the time allowed), `errors_within_s` (any: that time ends so
    long after the fault took effect, healed or not), `errors_only_at_target` (false: those calls may have been made to
    any node).
    """
    facts = facts_of(history)
    findings = Findings(facts)
    statuses = facts.numbers("error_statuses_allowed")
    if UNAVAILABLE in statuses:
        statuses |= {OVERLOADED}
    unfailing = facts.words("never_failing")
    codes = facts.words("error_codes_allowed") if facts.has("error_codes_allowed") else None
    windows = _windows(facts) if facts.flag("errors_only_during_fault", default=False) else None
    calls = [call for call in facts.calls if call.invoke.process.startswith(("client-", "worker-"))]
    seen: Counter[int] = Counter()
    for call in calls:
        status = error_status(call)
        if status is None or call.end is None:
            continue
        seen[status] += 1
        code = str((call.end.error or {}).get("code") or "")
        why = (
            "it may never fail"
            if call.invoke.f in unfailing
            else _why_not(call, status, code, statuses, codes, windows)
        )
        if why is not None:
            at = (call.invoke.index, call.end.index)
            node = f" at {call.invoke.node}" if call.invoke.node else ""
            findings.add(
                f"{call.invoke.f} by {call.invoke.process}{node} got {_named(status, code)}: {why}", at=at
            )
    for op in facts.rows("exit"):
        findings.add(
            f"{op.value['node']} exited by itself, with exit code {op.value['exit_code']}", at=(op.index,)
        )
    stops = [fault for fault in facts.faults if _exit_code(fault) is not None]
    for fault in stops:
        if (exit_code := _exit_code(fault)) != IN_ORDER:
            took_s = (fault.effective_s or fault.invoked_s) - fault.invoked_s
            told = f"{', '.join(fault.targets)} was told to stop"
            text = f"{told} and ended with exit code {exit_code} after {took_s:.1f} s"
            findings.add(text, at=(fault.call.invoke.index,))
    errors = sum(seen.values())
    unanswered = sum(call.end is None for call in calls)
    figures = {
        "calls": len(calls),
        "errors": errors,
        "errors_by_status": {str(status): count for status, count in sorted(seen.items())},
        "errors_not_allowed": findings.count,
        "exits": len(facts.rows("exit")),
        "stops": len(stops),
        "unanswered": unanswered,
    }
    by_status = (
        ", ".join(f"{count} x {_named(status)}" for status, count in sorted(seen.items())) or "no error"
    )
    summary = f"{len(calls)} calls: {by_status}"
    return findings.verdict(
        "AV", GUARANTEE, summary, figures, vacuous=None if calls else "no client made a call"
    )


def _exit_code(fault: Fault) -> int | None:
    """Of a replica that a signal asked to end; None for other faults."""
    if fault.call.end is None or (fault.call.invoke.value.get("parameters") or {}).get("signal") != "SIGTERM":
        return None
    found = (fault.call.end.value or {}).get("exit_code")
    return None if found is None else int(found)


def _why_not(
    call: Call,
    status: int,
    code: str,
    statuses: frozenset[int],
    codes: frozenset[str] | None,
    windows: Sequence[Window] | None,
) -> str | None:
    if status not in statuses:
        return f"allowed are {', '.join(map(_named, sorted(statuses))) or 'none'}"
    if codes is not None and code not in codes and status != OVERLOADED:
        return f"allowed codes are {', '.join(sorted(codes)) or 'none'}"
    if windows is not None and not any(_overlaps(call, window) for window in windows):
        return "no fault had an effect then, or on that node"
    return None


class Window(NamedTuple):
    """When errors count as a fault's, and at which nodes; None for all of them."""

    begin_s: float
    end_s: float
    nodes: frozenset[str] | None


def _windows(facts: Facts) -> list[Window]:
    """From each fault's invoke to its heal plus the recovery bound; a fault that nothing healed lasts until the
    drain.
    """
    at_target = facts.flag("errors_only_at_target", default=False)
    bound_s = facts.number("recovery_bound_s")
    within_s = facts.number("errors_within_s") if facts.has("errors_within_s") else float("inf")
    drain_s = next((t_s for t_s, name in facts.phases if name in {"drain", "observe", "end"}), float("inf"))
    windows = []
    for fault in facts.faults:
        began_s = fault.effective_s or fault.invoked_s
        until_s = max(drain_s, began_s + bound_s) if fault.healed_s is None else fault.healed_s + bound_s
        end_s = min(until_s, began_s + within_s)
        windows.append(Window(fault.invoked_s, end_s, frozenset(fault.targets) if at_target else None))
    return windows


def _overlaps(call: Call, window: Window) -> bool:
    """A call that was in progress while the fault had an effect on its node."""
    ended_s = call.end.t_s if call.end is not None else call.invoke.t_s
    is_there = window.nodes is None or call.invoke.node in window.nodes
    return is_there and call.invoke.t_s <= window.end_s and ended_s >= window.begin_s


def _named(status: int, code: str = "") -> str:
    return "no answer" if status == 0 else f"{status} {code}".rstrip()
