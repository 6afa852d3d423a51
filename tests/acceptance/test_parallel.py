"""Contract 5.7: branches run beside each other, and a join waits for every branch of its own activation."""

from __future__ import annotations

import asyncio

import pytest
from engine_client import EngineClient
from workflow import END, decision, fork, join, service, transformation, wait

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_join_waits_for_every_branch(engine: EngineClient) -> None:
    names = ["a", "b", "c"]
    workflow = await engine.define(
        fork("g", names, "j"), *(service(name, "j") for name in names), join("j", "z"), service("z"), END
    )
    instance = await workflow.start(x=0)
    assert (instance["status"], instance["currentStepIds"]) == ("ACTIVE", names)
    seen = []
    for name in ("b", "a", "c"):
        await workflow.work_off(name, "w", **{name: 1}, last=name)
        seen.append(set((await engine.instance(instance))["currentStepIds"]))
    assert seen == [{"a", "c", "j"}, {"c", "j"}, {"z"}]
    assert await engine.variables(instance) == {"x": 0, "a": 1, "b": 1, "c": 1, "last": "c"}
    await workflow.work_off("z")
    assert await engine.status(instance) == "COMPLETED"
    history = await engine.history(instance)
    assert [each["stepId"] for each in history] == ["g", "a", "b", "c", "j", "j", "j", "z", "end"]
    joins = [each for each in history if each["stepId"] == "j"]
    assert [(each["attemptNumber"], each["status"]) for each in joins] == [
        (1, "COMPLETED"), (2, "COMPLETED"), (3, "COMPLETED"),
    ]  # fmt: skip


async def test_branches_of_several_steps_join_once(engine: EngineClient) -> None:
    """The known fault to avoid: counting finished heads, so that the join fires early, and twice."""
    workflow = await engine.define(
        fork("g", ["a1", "b1"], "j"),
        service("a1", "a2"),
        service("a2", "a3"),
        transformation("a3", {"a": "${1 + 1}"}, "j"),
        service("b1", "b2"),
        service("b2", "j"),
        join("j", "z"),
        service("z"),
        END,
    )
    instance = await workflow.start()
    for name in ("a1", "b1", "a2"):
        await workflow.work_off(name)
    found = await engine.instance(instance)
    assert sorted(found["currentStepIds"]) == ["b2", "j"]
    assert await workflow.lease("z") == []
    await workflow.work_off("b2")
    assert (await engine.instance(instance))["currentStepIds"] == ["z"]
    await workflow.work_off("z")
    trail = [step for step, _ in await engine.trail(instance)]
    assert (trail.count("j"), trail.count("z"), trail.count("end")) == (2, 1, 1)


async def test_branches_that_finish_at_once_join_once(engine: EngineClient) -> None:
    names = [f"b{n}" for n in range(8)]
    workflow = await engine.define(
        fork("g", names, "j"), *(service(name, "j") for name in names), join("j", "z"), service("z"), END
    )
    started = [await workflow.start() for _ in range(5)]
    jobs = await workflow.lease(*names, jobs_max=100)
    assert len(jobs) == 40
    await asyncio.gather(*(engine.complete(job, "w", **{job["stepId"]: True}) for job in jobs))
    after = await workflow.lease("z", jobs_max=100)
    assert sorted(job["instanceId"] for job in after) == sorted(each["id"] for each in started)
    assert all(job["variables"] == dict.fromkeys(names, True) for job in after)


async def test_gateways_within_gateways(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("outer", ["inner", "c"], "j1"),
        fork("inner", ["a", "b"], "j2"),
        service("a", "j2"),
        service("b", "j2"),
        join("j2", "d"),
        service("d", "j1"),
        service("c", "j1"),
        join("j1"),
        END,
    )
    instance = await workflow.start()
    assert instance["currentStepIds"] == ["a", "b", "c"]
    for name in ("a", "c", "b"):
        await workflow.work_off(name)
    assert sorted((await engine.instance(instance))["currentStepIds"]) == ["d", "j1"]
    await workflow.work_off("d")
    assert await engine.status(instance) == "COMPLETED"


async def test_a_gateway_in_a_loop_joins_anew_each_time(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("g", ["a", "b"], "j"),
        service("a", "j"),
        service("b", "j"),
        join("j", "d"),
        decision("d", {"again == true": "g", "again == false": "end"}),
        END,
    )
    instance = await workflow.start()
    for again in (True, True, False):
        await workflow.work_off("a", again=not again)
        assert await engine.status(instance) == "ACTIVE"
        await workflow.work_off("b", again=again)
    assert await engine.status(instance) == "COMPLETED"
    history = await engine.history(instance)
    assert [each["attemptNumber"] for each in history if each["stepId"] == "g"] == [1, 2, 3]
    assert [each["attemptNumber"] for each in history if each["stepId"] == "j"] == [1, 2, 3, 4, 5, 6]


async def test_any_end_ends_the_instance_and_what_still_ran(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("g", ["a", "b", "c"], "j"), service("a"), service("b", "j"), wait("c", "j"), join("j"), END
    )
    instance = await workflow.start()
    (left,) = await workflow.lease("b")
    await workflow.work_off("a")
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"]) == ("COMPLETED", [])
    assert "failureReason" not in found
    await engine.complete(left, "w", x=1)
    assert await engine.instance(instance) == found
    steps = {each["stepId"]: each["status"] for each in await engine.history(instance)}
    assert steps == {"g": "COMPLETED", "a": "COMPLETED", "b": "FAILED", "c": "FAILED", "end": "COMPLETED"}


async def test_one_branch_that_fails_fails_the_instance(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("g", ["a", "b"], "j"), service("a", "j"), service("b", "j"), join("j"), END
    )
    instance = await workflow.start()
    await engine.fail(await workflow.lease_one("a"), errorMessage="broke")
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"], found["failureReason"]) == ("FAILED", [], "broke")
    assert await workflow.lease("b") == []


async def test_branches_that_need_no_worker_run_through_at_the_start(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("g", ["a", "b"], "j"),
        transformation("a", {"v": 1, "a": True}, "j"),
        transformation("b", {"v": "${v + 1}"}, "j"),
        join("j"),
        END,
    )
    instance = await workflow.start()
    assert (instance["status"], instance["variables"]) == ("COMPLETED", {"v": 2, "a": True})
    assert [step for step, _ in await engine.trail(instance)] == ["g", "a", "j", "b", "j", "end"]
