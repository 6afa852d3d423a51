"""AV: clients saw only the errors that the drill allows, only while it allows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.facts import Facts, error_status, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "Clients see only allowed errors, only while a fault has an effect, and no replica exits by itself."
)


@assuming("AV", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def availability(history: History) -> Verdict:
    """Parameters: `error_statuses_allowed` ([]; 0 is a lost connection or a time-out), `error_codes_allowed` (any),
    `never_failing` ([]: kinds of calls that may not fail, whatever is allowed to others), `errors_only_during_fault`
    (false; then `recovery_bound_s` after the heal ends the time allowed).
    """
    facts = facts_of(history)
    findings = Findings(facts)
    statuses = facts.numbers("error_statuses_allowed")
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
    errors = sum(seen.values())
    unanswered = sum(call.end is None for call in calls)
    figures = {
        "calls": len(calls),
        "errors": errors,
        "errors_by_status": {str(status): count for status, count in sorted(seen.items())},
        "errors_not_allowed": findings.count,
        "exits": len(facts.rows("exit")),
        "unanswered": unanswered,
    }
    by_status = (
        ", ".join(f"{count} x {_named(status)}" for status, count in sorted(seen.items())) or "no error"
    )
    summary = f"{len(calls)} calls: {by_status}"
    return findings.verdict(
        "AV", GUARANTEE, summary, figures, vacuous=None if calls else "no client made a call"
    )


def _why_not(
    call: Call,
    status: int,
    code: str,
    statuses: frozenset[int],
    codes: frozenset[str] | None,
    windows: Sequence[tuple[float, float]] | None,
) -> str | None:
    if status not in statuses:
        return f"allowed are {', '.join(map(_named, sorted(statuses))) or 'none'}"
    if codes is not None and code not in codes:
        return f"allowed codes are {', '.join(sorted(codes)) or 'none'}"
    if windows is not None and not any(_overlaps(call, window) for window in windows):
        return "no fault had an effect then"
    return None


def _windows(facts: Facts) -> list[tuple[float, float]]:
    """From each fault's invoke to its heal plus the recovery bound; a fault that nothing healed lasts until the
    drain.
    """
    bound_s = facts.number("recovery_bound_s")
    drain_s = next((t_s for t_s, name in facts.phases if name in {"drain", "observe", "end"}), float("inf"))
    windows = []
    for fault in facts.faults:
        if fault.healed_s is not None:
            windows.append((fault.invoked_s, fault.healed_s + bound_s))
        else:
            windows.append((fault.invoked_s, max(drain_s, (fault.effective_s or fault.invoked_s) + bound_s)))
    return windows


def _overlaps(call: Call, window: tuple[float, float]) -> bool:
    """A call that was in progress while the fault had an effect."""
    ended_s = call.end.t_s if call.end is not None else call.invoke.t_s
    return call.invoke.t_s <= window[1] and ended_s >= window[0]


def _named(status: int, code: str = "") -> str:
    return "no answer" if status == 0 else f"{status} {code}".rstrip()
