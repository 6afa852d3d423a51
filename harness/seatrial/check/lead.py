"""Who led the relay when: by the table of leaders where the engine has one, else by the gauges of the nodes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from seatrial.check.dispatch import Dispatches, dispatches_of
from seatrial.check.facts import Facts, Fault
from seatrial.history import Op


class Claim(msgspec.Struct, frozen=True):
    """A time in which a node's gauge said 1 (monotonic)."""

    node: str
    from_s: float
    to_s: float
    op: Op


class Hit(msgspec.Struct, frozen=True):
    """A fault that hit the leader. `takeover_s`: from its injection to the next term; None when there was none."""

    fault: Fault
    leader: str
    takeover_s: float | None


def hits(facts: Facts) -> Sequence[Hit]:
    dispatches, claims = dispatches_of(facts), claims_of(facts)
    found = []
    for fault in facts.faults:
        leader = _leader_at(fault.invoked_s, dispatches, claims)
        if (
            fault.effective_s is None
            or leader is None
            or not any(names(each, leader) for each in fault.targets)
        ):
            continue
        next_s = _next_term_s(fault, leader, dispatches, claims)
        found.append(Hit(fault, leader, None if next_s is None else round(next_s - fault.invoked_s, 3)))
    return found


def names(session: str, holder: str) -> bool:
    """Whether the session's name (parts between slashes) has the holder's node in it."""
    return any(part and (holder == part or holder.startswith(f"{part}/")) for part in session.split("/"))


def claims_of(facts: Facts) -> Sequence[Claim]:
    """From the gauges; a node that does not answer claims nothing."""
    open_: dict[str, Op] = {}
    found = []
    last_s = max((op.t_s for op in facts.rows("leads")), default=0.0)
    for op in facts.rows("leads"):
        node = str(op.value["node"])
        began = open_.pop(node, None)
        if began is not None:
            found.append(Claim(node, began.t_s, op.t_s, began))
        if op.value["leads"]:
            open_[node] = op
    found += [Claim(node, op.t_s, max(last_s, op.t_s), op) for node, op in open_.items()]
    return sorted(found, key=lambda claim: claim.from_s)


def _leader_at(at_s: float, dispatches: Dispatches, claims: Sequence[Claim]) -> str | None:
    """By the leaders' table, where there is one; else by the gauges."""
    offset_s = dispatches.clock_offset_s
    if dispatches.terms and offset_s is not None:
        held = [term for term in dispatches.terms if term.began_us / 1e6 + offset_s <= at_s]
        return held[-1].holder if held else None
    claiming = [claim.node for claim in claims if claim.from_s <= at_s <= claim.to_s]
    return claiming[-1] if claiming else None


def _next_term_s(fault: Fault, leader: str, dispatches: Dispatches, claims: Sequence[Claim]) -> float | None:
    offset_s = dispatches.clock_offset_s
    if dispatches.terms and offset_s is not None:
        begins = [term.began_us / 1e6 + offset_s for term in dispatches.terms]
        return min((began_s for began_s in begins if began_s > fault.invoked_s), default=None)
    return min(
        (claim.from_s for claim in claims if claim.from_s > fault.invoked_s and claim.node != leader),
        default=None,
    )
