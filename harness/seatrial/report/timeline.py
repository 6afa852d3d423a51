"""A timeline: a history reduced to lanes, bars and bins, small enough to draw whatever its length.

All times here are seconds since the run's first operation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from seatrial.history import OBSERVER, Call, History, Op
from seatrial.report.episode import Episode, episodes
from seatrial.report.lease import Lease, leases
from seatrial.report.relay import Led, depths, leaders

BINS_MAX = 160
LANES_MAX = 16
BARS_MAX = 2_000
_BIN_WIDTHS_S = (
    0.05,
    0.1,
    0.2,
    0.25,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
)
_COUNTED = frozenset({"start", "complete", "fail_job", "signal", "user_task", "cancel", "upload"})


@dataclass(frozen=True, slots=True)
class Bar:
    start_s: float
    end_s: float
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row. `heat` is a rate per second for each bin; `bars` lie over it."""

    name: str
    heat: tuple[float, ...]
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True, slots=True)
class Impact:
    """What clients saw of one fault: accepted completions per second before and during it, and the longest
    silence (no call accepted) that touches it; None where the history does not tell.
    """

    episode: Episode
    before_per_s: float | None
    during_per_s: float | None
    silence: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Timeline:
    duration_s: float
    bin_s: float
    phases: tuple[Bar, ...]
    impacts: tuple[Impact, ...]
    database: Lane
    broker: Lane | None
    """None in a run without one, as are `leaders` and `outbox` empty."""
    leaders: tuple[Led, ...]
    outbox: tuple[float, ...]
    """The most rows that waited in each bin."""
    replicas: tuple[Lane, ...]
    workers: tuple[Lane, ...]
    leases_held: tuple[float, ...]
    """Mean number of leases held in each bin."""
    lease_bars: tuple[Bar, ...]
    lease_bars_omitted: int
    """Leases that are only in `leases_held`, since bars for all of them would not draw."""
    rates: Mapping[str, tuple[float, ...]]
    """Per second: starts, completes (accepted), refused (fail and info ends of any write)."""
    latency_ms: Mapping[str, tuple[float | None, ...]]
    """p50, p95, p99 of accepted starts and completes, by the bin in which they were sent."""
    operations: int
    accepted: Mapping[str, int]
    """How many starts and completes were accepted in all."""


def timeline(history: History) -> Timeline:
    clock = _Clock(history)
    faults = episodes(history, clock.zero_s, clock.duration_s)
    held = leases(history, clock.zero_s, clock.duration_s)
    phases = _phases(history, clock)
    accepted = {
        f: [call for call in history.calls_of(f) if call.outcome == "ok"] for f in ("start", "complete")
    }
    bars, omitted = _lease_bars(held)
    return Timeline(
        duration_s=clock.duration_s,
        bin_s=clock.bin_s,
        phases=phases,
        impacts=_impacts(faults, accepted, phases, clock),
        database=Lane("database", (), _state_bars(faults, "database")),
        broker=Lane("broker", (), _state_bars(faults, "broker")) if any(history.rows("clock")) else None,
        leaders=leaders(history, clock.zero_s, clock.duration_s),
        outbox=_outbox(history, clock),
        replicas=_replicas(history, faults, clock),
        workers=_workers(history, faults, clock),
        leases_held=_held(held, clock),
        lease_bars=bars,
        lease_bars_omitted=omitted,
        rates=_rates(history, accepted, clock),
        latency_ms=_latency(accepted, clock),
        operations=len(history.ops),
        accepted={f: len(calls) for f, calls in accepted.items()},
    )


class _Clock:
    """Maps CLOCK_MONOTONIC to seconds since the run began, and those to bins."""

    def __init__(self, history: History) -> None:
        # The observer's final rows are read after the run; drawing that time would only squeeze the rest.
        times = [op.t_s for op in history.ops if op.process != OBSERVER] or [0.0]
        self.zero_s = min(times)
        self.duration_s = max(max(times) - self.zero_s, 0.001)
        wanted_s = self.duration_s / BINS_MAX
        self.bin_s = next((width for width in _BIN_WIDTHS_S if width >= wanted_s), wanted_s)
        self.bins = max(1, math.ceil(self.duration_s / self.bin_s))

    def at(self, op: Op) -> float:
        return op.t_s - self.zero_s

    def bin(self, op: Op) -> int:
        return self.bin_at(self.at(op))

    def bin_at(self, at_s: float) -> int:
        return min(max(int(at_s / self.bin_s), 0), self.bins - 1)

    def per_s(self, ops: Iterable[Op]) -> tuple[float, ...]:
        counts = [0] * self.bins
        for op in ops:
            counts[self.bin(op)] += 1
        return tuple(round(count / self.bin_s, 2) for count in counts)


