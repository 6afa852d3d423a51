from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import ONE_STEP, Trial, done

from seatrial.check import CHECKS
from seatrial.history import Call, History
from seatrial.verdict import Outcome, Verdict

PARENT: dict[str, Any] = {
    **ONE_STEP,
    "id": "parent",
    "autoStartNextWorkflow": True,
    "nextWorkflowId": "one",
}


def judged(trial: Trial) -> Verdict:
    return CHECKS["NP"](trial.history())


def test_everything_has_its_call() -> None:
    trial = Trial("NP").upload(ONE_STEP)
    for number in range(20):
        trial.lived(number)
    assert judged(trial).outcome is Outcome.PASS


def test_an_unanswered_start_explains_one_instance_with_its_key() -> None:
    trial = Trial("NP").upload(ONE_STEP).start("", key="k7", outcome="info").one(7, "ACTIVE")
    trial.instance("i7", "ACTIVE", business_key="k7")
    assert judged(trial).outcome is Outcome.PASS
    trial.one(8, "ACTIVE").instance("i8", "ACTIVE", business_key="k7")
    assert judged(trial).outcome is Outcome.FAIL


def test_a_chained_child_needs_no_start_and_holds_its_parents_marks() -> None:
    trial = Trial("NP").upload(ONE_STEP).upload(PARENT)
    trial.start("i1", definition="parent").complete("j1").one(1, "COMPLETED", done("j1", "n"))
    trial.instance("i1", "COMPLETED", done("j1", "n"), definition_id="parent")
    trial.complete("j2").one(2, "COMPLETED", done("j1", "n"), done("j2", "n"))
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["chained"] == 1
    trial.one(3, "ACTIVE")
    assert judged(trial).outcome is Outcome.FAIL


def test_a_child_has_no_business_key() -> None:
    trial = Trial("NP").upload(ONE_STEP).upload(PARENT).start("i1", definition="parent").complete("j1")
    trial.one(1).instance("i1", "COMPLETED", done("j1", "n"), definition_id="parent")
    assert judged(trial.one(2, "ACTIVE")).outcome is Outcome.PASS
    assert judged(trial.instance("i2", "ACTIVE", business_key="k")).outcome is Outcome.FAIL
    trial.start("i2", key="k")
    assert judged(trial).outcome is Outcome.PASS
    assert judged(trial.instance("i2", "ACTIVE", done("j1", "n"), business_key="k")).outcome is Outcome.FAIL


def test_a_mark_sent_twice_counts_by_the_call_that_was_not_refused() -> None:
    assert (
        judged(Trial("NP").lived(1).complete("j1", "n", outcome="fail", status=409)).outcome is Outcome.PASS
    )


