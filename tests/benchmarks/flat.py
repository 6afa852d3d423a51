"""Whether a series stays flat: what its slope adds over the measured time, against a bound. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

POINTS_MIN = 8


@dataclass(frozen=True, slots=True)
class Bound:
    """A series may grow by `ratio` of its median over the measured time, and in any case by `floor`.

    With `falls`, it is a fall that is bounded: of jobs per second.
    """

    name: str
    unit: str
    ratio: float
    floor: float
    falls: bool = False


#: Floors are what one vacuum, one garbage collection or a neighbour's burst moves by itself.
BOUNDS = (
    Bound("dead_rows", "dead rows of the hot tables", 0.25, 10_000),
    Bound("table_bytes", "bytes of tables and indexes", 0.10, 1024 * 1024),
    Bound("engine_rss_bytes", "bytes resident, all engines", 0.05, 16 * 1024 * 1024),
    Bound("descriptors", "open descriptors, all engines", 0.05, 10),
    Bound("p99_ms", "ms, p99 of starts and completions", 0.50, 250),
    Bound("jobs_per_s", "jobs completed a second", 0.15, 6, falls=True),
)


@dataclass(frozen=True, slots=True)
class Trend:
    bound: Bound
    level: float
    """The median."""
    change: float
    """What the slope adds from the first point to the last."""
    allowed: float

    @property
    def is_flat(self) -> bool:
        return (-self.change if self.bound.falls else self.change) <= self.allowed


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen), which a few outliers do not move."""
    points = list(zip(times_s, values, strict=True))
    return median((w - v) / (t - s) for (s, v), (t, w) in combinations(points, 2) if t > s)


def trend(bound: Bound, times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Raises ValueError for fewer than `POINTS_MIN` points, which show nothing."""
    if len(values) < POINTS_MIN:
        raise ValueError(
            f"{bound.name}: {len(values)} points; at least {POINTS_MIN} are needed, run it longer"
        )
    level = median(values)
    change = slope(times_s, values) * (times_s[-1] - times_s[0])
    return Trend(bound, level, change, max(bound.ratio * level, bound.floor))
