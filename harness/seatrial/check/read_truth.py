"""RY: who reads what was written finds it (read your writes)."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.facts import Facts, error_status, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A read is true or refused: an instance whose start was acknowledged is found, with all that was acknowledged of "
    "it before the read was sent."
)
_PATH = "/v1/instances/"
_NOT_FOUND = 404


@assuming("RY", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def read_truth(history: History) -> Verdict:
    """No parameters; a read that is refused (5xx, no answer) is judged by AV alone."""
    facts = facts_of(history)
    findings = Findings(facts)
    written = _written(facts)
    answered = refused = 0
    for call in facts.calls_of("get"):
        path = str(call.invoke.value.get("path"))
        instance_id = path.removeprefix(_PATH)
        if call.end is None or not path.startswith(_PATH) or "/" in instance_id:
            continue
        before = written.get(instance_id, _Written()).before(call.invoke.t_s)
        at = (call.invoke.index, call.end.index)
        if call.outcome == "ok":
            answered += 1
            missing = before - set(call.end.value["variable_names"])
            if missing:
                text = (
                    f"{call.invoke.node} answered instance {instance_id} without {', '.join(sorted(missing))}"
                )
                findings.add(f"{text}, which had been acknowledged", instance_id, at=at)
        elif error_status(call) == _NOT_FOUND:
            answered += 1
            if instance_id in written and written[instance_id].began_s <= call.invoke.t_s:
                text = f"{call.invoke.node} did not find instance {instance_id}, whose start had been acknowledged"
                findings.add(text, instance_id, at=at)
        else:
            refused += 1
    figures = {"reads_answered": answered, "reads_refused": refused, "untrue": findings.count}
    summary = f"{answered} reads answered, {refused} refused"
    return findings.verdict(
        "RY", GUARANTEE, summary, figures, vacuous=None if answered else "nothing was read"
    )


class _Written:
    """The variables of one instance that were acknowledged, in the order of their acknowledgements."""

    def __init__(self) -> None:
        self.began_s = float("inf")
        self._times_s: list[float] = []
        self._names: list[set[str]] = []

    def add(self, at_s: float, names: set[str]) -> None:
        self._times_s.append(at_s)
        self._names.append((self._names[-1] if self._names else set()) | names)

    def before(self, at_s: float) -> set[str]:
        number = bisect_right(self._times_s, at_s)
        return self._names[number - 1] if number else set()


def _written(facts: Facts) -> dict[str, _Written]:
    acknowledged: list[tuple[float, str, Call]] = []
    for f in ("start", "signal", "user_task"):
        for call in facts.calls_of(f):
            if call.end is not None and call.outcome == "ok":
                instance_id = (
                    call.end.value["instance_id"] if f == "start" else call.invoke.value["instance_id"]
                )
                acknowledged.append((call.end.t_s, str(instance_id), call))
    for calls in facts.completes_of.values():
        # A later completion of the same job is answered as well, and has no effect (contract 1.6).
        first = next((call for call in calls if call.outcome == "ok"), None)
        if len(calls) == 1 and first is not None and first.end is not None:
            acknowledged.append((first.end.t_s, str(first.invoke.value.get("instance_id")), first))
    found: dict[str, _Written] = defaultdict(_Written)
    for at_s, instance_id, call in sorted(acknowledged, key=lambda each: each[:2]):
        if call.invoke.f == "start":
            found[instance_id].began_s = min(found[instance_id].began_s, at_s)
        found[instance_id].add(at_s, set(call.invoke.value.get("variables") or {}))
    return dict(found)