def test_an_instance_that_nobody_started() -> None:
    verdict = judged(Trial("NP").upload(ONE_STEP).lived(1).one(2, "ACTIVE"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("i2",)


def test_a_refused_start_that_exists() -> None:
    trial = Trial("NP").lived(1).start("", key="k2", outcome="fail", status=400).one(2, "ACTIVE")
    trial.instance("i2", "ACTIVE", business_key="k2")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "refused" in verdict.witnesses[0].text


def test_a_refused_completion_took_effect() -> None:
    trial = Trial("NP").start("i1").complete("j1", outcome="fail", status=409).complete("j1", "m")
    trial.one(1, "COMPLETED", done("j1", "n"), done("j1", "m"))
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.figures["phantoms"] == 1


def test_a_completion_nobody_sent_and_one_in_a_stranger() -> None:
    assert (
        judged(Trial("NP").lived(1).instance("i1", "COMPLETED", done("j1", "ghost"))).outcome is Outcome.FAIL
    )
    trial = Trial("NP").lived(1).lived(2)
    trial.instance("i2", "COMPLETED", done("j2", "n"), done("j1", "n"))
    assert judged(trial).outcome is Outcome.FAIL


def test_a_job_without_its_instance_or_outside_the_end_state() -> None:
    assert judged(Trial("NP").lived(1).job("j9", "CANCELLED")).outcome is Outcome.FAIL
    assert judged(Trial("NP").lived(1).poll("j9")).outcome is Outcome.FAIL


def test_a_status_that_no_call_caused() -> None:
    assert judged(Trial("NP").start("i1").one(1, "COMPLETED")).outcome is Outcome.FAIL
    assert judged(Trial("NP").start("i1").one(1, "FAILED")).outcome is Outcome.FAIL
    assert judged(Trial("NP").start("i1").one(1, "CANCELLED")).outcome is Outcome.FAIL


def test_an_engine_may_fail_a_job_whose_leases_all_ran_out() -> None:
    assert judged(Trial("NP").start("i1").poll("j1").one(1, "FAILED")).outcome is Outcome.PASS


def test_a_wait_passed_more_often_than_signalled() -> None:
    trial = Trial("NP").lived(1).resume("signal", "i1", "w", "info")
    trial.step("s8", "i1", "w", step_type="WAIT")
    assert judged(trial).outcome is Outcome.PASS
    trial.step("s9", "i1", "w", step_type="WAIT", attempt_number=2)
    assert judged(trial).outcome is Outcome.FAIL


# -- against a naive restatement -------------------------------------------------------------------

outcomes = st.sampled_from(["ok", "fail", "info", "lost"])
keys = st.sampled_from([None, "k1", "k2"])
names = st.sampled_from(["one", "parent"])


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    trial = Trial("NP").upload(ONE_STEP).upload(PARENT)
    for number in range(1, draw(st.integers(0, 4)) + 1):
        trial.start(f"i{number}", definition=draw(names), key=draw(keys), outcome=draw(outcomes))
    for job in range(1, draw(st.integers(0, 2)) + 1):
        trial.complete(f"j{job}", outcome=draw(outcomes), instance=f"i{draw(st.integers(1, 3))}")
        if draw(st.booleans()):
            trial.job(f"j{job}", draw(st.sampled_from(["COMPLETED", "LOCKED"])), instance_id=f"i{job}")
    trial.row("step", "s1", instance_id="i1", step_id="work", step_type="SERVICE_TASK", status="RUNNING")
    for number in range(1, draw(st.integers(1, 5)) + 1):
        marks = [done(job, "n") for job in ("j1", "j2") if draw(st.integers(0, 3)) == 0]
        status = draw(st.sampled_from(["COMPLETED", "ACTIVE"]))
        trial.instance(f"i{number}", status, *marks, definition_id=draw(names), business_key=draw(keys))
    return trial


def is_explicable(instances: list[dict[str, Any]], causes: list[tuple[str, str | None]]) -> bool:
    """Tries every way to give each instance a cause of its own."""
    if not instances:
        return True
    first, *others = instances
    wanted = (first["definition_id"], first["business_key"])
    return any(
        cause == wanted and is_explicable(others, causes[:number] + causes[number + 1 :])
        for number, cause in enumerate(causes)
    )


def is_broken(history: History) -> bool:
    rows = {f: [op.value for op in history.rows(f)] for f in ("instance", "job", "step")}
    starts = [call for call in history.calls if call.invoke.f == "start"]
    completes = [call for call in history.calls if call.invoke.f == "complete"]

    def asked(call: Call) -> tuple[str, str | None]:
        return call.invoke.value["definition_id"], call.invoke.value["business_key"]

    known = {
        call.end.value["instance_id"]: asked(call) for call in starts if call.end and call.outcome == "ok"
    }
    for row in rows["instance"]:
        if row["id"] in known and known[row["id"]] != (row["definition_id"], row["business_key"]):
            return True
    causes = [asked(call) for call in starts if call.outcome == "info"]
    finished_parents = [
        row for row in rows["instance"] if row["definition_id"] == "parent" and row["status"] == "COMPLETED"
    ]
    causes += [("one", None)] * len(finished_parents)
    if not is_explicable([row for row in rows["instance"] if row["id"] not in known], causes):
        return True
    ids = {row["id"]: row for row in rows["instance"]}
    for job in rows["job"]:
        if job["instance_id"] not in ids or job["step_execution_id"] not in {
            step["id"] for step in rows["step"]
        }:
            return True
        sent = [
            call for call in completes if call.invoke.value["job_id"] == job["id"] and call.outcome != "fail"
        ]
        if job["status"] == "COMPLETED" and not sent:
            return True
    for row in rows["instance"]:
        for mark in row["variables"]:
            senders = [
                call
                for call in completes
                if mark in call.invoke.value["variables"] and call.outcome != "fail"
            ]
            if not senders:
                return True
            origin = senders[0].invoke.value["instance_id"]
            is_child = (
                origin in ids
                and ids[origin]["definition_id"] == "parent"
                and row["definition_id"] == "one"
                and row["business_key"] is None
            )
            if origin != row["id"] and not is_child:
                return True
    return False


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["NP"](history).outcome is Outcome.FAIL) == is_broken(history)
