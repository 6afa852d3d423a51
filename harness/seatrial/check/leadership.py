"""LD: one replica relays at a time, and when it is gone another does within the bound."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import combinations, pairwise
from math import ceil, inf
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.dispatch import OUTBOX_AUDIT, Dispatches, Term, dispatches_of
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.lead import Claim, claims_of, hits, names
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "One replica leads the relay: epochs rise and each has one holder, only the holder removes rows, nothing "
    "created after a term is published in it, no two replicas claim to lead at once, and a lost leader is replaced "
    "within the bound."
)


@assuming("LD", GUARANTEE, PAIRED, OUTBOX_AUDIT, EFFECTIVE, LOADED)
def leadership(history: History) -> Verdict:
    """Parameters: `takeover_bound_s` (none): the longest time from a fault that takes the leader to the next term;
    `takeover_p95_bound_s` (none); `lead_overlap_s` (1): two gauges may both say 1 as long, since they are read in turn.
    """
    facts = facts_of(history)
    dispatches = dispatches_of(facts)
    findings = Findings(facts)
    _judge_terms(dispatches.terms, findings)
    _judge_removals(dispatches, findings)
    _judge_records(dispatches, findings)
    claims = claims_of(facts)
    _judge_claims(claims, facts.number("lead_overlap_s", 1.0), findings)
    takeovers = _judge_takeovers(facts, findings)
    times_s = sorted(each["takeover_s"] for each in takeovers if each["takeover_s"] is not None)
    figures: dict[str, Any] = {
        "terms": len(dispatches.terms),
        "leaders_hit": len(takeovers),
        "takeover_p50_s": _quantile(times_s, 50),
        "takeover_p95_s": _quantile(times_s, 95),
        "takeover_max_s": times_s[-1] if times_s else None,
        "takeovers": takeovers,
    }
    if facts.has("takeover_p95_bound_s"):
        bound_s, p95_s = facts.number("takeover_p95_bound_s"), figures["takeover_p95_s"]
        if p95_s is not None and p95_s > bound_s:
            findings.add(
                f"the 95th percentile of {len(times_s)} takeovers is {p95_s:.3f} s, the bound is {bound_s:g} s"
            )
    summary = f"{len(dispatches.terms)} terms, {len(takeovers)} leaders hit"
    if times_s:
        summary += f", replaced within {times_s[-1]:.3f} s (p95 {figures['takeover_p95_s']:.3f} s)"
    seen = bool(dispatches.terms or claims)
    return findings.verdict(
        "LD", GUARANTEE, summary, figures, vacuous=None if seen else "no replica ever led"
    )


def _judge_terms(terms: Sequence[Term], findings: Findings) -> None:
    for before, after in pairwise(terms):
        at = (before.op.index, after.op.index)
        if after.epoch < before.epoch:
            findings.add(f"epoch {after.epoch} came after epoch {before.epoch}", at=at)
        elif after.epoch == before.epoch and after.holder != before.holder:
            text = f"epoch {after.epoch} was held by {before.holder} and by {after.holder}"
            findings.add(text, at=at)


def _judge_removals(dispatches: Dispatches, findings: Findings) -> None:
    """By the name that the remover's session gives itself; a nameless session is nobody's."""
    holders = {term.epoch: term.holder for term in dispatches.terms}
    for op in dispatches.removals:
        holder = holders.get(op.value.get("epoch") or 0)
        if holder is not None and "/" in op.value["by_whom"] and not names(op.value["by_whom"], holder):
            text = (
                f"row {op.value['dedup_id']} was removed by {op.value['by_whom']} in epoch {op.value['epoch']}, "
                f"which {holder} holds"
            )
            findings.add(text, op.value["dedup_id"], op.value["job_id"], at=(op.index,))


def _judge_records(dispatches: Dispatches, findings: Findings) -> None:
    """What was in hand when the term ended may still arrive: it cannot be called back. What came later was not."""
    began = {term.epoch: term.began_us for term in dispatches.terms}
    epochs = sorted(began)
    for record in dispatches.records:
        row = dispatches.rows.get(record.dedup_id)
        if record.epoch is None or row is None or not epochs:
            continue
        if record.epoch not in began:
            text = f"record {record.dedup_id} was published in epoch {record.epoch}, which nobody held"
            findings.add(text, record.dedup_id, at=(record.op.index,))
            continue
        following = bisect_right(epochs, record.epoch)
        if following < len(epochs) and row.enqueued_us > began[epochs[following]]:
            late_s = (row.enqueued_us - began[epochs[following]]) / 1e6
            text = (
                f"record {record.dedup_id} was published in epoch {record.epoch}; its row was made {late_s:.3f} s "
                f"after epoch {epochs[following]} had begun"
            )
            findings.add(text, record.dedup_id, row.job_id, at=(row.op.index, record.op.index))


def _judge_claims(claims: Sequence[Claim], allowed_s: float, findings: Findings) -> None:
    for one, other in combinations(claims, 2):
        overlap_s = min(one.to_s, other.to_s) - max(one.from_s, other.from_s)
        if one.node != other.node and overlap_s > allowed_s:
            text = f"{one.node} and {other.node} both said to lead for {overlap_s:.2f} s"
            findings.add(text, at=(one.op.index, other.op.index))


def _judge_takeovers(facts: Facts, findings: Findings) -> list[dict[str, Any]]:
    bound_s = facts.number("takeover_bound_s", inf)
    found = []
    for hit in hits(facts):
        found.append({"fault": str(hit.fault), "leader": hit.leader, "takeover_s": hit.takeover_s})
        if hit.takeover_s is None and bound_s < inf:
            text = f"nobody took over after {hit.fault}, who led"
            findings.add(text, at=(hit.fault.call.invoke.index,))
        elif hit.takeover_s is not None and hit.takeover_s > bound_s:
            text = f"{hit.takeover_s:.3f} s passed from {hit.fault} to the next leader, the bound is {bound_s:g} s"
            findings.add(text, at=(hit.fault.call.invoke.index,))
    return found


def _quantile(ordered: Sequence[float], percent: int) -> float | None:
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else None
