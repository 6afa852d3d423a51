from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, db_time

from seatrial.check import CHECKS
from seatrial.check.step_once import INTERRUPTED
from seatrial.verdict import Outcome, Verdict

BOUND_S = 10
BEGUN_S = 100.0


def judged(trial: Trial) -> Verdict:
    return CHECKS["TP"](trial.history())


def waiting(*, ended_s: float | None = None, interrupted: bool = False, timers_min: int = 1) -> Trial:
    """One instance whose step `wait` is open from 100 s to `ended_s`."""
    trial = Trial("TP", timer_lateness_bound_s=BOUND_S, timers_min=timers_min)
    trial.instance("i1", "WAITING")
    trial.step(
        "p",
        "i1",
        "wait",
        "RUNNING" if ended_s is None else "FAILED" if interrupted else "COMPLETED",
        step_type="WAIT",
        started_at=db_time(BEGUN_S),
        ended_at=None if ended_s is None else db_time(ended_s),
        failure_reason=INTERRUPTED if interrupted else None,
    )
    return trial


def timer(
    trial: Trial, fire_s: float, *, target: str = "late", fired: bool = True, interrupting: bool = False
) -> Trial:
    number = len(trial.rows.get("timer", ()))
    return trial.row(
        "timer", f"t{number}", instance_id="i1", step_execution_id="p", target_step_id=target,
        fire_at=db_time(fire_s), interrupting=interrupting, fired=fired,
    )  # fmt: skip


def entry(trial: Trial, at_s: float, step: str = "late") -> Trial:
    number = len(trial.rows["step"])
    return trial.step(f"s{number}", "i1", step, "RUNNING", step_type="WAIT", started_at=db_time(at_s))


def test_a_timer_takes_effect_in_time() -> None:
    verdict = judged(entry(timer(waiting(), 105), 107.5))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["timer_lateness_max_s"] == 2.5


def test_an_interrupting_timer_ends_its_step_with_its_effect() -> None:
    trial = entry(timer(waiting(ended_s=106, interrupted=True), 105, interrupting=True), 106)
    assert judged(trial).outcome is Outcome.PASS


def test_an_answer_in_time_leaves_nothing_to_fire() -> None:
    verdict = judged(timer(waiting(ended_s=103), 105))
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.figures["timers_due"] == 0


def test_an_answer_between_due_time_and_sweep_is_no_loss() -> None:
    assert judged(timer(waiting(ended_s=106), 105)).outcome is Outcome.PASS


def test_a_later_entry_of_the_target_is_somebody_elses() -> None:
    trial = entry(timer(waiting(ended_s=106), 105), 150)
    assert judged(trial).outcome is Outcome.PASS


def test_a_marked_timer_without_effect_is_lost() -> None:
    verdict = judged(timer(waiting(), 105))
    assert verdict.outcome is Outcome.FAIL
    assert "never took effect" in verdict.summary


def test_a_late_effect_is_too_late() -> None:
    verdict = judged(entry(timer(waiting(), 105), 116))
    assert verdict.outcome is Outcome.FAIL
    assert "11.000 s late" in verdict.summary


def test_a_step_that_outlives_its_timer_for_long_shows_a_sleeping_sweep() -> None:
    assert judged(timer(waiting(ended_s=130), 105)).outcome is Outcome.FAIL


def test_an_unfired_timer_of_an_open_step_is_late_when_the_run_went_on() -> None:
    assert judged(entry(timer(waiting(), 105, fired=False), 140, "other")).outcome is Outcome.FAIL
    assert judged(entry(timer(waiting(timers_min=0), 900, fired=False), 140, "other")).outcome is Outcome.PASS


def test_an_early_effect_is_a_violation() -> None:
    verdict = judged(entry(timer(waiting(), 105), 104))
    assert verdict.outcome is Outcome.FAIL
    assert "1.000 s early" in verdict.summary
    interrupted = entry(timer(waiting(ended_s=104, interrupted=True), 105, interrupting=True), 104)
    assert judged(interrupted).outcome is Outcome.FAIL


def test_two_timers_need_two_effects() -> None:
    assert judged(entry(timer(timer(waiting(), 105), 106), 107)).outcome is Outcome.FAIL


def test_too_few_timers_show_nothing() -> None:
    assert judged(entry(timer(waiting(timers_min=2), 105), 106)).outcome is Outcome.VACUOUS


def test_engines_without_due_times_show_nothing() -> None:
    trial = waiting()
    trial.row("timer", "t0", instance_id="i1", step_execution_id="p", target_step_id="late", fired=True)
    assert judged(trial).outcome is Outcome.VACUOUS


@given(
    fires=st.lists(st.integers(101, 130), min_size=1, max_size=4),
    entries=st.lists(st.integers(101, 145), max_size=4),
    ended=st.none() | st.integers(101, 145),
)
def test_it_agrees_with_trying_every_assignment(
    fires: list[int], entries: list[int], ended: int | None
) -> None:
    trial = waiting(ended_s=ended)
    for fire in fires:
        timer(trial, fire)
    for at in entries:
        entry(trial, at)
    due = [fire for fire in fires if ended is None or fire <= ended]

    def fits(fire: int, at: Any) -> bool:
        if at is None:
            return ended is not None and ended - fire <= BOUND_S
        return bool(fire <= at <= min(fire + BOUND_S, ended if ended is not None else 10_000))

    choices = [*entries, *[None] * len(due)]
    possible = any(
        all(fits(fire, at) for fire, at in zip(due, chosen, strict=True))
        for chosen in set(permutations(choices, len(due)))
    )
    assert (judged(trial).outcome is Outcome.FAIL) == (not possible)
