"""Contract 1 rows 13 and 14, and their table in 1.6: resuming what waits for somebody outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engine_client import Answer, EngineClient
from engine_on_trial import EngineOnTrial
from workflow import END, Json, decision, fork, join, service, step, user_task, wait

pytestmark = pytest.mark.asyncio(loop_scope="session")

KINDS = ["USER_TASK", "WAIT"]


def parked(kind: str, next: str = "end", **more: Any) -> Json:
    return step("p", kind, next, **more)


async def resume(engine: EngineClient, kind: str, instance: Json, variables: Json | None = None) -> Answer:
    """By the endpoint of that kind of step."""
    if kind == "USER_TASK":
        return await engine.user_task(instance, "p", None if variables is None else {"variables": variables})
    return await engine.signal(instance, "p", variables)


# -- what both have in common ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_it_waits_until_it_is_resumed(engine: EngineClient, kind: str) -> None:
    workflow = await engine.define(parked(kind, "a"), service("a"), END)
    instance = await workflow.start(x=1)
    assert (instance["status"], instance["currentStepIds"]) == ("WAITING", ["p"])
    assert await workflow.lease("a") == []
    answer = await resume(engine, kind, instance, {"y": {"z": 2}})
    assert (answer.status, answer.body) == (204, b"")
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"]) == ("ACTIVE", ["a"])
    assert found["variables"] == {"x": 1, "y": {"z": 2}}


@pytest.mark.parametrize("kind", KINDS)
async def test_its_conditions_choose_the_way(engine: EngineClient, kind: str) -> None:
    workflow = await engine.define(
        parked(kind, conditionalNextSteps={"ok == true": "a", "ok == false": "b"}), service("a"), service("b"), END
    )  # fmt: skip
    for ok, target in ((True, ["a"]), (False, ["b"])):
        instance = await workflow.start()
        await resume(engine, kind, instance, {"ok": ok})
        assert (await engine.instance(instance))["currentStepIds"] == target


@pytest.mark.parametrize("kind", KINDS)
async def test_what_fails_after_it_fails_the_instance_not_the_call(engine: EngineClient, kind: str) -> None:
    workflow = await engine.define(parked(kind, "d"), decision("d", {"ghost": "end"}), END)
    instance = await workflow.start()
    assert (await resume(engine, kind, instance, {})).status == 204
    found = await engine.instance(instance)
    assert (found["status"], found["variables"]) == ("FAILED", {})
    assert "ghost" in found["failureReason"]
    assert await engine.trail(instance) == [("p", "COMPLETED"), ("d", "FAILED")]


@pytest.mark.parametrize(("kind", "again"), [("USER_TASK", (404, "not-found")), ("WAIT", (409, "conflict"))])
async def test_it_is_resumed_once(engine: EngineClient, kind: str, again: tuple[int, str]) -> None:
    workflow = await engine.define(parked(kind, "a"), service("a"), END)
    instance = await workflow.start()
    answers = await asyncio.gather(*(resume(engine, kind, instance, {f"x{n}": n}) for n in range(6)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [204, *[again[0]] * 5]
    (await resume(engine, kind, instance, {})).refused(*again)
    assert len(await engine.variables(instance)) == 1
    assert len(await workflow.lease("a")) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_ended_instance_takes_nothing(engine: EngineClient, kind: str) -> None:
    workflow = await engine.define(parked(kind), END)
    instance = await workflow.start()
    await resume(engine, kind, instance)
    assert await engine.status(instance) == "COMPLETED"
    assert "COMPLETED" in (await resume(engine, kind, instance)).refused(409, "conflict")
    (await resume(engine, kind, {"id": "ghost"})).refused(404, "not-found")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_in_chunks_is_read(engine: EngineClient, kind: str) -> None:
    """The length is not known beforehand: the body must be read all the same."""

    async def chunks() -> AsyncIterator[bytes]:
        text = b'{"variables": {"x": "chunked"}}' if kind == "USER_TASK" else b'{"x": "chunked"}'
        for n in range(0, len(text), 5):
            yield text[n : n + 5]
            await asyncio.sleep(0)

    workflow = await engine.define(parked(kind), END)
    instance = await workflow.start()
    path = "user-tasks/p/complete" if kind == "USER_TASK" else "signals/p"
    answer = await engine.call("POST", f"/v1/instances/{instance['id']}/{path}", chunks())
    assert answer.status == 204
    assert await engine.variables(instance) == {"x": "chunked"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("id", "spelling"),
    [("step: one/two", "step%3A%20one%2Ftwo"), ("prüfen", "pr%C3%BCfen"), ("a::b", "a::b")],
)
async def test_step_ids_may_be_anything(engine: EngineClient, kind: str, id: str, spelling: str) -> None:
    workflow = await engine.define(step(id, kind, "end"), END)
    instance = await workflow.start()
    assert instance["currentStepIds"] == [id]
    resume = engine.user_task if kind == "USER_TASK" else engine.signal
    assert (await resume(instance, spelling, {})).status == 204
    assert await engine.status(instance) == "COMPLETED"


async def test_waiting_means_that_any_current_step_waits(engine: EngineClient) -> None:
    workflow = await engine.define(
        fork("g", ["a", "p", "q"], "j"), service("a", "j"), user_task("p", "j"), wait("q", "j"), join("j"), END
    )  # fmt: skip
    instance = await workflow.start()
    assert (instance["status"], instance["currentStepIds"]) == ("WAITING", ["a", "p", "q"])
    assert (await engine.user_task(instance, "p")).status == 204
    assert await engine.status(instance) == "WAITING"
    assert (await engine.signal(instance, "q")).status == 204
    found = await engine.instance(instance)
    assert (found["status"], sorted(found["currentStepIds"])) == ("ACTIVE", ["a", "j"])
    await workflow.work_off("a")
    assert await engine.status(instance) == "COMPLETED"


# -- user tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "variables"),
    [
        (None, {}),
        ({}, {}),
        ({"variables": {"x": 1}, "workerId": "ann"}, {"x": 1}),
        ({"result": {"x": 2}, "completedBy": "ann"}, {"x": 2}),
        ({"variables": {"x": 3}, "result": {"x": 4}}, {"x": 3}),
        ({"variables": None, "result": {"x": 5}}, {"x": 5}),
    ],
)
async def test_a_user_task_takes_both_spellings(
    engine: EngineClient, on_trial: EngineOnTrial, body: Json | None, variables: Json
) -> None:
    workflow = await engine.define(user_task("p"), END)
    instance = await workflow.start()
    assert (await engine.user_task(instance, "p", body)).status == 204
    assert await engine.variables(instance) == variables
    (row,) = await on_trial.rows(
        "SELECT status, result, completed_at IS NOT NULL AS ended FROM user_task WHERE instance_id = %s",
        instance["id"],
    )
    assert row == {"status": "COMPLETED", "result": variables, "ended": True}


async def test_a_user_task_is_looked_for_in_order(engine: EngineClient) -> None:
    """Instance, step, type, then the instance's state: the first that is wrong is the answer."""
    workflow = await engine.define(service("a", "p"), user_task("p"), END)
    instance = await workflow.start()
    (await engine.user_task({"id": "ghost"}, "p")).refused(404, "not-found")
    assert "nowhere" in (await engine.user_task(instance, "nowhere")).refused(404, "not-found")
    assert "SERVICE_TASK" in (await engine.user_task(instance, "a")).refused(400, "bad-request")
    assert "step p" in (await engine.user_task(instance, "p")).refused(404, "not-found")
    await engine.cancel(instance)
    (await engine.user_task(instance, "nowhere")).refused(404, "not-found")
    (await engine.user_task(instance, "a")).refused(400, "bad-request")
    (await engine.user_task(instance, "p")).refused(409, "conflict")


