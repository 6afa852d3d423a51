from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

BOUND = 2.0


def judged(trial: Trial) -> Verdict:
    return CHECKS["CC"](trial.history())


def trial_of(*levels: tuple[int, int, int]) -> Trial:
    """(waiting, pages, rows), 100 jobs claimed at each."""
    trial = Trial("CC", claim_growth_bound_ratio=BOUND)
    for waiting, pages, rows in levels:
        measured(trial, waiting, 100, pages, rows)
    return trial


def measured(trial: Trial, waiting: int, jobs: int, pages: int, rows: int) -> None:
    cost: dict[str, Any] = {"waiting": waiting, "jobs": jobs, "buffers": pages, "rows": rows}
    trial.note("observer", "claim_cost", polls_ms=[2.0, 3.0, 2.5], **cost)


def test_a_flat_claim_passes_and_tells_its_price() -> None:
    verdict = judged(trial_of((1_000, 1200, 300), (10_000, 1250, 300), (1_000_000, 1450, 310)))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["pages_per_job_at_1000000"] == 14.5
    assert verdict.figures["rows_per_job_at_1000"] == 3


def test_a_deeper_index_is_no_growth_of_rows() -> None:
    assert judged(trial_of((1_000, 600, 0), (1_000_000, 1100, 90))).outcome is Outcome.PASS


def test_pages_that_grow_with_the_backlog_fail() -> None:
    verdict = judged(trial_of((1_000, 1200, 300), (1_000_000, 205_000, 300)))
    assert verdict.outcome is Outcome.FAIL
    assert "2050.0 pages with 1000000 waiting" in verdict.summary


def test_rows_that_grow_with_the_backlog_fail() -> None:
    assert judged(trial_of((1_000, 1200, 300), (100_000, 1200, 90_000))).outcome is Outcome.FAIL


def test_polls_that_get_nothing_fail() -> None:
    trial = trial_of((1_000, 1200, 300), (1_000_000, 1200, 300))
    measured(trial, 10_000, 0, 50, 0)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "the polls got none" in verdict.summary


def test_backlogs_too_near_to_each_other_show_nothing() -> None:
    assert judged(trial_of((1_000, 1200, 300), (90_000, 1200, 300))).outcome is Outcome.VACUOUS
    assert judged(Trial("CC", claim_growth_bound_ratio=BOUND)).outcome is Outcome.VACUOUS


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(0, 5_000), st.integers(0, 5_000)),
        min_size=1,
        max_size=5,
        unique_by=lambda level: level[0],
    )
)
def test_it_agrees_with_comparing_every_pair(levels: list[tuple[int, int, int]]) -> None:
    smallest = min(levels)
    is_broken = any(
        mine / 100 > BOUND * max(least / 100, 1.0)
        for level in levels
        if level[0] > smallest[0]
        for mine, least in zip(level[1:], smallest[1:], strict=True)
    )
    assert (judged(trial_of(*levels)).outcome is Outcome.FAIL) == is_broken
