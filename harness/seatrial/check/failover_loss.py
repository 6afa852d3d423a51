"""FL: what a failover lost, and who lost it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, OBSERVED, PAIRED, Assumption, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.held import MAY_LOSE, broken_promises, held_by, lost_by_database, promotion_of
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A failover loses only what the old primary had not replicated, nothing acknowledged if replication is "
    "synchronous, and what the new one had when it took over stays."
)


def _not_surveyed(facts: Facts) -> str | None:
    if promotion_of(facts) is None:
        return "nothing took over: there is no promotion row"
    old, new = held_by(facts, "old"), held_by(facts, "new")
    for server, held in (("old", old), ("new", new)):
        if not held.instances or not held.jobs:
            return f"what the {server} primary held was not observed"
    strange = [*(new.instances.keys() - old.instances.keys()), *(new.jobs.keys() - old.jobs.keys())]
    if strange:
        return f"the new primary held {strange[0]}, which the old one never had: it was not its standby"
    return None


SURVEYED = Assumption(_not_surveyed, essential=True)
"""What both servers held is known, and one was the other's standby."""


@assuming("FL", GUARANTEE, PAIRED, OBSERVED, SURVEYED, EFFECTIVE)
def failover_loss(history: History) -> Verdict:
    """Parameter `database_may_lose` (false): replication is asynchronous. The checks of the engine then take what the
    database lost for calls whose outcome is unknown.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    may_lose = facts.flag(MAY_LOSE, default=False)
    lost = lost_by_database(facts)
    by_kind = Counter(call.invoke.f for call in lost)
    if not may_lose:
        for call in lost:
            at = (call.invoke.index, call.end.index) if call.end is not None else (call.invoke.index,)
            findings.add(
                f"{call.invoke.f} by {call.invoke.process} was answered ok, the old primary had it and the new one "
                "had not, although replication is synchronous",
                at=at,
            )
    broken = broken_promises(facts)
    for text, id_, indexes in broken:
        findings.add(text, id_, at=indexes)
    figures: dict[str, Any] = {
        "lost_by_database": len(lost),
        "lost_by_database_of": dict(sorted(by_kind.items())),
        "wal_bytes_not_replicated": _bytes_behind(facts),
        "survived_instances": len(held_by(facts, "new").instances),
        "lost_after_failover": len(broken),
    }
    told = ", ".join(f"{count} x {kind}" for kind, count in sorted(by_kind.items())) or "nothing acknowledged"
    summary = (
        f"the database itself lost {told}; of what survived, {len(broken)} things were lost by the engine"
    )
    return findings.verdict("FL", GUARANTEE, summary, figures)


def _bytes_behind(facts: Facts) -> int:
    """How much the old primary has written beyond the point where the new one's timeline began."""
    promotion = promotion_of(facts)
    ends = [op.value["at"] for op in facts.rows("held_wal") if op.value["server"] == "old"]
    if promotion is None or not ends:
        return 0
    return max(0, _position(ends[0]) - _position(promotion.value["parted_at"]))


def _position(lsn: str) -> int:
    """PostgreSQL's text of a place in the write-ahead log: two hexadecimal halves."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
