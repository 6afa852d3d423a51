from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, done

from seatrial.check import CHECKS
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict


def judged(trial: Trial) -> Verdict:
    return CHECKS["FN"](trial.history())


def zombie(*, token: bool = True, outcome: str = "fail", status: int = 409, **parameters: bool) -> Trial:
    """a's lease runs out, b takes the job over, a wakes up and completes, then b does."""
    first, second = ("1", "2") if token else (None, None)
    trial = Trial("FN", **parameters).start("i1").poll("j1", token=first, lease_s=5)
    trial.at(110).poll("j1", worker="b", token=second, lease_s=30)
    trial.at(112).complete("j1", "stale", token=first, outcome=outcome, status=status)
    return trial.at(115).complete("j1", "good", worker="b", token=second)


def test_the_stale_completion_is_refused() -> None:
    verdict = judged(zombie(stale_expected=True).one(1, "COMPLETED", done("j1", "good")))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["stale_completes_refused"] == 1


def test_a_stale_completion_of_unknown_outcome_without_effect_is_fine() -> None:
    assert (
        judged(zombie(outcome="info", status=0).one(1, "COMPLETED", done("j1", "good"))).outcome
        is Outcome.PASS
    )


def test_a_completion_sent_before_the_job_was_given_away_is_not_stale() -> None:
    trial = Trial("FN").start("i1").poll("j1", lease_s=5).at(109)
    call = trial.invoke(
        "worker-a", "complete", job_id="j1", lease_token="1", variables={done("j1", "n"): True}
    )
    trial.at(110).poll("j1", worker="b", token="2").at(111).end("worker-a", "complete", call)
    verdict = judged(trial.one(1, "COMPLETED", done("j1", "n")))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["stale_completes"] == 0


def test_the_stale_completion_took_effect() -> None:
    verdict = judged(zombie(outcome="ok").one(1, "COMPLETED", done("j1", "stale")))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("j1", "i1")
    assert judged(zombie(outcome="info").one(1, "COMPLETED", done("j1", "stale"))).outcome is Outcome.FAIL


def test_it_was_refused_and_took_effect_all_the_same() -> None:
    assert (
        judged(zombie().one(1, "COMPLETED", done("j1", "stale"), done("j1", "good"))).outcome is Outcome.FAIL
    )


def test_it_was_answered_ok_while_another_held_the_job() -> None:
    assert judged(zombie(outcome="ok").one(1, "COMPLETED", done("j1", "good"))).outcome is Outcome.FAIL


def test_without_tokens_a_live_lease_of_another_worker_fences() -> None:
    assert judged(zombie(token=False).one(1, "COMPLETED", done("j1", "good"))).outcome is Outcome.PASS
    assert (
        judged(zombie(token=False, outcome="ok").one(1, "COMPLETED", done("j1", "stale"))).outcome
        is Outcome.FAIL
    )


def test_without_tokens_the_first_completion_of_an_unleased_job_wins() -> None:
    trial = Trial("FN").start("i1").poll("j1", token=None, lease_s=5)
    trial.at(110).poll("j1", worker="b", token=None, lease_s=5)
    trial.at(130).complete("j1", "late", token=None).one(1, "COMPLETED", done("j1", "late"))
    assert judged(trial).outcome is Outcome.PASS


def test_the_same_worker_name_is_no_token() -> None:
    trial = Trial("FN").start("i1").poll("j1", token="1", lease_s=5).at(110).poll("j1", token="2")
    trial.at(112).complete("j1", "stale", token="1").one(1, "COMPLETED", done("j1", "stale"))
    assert judged(trial).outcome is Outcome.FAIL


def test_the_latest_lease_is_the_one_locked_last_not_the_one_answered_last() -> None:
    trial = Trial("FN").start("i1")
    late = trial.invoke("worker-c", "poll", worker_id="c")
    first = Trial("FN").at(100).poll("j1", worker="c", token="1", lease_s=5).ops[-1].value
    trial.at(110).poll("j1", token="2", lease_s=5).at(120).poll("j1", worker="b", token="3")
    trial.at(130).end("worker-c", "poll", late, "ok", first)
    trial.at(140).complete("j1", "stale", token="2").one(1, "COMPLETED", done("j1", "stale"))
    assert judged(trial).outcome is Outcome.FAIL


