from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

FACTOR = 3.0


def judged(trial: Trial) -> Verdict:
    return CHECKS["LAT"](trial.history())


def trial_of(quiet_ms: list[int], pressed_ms: list[int], **parameters: Any) -> Trial:
    bounds: dict[str, Any] = {
        "latency_calls": ["start"],
        "latency_factor_max": FACTOR,
        "latency_calls_min": 1,
        **parameters,
    }
    trial = Trial("LAT", **bounds)
    trial.start("before", took_s=50.0)
    trial.note("observer", "pressure", on=False)
    for number, took_ms in enumerate(quiet_ms):
        trial.start(f"q{number}", took_s=took_ms / 1000)
    trial.note("observer", "pressure", on=True)
    for number, took_ms in enumerate(pressed_ms):
        trial.start(f"p{number}", took_s=took_ms / 1000)
    trial.note("observer", "pressure", on=None)
    trial.start("after", took_s=50.0)
    return trial


def test_a_pace_that_is_kept_passes() -> None:
    verdict = judged(trial_of([10] * 150, [29] * 150))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["p99_quiet_ms"] == 10
    assert verdict.figures["p99_pressed_ms"] == 29
    assert verdict.figures["calls_pressed"] == 150


def test_one_slow_call_of_a_hundred_is_no_percentile() -> None:
    verdict = judged(trial_of([10] * 100, [10] * 99 + [5000]))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["longest_pressed_ms"] == 5000


def test_calls_that_wait_for_a_flood_fail() -> None:
    verdict = judged(trial_of([10] * 100, [10] * 90 + [900] * 10))
    assert verdict.outcome is Outcome.FAIL
    assert "p99 is 900 ms under pressure and 10 ms without, the bound is 30 ms" in verdict.summary


def test_what_is_fast_enough_anyway_passes() -> None:
    assert judged(trial_of([1] * 100, [40] * 100)).outcome is Outcome.FAIL
    assert judged(trial_of([1] * 100, [40] * 100, latency_floor_s=0.05)).outcome is Outcome.PASS


def test_the_longest_has_a_bound_of_its_own() -> None:
    verdict = judged(trial_of([10] * 100, [10] * 99 + [5000], latency_longest_s=2.0))
    assert verdict.outcome is Outcome.FAIL
    assert "took 5.00 s, the longest may take 2 s" in verdict.summary


def test_a_call_that_was_never_answered_lasted_until_the_end() -> None:
    trial = Trial("LAT", latency_calls=["start"], latency_factor_max=FACTOR, latency_calls_min=1)
    trial.note("observer", "pressure", on=False)
    trial.start("q", took_s=0.01)
    trial.note("observer", "pressure", on=True)
    trial.start("p", outcome="lost", took_s=9.0)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.figures["p99_pressed_ms"] == 9000


def test_calls_of_other_kinds_and_of_whoever_presses_do_not_count() -> None:
    trial = trial_of([10] * 100, [10] * 100)
    trial.note("observer", "pressure", on=True)
    trial.call("pressure-0", "start", {}, took_s=60.0)
    trial.poll("j1", took_s=60.0)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["calls_pressed"] == 100


def test_too_few_calls_show_nothing() -> None:
    assert judged(trial_of([10] * 99, [10] * 100, latency_calls_min=100)).outcome is Outcome.VACUOUS
    assert judged(trial_of([10] * 100, [10] * 99, latency_calls_min=100)).outcome is Outcome.VACUOUS


@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=150),
    st.lists(st.integers(1, 900), min_size=1, max_size=150),
)
def test_it_agrees_with_counting_the_slower_ones(quiet: list[int], pressed: list[int]) -> None:
    """Of n values the p99 is past a bound exactly when more than a hundredth of them, rounded down, is."""
    quiet_p99 = sorted(quiet)[math.ceil(len(quiet) * 99 / 100) - 1]
    slower = sum(took_ms > FACTOR * quiet_p99 for took_ms in pressed)
    is_broken = slower > len(pressed) // 100
    near = any(abs(took_ms - FACTOR * quiet_p99) < 1 for took_ms in pressed)
    if not near:
        assert (judged(trial_of(quiet, pressed)).outcome is Outcome.FAIL) == is_broken
