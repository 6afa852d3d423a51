"""Conversion between calls and the messages of workflow.proto (contract 2.2 to 2.5). Answers get the form that REST
gives them (contract 1.4), so that only the client knows the transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import json_format
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from seatrial.client.request import (
    Cancel,
    Complete,
    FailJob,
    GetHistory,
    GetInstance,
    ListInstances,
    Poll,
    Request,
    Signal,
    Start,
    Upload,
    UserTask,
)
from seatrial.gen import workflow_pb2 as pb

#: From here on a double holds no integer exactly, and says so by staying one.
_INTEGRAL_BELOW = 2.0**53


def message_of(request: Request) -> Message:
    """Raises json_format.ParseError for a definition with a field that the messages do not have."""
    match request:
        case Upload(definition=document):
            return pb.UploadDefinitionRequest(definition=_definition(document))
        case Start():
            return pb.StartInstanceRequest(
                definition_id=request.definition_id,
                variables=request.variables,
                business_key=request.business_key or "",
            )
        case Poll():
            return pb.PollJobsRequest(
                worker_id=request.worker_id,
                job_types=request.job_types,
                max_jobs=request.max_jobs,
                lease_seconds=int(request.lease_s),
                wait_ms=round(request.wait_s * 1000),
            )
        case Complete():
            return pb.CompleteJobRequest(
                job_id=request.job_id,
                worker_id=request.worker_id,
                variables_to_set=request.variables,
                lease_token=request.lease_token or "",
            )
        case FailJob():
            return pb.FailJobRequest(
                job_id=request.job_id,
                worker_id=request.worker_id,
                retryable=request.retryable,
                error_message=request.error_message,
                lease_token=request.lease_token or "",
            )
        case Signal():
            return pb.SignalWaitRequest(
                instance_id=request.instance_id, wait_step_id=request.step_id, variables=request.variables
            )
        case UserTask():
            return pb.CompleteUserTaskRequest(
                instance_id=request.instance_id,
                user_task_step_id=request.step_id,
                completed_by=request.person,
                result=request.variables,
            )
        case Cancel():
            return pb.CancelInstanceRequest(id=request.instance_id, reason=request.reason)
        case GetInstance():
            return pb.GetInstanceRequest(id=request.instance_id)
        case GetHistory():
            return pb.GetInstanceHistoryRequest(id=request.instance_id)
        case ListInstances():
            return _list(request)
        case _:
            raise TypeError(f"gRPC has no call for {type(request).__name__}")


def body_of(request: Request, message: Any) -> Any:
    """What REST would have answered. Raises ValueError for a time that is none."""
    match request:
        case Upload():
            return {"id": message.id, "version": message.version, "uploadedAt": _time(message, "uploaded_at")}
        case Start() | Cancel() | GetInstance():
            return _instance(message.instance)
        case Poll():
            return {"jobs": [_job(job, request.lease_s) for job in message.jobs]}
        case GetHistory():
            return {"items": [_execution(execution) for execution in message.executions]}
        case ListInstances():
            return {"items": [_instance(each) for each in message.instances], "total": message.total}
        case _:
            return None


# -- to messages


def _definition(document: Mapping[str, Any]) -> pb.WorkflowDefinition:
    steps = [_step(step) for step in document.get("steps") or ()]
    return json_format.ParseDict({**document, "steps": steps}, pb.WorkflowDefinition())


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    """The same step with its enums spelt as protobuf's JSON spells them."""
    spelt = {**step, "type": f"STEP_TYPE_{step.get('type') or 'UNSPECIFIED'}"}
    if "boundaryEvents" in step:
        spelt["boundaryEvents"] = [
            {**event, "type": f"BOUNDARY_EVENT_TYPE_{event.get('type') or 'UNSPECIFIED'}"}
            for event in step["boundaryEvents"]
        ]
    return spelt


def _list(request: ListInstances) -> pb.ListInstancesRequest:
    return pb.ListInstancesRequest(
        definition_id=request.definition_id or "",
        status=f"INSTANCE_STATUS_{request.status or 'UNSPECIFIED'}",
        business_key=request.business_key or "",
        page=request.page,
        page_size=request.page_size,
    )


# -- from messages


def _instance(message: pb.WorkflowInstance) -> dict[str, Any]:
    body = {
        "id": message.id,
        "definitionId": message.definition_id,
        "definitionVersion": message.definition_version,
        "status": _word(pb.InstanceStatus, message.status),
        "currentStepIds": list(message.current_step_ids),
        "variables": _object(message.variables),
        "startedAt": _time(message, "started_at"),
    }
    told = {
        "completedAt": _time(message, "completed_at"),
        "failureReason": message.failure_reason,
        "businessKey": message.business_key,
    }
    return body | {name: value for name, value in told.items() if value}


def _job(message: pb.Job, lease_asked_s: float) -> dict[str, Any]:
    """Contract 2.3 has no `locked_at`: for an engine without our field 101, a lease is assumed to be as long as it
    was asked for.
    """
    expires_at = _time(message, "lock_expires_at")
    locked_at = _time(message, "locked_at")
    if locked_at is None and expires_at is not None:
        began = message.lock_expires_at.ToDatetime(UTC) - timedelta(seconds=lease_asked_s)
        locked_at = datetime.isoformat(began)
    return {
        "id": message.id,
        "jobType": message.job_type,
        "instanceId": message.instance_id,
        "stepId": message.step_id or None,
        "stepExecutionId": message.step_execution_id,
        "retriesRemaining": message.retries_remaining,
        "variables": _object(message.variables),
        "lockedAt": locked_at,
        "lockExpiresAt": expires_at,
        "leaseToken": message.lease_token or None,
    }


def _execution(message: pb.StepExecution) -> dict[str, Any]:
    return {
        "id": message.id,
        "instanceId": message.instance_id,
        "stepId": message.step_id,
        "stepType": _word(pb.StepType, message.step_type),
        "attemptNumber": message.attempt_number,
        "status": _word(pb.StepExecutionStatus, message.status),
        "startedAt": _time(message, "started_at"),
        "endedAt": _time(message, "ended_at"),
        "failureReason": message.failure_reason or None,
    }


def _word(enum: EnumTypeWrapper, number: int) -> str:
    """Without the enum's prefix. Raises ValueError for a number it does not have."""
    prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return enum.Name(number).removeprefix(prefix)


def _time(message: Message, field: str) -> str | None:
    if not message.HasField(field):
        return None
    instant: Timestamp = getattr(message, field)
    return instant.ToJsonString()


def _object(struct: Struct) -> dict[str, Any]:
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case _:
            return None


def _number(number: float) -> float:
    """A Struct has only doubles; a whole one was an integer (contract 2.5)."""
    return int(number) if number.is_integer() and abs(number) < _INTEGRAL_BELOW else number
