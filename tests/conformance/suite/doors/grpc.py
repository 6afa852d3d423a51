"""gRPC: the calls of contract 2.1. Messages come back as the JSON that REST would have answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from workflow import Json

from suite.case import Transport
from suite.doors import Door, Reply
from suite.doors.messages import CLASSES, SERVICE, prefixed

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: "bad-request",
    grpc.StatusCode.NOT_FOUND: "not-found",
    grpc.StatusCode.FAILED_PRECONDITION: "conflict",
}
CALL_TIMEOUT_S = 45.0


class GrpcDoor(Door):
    transport = Transport.GRPC

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def call(self, rpc: str, request: Any) -> Reply:
        """`request` is a message, or the bytes of one; `value` is the answering message."""
        method = self.channel.unary_unary(
            f"/{SERVICE}/{rpc}",
            request_serializer=lambda message: (
                message if isinstance(message, bytes) else message.SerializeToString()
            ),
            response_deserializer=CLASSES[f"{rpc}Response"].FromString,
        )
        try:
            return Reply("ok", "OK", await method(request, timeout=CALL_TIMEOUT_S), "")
        except grpc.aio.AioRpcError as error:
            said = error.code().name
            return Reply(CODES.get(error.code(), said), said, None, error.details() or "")

    async def ask(self, rpc: str, **fields: Any) -> Reply:
        """The fields as JSON values; None leaves one out."""
        request = CLASSES[f"{rpc}Request"]()
        json_format.ParseDict({name: value for name, value in fields.items() if value is not None}, request)
        return await self.call(rpc, request)

    async def upload(self, document: Json) -> Reply:
        return _read(await self.ask("UploadDefinition", definition=_message_form(document)), _plain)

    async def definition(self, id: str, version: int | None = None) -> Reply:
        return _read(
            await self.ask("GetDefinition", id=id, version=version), lambda m: _definition(m.definition)
        )

    async def definitions(self, **query: Any) -> Reply:
        answer = await self.ask("ListDefinitions", **_paging(query), keyword=query.get("keyword"))
        return _read(answer, lambda m: {"items": [_definition(d) for d in m.definitions], "total": m.total})

    async def start(self, body: Json) -> Reply:
        return _read(await self.ask("StartInstance", **body), lambda m: instance_of(m.instance))

    async def instance(self, id: str) -> Reply:
        return _read(await self.ask("GetInstance", id=id), lambda m: instance_of(m.instance))

    async def instances(self, **query: Any) -> Reply:
        status = query.get("status")
        answer = await self.ask(
            "ListInstances",
            **_paging(query),
            definition_id=query.get("definitionId"),
            business_key=query.get("businessKey"),
            status=prefixed("InstanceStatus", status) if status else None,
        )
        return _read(answer, lambda m: {"items": [instance_of(i) for i in m.instances], "total": m.total})

    async def history(self, id: str) -> Reply:
        answer = await self.ask("GetInstanceHistory", id=id)
        return _read(answer, lambda m: [_execution(each) for each in m.executions])

    async def cancel(self, id: str, reason: str | None = None) -> Reply:
        return _read(
            await self.ask("CancelInstance", id=id, reason=reason), lambda m: instance_of(m.instance)
        )

    async def poll(self, body: Json) -> Reply:
        return _read(await self.ask("PollJobs", **body), lambda m: [_job(job) for job in m.jobs])

    async def complete(self, job_id: str, body: Json) -> Reply:
        return await self.ask(
            "CompleteJob",
            job_id=job_id,
            worker_id=body.get("workerId"),
            variables_to_set=body.get("variables"),
        )

    async def fail(self, job_id: str, body: Json) -> Reply:
        return await self.ask("FailJob", job_id=job_id, **body)

    async def user_task(self, instance_id: str, step_id: str, variables: Json | None = None) -> Reply:
        return await self.ask(
            "CompleteUserTask", instance_id=instance_id, user_task_step_id=step_id, result=variables
        )

    async def signal(self, instance_id: str, step_id: str, variables: Json | None = None) -> Reply:
        return await self.ask(
            "SignalWait", instance_id=instance_id, wait_step_id=step_id, variables=variables
        )


def _read(answer: Reply, form: Any) -> Reply:
    return answer if answer.outcome != "ok" else Reply("ok", answer.said, form(answer.value), "")


def _plain(message: Any) -> Json:
    found: Json = json_format.MessageToDict(message)
    return found


def instance_of(message: Any) -> Json:
    found = {"currentStepIds": [], **_plain(message)}
    found["status"] = _bare(found.get("status"), "InstanceStatus")
    return found


def _execution(message: Any) -> Json:
    found = {"endedAt": None, "failureReason": None, **_plain(message)}
    found["status"] = _bare(found.get("status"), "StepExecutionStatus")
    found["stepType"] = _bare(found.get("stepType"), "StepType")
    return found


def _job(message: Any) -> Json:
    return {"retriesRemaining": 0, **_plain(message)}


def _definition(message: Any) -> Json:
    found = _plain(message)
    for step in found.get("steps", []):
        step["type"] = _bare(step.get("type"), "StepType")
        for event in step.get("boundaryEvents", []):
            event["type"] = _bare(event.get("type"), "BoundaryEventType")
            event.setdefault("interrupting", False)
    return found


def _message_form(document: Json) -> Json:
    """The document with its enum words prefixed, as protobuf's JSON wants them."""
    steps = [
        {
            **step,
            "type": prefixed("StepType", step["type"]),
            "boundaryEvents": [
                {**event, "type": prefixed("BoundaryEventType", event["type"])}
                for event in step.get("boundaryEvents", [])
            ],
        }
        for step in document.get("steps", [])
    ]
    return {**document, "steps": steps}


def _bare(word: object, enum: str) -> object:
    return word.removeprefix(prefixed(enum, "")) if isinstance(word, str) else word


def _paging(query: Mapping[str, Any]) -> Json:
    return {"page": query.get("page"), "page_size": query.get("pageSize")}
