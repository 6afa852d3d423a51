from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_engine import DOCUMENTS, Reference, lived_out
from trial_builder import ONE_STEP, Trial, done

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

seeds = st.integers(0, 2**32)


def judged(trial: Trial) -> Verdict:
    return CHECKS["S1x"](trial.history())


def of(engine: Reference) -> Trial:
    return engine.write(Trial("S1x").upload(engine.document))


def a_completed(name: str, **wanted: int) -> Reference:
    """The first run by a random seed of that definition that ends in END with so many visits of the given steps."""
    for seed in range(10_000):
        engine = lived_out(DOCUMENTS[name], seed, 60)
        visits = [row["step_id"] for row in engine.steps]
        if engine.status == "COMPLETED" and all(
            visits.count(step) == count for step, count in wanted.items()
        ):
            return engine
    raise AssertionError(f"no run of {name} visits {wanted}")


# -- good ------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(DOCUMENTS)), seeds, st.integers(0, 40))
def test_a_right_engine_passes_wherever_it_stands(name: str, seed: int, acts: int) -> None:
    engine = lived_out(DOCUMENTS[name], seed, acts)
    verdict = judged(of(engine))
    assert verdict.outcome is Outcome.PASS, verdict.summary


def test_many_instances_of_all_definitions() -> None:
    trial = Trial("S1x")
    for document in DOCUMENTS.values():
        trial.upload(document)
    for seed in range(200):
        document = DOCUMENTS[sorted(DOCUMENTS)[seed % len(DOCUMENTS)]]
        lived_out(document, seed, 40, instance_id=f"i{seed}").write(trial)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS, verdict.summary
    assert verdict.figures["instances_replayed"] == 200


def test_versions_are_told_apart() -> None:
    longer = copy.deepcopy(dict(ONE_STEP))
    longer["steps"][0]["nextStep"] = "more"
    longer["steps"].insert(
        1, {"id": "more", "name": "m", "type": "SERVICE_TASK", "jobType": "m", "nextStep": "done"}
    )
    trial = Trial("S1x").upload(ONE_STEP, 1).upload(longer, 2).lived(1)
    assert judged(trial).outcome is Outcome.PASS
    trial.instance("i1", "COMPLETED", definition_version=2)
    assert judged(trial).outcome is Outcome.FAIL


# -- bad -------------------------------------------------------------------------------------------


def doubled(engine: Reference, step_id: str) -> Reference:
    """The visit that a second, unguarded advance makes: one more execution with one more job."""
    row = copy.deepcopy(next(row for row in engine.steps if row["step_id"] == step_id))
    job = next((copy.deepcopy(job) for job in engine.jobs if job["step_execution_id"] == row["id"]), None)
    attempts = [each["attempt_number"] for each in engine.steps if each["step_id"] == step_id]
    row.update(id="twin", attempt_number=max(attempts) + 1)
    engine.steps.append(row)
    if job is not None:
        job.update(id="twin-job", step_execution_id="twin")
        engine.jobs.append(job)
    return engine


@pytest.mark.parametrize(
    ("name", "step"), [("line", "c"), ("loop", "b"), ("fork", "p2"), ("nested", "q"), ("timers", "u")]
)
def test_a_step_was_dispatched_twice(name: str, step: str) -> None:
    verdict = judged(of(doubled(a_completed(name, **{step: 1}), step)))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("i1",)
    assert verdict.witnesses[0].op_indexes


def test_a_join_fired_twice() -> None:
    engine = a_completed("fork", d=1, j=2)
    assert judged(of(doubled(engine, "d"))).outcome is Outcome.FAIL


def test_a_join_fired_early() -> None:
    engine = a_completed("fork", j=2, q=1)
    engine.steps = [
        row for row in engine.steps if row["id"] != [r for r in engine.steps if r["step_id"] == "j"][-1]["id"]
    ]
    assert judged(of(engine)).outcome is Outcome.FAIL


def test_a_completed_step_led_nowhere() -> None:
    engine = lived_out(DOCUMENTS["line"], 3, 1)
    assert [row["step_id"] for row in engine.steps] == ["a", "b", "c"]
    engine.steps = engine.steps[:2]
    engine.jobs = engine.jobs[:1]
    verdict = judged(of(engine))
    assert verdict.outcome is Outcome.FAIL
    assert "missing" in verdict.summary


