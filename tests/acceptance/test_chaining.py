"""Contract 5.9: an END of a definition with both chaining fields starts the next one, in the same transaction."""

from __future__ import annotations

import pytest
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from workflow import END, Json, Workflow, decision, service

from patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def instances(engine: EngineClient, workflow: Workflow) -> list[Json]:
    found: list[Json] = (await engine.get(f"/v1/instances?definitionId={workflow.id}")).json["items"]
    return found


def chained_to(workflow: Workflow) -> Json:
    return {"autoStartNextWorkflow": True, "nextWorkflowId": workflow.id}


async def test_the_next_workflow_starts_with_a_copy_of_the_variables(engine: EngineClient) -> None:
    child = await engine.define(service("c"), END)
    parent = await engine.define(service("a"), END, **chained_to(child))
    instance = await parent.start(business_key="order 7", x=1)
    assert await instances(engine, child) == []
    await parent.work_off("a", y={"z": 2})
    assert await engine.status(instance) == "COMPLETED"
    (started,) = await instances(engine, child)
    assert (started["status"], started["currentStepIds"]) == ("ACTIVE", ["c"])
    assert started["variables"] == {"x": 1, "y": {"z": 2}}
    assert "businessKey" not in started
    await child.work_off("c", x="child's")
    assert await engine.variables(instance) == {"x": 1, "y": {"z": 2}}


async def test_the_latest_version_is_taken(engine: EngineClient) -> None:
    child = await engine.define(service("old"), END)
    parent = await engine.define(service("a"), END, **chained_to(child))
    await parent.start()
    await engine.define(service("new"), END, id=child.id)
    await parent.work_off("a")
    (started,) = await instances(engine, child)
    assert (started["definitionVersion"], started["currentStepIds"]) == (2, ["new"])


async def test_any_end_chains_also_one_met_at_the_start(engine: EngineClient) -> None:
    child = await engine.define(service("c"), END)
    rejected = END | {"id": "rejected", "name": "rejected"}
    parent = await engine.define(
        decision("d", {"ok == true": "end", "true": "rejected"}), END, rejected, **chained_to(child)
    )
    for ok in (True, False):
        assert (await parent.start(ok=ok))["status"] == "COMPLETED"
    assert sorted(each["variables"]["ok"] for each in await instances(engine, child)) == [False, True]


async def test_a_chain_of_chains(engine: EngineClient) -> None:
    third = await engine.define(service("c"), END)
    second = await engine.define(END, **chained_to(third))
    first = await engine.define(END, **chained_to(second))
    await first.start(x=1)
    assert [each["status"] for each in await instances(engine, second)] == ["COMPLETED"]
    assert [each["variables"] for each in await instances(engine, third)] == [{"x": 1}]


async def test_without_the_flag_nothing_is_started(engine: EngineClient) -> None:
    child = await engine.define(service("c"), END)
    parent = await engine.define(END, nextWorkflowId=child.id)
    assert (await parent.start())["status"] == "COMPLETED"
    assert await instances(engine, child) == []


async def test_an_instance_that_does_not_complete_chains_nothing(engine: EngineClient) -> None:
    child = await engine.define(service("c"), END)
    parent = await engine.define(service("a"), END, **chained_to(child))
    await engine.cancel(await parent.start())
    await parent.start()
    await engine.fail(await parent.lease_one("a"))
    assert await instances(engine, child) == []


async def test_a_child_that_fails_leaves_its_parent_completed(engine: EngineClient) -> None:
    child = await engine.define(decision("d", {"ghost": "end"}), END)
    parent = await engine.define(service("a"), END, **chained_to(child))
    instance = await parent.start()
    await parent.work_off("a")
    assert await engine.status(instance) == "COMPLETED"
    assert [each["status"] for each in await instances(engine, child)] == ["FAILED"]


async def test_a_chain_to_nowhere_is_recorded_and_the_parent_completes(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    parent = await engine.define(service("a"), END, autoStartNextWorkflow=True, nextWorkflowId="no-such")
    instance = await parent.start()
    await parent.work_off("a")
    assert await engine.status(instance) == "COMPLETED"
    rows = await on_trial.rows(
        "SELECT detail FROM audit_log WHERE instance_id = %s AND kind = 'chain-failed'", instance["id"]
    )
    assert rows == [{"detail": {"definition_id": "no-such"}}]
    (line,) = await eventually(lambda: on_trial.log(msg="chain: not started", instance_id=instance["id"]))
    assert (line["level"], line["definition_id"]) == ("WARN", "no-such")


async def test_a_chain_onto_itself_comes_to_an_end(engine: EngineClient) -> None:
    """It waits for no work anywhere, so it would go on for ever within one call."""
    id = f"{(await engine.define(END)).id}-loop"
    workflow = await engine.define(END, id=id, autoStartNextWorkflow=True, nextWorkflowId=id)
    instance = await workflow.start()
    assert instance["status"] == "COMPLETED"
    page = (await engine.get(f"/v1/instances?definitionId={id}&status=COMPLETED")).json
    assert 1 < page["total"] < 100
