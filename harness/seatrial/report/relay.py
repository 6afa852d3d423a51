"""Who led the relay when, and how much waited in the outbox: only in runs with a broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from seatrial.check.dispatch import dispatches_of
from seatrial.check.facts import facts_of
from seatrial.check.lead import claims_of
from seatrial.history import History


@dataclass(frozen=True, slots=True)
class Led:
    """Seconds since the run began."""

    node: str
    start_s: float
    end_s: float
    text: str


def leaders(history: History, zero_s: float, end_s: float) -> tuple[Led, ...]:
    """By the engine's table of leaders, where there is one: a term lasts until the next; else by the gauges."""
    facts = facts_of(history)
    dispatches, offset_s = dispatches_of(facts), dispatches_of(facts).clock_offset_s
    if dispatches.terms and offset_s is not None:
        begins = [max(0.0, term.began_us / 1e6 + offset_s - zero_s) for term in dispatches.terms]
        return tuple(
            Led(term.holder, begin_s, min(until_s, end_s), f"{term.holder} leads, epoch {term.epoch}")
            for term, (begin_s, until_s) in zip(dispatches.terms, pairwise([*begins, end_s]), strict=True)
            if begin_s < end_s
        )
    return tuple(
        Led(
            claim.node,
            max(0.0, claim.from_s - zero_s),
            min(claim.to_s - zero_s, end_s),
            f"{claim.node} leads",
        )
        for claim in claims_of(facts)
        if claim.from_s - zero_s < end_s
    )


def depths(history: History, zero_s: float) -> Sequence[tuple[float, int]]:
    """(seconds since the run began, rows in the outbox) at each look that found another number than the last."""
    return [(op.t_s - zero_s, int(op.value["rows"])) for op in history.rows("outbox_depth")]
