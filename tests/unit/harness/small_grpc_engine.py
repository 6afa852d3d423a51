"""`SmallEngine` with a second door: the same instances, jobs and answers over gRPC, on a real socket."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Self

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from small_engine import SmallEngine

from seatrial.client.grpc import SERVICE
from seatrial.cluster import Replica
from seatrial.gen import workflow_pb2 as pb

GrpcScript = Callable[[str, Any, Any], Awaitable[Message | bytes | None]]
"""(rpc, request, context) -> what answers instead; None lets the usual answer happen."""

AT = "2026-01-01T00:00:00Z"
RPCS = [method.name for method in pb.DESCRIPTOR.services_by_name["WorkflowEngine"].methods]


class SmallGrpcEngine(SmallEngine):
    """Its gRPC door has a script of its own and keeps the requests that came through it."""

    def __init__(self, name: str = "replica-0") -> None:
        super().__init__(name)
        self.grpc_script: GrpcScript | None = None
        self.calls: list[tuple[str, Any]] = []
        self.peers: set[str] = set()
        self.grpc_port = 0
        self._server: Any = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.open_grpc()
        return self

    async def open_grpc(self) -> None:
        """Listens, on the same port as before."""
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        )
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            rpc: grpc.unary_unary_rpc_method_handler(self._handler(rpc)) for rpc in RPCS
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        address, certificate = f"127.0.0.1:{self.grpc_port}", self.certificate
        if certificate is None:
            self.grpc_port = self._server.add_insecure_port(address)
        else:
            pair = certificate.key_file.read_bytes(), certificate.certificate_file.read_bytes()
            self.grpc_port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        await self._server.start()

    async def close_grpc(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def close(self) -> None:
        await self.close_grpc()
        await super().close()

    @property
    def replica(self) -> Replica:
        address = f"127.0.0.1:{self.grpc_port}"
        return Replica(self.name, self.url, f"{self.url}/metrics", address, ca_file=self.ca_file)

    def _handler(self, rpc: str) -> Any:
        async def handle(data: bytes, context: Any) -> bytes:
            request = getattr(pb, f"{rpc}Request").FromString(data)
            self.calls.append((rpc, request))
            self.peers.add(context.peer())
            answer = await self.grpc_script(rpc, request, context) if self.grpc_script else None
            if answer is None:
                answer = getattr(self, _snake(rpc))(request)
            return answer if isinstance(answer, bytes) else answer.SerializeToString()

        return handle

    def _upload_definition(self, request: Any) -> Message:
        answer = pb.UploadDefinitionResponse(id=request.definition.id, version=1)
        answer.uploaded_at.FromJsonString(AT)
        return answer

    def _start_instance(self, request: Any) -> Message:
        made = {
            "id": f"{self.name}-i{len(self.instances) + 1}",
            "definitionId": request.definition_id,
            "definitionVersion": 1,
            "status": "COMPLETED",
            "currentStepIds": [],
            "variables": json_format.MessageToDict(request.variables),
            "startedAt": AT,
            "completedAt": AT,
            "businessKey": request.business_key or None,
        }
        self.instances.append(made)
        return pb.StartInstanceResponse(instance=_instance(made))

    def _get_instance(self, request: Any) -> Message:
        return pb.GetInstanceResponse(instance=_instance(self._found(request.id)))

    def _cancel_instance(self, request: Any) -> Message:
        return pb.CancelInstanceResponse(instance=_instance(self._found(request.id)))

    def _list_instances(self, request: Any) -> Message:
        status = pb.InstanceStatus.Name(request.status).removeprefix("INSTANCE_STATUS_")
        fits = [
            each
            for each in self.instances
            if request.definition_id in {"", each["definitionId"]}
            and status in {"UNSPECIFIED", each["status"]}
        ]
        first = request.page * request.page_size
        page = [_instance(each) for each in fits[first : first + request.page_size]]
        return pb.ListInstancesResponse(instances=page, total=len(fits))

    def _get_instance_history(self, request: Any) -> Message:
        execution = pb.StepExecution(
            id=f"step-of-{request.id}",
            instance_id=request.id,
            step_id="end",
            step_type="STEP_TYPE_END",
            attempt_number=1,
            status="STEP_EXECUTION_STATUS_COMPLETED",
        )
        execution.started_at.FromJsonString(AT)
        execution.ended_at.FromJsonString(AT)
        return pb.GetInstanceHistoryResponse(executions=[execution])

    def _poll_jobs(self, request: Any) -> Message:
        answer = pb.PollJobsResponse()
        asked = {"jobTypes": list(request.job_types), "maxJobs": request.max_jobs or 1}
        for job in self._take(asked):
            leased = self._lease(job, request.worker_id)
            known = {name: leased[name] for name in leased if name in _JOB_FIELDS}
            json_format.ParseDict(known, answer.jobs.add())
        return answer

    def _complete_job(self, request: Any) -> Message:
        body = {
            "workerId": request.worker_id,
            "variables": json_format.MessageToDict(request.variables_to_set),
            **_token(request),
        }
        self.completed.append((request.job_id, body))
        return pb.CompleteJobResponse()

    def _fail_job(self, request: Any) -> Message:
        body = {
            "workerId": request.worker_id,
            "errorMessage": request.error_message,
            "retryable": request.retryable,
            **_token(request),
        }
        self.failed.append((request.job_id, body))
        return pb.FailJobResponse()

    def _complete_user_task(self, _request: Any) -> Message:
        return pb.CompleteUserTaskResponse()

    def _signal_wait(self, _request: Any) -> Message:
        return pb.SignalWaitResponse()

    def _found(self, instance_id: str) -> dict[str, Any]:
        return next(each for each in self.instances if each["id"] == instance_id)


_JOB_FIELDS = {field.json_name for field in pb.Job.DESCRIPTOR.fields}


def _instance(made: dict[str, Any]) -> pb.WorkflowInstance:
    told = {name: value for name, value in made.items() if value is not None}
    return json_format.ParseDict(
        {**told, "status": f"INSTANCE_STATUS_{made['status']}"}, pb.WorkflowInstance()
    )


def _snake(rpc: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", rpc).lower()


def _token(request: Any) -> dict[str, str]:
    return {"leaseToken": request.lease_token} if request.lease_token else {}
