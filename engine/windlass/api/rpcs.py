"""The calls of contract 2.1: what each reads from its message, how each answers. Errors leave as EngineErrors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, Self

from windlass import wire
from windlass.api import bodies, bounds, protobuf
from windlass.api.aside import IN_LOOP_BYTES_MAX, Aside
from windlass.api.engine_port import EnginePort
from windlass.api.gen import workflow_pb2 as pb
from windlass.auth import calls
from windlass.config import Settings
from windlass.early_end import EarlyEnd
from windlass.errors import BadRequest, Conflict, NotFound, PollDisabled, TooLarge
from windlass.page_token import token_after
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Observer

SERVICE = "workflow.v1.WorkflowEngine"
_FIELD_BYTES_MAX = 6
"""Around a message in another one."""
_LARGER = "ask over REST, or raise WINDLASS_ANSWER_BYTES_MAX and what the client receives at most"


class Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's word

    @classmethod
    def FromString(cls, s: bytes, /) -> Self: ...  # noqa: N802


class Rpc:
    """One call: how its request is read and what serves it. `quiet` keeps its successes out of the access log. One that
    `waits` is served with a way to end it early; one that `is_shed` is refused while the node has too much to do.

    `untaken` is told of an answer that was made and that the caller, who has gone, will not have.
    """

    __slots__ = ("call", "is_shed", "method", "observers", "quiet", "read", "serve", "untaken", "waits")

    def __init__(
        self,
        name: str,
        request: type[Message],
        serve: Callable[..., Coroutine[Any, Any, Message]],
        *,
        quiet: bool = False,
        waits: bool = False,
        is_shed: bool = False,
        untaken: Callable[[Any], None] | None = None,
    ) -> None:
        self.method = f"/{SERVICE}/{name}"
        self.call = calls.of_rpc(name)
        self.read = request.FromString
        self.serve = serve
        self.quiet = quiet
        self.waits = waits
        self.is_shed = is_shed
        self.untaken = untaken
        #: status name -> the function that observes its durations
        self.observers: dict[str, Observer] = {}


class Rpcs:
    """Calls `engine`, as REST does; `draining` tells whether the node is shutting down."""

    def __init__(
        self,
        engine: EnginePort,
        settings: Settings,
        log: Log,
        aside: Aside,
        *,
        draining: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._answer_bytes_max = settings.answer_bytes_max
        self._log = log
        self._aside = aside
        self._draining = draining

    def all(self) -> Sequence[Rpc]:
        return (
            Rpc("UploadDefinition", pb.UploadDefinitionRequest, self._upload),
            Rpc("GetDefinition", pb.GetDefinitionRequest, self._definition),
            Rpc("ListDefinitions", pb.ListDefinitionsRequest, self._definitions),
            Rpc("StartInstance", pb.StartInstanceRequest, self._start, is_shed=True),
            Rpc("GetInstance", pb.GetInstanceRequest, self._instance),
            Rpc("GetInstanceHistory", pb.GetInstanceHistoryRequest, self._history),
            Rpc("CancelInstance", pb.CancelInstanceRequest, self._cancel),
            Rpc("ListInstances", pb.ListInstancesRequest, self._instances),
            Rpc(
                "PollJobs",
                pb.PollJobsRequest,
                self._poll,
                quiet=True,
                waits=True,
                untaken=self._poll_untaken,
            ),
            Rpc("CompleteJob", pb.CompleteJobRequest, self._complete),
            Rpc("FailJob", pb.FailJobRequest, self._fail),
            Rpc("CompleteUserTask", pb.CompleteUserTaskRequest, self._user_task, is_shed=True),
            Rpc("SignalWait", pb.SignalWaitRequest, self._signal, is_shed=True),
        )

    async def _variables(self, request: Any, field: str) -> wire.RawJson:
        if request.ByteSize() > IN_LOOP_BYTES_MAX:
            return await self._aside.run(protobuf.variables_in, request, field)
        return protobuf.variables_in(request, field)

    # -- definitions

    async def _upload(self, request: pb.UploadDefinitionRequest) -> pb.UploadDefinitionResponse:
        if not request.HasField("definition"):
            raise BadRequest("definition is required")
        summary = await self._engine.upload_definition(protobuf.document_of(request.definition))
        answer = pb.UploadDefinitionResponse(id=summary.id, version=summary.version)
        answer.uploaded_at.FromJsonString(summary.uploaded_at)
        return answer

    async def _definition(self, request: pb.GetDefinitionRequest) -> pb.GetDefinitionResponse:
        if request.version < 0:
            raise NotFound(f"definition {request.id} has no version {request.version}; versions count from 1")
        text = await self._engine.get_definition(bodies.text(request.id, "id"), request.version or None)
        try:
            answer = pb.GetDefinitionResponse(definition=protobuf.definition_message(text))
        except protobuf.Unreadable as error:
            raise _unreadable(f"definition {request.id}", error) from None
        if answer.ByteSize() > self._answer_bytes_max:
            raise TooLarge(
                f"definition {request.id} takes {answer.ByteSize()} bytes, at most {self._answer_bytes_max} are sent; "
                f"{_LARGER}"
            )
        return answer

    async def _definitions(self, request: pb.ListDefinitionsRequest) -> pb.ListDefinitionsResponse:
        page, page_size = bounds.page_of(request.page, request.page_size)
        found = await self._engine.list_definitions(
            keyword=bodies.text(request.keyword, "keyword"),
            page=page,
            page_size=page_size,
            page_token=bodies.text(request.page_token, "page_token") or None,
        )
        return pb.ListDefinitionsResponse(
            definitions=[protobuf.summary_message(item, self._answer_bytes_max) for item in found.items],
            total=found.total,
            next_page_token=found.next_page_token or "",
        )

    # -- instances

    async def _start(self, request: pb.StartInstanceRequest) -> pb.StartInstanceResponse:
        definition_id = _required(request.definition_id, "definition_id")
        view = await self._engine.start_instance(
            definition_id=definition_id,
            version=request.definition_version if request.definition_version > 0 else None,
            variables=await self._variables(request, "variables"),
            business_key=bounds.business_key_of(bodies.text(request.business_key, "business_key")),
        )
        # The instance has been started: an error now would make the caller start another.
        return pb.StartInstanceResponse(instance=self._readable(view))

    async def _instance(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        view = await self._engine.get_instance(bodies.text(request.id, "id"))
        try:
            return pb.GetInstanceResponse(instance=protobuf.instance_message(view, self._answer_bytes_max))
        except protobuf.TooLarge as error:
            raise TooLarge(f"the variables of instance {request.id}: {error}; {_LARGER}") from None
        except protobuf.Unreadable as error:
            raise _unreadable(f"the variables of instance {request.id}", error) from None

    async def _history(self, request: pb.GetInstanceHistoryRequest) -> pb.GetInstanceHistoryResponse:
        page = await self._engine.instance_history(
            bodies.text(request.id, "id"),
            page_token=bodies.text(request.page_token, "page_token") or None,
            with_snapshots=False,
        )
        return pb.GetInstanceHistoryResponse(
            executions=[protobuf.execution_message(row) for row in page.items],
            next_page_token=page.next_page_token or "",
        )

    async def _cancel(self, request: pb.CancelInstanceRequest) -> pb.CancelInstanceResponse:
        view = await self._engine.cancel_instance(
            bodies.text(request.id, "id"), reason=bodies.note(request.reason)
        )
        return pb.CancelInstanceResponse(instance=self._readable(view))

    def _readable(self, view: wire.InstanceView) -> pb.WorkflowInstance:
        return protobuf.instance_message(view, self._answer_bytes_max, unreadable_is_left_out=True)

    async def _instances(self, request: pb.ListInstancesRequest) -> pb.ListInstancesResponse:
        page, page_size = bounds.page_of(request.page, request.page_size)
        found = await self._engine.list_instances(
            definition_id=bodies.text(request.definition_id, "definition_id") or None,
            status=protobuf.word_of(pb.InstanceStatus, request.status, "status") or None,
            business_key=bodies.text(request.business_key, "business_key") or None,
            page=page,
            page_size=page_size,
            page_token=bodies.text(request.page_token, "page_token") or None,
        )
        answer = pb.ListInstancesResponse(total=found.total, next_page_token=found.next_page_token or "")
        size = 0
        for number, view in enumerate(found.items):
            message = self._readable(view)
            size += message.ByteSize() + _FIELD_BYTES_MAX
            if number and size > self._answer_bytes_max:
                # Numbers take more here than in the text that the page was measured by.
                answer.next_page_token = token_after(found.items[number - 1])
                break
            answer.instances.append(message)
        return answer

    # -- jobs

    async def _poll(self, request: pb.PollJobsRequest, early: EarlyEnd) -> pb.PollJobsResponse:
        if self._settings.dispatch_mode != "polling":
            raise PollDisabled(self._settings.dispatch_mode)
        worker_id = _required(request.worker_id, "worker_id")
        if not request.job_types:
            raise BadRequest("job_types must not be empty")
        wait_s = bounds.wait_s_of(request.wait_ms, self._settings.long_poll_s_max)
        jobs = await self._engine.poll_jobs(
            worker_id=worker_id,
            job_types=[
                bodies.text(job_type, "job_types") for job_type in bounds.job_types_of(request.job_types)
            ],
            max_jobs=bounds.jobs_wanted(request.max_jobs, bounds.GRPC_JOBS_DEFAULT),
            lease_s=bounds.lease_s_of(request.lease_seconds, self._settings.lease_s),
            wait_s=0.0 if self._draining() else wait_s,
            job_bytes_max=self._settings.answer_bytes_max,
            early=early,
        )
        answer = pb.PollJobsResponse()
        for job in jobs:
            try:
                protobuf.write_job(answer.jobs.add(), job)
            except protobuf.Unreadable as error:
                # Its lease will expire, and a REST worker can have it; the other jobs are returned.
                del answer.jobs[-1]
                self._log.warning(
                    Event.GRPC_JOB_UNREADABLE, job_id=job.id, instance_id=job.instance_id, err=str(error)
                )
        return answer

    def _poll_untaken(self, answer: pb.PollJobsResponse) -> None:
        self._engine.give_back([(job.id, job.lease_token) for job in answer.jobs])

    async def _complete(self, request: pb.CompleteJobRequest) -> pb.CompleteJobResponse:
        await self._engine.complete_job(
            bodies.text(request.job_id, "job_id"),
            worker_id=bodies.text(request.worker_id, "worker_id"),
            lease_token=request.lease_token or None,
            variables=await self._variables(request, "variables_to_set"),
        )
        return pb.CompleteJobResponse()

    async def _fail(self, request: pb.FailJobRequest) -> pb.FailJobResponse:
        await self._engine.fail_job(
            bodies.text(request.job_id, "job_id"),
            worker_id=bodies.text(request.worker_id, "worker_id"),
            lease_token=request.lease_token or None,
            error_message=bodies.note(request.error_message),
            retryable=request.retryable,
        )
        return pb.FailJobResponse()

    # -- parked steps

    async def _user_task(self, request: pb.CompleteUserTaskRequest) -> pb.CompleteUserTaskResponse:
        await self._engine.complete_user_task(
            _required(request.instance_id, "instance_id"),
            _required(request.user_task_step_id, "user_task_step_id"),
            worker_id=bodies.text(request.completed_by, "completed_by") or None,
            variables=await self._variables(request, "result"),
        )
        return pb.CompleteUserTaskResponse()

    async def _signal(self, request: pb.SignalWaitRequest) -> pb.SignalWaitResponse:
        await self._engine.signal_wait(
            _required(request.instance_id, "instance_id"),
            _required(request.wait_step_id, "wait_step_id"),
            variables=await self._variables(request, "variables"),
        )
        return pb.SignalWaitResponse()


def _required(value: str, name: str) -> str:
    if not value:
        raise BadRequest(f"{name} is required")
    return bodies.text(value, name)


def _unreadable(what: str, error: protobuf.Unreadable) -> Conflict:
    return Conflict(f"{what}: {error}, which no protobuf client can read; ask over REST")
