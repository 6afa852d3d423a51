"""RN: retention takes what is due, whole, and nothing else, and calls beside it are as fast as without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from seatrial.check.assumptions import PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Retention is exact and quiet: an instance that finished longer ago than the limit goes with all its rows, every "
    "other one keeps all of its own, and calls and claims beside it are as fast as without."
)
REMOVED_SERIES = 'windlass_retention_removed_rows_total{table="workflow_instance"}'
TIMED = ("start", "complete")
"""Calls whose latency counts: a poll waits for a job. Claims count by their completions."""


class Window(NamedTuple):
    """A part of the load with or without retention beside it."""

    row: Op
    prunes: bool
    begin_s: float
    end_s: float


class Pace(NamedTuple):
    """What calls were like in all windows of one kind."""

    calls: int
    p99_ms: float
    per_s: float
    """Jobs completed a second."""


@assuming("RN", GUARANTEE, PAIRED)
def retention(history: History) -> Verdict:
    """Observer rows `retention_window` mark parts of the load, `retention` tells what was left of rows that should
    go or stay. Parameters: `retention_due_min` instances make it a test; `retention_p99_ratio_max` times the p99
    without retention, and in any case `retention_p99_floor_ms`, is allowed with it, and `retention_rate_ratio_min`
    times the jobs a second must be completed.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    due = _judge_rows(facts, findings)
    windows = _windows(facts)
    without, beside = (
        _pace(facts, [each for each in windows if each.prunes is prunes]) for prunes in (False, True)
    )
    at = [window.row.index for window in windows]
    p99_max_ms = max(
        facts.number("retention_p99_ratio_max") * without.p99_ms, facts.number("retention_p99_floor_ms")
    )
    if beside.p99_ms > p99_max_ms:
        text = f"p99 of calls beside retention was {beside.p99_ms:.0f} ms, {without.p99_ms:.0f} ms without it"
        findings.add(f"{text}; {p99_max_ms:.0f} ms are allowed", at=at)
    rate_min = facts.number("retention_rate_ratio_min") * without.per_s
    if beside.per_s < rate_min:
        text = f"{beside.per_s:.1f} jobs a second were completed beside retention, {without.per_s:.1f} without it"
        findings.add(f"{text}; at least {rate_min:.1f} had to be", at=at)
    nodes = [
        op.value["node"] for op in facts.rows("metrics") if (op.value["series"] or {}).get(REMOVED_SERIES)
    ]
    figures = {
        "due": due,
        "nodes_that_removed": len(nodes),
        "p99_without_ms": round(without.p99_ms, 1),
        "p99_beside_ms": round(beside.p99_ms, 1),
        "jobs_per_s_without": round(without.per_s, 1),
        "jobs_per_s_beside": round(beside.per_s, 1),
    }
    summary = (
        f"{due} instances were due and {len(nodes)} nodes removed some; p99 {beside.p99_ms:.0f} ms beside, "
        f"{without.p99_ms:.0f} ms without; {beside.per_s:.1f} jobs a second beside, {without.per_s:.1f} without"
    )
    return findings.verdict(
        "RN", GUARANTEE, summary, figures, vacuous=_vacuous(facts, due, nodes, without, beside)
    )


def _vacuous(facts: Facts, due: int, nodes: Sequence[str], without: Pace, beside: Pace) -> str | None:
    due_min = int(facts.number("retention_due_min"))
    if due < due_min:
        return f"{due} instances were due, fewer than {due_min}"
    if len(nodes) < 2:
        return f"{len(nodes)} nodes removed instances, so none met another"
    if not without.calls or not beside.calls:
        return "no call was made with, or none without, retention beside it"
    return None


def _judge_rows(facts: Facts, findings: Findings) -> int:
    """How many instances were due."""
    due = 0
    for op in facts.rows("retention"):
        kind, instances = op.value["kind"], int(op.value["instances"])
        if op.value["goes"]:
            due += instances
        for table, per_instance in op.value["rows"].items():
            wanted = 0 if op.value["goes"] else instances * per_instance
            left = op.value["left"].get(table, 0)
            if left != wanted:
                text = f"{left} rows in {table} were left of {instances} instances {kind}, not {wanted}"
                findings.add(text, at=(op.index,))
    return due


def _windows(facts: Facts) -> Sequence[Window]:
    """Each lasts from its own row to the next one; a row without `prunes` begins none."""
    rows = facts.rows("retention_window")
    return [
        Window(op, bool(op.value["prunes"]), op.t_s, following.t_s)
        for op, following in pairwise(rows)
        if op.value.get("prunes") is not None
    ]


def _pace(facts: Facts, windows: Sequence[Window]) -> Pace:
    took_s: list[float] = []
    completed = 0
    for f in TIMED:
        for call in facts.calls_of(f):
            begun_s = call.invoke.t_s
            if call.end is None or not any(each.begin_s <= begun_s < each.end_s for each in windows):
                continue
            took_s.append(call.end.t_s - begun_s)
            completed += f == "complete" and call.outcome == "ok"
    took_s.sort()
    p99_s = took_s[max(0, math.ceil(len(took_s) * 0.99) - 1)] if took_s else 0.0
    length_s = sum(each.end_s - each.begin_s for each in windows)
    return Pace(len(took_s), p99_s * 1000, completed / length_s if length_s else 0.0)
