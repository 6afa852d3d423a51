from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, db_time, done

from seatrial.check import CHECKS
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict


def judged(trial: Trial) -> Verdict:
    return CHECKS["NL"](trial.history())


def test_every_acknowledged_thing_is_there() -> None:
    trial = Trial("NL")
    for number in range(20):
        trial.lived(number)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["starts_acked"] == verdict.figures["completes_acked"] == 20


def test_a_late_completion_beside_an_accepted_one_is_a_no_op() -> None:
    trial = Trial("NL").lived().complete("j1", "late")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["completes_excused"] == 1


def test_a_completion_of_a_cancelled_instance_is_a_no_op() -> None:
    trial = Trial("NL").start("i1").poll("j1").cancel("i1").complete("j1").one(1, "CANCELLED")
    assert judged(trial).outcome is Outcome.PASS


def test_an_engine_that_marks_the_job_after_the_cancel_is_excused_by_the_clock() -> None:
    trial = Trial("NL").start("i1").poll("j1").cancel("i1").complete("j1").one(1, "CANCELLED")
    trial.job("j1", "COMPLETED").step("s1", "i1", "work", "COMPLETED", ended_at=db_time(201))
    assert judged(trial).outcome is Outcome.PASS
    trial.step("s1", "i1", "work", "COMPLETED", ended_at=db_time(199))
    assert judged(trial).outcome is Outcome.FAIL


def test_a_cancel_sent_after_the_answer_excuses_nothing() -> None:
    trial = Trial("NL").start("i1").poll("j1").complete("j1").cancel("i1").instance("i1", "CANCELLED")
    assert judged(trial.job("j1", "COMPLETED")).outcome is Outcome.FAIL
    trial = Trial("NL").start("i1").poll("j1").cancel("i1").complete("j1").instance("i1", "CANCELLED")
    assert judged(trial.job("j1", "COMPLETED")).outcome is Outcome.PASS


def test_a_start_of_unknown_outcome_may_be_gone() -> None:
    trial = Trial("NL").lived().start("", outcome="info").start("", outcome="lost")
    assert judged(trial).outcome is Outcome.PASS


def test_an_acknowledged_start_is_gone() -> None:
    verdict = judged(Trial("NL").lived(1).start("i2"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("i2",)
    assert verdict.witnesses[0].op_indexes


def test_an_acknowledged_start_never_ends() -> None:
    trial = Trial("NL").lived(1).start("i2").one(2, "ACTIVE")
    assert judged(trial).outcome is Outcome.FAIL
    trial = Trial("NL", terminal_expected=False).lived(1).start("i2").one(2, "ACTIVE")
    assert judged(trial).outcome is Outcome.PASS


def test_two_starts_were_answered_with_one_instance() -> None:
    assert judged(Trial("NL").lived(1).start("i1")).outcome is Outcome.FAIL


def test_an_accepted_completion_left_no_trace() -> None:
    trial = Trial("NL").start("i1").poll("j1").complete("j1").one(1, "COMPLETED")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.figures["lost_completes"] == 1
    assert "j1" in verdict.witnesses[0].ids


def test_a_completion_lost_its_other_variables() -> None:
    trial = (
        Trial("NL").start("i1").complete("j1", variables={"price": 3}).one(1, "COMPLETED", done("j1", "n"))
    )
    assert judged(trial).outcome is Outcome.FAIL


def test_an_acknowledged_signal_and_cancel_must_show() -> None:
    trial = Trial("NL").lived().resume("signal", "i1", "wait", variables={"answer": 1})
    assert judged(trial).outcome is Outcome.FAIL
    assert judged(Trial("NL").lived().cancel("i1")).outcome is Outcome.FAIL
    assert judged(Trial("NL").lived().cancel("i1", "fail")).outcome is Outcome.PASS


def test_nothing_acknowledged_shows_nothing() -> None:
    trial = Trial("NL").start("i1", outcome="info").one(1)
    assert judged(trial).outcome is Outcome.VACUOUS


def test_without_the_end_state_it_is_invalid() -> None:
    trial = Trial("NL").start("i1")
    assert judged(trial).outcome is Outcome.INVALID


# -- against a naive restatement -------------------------------------------------------------------

outcomes = st.sampled_from(["ok", "ok", "fail", "info", "lost"])
statuses = st.sampled_from(["COMPLETED", "FAILED", "CANCELLED", "ACTIVE"])


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    trial = Trial("NL", terminal_expected=draw(st.booleans()))
    trial.row("instance", "other", definition_id="x", status="COMPLETED", variables={})
    marks: list[str] = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        trial.start(f"i{draw(st.integers(1, number))}", outcome=draw(outcomes))
        for nonce in range(draw(st.integers(0, 3))):
            trial.complete(f"j{number}", str(nonce), outcome=draw(outcomes))
            marks.append(done(f"j{number}", str(nonce)))
        if draw(st.booleans()):
            trial.cancel(f"i{number}", draw(outcomes))
        kept = [mark for mark in marks if mark.startswith(f"done:j{number}:") and draw(st.booleans())]
        if draw(st.integers(0, 5)):
            ended = db_time(draw(st.integers(1, 3)))
            trial.instance(f"i{number}", draw(statuses), *kept, completed_at=ended)
        if draw(st.integers(0, 5)):
            trial.job(f"j{number}", draw(st.sampled_from(["COMPLETED", "FAILED", "CANCELLED", "LOCKED"])))
        if draw(st.booleans()):
            trial.step(f"s{number}", f"i{number}", "work", ended_at=db_time(draw(st.integers(1, 3))))
    return trial


def is_broken(history: History) -> bool:
    """Restated without an index: every acknowledgement looks for its own trace."""
    rows = [op for op in history.ops if op.process == "observer"]

    def find(f: str, id_: str) -> dict[str, Any] | None:
        return next((op.value for op in rows if op.f == f and op.value["id"] == id_), None)

    terminal = ("COMPLETED", "FAILED", "CANCELLED")
    acked = [call for call in history.calls if call.end is not None and call.end.type == "ok"]
    started = [call.end.value["instance_id"] for call in acked if call.invoke.f == "start" and call.end]
    if len(set(started)) < len(started):
        return True
    for instance_id in started:
        row = find("instance", instance_id)
        if row is None:
            return True
        if history.header.parameters["terminal_expected"] and row["status"] not in terminal:
            return True
    for call in acked:
        sent = call.invoke.value
        if call.invoke.f == "cancel":
            row = find("instance", sent["instance_id"])
            if row is None or row["status"] != "CANCELLED":
                return True
        if call.invoke.f != "complete":
            continue
        row = find("instance", sent["instance_id"])
        if row is None:
            return True
        if any(mark.startswith(f"done:{sent['job_id']}:") for mark in row["variables"]):
            continue
        job = find("job", sent["job_id"])
        if job is None:
            observed = any(op.f == "job" for op in rows)
            if observed or row["status"] not in ("CANCELLED", "FAILED"):
                return True
        elif job["status"] == "LOCKED":
            return True
        elif job["status"] == "COMPLETED":
            step = find("step", job["step_execution_id"])
            if row["status"] not in terminal:
                return True
            if step is not None:
                if not step["ended_at"] > row["completed_at"]:
                    return True
            else:
                cancels = [
                    other
                    for other in history.calls
                    if other.invoke.f == "cancel"
                    and other.invoke.value["instance_id"] == sent["instance_id"]
                    and (other.end is None or other.end.type != "fail")
                    and call.end is not None
                    and other.invoke.t_s < call.end.t_s
                ]
                if not cancels:
                    return True
    return False


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["NL"](history).outcome is Outcome.FAIL) == is_broken(history)
