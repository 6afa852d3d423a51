"""The engine over gRPC, by grpc.aio."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from windlass_client.errors import (
    BY_GRPC_STATUS,
    BadRequest,
    Conflict,
    EngineFault,
    NotFound,
    Overloaded,
    PollDisabled,
)
from windlass_client.gen import workflow_pb2 as pb
from windlass_client.message import (
    definition_message,
    execution_of,
    instance_of,
    job_of,
    struct_of,
    uploaded_of,
)
from windlass_client.model import Instance, Job, StepExecution, Uploaded
from windlass_client.tls import Tls, system_authorities
from windlass_client.token import Token, authorization_of
from windlass_client.transport import Variables

SERVICE = "workflow.v1.WorkflowEngine"
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # What is repeated is decided in client.py, and a call to an engine that is back gets through at once.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
PUSHBACK = "grpc-retry-pushback-ms"
"""With it a refusal says that nothing was done, and when to try again."""
_REST_ONLY = "gRPC has no registration of workers; use an http:// address"


class GrpcTransport:
    """`target` is host:port."""

    def __init__(self, target: str, timeout_s: float, token: Token = None, tls: Tls | None = None) -> None:
        self._token = token
        self._target = target
        self._timeout_s = timeout_s
        self._tls = tls
        self._channel: grpc.aio.Channel
        #: by channel, the calls under way; those that are not the current one have another certificate
        self._calls: dict[grpc.aio.Channel, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if self._tls is not None:
            self._tls.begin()
        self._channel = self._new_channel()

    def _new_channel(self) -> grpc.aio.Channel:
        options = (*OPTIONS, *_without_proxy(self._target))
        if self._tls is None:
            return grpc.aio.insecure_channel(self._target, options)
        texts = self._tls.texts
        authorities = system_authorities() if texts.authorities is None else texts.authorities
        credentials = grpc.ssl_channel_credentials(
            authorities.encode(),
            None if texts.key is None else texts.key.encode(),
            None if texts.certificate is None else texts.certificate.encode(),
        )
        return grpc.aio.secure_channel(self._target, credentials, options)

    async def close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in {self._channel, *self._calls}), *self._closing)

    def _current(self) -> grpc.aio.Channel:
        if self._tls is not None and self._tls.is_renewed():
            old, self._channel = self._channel, self._new_channel()
            if old not in self._calls:
                self._retire(old)
        return self._channel

    def _ended(self, channel: grpc.aio.Channel) -> None:
        """A call is over; a channel with another certificate than now is closed after its last one."""
        self._calls[channel] -= 1
        if not self._calls[channel]:
            del self._calls[channel]
            if channel is not self._channel:
                self._retire(channel)

    def _retire(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.create_task(channel.close(), name="close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def upload(self, definition: Mapping[str, Any]) -> Uploaded:
        answer = await self._call("UploadDefinition", definition=definition_message(definition))
        return uploaded_of(answer)

    async def start(
        self, definition_id: str, variables: Variables, version: int | None, business_key: str | None
    ) -> Instance:
        answer = await self._call(
            "StartInstance",
            definition_id=definition_id,
            definition_version=version or 0,
            variables=struct_of(variables),
            business_key=business_key or "",
        )
        return instance_of(answer.instance)

    async def get(self, instance_id: str) -> Instance:
        return instance_of((await self._call("GetInstance", id=instance_id)).instance)

    async def history(self, instance_id: str) -> Sequence[StepExecution]:
        answer = await self._call("GetInstanceHistory", id=instance_id)
        items = [execution_of(each) for each in answer.executions]
        while answer.next_page_token:
            answer = await self._call("GetInstanceHistory", id=instance_id, page_token=answer.next_page_token)
            items += [execution_of(each) for each in answer.executions]
        return items

    async def cancel(self, instance_id: str, reason: str) -> Instance:
        return instance_of((await self._call("CancelInstance", id=instance_id, reason=reason)).instance)

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
        return [job_of(each, worker_id) for each in answer.jobs]

    async def complete(self, job: Job, variables: Variables) -> None:
        await self._call(
            "CompleteJob",
            job_id=job.id,
            worker_id=job.worker_id,
            lease_token=job.lease_token,
            variables_to_set=struct_of(variables),
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
            result=struct_of(variables),
            completed_by=completed_by,
        )

    async def signal(self, instance_id: str, step_id: str, variables: Variables) -> None:
        await self._call(
            "SignalWait", instance_id=instance_id, wait_step_id=step_id, variables=struct_of(variables)
        )

    async def register_worker(
        self,
        worker_id: str,  # noqa: ARG002 - a transport's signature
        job_types: Sequence[str],  # noqa: ARG002
        version: str,  # noqa: ARG002
        capacity: int,  # noqa: ARG002
        heartbeat_s: float,  # noqa: ARG002
    ) -> None:
        raise NotFound(_REST_ONLY)

    async def worker_heartbeat(self, worker_id: str) -> None:  # noqa: ARG002
        raise NotFound(_REST_ONLY)

    async def unregister_worker(self, worker_id: str) -> None:  # noqa: ARG002
        raise NotFound(_REST_ONLY)

    async def _call(self, rpc: str, *, extra_s: float = 0, **fields: Any) -> Any:
        """The answer's message; `extra_s` is how long the engine may hold the call by itself."""
        try:
            request = getattr(pb, f"{rpc}Request")(**fields)
            serialised = request.SerializeToString()
        except (TypeError, ValueError) as error:
            raise BadRequest(f"{rpc}: the request does not fit its message: {error}") from error
        authorization = authorization_of(self._token)
        metadata = None if authorization is None else (("authorization", authorization),)
        channel = self._current()
        call: Any = channel.unary_unary(
            f"/{SERVICE}/{rpc}", response_deserializer=getattr(pb, f"{rpc}Response").FromString
        )
        self._calls[channel] = self._calls.get(channel, 0) + 1
        try:
            return await call(serialised, timeout=self._timeout_s + extra_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            status = error.code().name
            reason = error.details() or f"{rpc} was answered {status} without a message"
            pushback_ms = dict(error.trailing_metadata() or ()).get(PUSHBACK)
            if pushback_ms is not None:
                raise Overloaded(reason, int(pushback_ms) / 1000) from error
            raise BY_GRPC_STATUS.get(status, EngineFault)(reason) from error
        finally:
            self._ended(channel)


def _without_proxy(target: str) -> tuple[tuple[str, int], ...]:
    """For this machine itself: the library sends every call through HTTP_PROXY unless NO_PROXY names its host."""
    host = target.rpartition("@")[2].rpartition(":")[0].strip("[]")
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host.lower() == "localhost"
    return (("grpc.enable_http_proxy", 0),) if is_here else ()
