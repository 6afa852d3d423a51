"""RO: an upgrade, a rollback or a drain happens completely or not at all, and never at the cost of readiness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.instant import instant_us
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A rollout is complete or has no effect: one that succeeds has replaced every pod, one whose migration fails has "
    "replaced none, and neither a rollout nor a drained node leaves fewer pods ready than promised."
)

ROLLOUTS = frozenset({"upgrade_release", "roll_back_release"})
DRAIN = "drain_node"
DEPLOYED = "deployed"


@assuming("RO", GUARANTEE, PAIRED, EFFECTIVE)
def rollout(history: History) -> Verdict:
    """Parameters: `ready_min`: the number of pods that must be ready all the time; `evictions_refused_min` (0): with
    fewer refused evictions no budget was tested. Each operation records what should become of the release
    (`expects`).
    """
    facts = facts_of(history)
    findings = Findings(facts)
    ready_min = int(facts.number("ready_min"))
    operations = [
        call for name in (*sorted(ROLLOUTS), DRAIN) for call in facts.calls_of(name) if _is_over(call)
    ]
    fewest: int | None = None
    replaced = refused = 0
    for call in operations:
        assert call.end is not None
        seen = call.end.value
        fewest = int(seen["ready_min"]) if fewest is None else min(fewest, int(seen["ready_min"]))
        refused += int(seen.get("refused", 0))
        if call.invoke.f in ROLLOUTS:
            replaced += len(set(seen["pods_before"]) - set(seen["pods_after"]))
        for fault in _faults(call, ready_min):
            findings.add(f"{call.invoke.f}: {fault}", at=(call.invoke.index, call.end.index))
    pickups_s = _pickups_s(facts, operations)
    figures: dict[str, Any] = {
        "operations": len(operations),
        "pods_replaced": replaced,
        "evictions_refused": refused,
        "ready_min": fewest,
        "pickup_p99_s": pickups_s[ceil(len(pickups_s) * 0.99) - 1] if pickups_s else None,
        "pickup_max_s": pickups_s[-1] if pickups_s else None,
    }
    summary = (
        f"{len(operations)} operations, {replaced} pods replaced, {refused} evictions refused, "
        f"at least {fewest} pods ready"
    )
    if pickups_s:
        summary += f", jobs taken within {pickups_s[-1]:.3f} s (p99 {figures['pickup_p99_s']:.3f} s)"
    vacuous = None if operations else "no rollout and no drain was tried"
    if refused < (wanted := int(facts.number("evictions_refused_min", 0))):
        vacuous = f"{refused} evictions were refused, {wanted} were expected: no budget was tested"
    return findings.verdict("RO", GUARANTEE, summary, figures, vacuous=vacuous)


def _pickups_s(facts: Facts, operations: Sequence[Call]) -> list[float]:
    """What each job waited that was asked for during an operation, on the database's clock, the longest last."""
    times_s = [(call.invoke.t_s, call.end.t_s) for call in operations if call.end is not None]
    found = []
    for job_id, tenure in facts.tenures.items():
        first, row = tenure.leases[0], facts.jobs.get(job_id)
        asked_s = first.poll.invoke.t_s
        if row is not None and any(began_s <= asked_s <= ended_s for began_s, ended_s in times_s):
            found.append(round((first.locked_us - instant_us(row.value["created_at"])) / 1e6, 6))
    return sorted(found)


def _is_over(call: Call) -> bool:
    return call.end is not None and call.outcome == "ok"


def _faults(call: Call, ready_min: int) -> Iterator[str]:
    assert call.end is not None
    seen = call.end.value
    if seen["ready_min"] < ready_min:
        yield f"only {seen['ready_min']} pods were ready at one time, {ready_min} were promised"
    if call.invoke.f not in ROLLOUTS:
        return
    expects = call.invoke.value["parameters"]["expects"]
    before, after = set(seen["pods_before"]), set(seen["pods_after"])
    if seen["status"] != expects:
        said = f": {seen['message'][:300]}" if seen.get("message") else ""
        yield f"revision {seen['revision']} is {seen['status']!r} and should be {expects!r}{said}"
    elif expects == DEPLOYED and (kept := before & after):
        yield f"revision {seen['revision']} is deployed and {len(kept)} of {len(before)} pods are the old ones"
    elif expects != DEPLOYED and before != after:
        yield (
            f"revision {seen['revision']} is {expects}, and {len(before - after)} of {len(before)} pods are gone and "
            f"{len(after - before)} have come"
        )
