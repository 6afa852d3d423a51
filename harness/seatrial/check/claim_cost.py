"""CC: a claim costs the same however many jobs wait."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles
from typing import Any

import msgspec

from seatrial.check.assumptions import PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Claiming stays flat: the pages and rows that the database touches for one claimed job do not grow with the "
    "backlog."
)
SPREAD_MIN = 100.0
"""The largest backlog divided by the smallest: a smaller ratio proves nothing."""


class Level(msgspec.Struct, frozen=True):
    """What the polls cost while so many jobs waited."""

    row: Op
    waiting: int
    jobs: int
    buffers_per_job: float
    rows_per_job: float
    poll_p95_ms: float


@assuming("CC", GUARANTEE, PAIRED)
def claim_cost(history: History) -> Verdict:
    """One observer row `claim_cost` for each backlog. Parameter `claim_growth_bound_ratio`: how much more a job may
    cost at any backlog than at the smallest; a B-tree of a thousand times the entries is one or two pages deeper.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    bound = facts.number("claim_growth_bound_ratio")
    levels = _levels(facts)
    idle = [op for op in facts.rows("claim_cost") if not op.value["jobs"]]
    for op in idle:
        findings.add(f"{op.value['waiting']} jobs waited but the polls got none", at=(op.index,))
    smallest = levels[0] if levels else None
    for level in levels[1:]:
        assert smallest is not None
        for what, cost, least in (
            ("pages", level.buffers_per_job, smallest.buffers_per_job),
            ("rows", level.rows_per_job, smallest.rows_per_job),
        ):
            if cost > bound * max(least, 1.0):
                text = (
                    f"a claimed job cost {cost:.1f} {what} with {level.waiting} waiting, {least:.1f} with "
                    f"{smallest.waiting}: more than {bound:g} times as much"
                )
                findings.add(text, at=(smallest.row.index, level.row.index))
    figures: dict[str, Any] = {"claim_growth_bound_ratio": bound}
    for level in levels:
        figures[f"pages_per_job_at_{level.waiting}"] = round(level.buffers_per_job, 2)
        figures[f"rows_per_job_at_{level.waiting}"] = round(level.rows_per_job, 2)
        figures[f"poll_p95_at_{level.waiting}_ms"] = round(level.poll_p95_ms, 2)
    summary = "; ".join(
        f"{level.waiting} waiting: {level.buffers_per_job:.1f} pages and {level.rows_per_job:.1f} rows a job, "
        f"p95 {level.poll_p95_ms:.1f} ms"
        for level in levels
    )
    vacuous = None
    if smallest is None or levels[-1].waiting < SPREAD_MIN * smallest.waiting:
        vacuous = f"the backlogs were not {SPREAD_MIN:g} times apart"
    return findings.verdict("CC", GUARANTEE, summary or "nothing was claimed", figures, vacuous=vacuous)


def _levels(facts: Facts) -> Sequence[Level]:
    """The backlogs at which jobs were claimed, smallest first."""
    return sorted(
        (_level(op) for op in facts.rows("claim_cost") if op.value["jobs"]), key=lambda level: level.waiting
    )


def _level(op: Op) -> Level:
    value = op.value
    jobs = int(value["jobs"])
    polls_ms = [float(each) for each in value["polls_ms"]]
    return Level(
        op,
        int(value["waiting"]),
        jobs,
        value["buffers"] / jobs,
        value["rows"] / jobs,
        quantiles(polls_ms, n=20)[-1] if len(polls_ms) > 1 else sum(polls_ms),
    )
