"""What scripts/soak calls flat."""

from __future__ import annotations

import math

import pytest
from flat import BOUNDS, Bound, trend

TIMES_S = [float(at) for at in range(0, 600, 10)]
BYTES = Bound("b", "bytes", ratio=0.10, floor=50)
RATE = Bound("r", "jobs/s", ratio=0.10, floor=2, falls=True)


@pytest.mark.parametrize(
    ("bound", "values", "is_flat"),
    [
        (BYTES, [1000.0] * 60, True),
        # A sawtooth, as dead rows are between two vacuums; and one with a growing foot.
        (BYTES, [1000.0 + 300 * (number % 7) for number in range(60)], True),
        (BYTES, [1000.0 + 300 * (number % 7) + 10 * number for number in range(60)], False),
        (BYTES, [1000.0 + 2 * number for number in range(60)], False),
        (BYTES, [1000.0 + 1.5 * number for number in range(60)], True),
        (BYTES, [1000.0 - 9 * number for number in range(60)], True),
        # A few outliers, as a neighbour's burst makes them, at the end too.
        (BYTES, [1000.0] * 52 + [9000.0] * 8, True),
        (BYTES, [10.0 + 0.5 * number for number in range(60)], True),
        (RATE, [60.0 - 0.2 * number for number in range(60)], False),
        (RATE, [60.0 + 0.5 * number for number in range(60)], True),
        (RATE, [60.0 + 3 * math.sin(number) for number in range(60)], True),
    ],
)
def test_growth_beyond_the_bound_is_not_flat(bound: Bound, values: list[float], is_flat: bool) -> None:
    assert trend(bound, TIMES_S, values).is_flat is is_flat


def test_too_few_points_show_nothing() -> None:
    with pytest.raises(ValueError, match="b: 7 points; at least 8 are needed, run it longer"):
        trend(BYTES, TIMES_S[:7], [1.0] * 7)


def test_the_change_is_told_for_the_whole_time() -> None:
    found = trend(BYTES, TIMES_S, [1000.0 + at / 10 for at in TIMES_S])
    assert (found.level, round(found.change), found.allowed) == (1029.5, 59, 102.95)


def test_every_series_has_one_bound() -> None:
    assert len({bound.name for bound in BOUNDS}) == len(BOUNDS) == 6
