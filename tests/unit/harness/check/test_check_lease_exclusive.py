from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, db_time, done

from seatrial.check import CHECKS, judge
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict

DOUBLE_LEASE = Path(__file__).parent / "fixtures" / "double-lease"


def judged(trial: Trial) -> Verdict:
    return CHECKS["LX"](trial.history())


def test_one_holder_after_another() -> None:
    trial = Trial("LX")
    for number in range(20):
        trial.lived(number)
    trial.start("i99").at(200).poll("j99", token="1", lease_s=5).at(205).poll(
        "j99", worker="b", token="2", lease_s=5
    )
    trial.complete("j99", token="2", worker="b").one(99, "COMPLETED", done("j99", "n"))
    trial.step("s99", "i99", "work", ended_at=db_time(206))
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["leased_again"] == 1


def test_a_lease_that_was_given_back_may_be_taken_at_once() -> None:
    trial = Trial("LX").start("i1").poll("j1").fail_job("j1").poll("j1", worker="b", token="2")
    trial.complete("j1", worker="b", token="2").one(1, "COMPLETED", done("j1", "n"))
    assert judged(trial).outcome is Outcome.PASS


def test_two_hold_it_at_once() -> None:
    trial = Trial("LX").start("i1").poll("j1").at(110).poll("j1", worker="b", token="2")
    verdict = judged(trial.complete("j1").one(1, "COMPLETED", done("j1", "n")))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("j1",)
    assert len(verdict.witnesses[0].op_indexes) >= 2


def test_engines_without_tokens_are_judged_by_worker_and_time() -> None:
    trial = Trial("LX").start("i1").poll("j1", token=None).at(110).poll("j1", worker="b", token=None)
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.FAIL
    trial = (
        Trial("LX").start("i1").poll("j1", token=None, lease_s=5).at(120).poll("j1", token=None, lease_s=5)
    )
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.PASS


def test_a_fail_of_a_stranger_gives_nothing_back() -> None:
    trial = (
        Trial("LX")
        .start("i1")
        .poll("j1")
        .fail_job("j1", worker="c", token="0")
        .poll("j1", worker="b", token="2")
    )
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.FAIL


def test_a_lease_overtaken_in_flight_is_not_excused_by_a_later_fail() -> None:
    """b's claim was in the database before a gave the job back; its answer only came later."""
    trial = Trial("LX").start("i1").poll("j1")
    late = trial.invoke("worker-b", "poll", worker_id="b")
    taken = Trial("LX").at(trial.now_s + 0.005).poll("j1", worker="b", token="2").ops[-1].value
    trial.at(101).poll("j1", worker="c", token="3")
    trial.at(102).fail_job("j1").at(103).end("worker-b", "poll", late, "ok", taken)
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.FAIL


def test_giving_it_back_after_another_got_it_excuses_nothing() -> None:
    trial = Trial("LX").start("i1").poll("j1").poll("j1", worker="b", token="2").fail_job("j1")
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.FAIL


def test_an_earlier_lease_given_back_does_not_excuse_the_next() -> None:
    trial = Trial("LX").start("i1").poll("j1", token=None).fail_job("j1", token=None).poll("j1", token=None)
    trial.poll("j1", worker="b", token=None)
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.FAIL


def test_a_fail_with_the_old_token_of_the_same_worker_gives_nothing_back() -> None:
    trial = (
        Trial("LX").start("i1").poll("j1", lease_s=5).at(110).poll("j1", token="2").fail_job("j1", token="1")
    )
    trial.poll("j1", worker="b", token="3")
    assert judged(trial.one(1, "COMPLETED", done("j1", "n"))).outcome is Outcome.FAIL


def test_two_completions_were_accepted() -> None:
    trial = Trial("LX").lived(1).complete("j1", "again")
    assert (
        judged(trial.instance("i1", "COMPLETED", done("j1", "n"), done("j1", "again"))).outcome
        is Outcome.FAIL
    )


def test_a_token_was_used_twice() -> None:
    trial = Trial("LX").lived(1).at(200).poll("j1", worker="b", token="1")
    assert judged(trial).outcome is Outcome.FAIL


def test_a_finished_job_was_leased_again() -> None:
    trial = Trial("LX").lived(1).at(300).poll("j1", worker="b", token="2")
    assert judged(trial).outcome is Outcome.FAIL


