from __future__ import annotations

from itertools import pairwise
from typing import Any

from dispatch_trial import DispatchTrial
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict


def judged(trial: Trial) -> Verdict:
    return CHECKS["DB"](trial.history())


def taken_over(lease_s: float = 5.0, again_s: float = 110.0, **parameters: Any) -> Trial:
    """a runs j1 and says nothing; b gets it and runs it again."""
    trial = Trial("DB", **parameters).start("i1").poll("j1", lease_s=lease_s).execute("j1")
    return trial.at(again_s).poll("j1", worker="b", token="2").execute("j1", worker="b", token="2")


def test_each_job_ran_once() -> None:
    trial = Trial("DB")
    for number in range(20):
        trial.lived(number)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["executions"] == verdict.figures["jobs_executed"] == 20


def test_an_expired_lease_explains_one_more() -> None:
    verdict = judged(taken_over())
    assert verdict.outcome is Outcome.PASS
    assert (verdict.figures["duplicates"], verdict.figures["duplicates_unexplained"]) == (1, 0)
    assert verdict.figures["duplicate_job_ids"] == ["j1"]


def test_a_lease_ends_at_the_very_instant_of_its_expiry() -> None:
    trial = Trial("DB").start("i1").at(100).poll("j1", lease_s=5).execute("j1")
    trial.at(105).poll("j1", worker="b", token="2").execute("j1", worker="b", token="2")
    assert judged(trial).outcome is Outcome.PASS


def test_a_stopped_worker_explains_one_more() -> None:
    trial = Trial("DB").start("i1").poll("j1").execute("j1").fault("kill_worker", "worker-a")
    trial.poll("j1", worker="b", token="2").execute("j1", worker="b", token="2")
    assert judged(trial).outcome is Outcome.PASS


def test_a_retry_is_wanted_and_no_duplicate() -> None:
    trial = Trial("DB").start("i1").poll("j1").execute("j1").fail_job("j1")
    trial.poll("j1", token="2").execute("j1", token="2")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert (verdict.figures["duplicates"], verdict.figures["retries"]) == (0, 1)


def test_a_second_run_while_the_first_lease_lives() -> None:
    verdict = judged(taken_over(lease_s=60))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("j1",)


def test_a_second_run_under_the_same_lease() -> None:
    assert judged(Trial("DB").lived(1).execute("j1")).outcome is Outcome.FAIL


def test_a_fault_before_the_lease_explains_nothing() -> None:
    trial = Trial("DB").start("i1").fault("kill_worker", "worker-a").poll("j1").execute("j1")
    trial.poll("j1", worker="b", token="2").execute("j1", worker="b", token="2")
    assert judged(trial).outcome is Outcome.FAIL


def test_a_fault_after_the_second_run_explains_nothing() -> None:
    trial = Trial("DB").start("i1").poll("j1").execute("j1")
    trial.poll("j1", worker="b", token="2").execute("j1", worker="b", token="2")
    assert judged(trial.fault("kill_worker", "worker-a")).outcome is Outcome.FAIL


def test_a_number_replaces_the_explanations() -> None:
    assert judged(taken_over(lease_s=60, duplicates_max=1)).outcome is Outcome.PASS
    assert judged(taken_over(duplicates_max=0)).outcome is Outcome.FAIL


# -- jobs that messages bring


def consumed() -> DispatchTrial:
    """a gets d1 and runs it."""
    trial = DispatchTrial("DB").enqueue("d1").record("d1")
    trial.deliver("d1").ran("d1", "j1")
    return trial


def test_a_message_that_was_not_committed_comes_again() -> None:
    trial = consumed().deliver("d1", worker="b").ran("d1", "j1", worker="b")
    assert judged(trial).outcome is Outcome.PASS
    assert judged(trial).figures["duplicates"] == 1


def test_a_committed_message_never_comes_again() -> None:
    trial = consumed().acknowledge().deliver("d1", worker="b").ran("d1", "j1", worker="b")
    assert judged(trial).outcome is Outcome.FAIL
    late = consumed().deliver("d1", worker="b").ran("d1", "j1", worker="b").acknowledge()
    assert judged(late).outcome is Outcome.PASS