def test_a_task_with_conditions_led_nowhere() -> None:
    engine = Reference(DOCUMENTS["choosy-task"], random.Random(1))
    engine._close(engine.steps[0], "COMPLETED", None, job="COMPLETED")
    assert judged(of(engine)).outcome is Outcome.FAIL
    engine._end("FAILED", "DecisionNoBranchMatched")
    assert judged(of(engine)).outcome is Outcome.PASS


def test_the_same_visits_mean_another_thing_in_another_status() -> None:
    trial = Trial("S1x").upload(ONE_STEP).lived(1).lived(2)
    assert judged(trial).outcome is Outcome.PASS
    verdict = judged(trial.instance("i2", "CANCELLED"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("i2",)


def test_completed_without_an_end() -> None:
    trial = Trial("S1x").upload(ONE_STEP).lived(1)
    del trial.rows["step"]["e1"]
    assert judged(trial).outcome is Outcome.FAIL


def test_attempts_repeat() -> None:
    engine = a_completed("loop", a=2)
    for row in engine.steps:
        row["attempt_number"] = 1
    assert judged(of(engine)).outcome is Outcome.FAIL


def test_a_visit_has_two_jobs_or_none() -> None:
    trial = Trial("S1x").upload(ONE_STEP).lived(1).job("j7", instance_id="i1", step_execution_id="s1")
    assert judged(trial).outcome is Outcome.FAIL
    trial = Trial("S1x").upload(ONE_STEP).lived(1).lived(2)
    del trial.rows["job"]["j1"]
    assert judged(trial).outcome is Outcome.FAIL


@pytest.mark.parametrize("leftover", ["job", "step", "task", "timer", "current"])
def test_a_finished_instance_leaves_something_open(leftover: str) -> None:
    engine = a_completed("timers", u=1)
    trial = of(engine)
    if leftover == "job":
        trial.row("job", "open", instance_id="i1", step_execution_id=engine.steps[0]["id"], status="UNLOCKED")
    elif leftover == "step":
        trial.rows["step"][engine.steps[0]["id"]]["status"] = "RUNNING"
    elif leftover == "task":
        trial.rows["user_task"][engine.tasks[0]["id"]]["status"] = "OPEN"
    elif leftover == "timer":
        trial.rows["timer"][engine.timers[0]["id"]]["fired"] = False
    else:
        trial.rows["instance"]["i1"]["current_step_ids"] = ["w"]
    assert judged(trial).outcome is Outcome.FAIL


def test_a_step_and_its_job_disagree() -> None:
    trial = Trial("S1x").upload(ONE_STEP).lived(1).job("j1", "FAILED")
    assert judged(trial).outcome is Outcome.FAIL


def test_an_interrupting_timer_fired_without_effect() -> None:
    engine = Reference(DOCUMENTS["timers"], random.Random(1))
    engine.timers[0]["fired"] = True
    verdict = judged(of(engine))
    assert verdict.outcome is Outcome.FAIL
    assert "without effect" in verdict.witnesses[0].text


def test_a_timer_fired_twice() -> None:
    engine = Reference(DOCUMENTS["timers"], random.Random(1))
    engine._fire(engine.timers[0], engine.steps[0])
    assert judged(of(engine)).outcome is Outcome.PASS
    assert judged(of(doubled(engine, "late"))).outcome is Outcome.FAIL


def test_a_timer_fired_for_a_task_that_was_done_in_time() -> None:
    engine = Reference(DOCUMENTS["timers"], random.Random(1))
    engine._close(engine.steps[0], "COMPLETED", None, job="COMPLETED", task="COMPLETED")
    engine._enter("w")
    assert judged(of(engine)).outcome is Outcome.PASS
    engine._enter("late")
    assert judged(of(engine)).outcome is Outcome.FAIL


def test_a_timer_beside_its_step_fired_twice() -> None:
    engine = Reference(DOCUMENTS["timers"], random.Random(1))
    engine._fire(engine.timers[0], engine.steps[0])
    engine._fire(engine.timers[1], engine.steps[1])
    assert [row["step_id"] for row in engine.steps] == ["u", "late", "nag"]
    assert judged(of(engine)).outcome is Outcome.PASS
    assert judged(of(doubled(engine, "nag"))).outcome is Outcome.FAIL


def test_a_timer_that_fired_beside_its_step_led_nowhere() -> None:
    engine = Reference(DOCUMENTS["timers"], random.Random(1))
    engine._fire(engine.timers[0], engine.steps[0])
    engine.timers[1]["fired"] = True
    assert judged(of(engine)).outcome is Outcome.FAIL


def test_a_timer_or_a_user_task_exists_twice() -> None:
    for rows in ("timers", "tasks"):
        engine = Reference(DOCUMENTS["timers"], random.Random(1))
        getattr(engine, rows).append({**getattr(engine, rows)[0], "id": "twin"})
        assert judged(of(engine)).outcome is Outcome.FAIL, rows


def test_a_step_of_another_definition() -> None:
    trial = (
        Trial("S1x").upload(ONE_STEP).lived(1).step("x", "i1", "stranger").job("jx", step_execution_id="x")
    )
    assert judged(trial).outcome is Outcome.FAIL


# -- chains ----------------------------------------------------------------------------------------

PARENT: dict[str, Any] = {**ONE_STEP, "id": "parent", "autoStartNextWorkflow": True, "nextWorkflowId": "one"}


def family(*, children: int, **parameters: Any) -> Trial:
    trial = Trial("S1x", **parameters).upload(ONE_STEP).upload(PARENT).start("i1", definition="parent")
    trial.one(1, "COMPLETED").instance("i1", "COMPLETED", definition_id="parent", variables={"key": "k1"})
    for number in range(2, 2 + children):
        trial.one(number, "ACTIVE").instance(f"i{number}", "ACTIVE", variables={"key": "k1"})
    return trial


@pytest.mark.parametrize("parameters", [{}, {"chain_key": "key"}])
def test_each_parent_has_one_child(parameters: dict[str, Any]) -> None:
    assert judged(family(children=1, **parameters)).outcome is Outcome.PASS
    assert judged(family(children=0, **parameters)).outcome is Outcome.FAIL
    assert judged(family(children=2, **parameters)).outcome is Outcome.FAIL


def test_a_parent_that_has_not_ended_has_no_child() -> None:
    trial = family(children=1).start("i9", definition="parent").one(9, "ACTIVE")
    assert judged(trial.instance("i9", "ACTIVE", definition_id="parent")).outcome is Outcome.PASS


def test_an_unanswered_start_may_be_the_second_child() -> None:
    for parameters in ({}, {"chain_key": "key"}):
        trial = family(children=2, **parameters)
        assert judged(trial.start("", outcome="info")).outcome is Outcome.PASS
        trial = family(children=3, **parameters)
        assert judged(trial.start("", outcome="info")).outcome is Outcome.FAIL


def test_the_key_shows_a_child_of_the_wrong_parent() -> None:
    for chain_key, expected in ((None, Outcome.PASS), ("key", Outcome.FAIL)):
        trial = family(children=1, chain_key=chain_key).start("i7", definition="parent")
        trial.one(7, "COMPLETED").instance("i7", "COMPLETED", definition_id="parent", variables={"key": "k7"})
        trial.one(8, "ACTIVE").instance("i8", "ACTIVE", variables={"key": "k1"})
        assert judged(trial).outcome is expected


def test_a_started_instance_is_nobodys_child() -> None:
    assert judged(family(children=1).start("i5").one(5, "ACTIVE")).outcome is Outcome.PASS
    assert judged(family(children=0).start("i5").one(5, "ACTIVE")).outcome is Outcome.FAIL


# -- when it cannot be judged ----------------------------------------------------------------------


def test_without_steps_or_definitions_it_says_so() -> None:
    trial = Trial("S1x").upload(ONE_STEP).lived(1)
    del trial.rows["step"]
    assert judged(trial).outcome is Outcome.INVALID
    assert judged(Trial("S1x").lived(1)).outcome is Outcome.VACUOUS


def test_over_rest_alone_visits_are_still_judged() -> None:
    trial = Trial("S1x").upload(ONE_STEP).lived(1)
    del trial.rows["job"]
    assert judged(trial).outcome is Outcome.PASS
    trial.note("observer", "table_count", table="job", rows=1)
    assert judged(trial).outcome is Outcome.INVALID


def test_marks_of_jobs_do_not_matter_here() -> None:
    trial = (
        Trial("S1x").upload(ONE_STEP).lived(1).instance("i1", "COMPLETED", done("j1", "n"), done("j1", "m"))
    )
    assert judged(trial).outcome is Outcome.PASS