def test_tokens_that_must_rise() -> None:
    trial = Trial("LX", lease_tokens_ordered=True).start("i1").poll("j1", token="2", lease_s=1)
    trial.at(150).poll("j1", worker="b", token="1").complete("j1", worker="b").one(
        1, "COMPLETED", done("j1", "n")
    )
    assert judged(trial).outcome is Outcome.FAIL
    trial.header.parameters["lease_tokens_ordered"] = False
    assert judged(trial).outcome is Outcome.PASS


def test_without_any_lease_it_is_vacuous() -> None:
    assert judged(Trial("LX").start("i1").one(1, "CANCELLED")).outcome is Outcome.VACUOUS


# -- what Jepsen's total-queue lets pass -----------------------------------------------------------


def total_queue_is_valid(history: History) -> bool:
    """Jepsen's rule: nothing lost, nothing unexpected. Duplicates are counted and do not matter."""
    enqueued = Counter(op.value["id"] for op in history.rows("job"))
    dequeued: Counter[str] = Counter()
    for call in history.calls_of("poll"):
        if call.end is not None and call.outcome == "ok":
            dequeued.update(job["job_id"] for job in call.end.value["jobs"])
    return set(dequeued) == set(enqueued)


def test_a_double_lease_passes_total_queue_and_fails_here() -> None:
    history = History.load(DOUBLE_LEASE)
    assert total_queue_is_valid(history)
    outcomes = {verdict.check: verdict.outcome for verdict in judge(history)}
    assert outcomes == {"NL": Outcome.PASS, "NP": Outcome.PASS, "LX": Outcome.FAIL, "DB": Outcome.FAIL}


# -- against a naive restatement -------------------------------------------------------------------


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    trial = Trial("LX")
    marks = []
    for number in range(draw(st.integers(1, 6))):
        trial.at(100 + draw(st.integers(0, 12)))
        worker, token = draw(st.sampled_from("ab")), draw(st.sampled_from([None, "1", "2", "3"]))
        if draw(st.booleans()):
            lease_s = draw(st.sampled_from([1, 4]))
            trial.poll(
                "j1", worker=worker, token=token, lease_s=lease_s, took_s=draw(st.sampled_from([0.01, 3]))
            )
        elif draw(st.booleans()):
            retryable, outcome = draw(st.booleans()), draw(st.sampled_from(["ok", "info", "fail"]))
            trial.fail_job("j1", worker=worker, token=token, retryable=retryable, outcome=outcome)
        elif draw(st.booleans()):
            trial.complete("j1", str(number), worker=worker, token=token)
            marks.append(done("j1", str(number)))
    kept = [mark for mark in marks if draw(st.booleans())]
    trial.ops.sort(key=lambda op: op.t_s)
    trial.at(300).instance("i1", "COMPLETED", *kept).job("j1", draw(st.sampled_from(["COMPLETED", "FAILED"])))
    trial.step("s1", "i1", "work", ended_at=db_time(100 + draw(st.integers(0, 15))))
    return trial


def is_broken(history: History) -> bool:
    """Every pair of acquisitions, every completion."""
    taken = [
        (job, call.invoke.value["worker_id"], call.end.t_s)
        for call in history.calls_of("poll")
        if call.end is not None
        for job in call.end.value["jobs"]
    ]
    fails = [call.invoke for call in history.calls_of("fail_job") if call.outcome != "fail"]
    for (one, holder, answered_s), (two, rival, later_s) in permutations(taken, 2):
        if one["lease_token"] is not None and one["lease_token"] == two["lease_token"]:
            return True
        if (
            one["lease_token"] is two["lease_token"] is None
            and holder == rival
            and one["locked_at"] == two["locked_at"]
        ):
            return True
        if (two["locked_at"], later_s) < (one["locked_at"], answered_s) or two["locked_at"] >= one[
            "lock_expires_at"
        ]:
            continue
        is_given_back = any(
            answered_s <= op.t_s < later_s
            and op.value["retryable"]
            and (
                op.value["lease_token"] == one["lease_token"]
                if op.value["lease_token"] and one["lease_token"]
                else op.value["worker_id"] == holder
            )
            for op in fails
        )
        if not is_given_back:
            return True
    ended_at = next(history.rows("step")).value["ended_at"]
    if next(history.rows("job")).value["status"] == "COMPLETED" and any(
        job["locked_at"] > ended_at for job, *_ in taken
    ):
        return True
    return any(combinations(next(history.rows("instance")).value["variables"], 2))


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["LX"](history).outcome is Outcome.FAIL) == is_broken(history)