@pytest.mark.parametrize("body", [[], "x", {"variables": [1]}, {"result": "x"}, {"workerId": 5}])
async def test_a_bad_body_leaves_the_user_task_open(engine: EngineClient, body: object) -> None:
    workflow = await engine.define(user_task("p"), END)
    instance = await workflow.start()
    (await engine.user_task(instance, "p", body)).refused(400, "bad-request")
    assert await engine.status(instance) == "WAITING"
    assert (await engine.user_task(instance, "p")).status == 204


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "variables"),
    [
        (b"", {}),
        (b" \n", {}),
        (b"{}", {}),
        (b"null", {}),
        (b'{"x": {"y": 1}}', {"x": {"y": 1}}),
        (b'{"variables": {"x": 1}}', {"variables": {"x": 1}}),
    ],
)
async def test_a_signal_s_body_is_the_variables(engine: EngineClient, body: bytes, variables: Json) -> None:
    workflow = await engine.define(wait("p"), END)
    instance = await workflow.start()
    answer = await engine.call("POST", f"/v1/instances/{instance['id']}/signals/p", body)
    assert answer.status == 204
    assert await engine.variables(instance) == variables


@pytest.mark.parametrize("body", [b"[]", b"[1]", b"5", b'"x"', b"true", b"{", b"{}}"])
async def test_a_bad_body_leaves_the_wait_waiting(engine: EngineClient, body: bytes) -> None:
    workflow = await engine.define(wait("p"), END)
    instance = await workflow.start()
    answer = await engine.call("POST", f"/v1/instances/{instance['id']}/signals/p", body)
    answer.refused(400, "bad-request")
    assert await engine.status(instance) == "WAITING"
    assert (await engine.signal(instance, "p")).status == 204


async def test_a_wait_is_looked_for_in_order(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "p"), wait("p"), END)
    instance = await workflow.start()
    (await engine.signal({"id": "ghost"}, "p")).refused(404, "not-found")
    assert "nowhere" in (await engine.signal(instance, "nowhere")).refused(409, "conflict")
    assert "SERVICE_TASK" in (await engine.signal(instance, "a")).refused(400, "bad-request")
    assert "step p" in (await engine.signal(instance, "p")).refused(409, "conflict")
    await engine.cancel(instance)
    (await engine.signal(instance, "a")).refused(400, "bad-request")
    (await engine.signal(instance, "p")).refused(409, "conflict")
