from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.check.steadiness import thirds
from seatrial.verdict import Outcome, Verdict

MIB = 1024 * 1024
SAMPLES = 30
Change = Callable[[int, dict[str, Any], dict[str, Any]], None]


def judged(trial: Trial) -> Verdict:
    return CHECKS["FLAT"](trial.history())


def trial_of(
    change: Change | None = None, *, samples: int = SAMPLES, unfinished: int = 0, **parameters: Any
) -> Trial:
    """A sample each second: 100 instances, one node of 100 MiB; `change` makes the n-th another one."""
    trial = Trial("FLAT", **parameters)
    completed = 0
    for number in range(samples):
        trial.at(101.0 + number)
        load: dict[str, Any] = {"over_s": 1.0, "started": 100, "completed": 100, "refused": 0, "p99_ms": 20.0}
        load |= {"live_rows": 1000 * (number + 1), "dead_rows": 250 * (number + 1)}
        use: dict[str, Any] = {
            "node": "a",
            "rss_bytes": 100 * MIB,
            "rss_peak_bytes": 100 * MIB,
            "descriptors": 50,
        }
        use["log_bytes"] = 30_000 * number
        if change is not None:
            change(number, load, use)
        completed += load["completed"]
        trial.note("observer", "resources", **use)
        trial.note("observer", "soak", **load)
    left = {"acknowledged": completed + unfinished, "completed": completed, "unfinished": unfinished}
    trial.note("observer", "soak_end", **left)
    return trial


def growing(what: str, by: float, *, of_load: bool) -> Change:
    def change(number: int, load: dict[str, Any], use: dict[str, Any]) -> None:
        (load if of_load else use)[what] += by * number

    return change


def test_a_flat_course_passes_and_shows_both_ends() -> None:
    verdict = judged(trial_of())
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["throughput_first"] == verdict.figures["throughput_last"] == 100
    assert verdict.figures["rss_of_a_last"] == 100
    assert verdict.figures["log_first"] == 300
    assert verdict.figures["completed"] == 100 * SAMPLES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            growing("completed", -1, of_load=True),
            "throughput went from 95.5 to 75.5 a second, at least 85.95",
        ),
        (growing("p99_ms", 3, of_load=True), "p99 went from 33.5 to 93.5 ms, at most 67"),
        (growing("dead_rows", 200, of_load=True), "dead share went from"),
        (growing("rss_bytes", MIB, of_load=False), "rss of a went from 104.5 to 124.5 MiB, at most 120.5"),
        (growing("descriptors", 1, of_load=False), "descriptors of a went from 54.5 to 74.5, at most 62.5"),
    ],
)
def test_what_grows_fails(change: Change, words: str) -> None:
    def both(number: int, load: dict[str, Any], use: dict[str, Any]) -> None:
        change(number, load, use)
        if words.startswith("dead"):
            load["live_rows"] = 1000

    verdict = judged(trial_of(both))
    assert verdict.outcome is Outcome.FAIL
    assert [each.text for each in verdict.witnesses if each.text.startswith(words)]


def test_a_log_that_grows_with_time_fails() -> None:
    def change(number: int, _load: dict[str, Any], use: dict[str, Any]) -> None:
        use["log_bytes"] += 1000 * number * number

    verdict = judged(trial_of(change))
    assert verdict.outcome is Outcome.FAIL
    assert "log went from" in verdict.summary


def test_a_single_disturbance_is_no_course() -> None:
    def change(number: int, load: dict[str, Any], use: dict[str, Any]) -> None:
        if number in {22, 25}:
            load.update(completed=5, p99_ms=900.0)
            use["rss_bytes"] += 90 * MIB

    assert judged(trial_of(change)).outcome is Outcome.PASS


def test_what_was_before_the_load_does_not_count() -> None:
    trial = Trial("FLAT")
    trial.at(1.0).note(
        "observer",
        "resources",
        node="a",
        rss_bytes=1,
        rss_peak_bytes=1,
        descriptors=1,
        log_bytes=0,
    )
    trial.ops += trial_of().ops
    assert judged(trial).figures["rss_of_a_first"] == 100


def test_an_instance_that_was_acknowledged_and_never_completed_fails() -> None:
    verdict = judged(trial_of(unfinished=2))
    assert verdict.outcome is Outcome.FAIL
    assert "3002 starts were acknowledged, 3000 instances are completed and 2 unfinished" in verdict.summary


def test_too_short_a_run_shows_nothing() -> None:
    assert judged(trial_of(samples=SAMPLES - 1)).outcome is Outcome.VACUOUS
    assert judged(trial_of(completed_min=5000)).outcome is Outcome.VACUOUS
    assert judged(Trial("FLAT")).outcome is Outcome.VACUOUS


@given(st.lists(st.integers(0, 60), min_size=30, max_size=60))
def test_it_agrees_with_comparing_the_medians(added_mib: Sequence[int]) -> None:
    def change(number: int, _load: dict[str, Any], use: dict[str, Any]) -> None:
        use["rss_bytes"] += added_mib[number] * MIB

    part = len(added_mib) // 3
    is_broken = median(added_mib[-part:]) - median(added_mib[:part]) > 16
    verdict = judged(trial_of(change, samples=len(added_mib)))
    assert (verdict.outcome is Outcome.FAIL) == is_broken
    assert thirds(added_mib) == (median(added_mib[:part]), median(added_mib[-part:]))