def test_a_cancelled_job_answers_everybody_ok() -> None:
    trial = (
        Trial("FN").start("i1").poll("j1", lease_s=5).at(110).poll("j1", worker="b", token="2").cancel("i1")
    )
    trial.complete("j1", "stale").complete("j1", "good", worker="b", token="2").one(1, "CANCELLED")
    assert judged(trial).outcome is Outcome.PASS


def test_what_a_job_that_was_given_back_answers_is_not_judged() -> None:
    trial = Trial("FN").start("i1").poll("j1", lease_s=5).at(110).poll("j1", worker="b", token="2")
    trial.fail_job("j1", worker="b", token="2").complete("j1", "stale").poll("j1", worker="c", token="3")
    trial.complete("j1", "good", worker="c", token="3").one(1, "COMPLETED", done("j1", "good"))
    assert judged(trial).outcome is Outcome.PASS


def test_a_stale_fail_failed_the_job() -> None:
    trial = Trial("FN").start("i1").poll("j1", lease_s=5).at(110).poll("j1", worker="b", token="2")
    trial.at(112).fail_job("j1", retryable=False, message="zombie").one(1, "FAILED")
    trial.instance("i1", "FAILED", failure_reason="zombie")
    assert judged(trial).outcome is Outcome.FAIL
    trial.at(113).fail_job("j1", worker="b", token="2", retryable=False, message="zombie")
    assert judged(trial).outcome is Outcome.PASS


def test_a_drill_that_made_no_stale_call_shows_nothing() -> None:
    assert judged(Trial("FN", stale_expected=True).lived(1)).outcome is Outcome.VACUOUS
    assert judged(Trial("FN").lived(1)).outcome is Outcome.PASS


# -- against a naive restatement -------------------------------------------------------------------


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """Token clients only; the database's clock is the monotonic one."""
    trial = Trial("FN").start("i1")
    marks: list[str] = []
    token = 0
    for number in range(draw(st.integers(1, 7))):
        trial.at(trial.now_s + draw(st.integers(1, 8)))
        if draw(st.booleans()):
            token += 1
            trial.poll(
                "j1",
                worker=draw(st.sampled_from("ab")),
                token=str(token),
                lease_s=draw(st.sampled_from([2, 20])),
            )
        else:
            named = str(draw(st.integers(1, 4)))
            outcome = draw(st.sampled_from(["ok", "fail", "info", "lost"]))
            trial.complete(
                "j1", str(number), token=named, outcome=outcome, took_s=draw(st.sampled_from([0.01, 5]))
            )
            marks.append(done("j1", str(number)))
    kept = [mark for mark in marks if draw(st.integers(0, 2)) == 0]
    return trial.one(1, "COMPLETED", *kept)


def is_broken(history: History) -> bool:
    taken = [(call, job) for call in history.calls_of("poll") if call.end for job in call.end.value["jobs"]]
    marks = next(history.rows("instance")).value["variables"]
    completes = list(history.calls_of("complete"))
    for call in completes:
        sent = call.invoke
        held = [job for poll, job in taken if job["lease_token"] == sent.value["lease_token"]]
        held = [
            job for poll, job in taken if job in held and poll.end is not None and poll.end.t_s <= sent.t_s
        ]
        if not held:
            continue
        newer = [
            (poll, job)
            for poll, job in taken
            if poll.end is not None
            and poll.end.t_s < sent.t_s
            and job["locked_at"] > max(each["locked_at"] for each in held)
        ]
        if not newer:
            continue
        if any(mark in marks for mark in sent.value["variables"]):
            return True
        if call.end is None or call.end.type != "ok":
            continue
        poll, job = max(newer, key=lambda each: each[1]["locked_at"])
        length_s = (
            datetime.fromisoformat(job["lock_expires_at"]) - datetime.fromisoformat(job["locked_at"])
        ).total_seconds()
        others = [
            each
            for each in completes
            if each is not call
            and each.outcome != "fail"
            and each.invoke.t_s < call.end.t_s
            and (each.end is None or each.end.t_s >= poll.invoke.t_s)
        ]
        winners = [
            each
            for each in completes
            if each.invoke.t_s >= call.end.t_s
            and len(marks) == 1
            and set(marks) <= set(each.invoke.value["variables"])
        ]
        if poll.invoke.t_s + length_s > call.end.t_s and not others and winners:
            return True
    return False


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["FN"](history).outcome is Outcome.FAIL) == is_broken(history)
