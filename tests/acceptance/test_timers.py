"""Contract 3.3 and 5.6: boundary timers, with the sweep's pause of 5 s shortened to 0.1 s."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from workflow import END, Json, Workflow, decision, fork, join, service, step, timer, user_task, wait

from patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = "PT0.3S"
INTERRUPTED = "interrupted by boundary timer"
PARKING = {"SERVICE_TASK": {"jobType": "p"}, "USER_TASK": {}, "WAIT": {}}


def parked(kind: str, duration: str = SOON, *, interrupting: bool, next: str = "end") -> Json:
    event = timer(duration, "late", interrupting=interrupting)
    return step("p", kind, next, boundaryEvents=[event], **PARKING[kind])


async def until_entered(engine: EngineClient, instance: Json, step_id: str) -> Json:
    async def entered() -> Json | None:
        return next((each for each in await engine.history(instance) if each["stepId"] == step_id), None)

    found = await eventually(entered)
    assert found is not None
    return found


async def timers(on_trial: EngineOnTrial, instance: Json) -> list[Json]:
    return await on_trial.rows(
        "SELECT target_step_id, interrupting, fired FROM boundary_event_schedule WHERE instance_id = %s"
        " ORDER BY id",
        instance["id"],
    )


# -- firing ---------------------------------------------------------------------------------------


async def test_the_reminder_of_a_user_task_may_end_its_instance(engine: EngineClient) -> None:
    """The e2e scenario: PT2S, not interrupting, onto a path that ends while the task still waits."""
    workflow = await engine.define(
        user_task("p", boundaryEvents=[timer("PT2S", "late", interrupting=False)]), service("late"), END
    )
    began_s = time.monotonic()
    instance = await workflow.start()
    reminder = await until_entered(engine, instance, "late")
    assert time.monotonic() - began_s > 1.9
    entered = datetime.fromisoformat(reminder["startedAt"])
    assert 2.0 <= (entered - datetime.fromisoformat(instance["startedAt"])).total_seconds() < 7.0
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"]) == ("WAITING", ["p", "late"])
    await workflow.work_off("late", reminded=True)
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"]) == ("COMPLETED", [])
    assert found["variables"] == {"reminded": True}
    steps = {each["stepId"]: each["status"] for each in await engine.history(instance)}
    assert steps == {"p": "FAILED", "late": "COMPLETED", "end": "COMPLETED"}
    (await engine.user_task(instance, "p")).refused(409, "conflict")


@pytest.mark.parametrize("kind", PARKING)
async def test_an_interrupting_timer_takes_the_step_s_place(
    engine: EngineClient, on_trial: EngineOnTrial, kind: str
) -> None:
    workflow = await engine.define(parked(kind, interrupting=True), service("late"), END)
    instance = await workflow.start()
    await until_entered(engine, instance, "late")
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"]) == ("ACTIVE", ["late"])
    parent = (await engine.history(instance))[0]
    assert (parent["stepId"], parent["status"], parent["failureReason"]) == ("p", "FAILED", INTERRUPTED)
    assert parent["endedAt"]
    (left,) = await on_trial.rows(
        """SELECT (SELECT array_agg(status) FROM job WHERE instance_id = %s AND step_id = 'p') AS jobs,
                  (SELECT array_agg(status) FROM user_task WHERE instance_id = %s) AS tasks""",
        *[instance["id"]] * 2,
    )
    assert left == {
        "jobs": ["CANCELLED"] if kind == "SERVICE_TASK" else None,
        "tasks": ["CANCELLED"] if kind == "USER_TASK" else None,
    }
    if kind == "USER_TASK":
        (await engine.user_task(instance, "p")).refused(404, "not-found")
    elif kind == "WAIT":
        (await engine.signal(instance, "p")).refused(409, "conflict")
    await workflow.work_off("late")
    assert await engine.status(instance) == "COMPLETED"


async def test_the_worker_of_an_interrupted_job_is_not_told_off(engine: EngineClient) -> None:
    workflow = await engine.define(parked("SERVICE_TASK", interrupting=True), service("late"), END)
    instance = await workflow.start()
    job = await workflow.lease_one("p")
    await until_entered(engine, instance, "late")
    await engine.complete(job, x=1)
    await engine.fail(job, retryable=True)
    found = await engine.instance(instance)
    assert (found["currentStepIds"], found["variables"]) == (["late"], {})
    assert await workflow.lease("p") == []


@pytest.mark.parametrize("kind", PARKING)
async def test_the_step_goes_on_beside_a_timer_that_does_not_interrupt(
    engine: EngineClient, kind: str
) -> None:
    workflow = await engine.define(
        parked(kind, interrupting=False, next="after"), wait("late", "after"), service("after"), END
    )
    instance = await workflow.start()
    await until_entered(engine, instance, "late")
    assert sorted((await engine.instance(instance))["currentStepIds"]) == ["late", "p"]
    if kind == "SERVICE_TASK":
        await workflow.work_off("p")
    else:
        resume = engine.user_task if kind == "USER_TASK" else engine.signal
        assert (await resume(instance, "p")).status == 204
    assert sorted((await engine.instance(instance))["currentStepIds"]) == ["after", "late"]
    trail = await engine.trail(instance)
    assert trail == [("p", "COMPLETED"), ("late", "RUNNING"), ("after", "RUNNING")]


async def test_several_timers_of_one_step_fire_each_in_its_time(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    events = [
        timer("PT1.2S", "last", interrupting=True),
        timer("PT0.2S", "one", interrupting=False),
        timer("PT0.6S", "two", interrupting=False),
        timer("PT1H", "never", interrupting=True),
    ]
    names = ("one", "two", "last", "never")
    workflow = await engine.define(
        user_task("p", boundaryEvents=events), *(wait(name) for name in names), END
    )
    instance = await workflow.start()
    await until_entered(engine, instance, "last")
    assert [each["stepId"] for each in await engine.history(instance)] == ["p", "one", "two", "last"]
    assert (await engine.instance(instance))["currentStepIds"] == ["one", "two", "last"]
    assert [each["fired"] for each in await timers(on_trial, instance)] == [True] * 4


async def test_a_timer_may_lead_to_any_step(engine: EngineClient) -> None:
    """Through a decision that fails: the instance fails, and the timer is not tried for ever."""
    workflow = await engine.define(
        wait("p", boundaryEvents=[timer(SOON, "d", interrupting=True)]), decision("d", {"ghost": "end"}), END
    )
    instance = await workflow.start()
    failed = await until_entered(engine, instance, "d")
    found = await engine.instance(instance)
    assert (failed["status"], found["status"]) == ("FAILED", "FAILED")
    assert "ghost" in found["failureReason"]


async def test_a_timer_in_a_branch_keeps_the_join_whole(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("g", ["p", "q"], "j"),
        parked("WAIT", interrupting=True, next="j"),
        wait("late", "j"),
        wait("q", "j"),
        join("j"),
        END,
    )
    instance = await workflow.start()
    await until_entered(engine, instance, "late")
    assert (await engine.signal(instance, "q")).status == 204
    assert await engine.status(instance) == "WAITING"
    assert (await engine.signal(instance, "late")).status == 204
    assert await engine.status(instance) == "COMPLETED"


# -- not firing -----------------------------------------------------------------------------------


async def fired_after(engine: EngineClient, workflow: Workflow) -> None:
    """Returns when a timer that was set later than those before it has fired, so that theirs have had their time."""
    later = await workflow.start(later=True)
    await until_entered(engine, later, "late")


@pytest.mark.parametrize("kind", PARKING)
async def test_a_finished_step_s_timer_has_no_effect(
    engine: EngineClient, on_trial: EngineOnTrial, kind: str
) -> None:
    workflow = await engine.define(
        parked(kind, "PT0.8S", interrupting=True, next="after"), wait("after"), wait("late"), END
    )
    instance = await workflow.start()
    if kind == "SERVICE_TASK":
        await workflow.work_off("p")
    else:
        resume = engine.user_task if kind == "USER_TASK" else engine.signal
        assert (await resume(instance, "p")).status == 204
    assert await timers(on_trial, instance) == [
        {"target_step_id": "late", "interrupting": True, "fired": True}
    ]
    await fired_after(engine, workflow)
    assert await engine.trail(instance) == [("p", "COMPLETED"), ("after", "RUNNING")]
    assert await engine.status(instance) == "WAITING"


async def test_an_ended_instance_s_timers_have_no_effect(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    workflow = await engine.define(parked("SERVICE_TASK", "PT0.8S", interrupting=True), service("late"), END)
    cancelled, failed = await workflow.start(), await workflow.start()
    for job in await workflow.lease("p"):
        if job["instanceId"] == failed["id"]:
            await engine.fail(job, errorMessage="broke")
    await engine.cancel(cancelled)
    before = [await engine.instance(each) for each in (cancelled, failed)]
    assert [each["status"] for each in before] == ["CANCELLED", "FAILED"]
    await fired_after(engine, workflow)
    assert [await engine.instance(each) for each in (cancelled, failed)] == before
    for each in (cancelled, failed):
        assert len(await engine.history(each)) == 1
        assert [row["fired"] for row in await timers(on_trial, each)] == [True]


async def test_events_on_steps_that_do_not_wait_are_ignored(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    alarm: dict[str, Any] = {"boundaryEvents": [timer("PT1H", "end", interrupting=True)]}
    workflow = await engine.define(decision("d", {"true": "w"}) | alarm, wait("w"), END | alarm)
    instance = await workflow.start()
    assert instance["currentStepIds"] == ["w"]
    assert await timers(on_trial, instance) == []


async def test_each_entry_of_a_step_sets_its_timer_anew(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    again = [timer(SOON, "p", interrupting=True)]
    workflow = await engine.define(wait("p", boundaryEvents=again), END)
    instance = await workflow.start()

    async def third_entry() -> bool:
        return len(await engine.history(instance)) >= 3

    await eventually(third_entry)
    assert (await engine.signal(instance, "p")).status == 204
    history = await engine.history(instance)
    waits = [each for each in history if each["stepId"] == "p"]
    assert [each["attemptNumber"] for each in waits] == list(range(1, len(waits) + 1))
    assert {each["failureReason"] for each in waits[:-1]} == {INTERRUPTED}
    assert await engine.status(instance) == "COMPLETED"
    assert all(row["fired"] for row in await timers(on_trial, instance))
