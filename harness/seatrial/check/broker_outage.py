"""BO: what an unreachable broker may affect, and how soon the backlog drains when it is back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.dispatch import OUTBOX_AUDIT, dispatches_of
from seatrial.check.facts import Facts, Fault, error_status, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "While the broker is down, starts succeed and no transaction stays open; when it is back, the backlog drains "
    "several times as fast as work arrives."
)


class Drain(msgspec.Struct, frozen=True):
    """From the longest outbox seen after the heal to the first sample in which it was almost empty."""

    rows: int
    took_s: float
    enqueued: int
    """The rows that came in during that time."""

    @property
    def per_s(self) -> float:
        return (self.rows + self.enqueued) / self.took_s if self.took_s > 0 else float("inf")


@assuming("BO", GUARANTEE, PAIRED, OUTBOX_AUDIT, EFFECTIVE, LOADED)
def broker_outage(history: History) -> Verdict:
    """Parameters: `transaction_age_max_s`; `drain_ratio_min`: how many times the arrival rate the backlog must drain
    at; `backlog_min` (1): the drill is vacuous when less waited at the end of the outage.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    outages = [fault for fault in facts.faults if "broker" in fault.targets and fault.healed_s is not None]
    age_max_s, ratio_min = facts.number("transaction_age_max_s"), facts.number("drain_ratio_min")
    oldest_s = _judge_ages(facts, outages, age_max_s, findings)
    refused = _judge_starts(facts, outages, findings)
    arrival_per_s = _arrival_per_s(facts, outages)
    drains = [drain_of(facts, outage) for outage in outages]
    ratios = []
    for outage, drain in zip(outages, drains, strict=True):
        if drain is None:
            findings.add(f"the backlog of {outage} never drained", at=(outage.call.invoke.index,))
        elif arrival_per_s:
            ratios.append(drain.per_s / arrival_per_s)
            if ratios[-1] < ratio_min:
                text = f"the backlog drained at {ratios[-1]:.1f} times the arrival rate, {ratio_min:g} times is needed"
                findings.add(text, at=(outage.call.invoke.index,))
    deepest = max((drain.rows for drain in drains if drain is not None), default=0)
    figures = {
        "outages": len(outages),
        "transaction_age_s": round(oldest_s, 2),
        "starts_refused": refused,
        "arrival_per_s": round(arrival_per_s, 1),
        "backlog": deepest,
        "drain_per_s": round(min((d.per_s for d in drains if d is not None), default=0.0), 1),
        "drain_ratio": round(min(ratios), 1) if ratios else None,
    }
    summary = (
        f"oldest transaction {oldest_s:.2f} s, backlog {deepest} drained at {figures['drain_per_s']} rows/s, "
        f"{figures['drain_ratio']} times the arrival rate"
    )
    vacuous = None
    if not outages:
        vacuous = "the broker was never down"
    elif deepest < facts.number("backlog_min", 1):
        vacuous = f"only {deepest} rows waited when the broker came back"
    return findings.verdict("BO", GUARANTEE, summary, figures, vacuous=vacuous)


def _judge_ages(facts: Facts, outages: Sequence[Fault], age_max_s: float, findings: Findings) -> float:
    oldest_s = 0.0
    for op in facts.rows("outbox_depth"):
        during = any(outage.invoked_s <= op.t_s <= (outage.healed_s or op.t_s) for outage in outages)
        if during:
            oldest_s = max(oldest_s, float(op.value["transaction_age_s"]))
            if op.value["transaction_age_s"] > age_max_s:
                text = f"a transaction was open for {op.value['transaction_age_s']:.2f} s, the bound is {age_max_s:g} s"
                findings.add(text, at=(op.index,))
    return oldest_s


def _judge_starts(facts: Facts, outages: Sequence[Fault], findings: Findings) -> int:
    """A replica at which nothing listens says nothing about the broker."""
    refused = 0
    for call in facts.calls_of("start"):
        at_s = call.invoke.t_s
        refused_by_nobody = call.outcome == "fail" and error_status(call) == 0
        if (
            call.outcome != "ok"
            and not refused_by_nobody
            and any(o.invoked_s <= at_s <= (o.healed_s or at_s) for o in outages)
        ):
            refused += 1
            findings.add("a start did not succeed while the broker was down", at=(call.invoke.index,))
    return refused


def _arrival_per_s(facts: Facts, outages: Sequence[Fault]) -> float:
    """Rows that came into the outbox per second of outage, up to the last of them: the load may end before it does."""
    enqueued_s = _enqueued_s(facts)
    count, length_s = 0, 0.0
    for outage in outages:
        came_s = [at_s for at_s in enqueued_s if outage.invoked_s <= at_s <= (outage.healed_s or at_s)]
        count += len(came_s)
        length_s += max(came_s, default=outage.invoked_s) - outage.invoked_s
    return count / length_s if length_s else 0.0


def drain_of(facts: Facts, outage: Fault) -> Drain | None:
    """None if the outbox was not seen almost empty (a twentieth of its length) before the next outage or the end."""
    healed_s = outage.healed_s or outage.invoked_s
    looks = [(op.t_s, int(op.value["rows"])) for op in facts.rows("outbox_depth")]
    before = [rows for at_s, rows in looks if outage.invoked_s <= at_s <= healed_s]
    after = [(at_s, rows) for at_s, rows in looks if at_s > healed_s]
    deepest = max([*before, *(rows for _, rows in after)], default=0)
    peak_s = max([healed_s, *(at_s for at_s, rows in after if rows == deepest)])
    end_s = next((at_s for at_s, rows in after if at_s > peak_s and rows <= deepest // 20), None)
    if end_s is None:
        return None
    enqueued = sum(peak_s < at_s <= end_s for at_s in _enqueued_s(facts))
    return Drain(deepest, end_s - peak_s, enqueued)


def _enqueued_s(facts: Facts) -> Sequence[float]:
    """When each row came into the outbox (monotonic)."""
    dispatches = dispatches_of(facts)
    offset_s = dispatches.clock_offset_s or 0.0
    return [row.enqueued_us / 1e6 + offset_s for row in dispatches.rows.values()]