def _phases(history: History, clock: _Clock) -> tuple[Bar, ...]:
    starts = [
        (clock.at(op), str(op.value.get("name", "?")))
        for op in history.ops
        if op.f == "phase" and op.process == "harness"
    ]
    starts.append((clock.duration_s, "end"))
    return tuple(
        Bar(at_s, end_s, "phase", name)
        for (at_s, name), (end_s, _) in pairwise(starts)
        if name != "end" and end_s > at_s
    )


def _impacts(
    faults: Sequence[Episode], accepted: Mapping[str, Sequence[Call]], phases: Sequence[Bar], clock: _Clock
) -> tuple[Impact, ...]:
    completes = sorted(clock.at(call.end) for call in accepted["complete"] if call.end)
    answers = sorted(completes + [clock.at(call.end) for call in accepted["start"] if call.end])
    # When nothing is sent any more, silence tells nothing about the fault.
    load_end_s = next(
        (bar.start_s for bar in phases if bar.state == "phase" and bar.text == "drain"), clock.duration_s
    )
    load_start_s = next((bar.start_s for bar in phases if bar.text == "load"), 0.0)
    return tuple(_impact(fault, completes, answers, load_start_s, load_end_s) for fault in faults)


def _impact(
    fault: Episode,
    completes: Sequence[float],
    answers: Sequence[float],
    load_start_s: float,
    load_end_s: float,
) -> Impact:
    end_s = min(fault.end_s, load_end_s)
    before_s = max(load_start_s, fault.start_s - 10.0)
    silence = max(
        (
            (left, right)
            for left, right in pairwise(answers)
            if right > fault.start_s and left < max(end_s, fault.start_s + 0.001)
        ),
        key=lambda gap: gap[1] - gap[0],
        default=None,
    )
    return Impact(
        fault, _rate(completes, before_s, fault.start_s), _rate(completes, fault.start_s, end_s), silence
    )


def _rate(times: Sequence[float], start_s: float, end_s: float) -> float | None:
    if not times or end_s - start_s < 0.1:
        return None
    return sum(start_s <= at_s < end_s for at_s in times) / (end_s - start_s)


def _state_bars(faults: Iterable[Episode], lane: str) -> tuple[Bar, ...]:
    return tuple(
        Bar(fault.start_s, fault.end_s, fault.state, fault.name)
        for fault in faults
        if lane in fault.lanes and fault.effective_s is not None
    )


def _replicas(history: History, faults: Sequence[Episode], clock: _Clock) -> tuple[Lane, ...]:
    answered: dict[str, list[Op]] = {
        f"replica-{number}": [] for number in range(min(history.header.replicas, 64))
    }
    for call in history.calls:
        node = call.invoke.node
        if node is not None and not call.invoke.process.startswith(("fault", "probe")):
            ends = answered.setdefault(node, [])
            if call.end is not None and call.end.type == "ok":
                ends.append(call.end)
    for fault in faults:
        for lane in fault.lanes:
            if lane.startswith(("replica", "scheduler")):
                answered.setdefault(lane, [])
    names = sorted(answered, key=_natural)
    return tuple(Lane(name, clock.per_s(answered[name]), _state_bars(faults, name)) for name in names)


