"""FLAT: what a node takes does not grow with the time that it runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "A long run is flat: throughput, latency, memory, descriptors, dead rows and log are in its last third as in its "
    "first."
)
_MIB = 1024 * 1024


class Course(msgspec.Struct, frozen=True):
    """One quantity over time: the medians of its first and its last third, which single disturbances do not move."""

    name: str
    unit: str
    first: float
    last: float
    bound: float
    is_least: bool = False
    """Whether the bound is the least that the last third may have; otherwise it is the most."""

    @property
    def is_broken(self) -> bool:
        return self.last < self.bound if self.is_least else self.last > self.bound

    def __str__(self) -> str:
        return f"{self.name} {self.first:.4g} then {self.last:.4g} {self.unit}".strip()


@assuming("FLAT", GUARANTEE, PAIRED, EFFECTIVE)
def steadiness(history: History) -> Verdict:
    """Rows `soak` are the load's, rows `resources` each node's while it lasted. Parameters, all of the last third
    against the first: `throughput_loss_max` (0.1, a share); `p99_growth_factor_max` (2) and `p99_floor_ms` (50: what is
    fast enough anyway); `rss_growth_max_mib` (16) and `descriptors_growth_max` (8), of each node;
    `dead_share_growth_max` (0.15: dead rows of all rows); `log_growth_factor_max` (1.2: bytes for each instance);
    `soak_rows_min` (30), `completed_min` (1000): fewer show nothing. Every acknowledged instance must be completed.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    rows = facts.rows("soak")
    courses = _courses(facts, rows) if len(rows) >= 3 else []
    for course in courses:
        if course.is_broken:
            side = "at least" if course.is_least else "at most"
            text = f"{course.name} went from {course.first:.4g} to {course.last:.4g} {course.unit}".rstrip()
            findings.add(f"{text}, {side} {course.bound:.4g} was allowed", at=[op.index for op in rows[-3:]])
    for op in facts.rows("soak_end"):
        value = op.value
        if value["unfinished"] or value["completed"] < value["acknowledged"]:
            text = (
                f"{value['acknowledged']} starts were acknowledged, {value['completed']} instances are completed and "
                f"{value['unfinished']} unfinished"
            )
            findings.add(text, at=(op.index,))
    completed = sum(int(op.value["completed"]) for op in rows)
    figures: dict[str, Any] = {
        "completed": completed,
        "refused": sum(int(op.value["refused"]) for op in rows),
        "samples": len(rows),
        **{f"{course.name.replace(' ', '_')}_first": round(course.first, 4) for course in courses},
        **{f"{course.name.replace(' ', '_')}_last": round(course.last, 4) for course in courses},
    }
    summary = "; ".join(map(str, courses)) or "nothing was sampled"
    return findings.verdict("FLAT", GUARANTEE, summary, figures, vacuous=_vacuous(facts, rows, completed))


def _vacuous(facts: Facts, rows: Sequence[Op], completed: int) -> str | None:
    if len(rows) < (wanted := int(facts.number("soak_rows_min", 30))):
        return f"{len(rows)} samples of the load, {wanted} were expected"
    if completed < (wanted := int(facts.number("completed_min", 1000))):
        return f"{completed} instances were completed, {wanted} were expected"
    if not facts.rows("soak_end"):
        return "nobody counted what was left at the end"
    return None


def _courses(facts: Facts, rows: Sequence[Op]) -> Sequence[Course]:
    def of_load(name: str, unit: str, value: Callable[[Mapping[str, Any]], float]) -> tuple[str, str, Any]:
        return name, unit, thirds([value(op.value) for op in rows])

    name, unit, (first, last) = of_load("throughput", "a second", lambda v: v["completed"] / v["over_s"])
    loss = facts.number("throughput_loss_max", 0.1)
    courses = [Course(name, unit, first, last, first * (1 - loss), is_least=True)]
    name, unit, (first, last) = of_load("p99", "ms", lambda v: v["p99_ms"])
    bound = max(first * facts.number("p99_growth_factor_max", 2.0), facts.number("p99_floor_ms", 50.0))
    courses.append(Course(name, unit, first, last, bound))
    name, unit, (first, last) = of_load(
        "dead share", "", lambda v: v["dead_rows"] / max(1, v["dead_rows"] + v["live_rows"])
    )
    courses.append(Course(name, unit, first, last, first + facts.number("dead_share_growth_max", 0.15)))
    logged = 0.0, 0.0
    for node, uses in _uses(facts, rows).items():
        if len(uses) < 3:
            continue
        first, last = thirds([op.value["rss_bytes"] / _MIB for op in uses])
        bound = first + facts.number("rss_growth_max_mib", 16.0)
        courses.append(Course(f"rss of {node}", "MiB", first, last, bound))
        first, last = thirds([op.value["descriptors"] for op in uses])
        bound = first + facts.number("descriptors_growth_max", 8.0)
        courses.append(Course(f"descriptors of {node}", "", first, last, bound))
        first, last = thirds(_rates(uses, "log_bytes"))
        logged = logged[0] + first, logged[1] + last
    throughput = courses[0]
    if throughput.first and throughput.last:
        first, last = logged[0] / throughput.first, logged[1] / throughput.last
        bound = first * facts.number("log_growth_factor_max", 1.2)
        courses.append(Course("log", "bytes an instance", first, last, bound))
    return courses


def thirds(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the last third."""
    part = len(values) // 3
    return float(median(values[:part])), float(median(values[-part:]))


def _uses(facts: Facts, rows: Sequence[Op]) -> Mapping[str, Sequence[Op]]:
    """Rows `resources` by node, those that were taken while the load lasted."""
    begun_s, ended_s = rows[0].t_s - float(rows[0].value["over_s"]), rows[-1].t_s
    by_node: dict[str, list[Op]] = defaultdict(list)
    for op in facts.rows("resources"):
        if begun_s <= op.t_s <= ended_s:
            by_node[str(op.value["node"])].append(op)
    return by_node


def _rates(uses: Sequence[Op], what: str) -> Sequence[float]:
    """How much was added in a second, over spans long enough that a writer's turns do not show."""
    step = max(1, len(uses) // 30)
    return [
        (later.value[what] - earlier.value[what]) / (later.t_s - earlier.t_s)
        for earlier, later in pairwise(uses[::step])
    ] or [0.0] * 3
