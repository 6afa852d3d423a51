"""Every call of contract 2.1 over real sockets: what reaches the engine, and what comes back."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import pytest
from dial import struct
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from grpc_door import job, opened

from windlass.api import bounds, protobuf
from windlass.api.gen import workflow_pb2 as pb

DEFINITION = {
    "id": "d",
    "version": 4,
    "name": "D",
    "description": "all there is",
    "autoStartNextWorkflow": True,
    "nextWorkflowId": "n",
    "steps": [
        {
            "id": "s",
            "name": "S",
            "type": "SERVICE_TASK",
            "description": "serves",
            "nextStep": "t",
            "jobType": "j",
            "delegateClass": "c",
            "retryCount": 3,
            "boundaryEvents": [
                {"type": "TIMER", "duration": "PT1S", "interrupting": True, "targetStepId": "t"},
                {"type": "TIMER", "duration": "PT2S", "interrupting": False, "targetStepId": "t"},
            ],
        },
        {
            "id": "g",
            "name": "G",
            "type": "PARALLEL_GATEWAY",
            "parallelNextSteps": ["s", "t"],
            "joinStep": "j",
        },
        {"id": "q", "name": "Q", "type": "DECISION", "conditionalNextSteps": {"a > 1": "s", "b": "t"}},
        {
            "id": "t",
            "name": "T",
            "type": "TRANSFORMATION",
            "transformations": {"x": [1, 2.5, None, {"y": "z"}]},
        },
    ],
    "metadata": {"deep": {"er": [1, True, "text", None]}, "n": 7},
}


# -- definitions


def message_of(document: dict[str, Any]) -> pb.WorkflowDefinition:
    return protobuf.definition_message(json.dumps(document).encode())


async def test_a_definition_arrives_as_the_document_rest_would_have_sent() -> None:
    async with opened() as door:
        answer = await door.dial.call("UploadDefinition", definition=message_of(DEFINITION))
        assert (answer.id, answer.version, answer.uploaded_at.ToJsonString()) == (
            "d",
            3,
            "2026-01-02T03:04:05.600Z",
        )
        name, asked = door.asked()
        document = json.loads(asked["document"])
        assert name == "upload"
        for step, sent in zip(document["steps"], cast(list[Any], DEFINITION["steps"]), strict=True):
            assert {key: value for key, value in step.items() if value} == sent
        document.pop("steps")
        assert document == {k: v for k, v in DEFINITION.items() if k not in {"steps", "version"}}


async def test_branches_and_transformations_come_in_the_order_of_their_sorted_keys() -> None:
    async with opened() as door:
        step = pb.WorkflowStep(id="q", type=pb.STEP_TYPE_DECISION)
        keys = [f"v == {n}" for n in range(30)]
        for key in reversed(keys):
            step.conditional_next_steps[key] = "t"
            step.transformations[key].number_value = 1
        await door.dial.call("UploadDefinition", definition=pb.WorkflowDefinition(id="d", steps=[step]))
        (sent,) = json.loads(door.asked()[1]["document"])["steps"]
        assert list(sent["conditionalNextSteps"]) == list(sent["transformations"]) == sorted(keys)


@pytest.mark.parametrize(
    ("definition", "named"),
    [
        (pb.WorkflowDefinition(steps=[pb.WorkflowStep(type=9)]), "steps[0].type: 9 is no StepType"),  # type: ignore[arg-type]
        (pb.WorkflowDefinition(steps=[pb.WorkflowStep(type=-1)]), "-1 is no StepType"),  # type: ignore[arg-type]
        (
            pb.WorkflowDefinition(
                steps=[pb.WorkflowStep(boundary_events=[pb.BoundaryEvent(type=2)])]  # type: ignore[arg-type]
            ),
            "steps[0].boundaryEvents[0].type: 2 is no BoundaryEventType",
        ),
        (pb.WorkflowDefinition(metadata=struct(n=math.nan)), "metadata holds the number nan"),
    ],
)
async def test_a_definition_that_json_cannot_say_is_refused(
    definition: pb.WorkflowDefinition, named: str
) -> None:
    async with opened() as door:
        status, text = await door.dial.refusal("UploadDefinition", definition=definition)
        assert status == "INVALID_ARGUMENT"
        assert named in text
        assert (await door.dial.refusal("UploadDefinition"))[0] == "INVALID_ARGUMENT"
        assert door.service.asked == []


async def test_definitions_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as door:

        async def stored(definition_id: str, version: int | None) -> bytes:
            door.service._note("definition", id=definition_id, version=version)
            return json.dumps(DEFINITION).encode()

        monkeypatch.setattr(door.service, "get_definition", stored)
        found = (await door.dial.call("GetDefinition", id="d")).definition
        assert door.asked() == ("definition", {"id": "d", "version": None})
        assert json.loads(protobuf.document_of(found))["metadata"] == DEFINITION["metadata"]
        assert found == message_of(DEFINITION)
        assert [step.type for step in found.steps] == [1, 6, 3, 4]
        await door.dial.call("GetDefinition", id="d", version=2)
        assert door.asked() == ("definition", {"id": "d", "version": 2})
        assert (await door.dial.refusal("GetDefinition", id="d", version=-1))[0] == "NOT_FOUND"

        page = await door.dial.call("ListDefinitions", keyword="k", page=-1, page_size=1000)
        assert [(item.id, item.version, item.name) for item in page.definitions] == [("d", 3, "D")]
        assert page.total == 1
        assert door.asked() == ("definitions", {"keyword": "k", "page": 0, "page_size": bounds.PAGE_SIZE_MAX})
        await door.dial.call("ListDefinitions")
        assert door.asked() == ("definitions", {"keyword": "", "page": 0, "page_size": 20})


# -- instances


async def test_start_turns_integral_doubles_into_integers() -> None:
    async with opened() as door:
        values = {"i": 3.0, "f": 1.5, "huge": 1e300, "t": "x", "n": None, "l": [1.0, True, {"z": -2.0}]}
        answer = await door.dial.call(
            "StartInstance",
            definition_id="d",
            definition_version=2,
            business_key="k",
            variables=struct(**values),
        )
        name, asked = door.asked()
        sent = asked.pop("variables")
        assert (name, asked) == ("start", {"id": "d", "version": 2, "business_key": "k"})
        assert json.loads(sent) == values
        assert '"i":3,' in sent
        assert '"l":[1,true,{"z":-2}]' in sent
        instance = answer.instance
        assert json_format.MessageToDict(instance.variables) == values
        assert instance.status == pb.INSTANCE_STATUS_WAITING
        assert (instance.id, instance.definition_version, instance.business_key) == ("i", 3, "k")
        assert list(instance.current_step_ids) == ["s"]
        assert instance.started_at.ToJsonString() == "2026-01-02T03:04:05.600Z"
        assert not instance.HasField("completed_at")


async def test_no_struct_and_an_empty_one_are_no_variables() -> None:
    async with opened() as door:
        for fields in ({}, {"variables": Struct()}):
            await door.dial.call("StartInstance", definition_id="d", **fields)
            assert door.asked()[1] == {"id": "d", "version": None, "variables": "{}", "business_key": None}


@pytest.mark.parametrize(
    "variables",
    [{"a": math.nan}, {"a": [math.inf]}, {"a": {"b": -math.inf}}, {"a": "nul \0"}, {"nul \0": 1}],
    ids=repr,
)
async def test_variables_that_cannot_be_stored_are_refused(variables: dict[str, Any]) -> None:
    async with opened() as door:
        for rpc, field, ids in (
            ("StartInstance", "variables", {"definition_id": "d"}),
            ("CompleteJob", "variables_to_set", {"job_id": "j"}),
            ("CompleteUserTask", "result", {"instance_id": "i", "user_task_step_id": "s"}),
            ("SignalWait", "variables", {"instance_id": "i", "wait_step_id": "s"}),
        ):
            status, text = await door.dial.refusal(rpc, **{field: struct(**variables)}, **ids)
            assert status == "INVALID_ARGUMENT", text
            assert field in text
        assert door.service.asked == []


async def test_instances_are_read_cancelled_and_listed() -> None:
    async with opened() as door:
        instance = (await door.dial.call("GetInstance", id="i")).instance
        assert (instance.status, instance.failure_reason) == (pb.INSTANCE_STATUS_FAILED, "because")
        assert instance.HasField("variables")
        assert instance.completed_at.ToJsonString() == "2026-01-02T03:04:05.600Z"

        (row,) = (await door.dial.call("GetInstanceHistory", id="i")).executions
        assert (row.id, row.instance_id, row.step_id, row.attempt_number) == ("e", "i", "s", 2)
        assert (row.step_type, row.status) == (pb.STEP_TYPE_SERVICE_TASK, pb.STEP_EXECUTION_STATUS_FAILED)
        assert (row.failure_reason, row.HasField("started_at"), row.HasField("ended_at")) == (
            "why",
            True,
            False,
        )

        cancelled = (await door.dial.call("CancelInstance", id="i", reason="no\0more")).instance
        assert cancelled.status == pb.INSTANCE_STATUS_CANCELLED
        assert door.asked() == ("cancel", {"id": "i", "reason": "no\ufffdmore"})

        await door.dial.call(
            "ListInstances", definition_id="d", status=5, business_key="k", page=2, page_size=7
        )
        wanted = {"id": "d", "status": "CANCELLED", "business_key": "k", "page": 2, "page_size": 7}
        assert door.asked() == ("instances", wanted)
        await door.dial.call("ListInstances")
        nothing = {"id": None, "status": None, "business_key": None, "page": 0, "page_size": 20}
        assert door.asked() == ("instances", nothing)
        count = len(door.service.asked)
        assert (await door.dial.refusal("ListInstances", status=6))[0] == "INVALID_ARGUMENT"
        assert len(door.service.asked) == count


# -- jobs


async def test_a_poll_brings_variables_step_and_token() -> None:
    async with opened() as door:
        door.service.jobs = [job()]
        (got,) = (await door.dial.call("PollJobs", worker_id="w", job_types=["t"])).jobs
        assert json_format.MessageToDict(got, preserving_proto_field_name=True) == {
            "id": "j",
            "job_type": "t",
            "instance_id": "i",
            "step_id": "s",
            "step_execution_id": "e",
            "retries_remaining": 2,
            "variables": {"a": 1.0, "b": None},
            "locked_at": "2026-01-02T03:04:05.600Z",
            "lock_expires_at": "2026-01-02T03:04:05.600Z",
            "lease_token": "5",
        }
        defaults = {"worker": "w", "types": ["t"], "max_jobs": 1, "lease_s": 30.0, "wait_s": 0.0}
        assert door.asked() == ("poll", defaults)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"max_jobs": 64}, {"max_jobs": 64}),
        ({"max_jobs": 2**31 - 1}, {"max_jobs": bounds.JOBS_MAX}),
        ({"max_jobs": -1}, {"max_jobs": 1}),
        ({"lease_seconds": 90}, {"lease_s": 90}),
        ({"lease_seconds": 99999}, {"lease_s": bounds.LEASE_S_MAX}),
        ({"lease_seconds": -1}, {"lease_s": 30.0}),
        ({"wait_ms": 1500}, {"wait_s": 1.5}),
        ({"wait_ms": 2**31 - 1}, {"wait_s": 25.0}),
        ({"wait_ms": -1}, {"wait_s": 0.0}),
    ],
    ids=repr,
)
async def test_what_a_poll_asks_for_is_clamped(fields: dict[str, int], asked: dict[str, float]) -> None:
    async with opened() as door:
        door.service.jobs = [job()]
        await door.dial.call("PollJobs", worker_id="w", job_types=["t"], **fields)
        assert door.asked()[1].items() >= asked.items()


async def test_complete_and_fail() -> None:
    async with opened() as door:
        await door.dial.call(
            "CompleteJob", job_id="j", worker_id="w", variables_to_set=struct(a=1), lease_token="7"
        )
        assert door.asked()[1] == {"id": "j", "worker": "w", "token": "7", "variables": '{"a":1}'}
        await door.dial.call("CompleteJob", job_id="j", worker_id="w")
        assert door.asked()[1] == {"id": "j", "worker": "w", "token": None, "variables": "{}"}
        await door.dial.call("FailJob", job_id="j", worker_id="w", error_message="a\0b", retryable=True)
        asked = {"id": "j", "worker": "w", "token": None, "message": "a\ufffdb", "retryable": True}
        assert door.asked() == ("fail", asked)
        await door.dial.call("FailJob", job_id="j", lease_token="7")
        asked = {"id": "j", "worker": "", "token": "7", "message": "", "retryable": False}
        assert door.asked() == ("fail", asked)


async def test_parked_steps() -> None:
    async with opened() as door:
        await door.dial.call(
            "CompleteUserTask", instance_id="i", user_task_step_id="s", completed_by="me", result=struct(a=1)
        )
        assert door.asked() == ("user_task", {"id": "i", "step": "s", "worker": "me", "variables": '{"a":1}'})
        await door.dial.call("SignalWait", instance_id="i", wait_step_id="s", variables=struct(b=2))
        assert door.asked() == ("signal", {"id": "i", "step": "s", "variables": '{"b":2}'})
