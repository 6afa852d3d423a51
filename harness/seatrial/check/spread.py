"""SPREAD: who is connected already comes to new replicas too. A balancer of connections, as a Kubernetes Service is,
gives a replica only new ones, and a gRPC client opens none while it has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.facts import Facts, Fault, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "A scale-out is felt: within the bound each new replica has its share of the calls, also of callers that were "
    "connected before."
)


@assuming("SPREAD", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def spread(history: History) -> Verdict:
    """Observer rows `calls` tell how many calls each node has answered so far. Parameters: `spread_within_s` after a
    fault that adds replicas, each node has at least `spread_share_min` of an equal share of the calls made from then to
    the end of the load; fewer than `spread_calls_min` of them show nothing.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    calls: dict[str, int] = {}
    new: set[str] = set()
    for fault, end_s in _stretches(facts):
        before, first, last = _looks(facts, fault, end_s)
        if before is None or first is None or last is None or first is last:
            continue
        new |= _serving(last) - _serving(before)
        made = _between(first, last)
        equal = sum(made.values()) / len(made)
        least = facts.number("spread_share_min") * equal
        for node, count in made.items():
            if count < least:
                text = f"{node} answered {count} of {sum(made.values())} calls after {fault}"
                findings.add(f"{text}, its share is {least:.0f} or more", at=(first.index, last.index))
            calls[node] = calls.get(node, 0) + count
    wanted = int(facts.number("spread_calls_min"))
    figures = {
        "calls": dict(sorted(calls.items())),
        "new_nodes": sorted(new),
        "spread_within_s": facts.number("spread_within_s"),
        "violations": findings.count,
    }
    summary = f"{sum(calls.values())} calls after the bound, by {len(calls)} nodes, {len(new)} of them new"
    vacuous = None
    if sum(calls.values()) < wanted:
        vacuous = f"{sum(calls.values())} calls were counted after the bound, {wanted} were expected"
    elif not new:
        vacuous = "no node was new"
    return findings.verdict("SPREAD", GUARANTEE, summary, figures, vacuous=vacuous)


def _stretches(facts: Facts) -> Sequence[tuple[Fault, float]]:
    """Each fault, and when the next one or the end of the load comes."""
    faults = sorted(
        (each for each in facts.faults if each.effective_s is not None), key=lambda each: each.invoked_s
    )
    ends = [following.invoked_s for _, following in pairwise(faults)]
    return list(zip(faults, [*ends, facts.load_window_s[1]], strict=True)) if faults else []


def _looks(facts: Facts, fault: Fault, end_s: float) -> tuple[Op | None, Op | None, Op | None]:
    """The last look before the fault, and the first and the last after its bound."""
    rows = facts.rows("calls")
    begin_s = (fault.effective_s or fault.invoked_s) + facts.number("spread_within_s")
    before = [op for op in rows if op.t_s <= fault.invoked_s]
    after = [op for op in rows if begin_s <= op.t_s <= end_s]
    return (before[-1] if before else None, after[0] if after else None, after[-1] if after else None)


def _serving(look: Op) -> set[str]:
    return {node for node, count in look.value["nodes"].items() if count}


def _between(first: Op, last: Op) -> Mapping[str, int]:
    had = first.value["nodes"]
    return {node: int(count) - int(had.get(node, 0)) for node, count in last.value["nodes"].items()}