def _workers(history: History, faults: Sequence[Episode], clock: _Clock) -> tuple[Lane, ...]:
    """One lane per worker; above LANES_MAX of them, one for each group of neighbours."""
    done: dict[str, list[Op]] = {}
    for call in history.calls:
        if call.invoke.process.startswith("worker"):
            ends = done.setdefault(call.invoke.process, [])
            if call.invoke.f in {"complete", "fail_job"} and call.end is not None and call.end.type == "ok":
                ends.append(call.end)
    names = sorted(done, key=_natural)
    size = max(1, math.ceil(len(names) / LANES_MAX))
    lanes = []
    for first in range(0, len(names), size):
        group = names[first : first + size]
        ops = [op for name in group for op in done[name]]
        bars = tuple(bar for name in group for bar in _state_bars(faults, name))
        label = group[0] if len(group) == 1 else f"{group[0]} … {group[-1].rsplit('-', 1)[-1]}"
        lanes.append(Lane(label, clock.per_s(ops), bars))
    return tuple(lanes)


def _held(held: Sequence[Lease], clock: _Clock) -> tuple[float, ...]:
    seconds_held = [0.0] * clock.bins
    for lease in held:
        first, last = clock.bin_at(lease.start_s), clock.bin_at(lease.end_s)
        for number in range(first, last + 1):
            left, right = number * clock.bin_s, (number + 1) * clock.bin_s
            seconds_held[number] += max(0.0, min(right, lease.end_s) - max(left, lease.start_s))
    return tuple(round(held_s / clock.bin_s, 2) for held_s in seconds_held)


def _lease_bars(held: Sequence[Lease]) -> tuple[tuple[Bar, ...], int]:
    """All leases while they are few; else those that did not end in an accepted completion, longest first."""
    shown = list(held)
    if len(shown) > BARS_MAX:
        odd = [lease for lease in held if lease.state != "completed"]
        shown = sorted(odd, key=lambda lease: lease.start_s - lease.end_s)[: BARS_MAX // 4]
    bars = (Bar(lease.start_s, lease.end_s, lease.state, lease.text) for lease in shown)
    return tuple(sorted(bars, key=lambda bar: bar.start_s)), len(held) - len(shown)


def _outbox(history: History, clock: _Clock) -> tuple[float, ...]:
    looks = depths(history, clock.zero_s)
    if not looks:
        return ()
    most = [0.0] * clock.bins
    for (at_s, rows), (until_s, _) in pairwise([*looks, (clock.duration_s, 0)]):
        for number in range(clock.bin_at(at_s), clock.bin_at(until_s) + 1):
            most[number] = max(most[number], float(rows))
    return tuple(most)


def _rates(
    history: History, accepted: Mapping[str, Sequence[Call]], clock: _Clock
) -> Mapping[str, tuple[float, ...]]:
    refused = (
        call.end or call.invoke
        for call in history.calls
        if call.invoke.f in _COUNTED and call.outcome != "ok"
    )
    return {
        "starts": clock.per_s(call.end for call in accepted["start"] if call.end),
        "completes": clock.per_s(call.end for call in accepted["complete"] if call.end),
        "refused": clock.per_s(refused),
    }


def _latency(accepted: Mapping[str, Sequence[Call]], clock: _Clock) -> Mapping[str, tuple[float | None, ...]]:
    taken: list[list[float]] = [[] for _ in range(clock.bins)]
    for calls in accepted.values():
        for call in calls:
            if call.end is not None:
                taken[clock.bin(call.invoke)].append((call.end.t_s - call.invoke.t_s) * 1000)
    for of_bin in taken:
        of_bin.sort()
    return {
        f"p{percent}": tuple(round(_quantile(of_bin, percent), 2) if of_bin else None for of_bin in taken)
        for percent in (50, 95, 99)
    }


def _quantile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]


def _natural(name: str) -> tuple[Any, ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def packed(bars: Iterable[Bar], rows_max: int) -> list[tuple[int, Bar]]:
    """Each bar with the first row in which it overlaps nothing; bars that fit in no row share the last one."""
    free_s: list[float] = []
    placed = []
    for bar in sorted(bars, key=lambda bar: bar.start_s):
        row = next((number for number, end_s in enumerate(free_s) if end_s <= bar.start_s), len(free_s))
        if row == len(free_s) and row < rows_max:
            free_s.append(0.0)
        row = min(row, rows_max - 1)
        free_s[row] = max(free_s[row], bar.end_s)
        placed.append((row, bar))
    return placed
