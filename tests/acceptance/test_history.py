"""Contract 1.4, 5.1, 5.2 and 5.10: one row for each entry into a step, in the order they began."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from engine_client import EngineClient
from workflow import END, Json, decision, service, transformation, user_task, wait

pytestmark = pytest.mark.asyncio(loop_scope="session")

TWICE = {
    "id": "ID",
    "instanceId": "InstanceID",
    "stepId": "StepID",
    "stepType": "StepType",
    "attemptNumber": "AttemptNumber",
    "status": "Status",
    "startedAt": "StartedAt",
    "endedAt": "EndedAt",
    "inputSnapshot": "InputSnapshot",
    "outputSnapshot": "OutputSnapshot",
    "failureReason": "FailureReason",
}
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


async def test_every_key_comes_in_both_spellings(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "b"), service("b"), END)
    instance = await workflow.start()
    await workflow.work_off("a")
    await engine.fail(await workflow.lease_one("b"), errorMessage="broke")
    for item in await engine.history(instance):
        assert set(item) == {*TWICE, *TWICE.values()}
        assert [item[camel] for camel in TWICE] == [item[pascal] for pascal in TWICE.values()]


async def test_a_row_tells_what_went_in_and_what_came_out(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "b"), user_task("b"), END)
    instance = await workflow.start(x=1)
    await workflow.work_off("a", y=2)
    first, second = await engine.history(instance)
    assert ULID.fullmatch(first["id"])
    assert {key: first[key] for key in TWICE} == {
        "id": first["id"],
        "instanceId": instance["id"],
        "stepId": "a",
        "stepType": "SERVICE_TASK",
        "attemptNumber": 1,
        "status": "COMPLETED",
        "startedAt": instance["startedAt"],
        "endedAt": first["endedAt"],
        "inputSnapshot": {"x": 1},
        "outputSnapshot": {"y": 2},
        "failureReason": None,
    }
    assert datetime.fromisoformat(first["startedAt"]) <= datetime.fromisoformat(first["endedAt"])
    assert first["endedAt"] == second["startedAt"]
    assert {
        key: second[key] for key in ("stepId", "status", "endedAt", "inputSnapshot", "outputSnapshot")
    } == {
        "stepId": "b",
        "status": "RUNNING",
        "endedAt": None,
        "inputSnapshot": {"x": 1, "y": 2},
        "outputSnapshot": None,
    }


async def test_steps_of_one_transaction_are_in_the_order_they_ran(engine: EngineClient) -> None:
    workflow = await engine.define(
        transformation("t1", {"x": 1}, "d1"),
        decision("d1", {"x == 1": "t2"}),
        transformation("t2", {"x": 2}, "d2"),
        decision("d2", {"x == 2": "w"}),
        wait("w"),
        END,
    )
    instance = await workflow.start()
    history = await engine.history(instance)
    assert [each["stepId"] for each in history] == ["t1", "d1", "t2", "d2", "w"]
    assert {each["stepType"] for each in history} == {"TRANSFORMATION", "DECISION", "WAIT"}
    assert [each["id"] for each in history] == sorted(each["id"] for each in history)
    assert history[0]["outputSnapshot"] == {"x": 1}
    assert history[2]["outputSnapshot"] == {"x": 2}


async def test_attempts_count_entries_not_retries(engine: EngineClient) -> None:
    workflow = await engine.define(
        service("a", "d", retryCount=3), decision("d", {"again == true": "a", "again == false": "end"}), END
    )
    instance = await workflow.start()
    await engine.fail(await workflow.lease_one("a"), retryable=True)
    await workflow.work_off("a", again=True)
    await engine.fail(await workflow.lease_one("a"), retryable=True)
    await workflow.work_off("a", again=False)

    def shown(item: Json) -> tuple[str, int, str]:
        return item["stepId"], item["attemptNumber"], item["status"]

    assert [shown(item) for item in await engine.history(instance)] == [
        ("a", 1, "COMPLETED"), ("d", 1, "COMPLETED"),
        ("a", 2, "COMPLETED"), ("d", 2, "COMPLETED"),
        ("end", 1, "COMPLETED"),
    ]  # fmt: skip


async def test_a_loop_without_work_in_it_fails_instead_of_running_for_ever(engine: EngineClient) -> None:
    workflow = await engine.define(
        transformation("t", {"x": 1}, "d"), decision("d", {"x == 1": "t", "x == 2": "end"}), END
    )
    instance = await workflow.start()
    assert instance["status"] == "FAILED"
    assert "loops" in instance["failureReason"]
    assert {status for _, status in await engine.trail(instance)} == {"COMPLETED"}
