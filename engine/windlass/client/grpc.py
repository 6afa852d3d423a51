"""The engine over gRPC, by grpc.aio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
import msgspec
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from windlass.api import protobuf
from windlass.api.gen import workflow_pb2 as pb
from windlass.client.errors import BY_GRPC_STATUS, BadRequest, Conflict, EngineFault, PollDisabled
from windlass.client.model import Instance, Job, StepExecution, Uploaded
from windlass.client.transport import Variables
from windlass.definition.model import StepType
from windlass.states import InstanceStatus, StepStatus

SERVICE = "workflow.v1.WorkflowEngine"
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # What is repeated is decided in client.py, and a call to an engine that is back gets through at once.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class GrpcTransport:
    """`target` is host:port; with `tls` the server is known by the system's CAs."""

    def __init__(self, target: str, timeout_s: float, *, tls: bool) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._tls = tls
        self._channel: grpc.aio.Channel

    async def open(self) -> None:
        if self._tls:
            self._channel = grpc.aio.secure_channel(self._target, grpc.ssl_channel_credentials(), OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(self._target, OPTIONS)

    async def close(self) -> None:
        await self._channel.close()

    async def upload(self, definition: Mapping[str, Any]) -> Uploaded:
        answer = await self._call("UploadDefinition", definition=_definition(definition))
        return Uploaded(answer.id, answer.version, _time(answer.uploaded_at))

    async def start(
        self, definition_id: str, variables: Variables, version: int | None, business_key: str | None
    ) -> Instance:
        answer = await self._call(
            "StartInstance",
            definition_id=definition_id,
            definition_version=version or 0,
            variables=_struct(variables),
            business_key=business_key or "",
        )
        return _instance(answer.instance)

    async def get(self, instance_id: str) -> Instance:
        return _instance((await self._call("GetInstance", id=instance_id)).instance)

    async def history(self, instance_id: str) -> Sequence[StepExecution]:
        answer = await self._call("GetInstanceHistory", id=instance_id)
        return [_execution(each) for each in answer.executions]

    async def cancel(self, instance_id: str, reason: str) -> Instance:
        return _instance((await self._call("CancelInstance", id=instance_id, reason=reason)).instance)

    async def poll(
        self, worker_id: str, job_types: Sequence[str], max_jobs: int, lease_s: float, wait_s: float
    ) -> Sequence[Job]:
        try:
            answer = await self._call(
                "PollJobs",
                extra_s=wait_s,
                worker_id=worker_id,
                job_types=list(job_types),
                max_jobs=max_jobs,
                lease_seconds=math.ceil(lease_s),
                wait_ms=round(wait_s * 1000),
            )
        except Conflict as error:
            # A poll has no other precondition than that jobs are to be had by polling.
            raise PollDisabled(error.reason) from error
        return [_job(each, worker_id) for each in answer.jobs]

    async def complete(self, job: Job, variables: Variables) -> None:
        await self._call(
            "CompleteJob",
            job_id=job.id,
            worker_id=job.worker_id,
            lease_token=job.lease_token,
            variables_to_set=_struct(variables),
        )

    async def fail(self, job: Job, message: str, *, retryable: bool) -> None:
        await self._call(
            "FailJob",
            job_id=job.id,
            worker_id=job.worker_id,
            lease_token=job.lease_token,
            error_message=message,
            retryable=retryable,
        )

    async def complete_user_task(
        self, instance_id: str, step_id: str, variables: Variables, completed_by: str
    ) -> None:
        await self._call(
            "CompleteUserTask",
            instance_id=instance_id,
            user_task_step_id=step_id,
            result=_struct(variables),
            completed_by=completed_by,
        )

    async def signal(self, instance_id: str, step_id: str, variables: Variables) -> None:
        await self._call(
            "SignalWait", instance_id=instance_id, wait_step_id=step_id, variables=_struct(variables)
        )

    async def _call(self, rpc: str, *, extra_s: float = 0, **fields: Any) -> Any:
        """The answer's message; `extra_s` is how long the engine may hold the call by itself."""
        try:
            request = getattr(pb, f"{rpc}Request")(**fields)
            serialised = request.SerializeToString()
        except (TypeError, ValueError) as error:
            raise BadRequest(f"{rpc}: what is to be sent does not fit its message: {error}") from error
        call: Any = self._channel.unary_unary(
            f"/{SERVICE}/{rpc}", response_deserializer=getattr(pb, f"{rpc}Response").FromString
        )
        try:
            return await call(serialised, timeout=self._timeout_s + extra_s)
        except grpc.aio.AioRpcError as error:
            status = error.code().name
            kind = BY_GRPC_STATUS.get(status, EngineFault)
            raise kind(error.details() or f"{rpc} was answered {status} without a word") from error


def _struct(variables: Variables) -> Struct:
    struct = Struct()
    try:
        # By way of JSON, as REST sends them: what is not a JSON value is refused there alike.
        protobuf.fill(struct, msgspec.json.encode(variables))
    except protobuf.TooDeep:
        raise BadRequest(
            f"variables are nested deeper than {protobuf.NESTING_MAX} levels, the most gRPC can carry; use REST"
        ) from None
    except AttributeError:
        raise BadRequest("variables must be a JSON object") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"what is to be sent is no JSON: {error}") from error
    return struct


def _definition(definition: Mapping[str, Any]) -> pb.WorkflowDefinition:
    try:
        text = msgspec.json.encode({"id": "", "version": 0, **definition})
        return protobuf.definition_message(text)
    except protobuf.TooDeep:
        raise BadRequest(
            f"the definition is nested deeper than {protobuf.NESTING_MAX} levels, the most gRPC can carry; use REST"
        ) from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadRequest(f"the definition does not fit its message: {error}") from error


def _instance(message: pb.WorkflowInstance) -> Instance:
    return Instance(
        id=message.id,
        definition_id=message.definition_id,
        definition_version=message.definition_version,
        status=InstanceStatus(protobuf.word_of(pb.InstanceStatus, message.status, "status")),
        current_step_ids=tuple(message.current_step_ids),
        variables=protobuf.json_of(message.variables, name="variables"),
        started_at=_time(message.started_at),
        completed_at=_time(message.completed_at) if message.HasField("completed_at") else None,
        failure_reason=message.failure_reason or None,
        business_key=message.business_key or None,
    )


def _execution(message: pb.StepExecution) -> StepExecution:
    return StepExecution(
        id=message.id,
        instance_id=message.instance_id,
        step_id=message.step_id,
        step_type=StepType(protobuf.word_of(pb.StepType, message.step_type, "step_type")),
        attempt_number=message.attempt_number,
        status=StepStatus(protobuf.word_of(pb.StepExecutionStatus, message.status, "status")),
        started_at=_time(message.started_at),
        ended_at=_time(message.ended_at) if message.HasField("ended_at") else None,
        failure_reason=message.failure_reason or None,
    )


def _job(message: pb.Job, worker_id: str) -> Job:
    return Job(
        id=message.id,
        instance_id=message.instance_id,
        step_id=message.step_id,
        step_execution_id=message.step_execution_id,
        job_type=message.job_type,
        retries_remaining=message.retries_remaining,
        variables=protobuf.json_of(message.variables, name="variables"),
        lock_expires_at=_time(message.lock_expires_at),
        lease_token=message.lease_token,
        worker_id=worker_id,
    )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
