"""The REST API (contract 1): routes, what each reads from a call, how each answers, and the access log. A route
decodes and checks its call at once; only calls of the engine become tasks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from windlass import wire
from windlass.api import answers, bodies, bounds, cors, faults
from windlass.api.aside import IN_LOOP_BYTES_MAX, Aside
from windlass.api.call import STATUS_GONE, Limits, MadeRoom, Request, Response
from windlass.api.caller import client_address
from windlass.api.engine_port import EnginePort
from windlass.api.gate import is_preflight, rest_gate
from windlass.api.health import Health
from windlass.api.http import HttpServer
from windlass.api.openapi.document import document
from windlass.api.payload import variables_of
from windlass.api.query import paging_of, query_of
from windlass.api.router import Outcome, Route, Router
from windlass.api.spans import span_of
from windlass.auth.gate import Gate
from windlass.config import Settings
from windlass.early_end import EarlyEnd
from windlass.errors import (
    BadRequest,
    Defect,
    EngineError,
    NotFound,
    OutOfScope,
    PollDisabled,
    Unavailable,
    UnsupportedFormat,
)
from windlass.memory import Budget
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log, stack_of
from windlass.telemetry.metrics import Metrics
from windlass.tls.watch import CertificateWatch
from windlass.trace_context import CallTraces

#: Calls whose bodies are made into objects; of the others the large part stays text.
_PARSED_WHOLE = (b"/v1/definitions", b"/v1/jobs/poll", b"/v1/workers")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")

P = ParamSpec("P")
T = TypeVar("T")


class RestApp:
    """Serves `engine` on one port. With `serves_api` false only the health pages answer."""

    def __init__(
        self,
        engine: EnginePort,
        settings: Settings,
        metrics: Metrics,
        log: Log,
        memory: Budget,
        *,
        serves_api: bool = True,
        gate: Gate | None = None,
        tls: CertificateWatch | None = None,
        traces: CallTraces | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._log = log
        limits = Limits(
            request_s=settings.request_timeout_s,
            read_s=settings.read_timeout_s,
            write_s=settings.write_timeout_s,
            idle_s=settings.idle_timeout_s,
            head_bytes_max=settings.head_bytes_max,
            body_bytes_max=settings.body_bytes_max,
            connections_max=settings.connections_max,
        )
        self._made_room = {
            MadeRoom.IDLE_CLOSED: metrics.connections_closed_idle,
            MadeRoom.POLL_ENDED: metrics.polls_ended_early("rest"),
            MadeRoom.REFUSED: metrics.connections_refused,
        }
        self._aside = Aside("REST bodies")
        self._router = Router()
        self._server = HttpServer(
            self,
            log,
            limits,
            memory,
            name="REST",
            variable="WE_REST_PORT",
            headers=cors.headers_of(settings),
            headers_for=cors.headers_for(settings),
            gate=rest_gate(gate, self._router, cors.origins_of(settings)) if gate else None,
            tls=tls,
            traces=traces,
        )
        self._serves_api = serves_api
        self._add_routes()
        #: the port listened on, once started
        self.port = 0

    @property
    def draining(self) -> bool:
        return self._server.draining

    async def start(self, host: str, port: int) -> None:
        """Listens, on `self.port`; BootRefused names the cause when that fails."""
        self.port = await self._server.start(host, port)

    async def drain(self, grace_s: float) -> None:
        """Answers calls in progress, then closes; calls that outlive `grace_s` are cut and counted in the log."""
        cut = await self._server.drain(grace_s)
        if cut:
            self._log.warning(Event.REST_CUT, connections=cut)

    def _add_routes(self) -> None:
        health = Health(
            self._engine,
            self._settings,
            draining=lambda: self.draining,
            connections=lambda: len(self._server.connections),
        )
        add = self._router.add
        add("GET", "/healthz", health.healthz)
        add("GET", "/health", health.alive)
        add("GET", "/ready", health.ready)
        add("GET", "/readyz", health.ready)
        add("GET", "/health/detailed", health.detailed)
        add("GET", "/cluster/info", self._cluster_info)
        add("GET", "/api/health", health.serving)
        add("GET", "/api/ready", health.ready_word)
        add("GET", "/api/cluster/info", self._cluster_info)
        if self._serves_api:
            openapi = answers.ok(document(self._settings, self._server.limits))
            add("GET", "/openapi.json", lambda _request, _ids: openapi)
        add("POST", "/v1/definitions", self._upload)
        add("GET", "/v1/definitions", self._definitions)
        add("GET", "/v1/definitions/{id}", self._definition)
        add("GET", "/v1/definitions/{id}/versions/{version}", self._definition)
        add("GET", "/v1/instances", self._instances)
        add("POST", "/v1/instances", self._start, is_shed=True)
        add("GET", "/v1/instances/{id}", self._instance)
        add("GET", "/v1/instances/{id}/history", self._history)
        add("POST", "/v1/instances/{id}/cancel", self._cancel)
        add("POST", "/v1/jobs/poll", self._poll, quiet=True, waits=True)
        add("POST", "/v1/jobs/{id}/complete", self._complete)
        add("POST", "/v1/jobs/{id}/fail", self._fail)
        add("POST", "/v1/workers", self._register)
        add("GET", "/v1/workers", self._workers)
        add("POST", "/v1/workers/{id}/heartbeat", self._worker_beat, quiet=True)
        add("DELETE", "/v1/workers/{id}", self._unregister)
        add(
            "POST",
            "/v1/instances/{instanceId}/user-tasks/{userTaskId}/complete",
            self._user_task,
            is_shed=True,
        )
        add("POST", "/v1/instances/{instanceId}/signals/{waitStepId}", self._signal, is_shed=True)

    # -- the server's side

    def handle(self, request: Request) -> Outcome:
        try:
            if request.method == "OPTIONS" and is_preflight(request):
                return answers.PREFLIGHT
            route, ids = self._router.find(request)
            request.route = route
            if route.waits:
                request.early = EarlyEnd()
            if not self._serves_api and request.path.startswith(b"/v1/"):
                raise Unavailable(
                    "this node runs as scheduler and takes no API calls; call an api or serve node"
                )
            if request.method == "POST" and request.path.startswith(b"/v1/definitions"):
                _refuse_xml(request)
            if route.is_shed:
                self._engine.admit(len(request.body))
            if len(request.body) > IN_LOOP_BYTES_MAX:
                return self._read_aside(request, ids)
            return route.endpoint(request, ids)
        except EngineError as error:
            return self._fault(request, error)

    async def _read_aside(self, request: Request, ids: list[str]) -> Response:
        try:
            outcome = await self._aside.run(request.route.endpoint, request, ids)
        except Exception as error:
            return self._fault(request, error)
        return outcome if isinstance(outcome, Response) else await outcome

    def weigh(self, request: Request) -> int:
        return bodies.weight_of(request.body, is_raw=not request.path.startswith(_PARSED_WHOLE))

    def refuse(self, status: int, reason: str) -> Response:
        return faults.early(status, reason)

    def made_room(self, how: MadeRoom) -> None:
        self._made_room[how].inc()

    def observe(self, request: Request, response: Response, duration_ns: int) -> None:
        """Feeds the metrics and writes the access line: all calls but preflights and polls below 400."""
        if response is answers.PREFLIGHT:
            return
        status = response.status
        route: Route = request.route or self._router.unmatched
        observer = route.observers.get((request.method, status))
        if observer is None:
            observer = self._metrics.http_observer(request.method, route.pattern, status)
            route.observers[request.method, status] = observer
        observer(duration_ns / 1e9, span_of(request, route, status, duration_ns, self._server.traces))
        if route.quiet and (status < 400 or status == STATUS_GONE):
            return
        if status == faults.SHED[0]:
            # Told together with others, by the engine.
            return
        failed = self._log.error if status >= 500 else self._log.warning
        write = self._log.info if status < 400 else failed
        write(
            Event.REST_REQUEST,
            method=request.method,
            path=route.pattern,
            status=status,
            bytes=len(response.body),
            duration=duration_ns,
            remote=client_address(request.headers, request.peer),
            **({"principal": request.principal.name} if request.principal else {}),
        )

    def _fault(self, request: Request, error: Exception) -> Response:
        """Answers an error; of an internal error the log gets everything and the caller a short text."""
        if not isinstance(error, EngineError):
            error = Defect(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
        if isinstance(error, OutOfScope):
            self._metrics.auth_refused(error.limit).inc()
        if faults.status_of(error)[0] == 500:
            path = request.route.pattern if request.route else ""
            self._log.error(
                Event.REST_HANDLER_BROKE,
                method=request.method,
                path=path,
                err=error.reason,
                stack=stack_of(error),
            )
        return faults.answer(error)

    async def _ask(
        self,
        request: Request,
        render: Callable[[T], Response],
        method: Callable[P, Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Response:
        """Calls the engine and renders its answer or its error."""
        try:
            return render(await method(*args, **kwargs))
        except Exception as error:
            return self._fault(request, error)

    # -- definitions

    def _upload(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002 - a route's signature
        return self._ask(request, answers.created, self._engine.upload_definition, request.body)

    def _definitions(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        query = query_of(request)
        page, page_size = paging_of(query)
        return self._ask(
            request,
            answers.ok,
            self._engine.list_definitions,
            keyword=query.get("keyword", ""),
            page=page,
            page_size=page_size,
            page_token=query.get("pageToken") or None,
        )

    def _definition(self, request: Request, ids: list[str]) -> Outcome:
        version = None
        if len(ids) == 2:
            if not _INTEGER.fullmatch(ids[1]):
                raise BadRequest(f"version must be an integer, got {ids[1]!r}")
            version = int(ids[1])
            if version < 1:
                raise NotFound(f"definition {ids[0]} has no version {version}; versions count from 1")
        return self._ask(request, answers.text_as_it_is, self._engine.get_definition, ids[0], version)

    # -- instances

    def _start(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        body = _read_start(request.body)
        definition_id = bodies.text(body.definition_id, "definitionId")
        if not definition_id:
            raise BadRequest("definitionId is required")
        version = body.definition_version
        return self._ask(
            request,
            answers.created,
            self._engine.start_instance,
            definition_id=definition_id,
            version=version if version is not None and version > 0 else None,
            variables=variables_of(body.variables),
            business_key=bounds.business_key_of(bodies.text(body.business_key, "businessKey")),
        )

    def _instance(self, request: Request, ids: list[str]) -> Outcome:
        return self._ask(request, answers.ok, self._engine.get_instance, ids[0])

    def _instances(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        query = query_of(request)
        page, page_size = paging_of(query)
        return self._ask(
            request,
            answers.ok,
            self._engine.list_instances,
            definition_id=query.get("definitionId") or None,
            status=query.get("status") or None,
            business_key=query.get("businessKey") or None,
            page=page,
            page_size=page_size,
            page_token=query.get("pageToken") or None,
        )

    def _history(self, request: Request, ids: list[str]) -> Outcome:
        token = query_of(request).get("pageToken") or None
        return self._ask(
            request, answers.history_page, self._engine.instance_history, ids[0], page_token=token
        )

    def _cancel(self, request: Request, ids: list[str]) -> Outcome:
        reason = bodies.note(_read_cancel(request.body).reason) if request.body.strip() else ""
        return self._ask(request, answers.ok, self._engine.cancel_instance, ids[0], reason=reason)

    # -- jobs

    def _poll(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        if self._settings.dispatch_mode != "polling":
            raise PollDisabled(self._settings.dispatch_mode)
        body = _read_poll(request.body)
        worker_id = bodies.text(body.worker_id, "workerId")
        if not worker_id:
            raise BadRequest("workerId is required")
        if not body.job_types:
            raise BadRequest("jobTypes must not be empty")
        wait_s = bounds.wait_s_of(body.wait_ms, self._settings.long_poll_s_max)
        return self._ask(
            request,
            self._jobs,
            self._engine.poll_jobs,
            worker_id=worker_id,
            job_types=[bodies.text(job_type, "jobTypes") for job_type in bounds.job_types_of(body.job_types)],
            max_jobs=bounds.jobs_wanted(body.max_jobs, bounds.REST_JOBS_DEFAULT),
            lease_s=bounds.lease_s_of(body.lease_seconds, self._settings.lease_s),
            wait_s=0.0 if self.draining else wait_s,
            early=request.early,
        )

    def _jobs(self, jobs: Sequence[wire.JobView]) -> Response:
        if not jobs:
            return answers.NO_JOBS
        leases = [(job.id, job.lease_token) for job in jobs]
        return answers.jobs(jobs, untaken=functools.partial(self._engine.give_back, leases))

    def _complete(self, request: Request, ids: list[str]) -> Outcome:
        body = _read_complete(request.body)
        return self._ask(
            request,
            answers.no_content,
            self._engine.complete_job,
            ids[0],
            worker_id=bodies.text(body.worker_id, "workerId"),
            lease_token=body.lease_token or None,
            variables=variables_of(body.variables),
        )

    def _fail(self, request: Request, ids: list[str]) -> Outcome:
        body = _read_fail(request.body)
        return self._ask(
            request,
            answers.no_content,
            self._engine.fail_job,
            ids[0],
            worker_id=bodies.text(body.worker_id, "workerId"),
            lease_token=body.lease_token or None,
            error_message=bodies.note(body.error_message),
            retryable=bool(body.retryable),
        )

    # -- workers

    def _register(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        body = _read_worker(request.body)
        worker_id = bounds.worker_text(bodies.text(body.id, "id"), "id")
        if not worker_id:
            raise BadRequest("id is required")
        worker = wire.WorkerRegistration(
            id=worker_id,
            job_types=bounds.worker_job_types(
                [bodies.text(each, "jobTypes") for each in body.job_types or ()]
            ),
            version=bounds.worker_text(bodies.text(body.version, "version"), "version"),
            capacity=bounds.worker_capacity(body.capacity),
            heartbeat_s=bounds.worker_heartbeat_s(body.heartbeat_seconds),
        )
        return self._ask(request, answers.registered, self._engine.register_worker, worker)

    def _workers(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        query = query_of(request)
        page, page_size = paging_of(query)
        token = query.get("pageToken") or None
        return self._ask(
            request, answers.ok, self._engine.list_workers, page=page, page_size=page_size, page_token=token
        )

    def _worker_beat(self, request: Request, ids: list[str]) -> Outcome:
        return self._ask(request, answers.no_content, self._engine.worker_is_alive, ids[0])

    def _unregister(self, request: Request, ids: list[str]) -> Outcome:
        return self._ask(request, answers.no_content, self._engine.unregister_worker, ids[0])

    # -- parked steps

    def _user_task(self, request: Request, ids: list[str]) -> Outcome:
        body = _read_user_task(request.body) if request.body.strip() else bodies.UserTaskBody()
        # Each field is checked, even one that is not used because another is present.
        names = bodies.text(body.worker_id, "workerId"), bodies.text(body.completed_by, "completedBy")
        result, variables = variables_of(body.result, name="result"), variables_of(body.variables)
        return self._ask(
            request,
            answers.no_content,
            self._engine.complete_user_task,
            ids[0],
            ids[1],
            worker_id=names[0] or names[1] or None,
            variables=result if bytes(body.variables) == b"null" else variables,
        )

    def _signal(self, request: Request, ids: list[str]) -> Outcome:
        variables = variables_of(request.body, name="signal") if request.body.strip() else wire.EMPTY_OBJECT
        return self._ask(
            request, answers.no_content, self._engine.signal_wait, ids[0], ids[1], variables=variables
        )

    def _cluster_info(self, request: Request, ids: list[str]) -> Outcome:  # noqa: ARG002
        return self._ask(request, answers.ok, self._engine.cluster_info)


_read_start = bodies.reader(bodies.StartBody)
_read_cancel = bodies.reader(bodies.CancelBody)
_read_poll = bodies.reader(bodies.PollBody)
_read_complete = bodies.reader(bodies.CompleteBody)
_read_fail = bodies.reader(bodies.FailBody)
_read_worker = bodies.reader(bodies.WorkerBody)
_read_user_task = bodies.reader(bodies.UserTaskBody)


def _refuse_xml(request: Request) -> None:
    content_type = request.headers.get(b"content-type", b"").lower()
    if b"application/xml" in content_type or b"text/xml" in content_type:
        raise UnsupportedFormat(
            f"definitions are JSON, got Content-Type {content_type.decode('latin-1')!r}; send application/json"
        )