def test_what_was_committed_while_its_second_worker_stood_still_may_have_been_in_its_hands() -> None:
    def again(trial: DispatchTrial) -> DispatchTrial:
        return trial.deliver("d1", worker="b").ran("d1", "j1", worker="b")

    slept = consumed().fault("pause_worker", "worker-b").acknowledge()
    assert judged(again(slept)).outcome is Outcome.PASS
    woken = again(consumed().fault("pause_worker", "worker-b").acknowledge().heal("worker-b"))
    assert judged(woken).outcome is Outcome.PASS
    too_late = consumed().fault("pause_worker", "worker-b").heal("worker-b").acknowledge()
    assert judged(again(too_late)).outcome is Outcome.FAIL
    other = consumed().fault("pause_worker", "worker-a").acknowledge()
    assert judged(again(other)).outcome is Outcome.FAIL


def test_a_copy_runs_again_in_another_process_but_never_in_the_same() -> None:
    copied = (
        consumed()
        .acknowledge()
        .record("d1")
        .deliver("d1", worker="b", position=1)
        .ran("d1", "j1", worker="b")
    )
    assert judged(copied).outcome is Outcome.PASS
    assert judged(consumed().record("d1").ran("d1", "j1")).outcome is Outcome.FAIL


def test_a_new_dedup_id_is_a_new_dispatch() -> None:
    trial = consumed().acknowledge().ran("d2", "j1", worker="b")
    assert judged(trial).outcome is Outcome.PASS
    retried = consumed().acknowledge().fail_job("j1", token=None).ran("d2", "j1", worker="b")
    assert judged(retried).figures["duplicates"] == 0
    assert judged(retried).figures["retries"] == 1


def test_without_any_execution_it_is_vacuous() -> None:
    assert judged(Trial("DB").start("i1")).outcome is Outcome.VACUOUS


# -- against a naive restatement -------------------------------------------------------------------


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """Leases of one job follow one another; who ran, who gave it back, whom a fault stopped is drawn."""
    trial = Trial("DB", **draw(st.sampled_from([{}, {}, {"duplicates_max": 1}])))
    for number in range(draw(st.integers(1, 4))):
        trial.at(100 + 10 * number)
        worker = draw(st.sampled_from("ab"))
        trial.poll("j1", worker=worker, token=str(number), lease_s=draw(st.sampled_from([5, 25])))
        for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
            trial.execute("j1", worker=worker, token=str(number))
        if draw(st.booleans()):
            retryable, outcome = draw(st.booleans()), draw(st.sampled_from(["ok", "fail"]))
            trial.fail_job("j1", worker=worker, token=str(number), retryable=retryable, outcome=outcome)
        if draw(st.booleans()):
            trial.fault("pause_worker", f"worker-{draw(st.sampled_from('ab'))}")
    return trial


def is_broken(history: History) -> bool:
    runs = [op.value["lease_token"] for op in history.ops if op.f == "execute"]
    leases = [
        (call, job)
        for call in history.calls_of("poll")
        if call.end is not None
        for job in call.end.value["jobs"]
    ]
    budget = wanted = 0
    for (poll, job), (later, successor) in pairwise(leases):
        assert poll.end is not None
        assert later.end is not None
        if job["lease_token"] not in runs:
            continue
        if any(
            call.invoke.value["lease_token"] == job["lease_token"]
            and call.invoke.value["retryable"]
            and call.outcome != "fail"
            and poll.end.t_s <= call.invoke.t_s < later.end.t_s
            for call in history.calls_of("fail_job")
        ):
            wanted += 1
            continue
        is_stopped = any(
            call.invoke.value["target"] == poll.invoke.process
            and call.end
            and call.end.t_s > poll.invoke.t_s
            and call.invoke.t_s < later.end.t_s
            for call in history.calls_of("pause_worker")
        )
        budget += is_stopped or successor["locked_at"] >= job["lock_expires_at"]
    duplicates = max(0, len(runs) - 1 - wanted) if runs else 0
    if "duplicates_max" in history.header.parameters:
        return duplicates > int(history.header.parameters["duplicates_max"])
    return duplicates > budget


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["DB"](history).outcome is Outcome.FAIL) == is_broken(history)
