"""The engine behind REST and gRPC: `EnginePort`, implemented with lanes (writes), the waiting polls and reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Protocol

import msgspec

from windlass import commands, wire
from windlass.advance import ENGINE
from windlass.auth.principal import PRINCIPAL
from windlass.config import Settings
from windlass.definition.document import parse_upload
from windlass.dispatch.polling import WaitingPolls
from windlass.dispatch.wake import WakeUps
from windlass.early_end import EarlyEnd
from windlass.errors import EngineError, Forbidden, NotFound, Unavailable
from windlass.instance import decode_variables
from windlass.overload import Overload
from windlass.store.catalog import Catalog
from windlass.store.database import Database
from windlass.store.lanes import Lanes
from windlass.store.rights import Rights
from windlass.store.schema import Schema
from windlass.store.views import HISTORY_ROWS_MAX, Views
from windlass.store.workers import Workers
from windlass.sweep.nodes import NodeHeartbeat
from windlass.telemetry.log import TRACEPARENT
from windlass.telemetry.node import NodeTelemetry
from windlass.trace_context import TRACE, JobTraces

READINESS_KEPT_S = 0.5
"""Probes at the same moment share one check of the database."""
UPLOAD_IN_LOOP_BYTES_MAX = 64 * 1024
"""A larger definition is parsed in a thread, so that other calls are not held up."""
VERSION_MAX = 2**31 - 1
ROLES: Mapping[str, Sequence[str]] = {
    "serve": ("api", "scheduler"),
    "api": ("api",),
    "scheduler": ("scheduler",),
}
"""By the command that a node was started with, what it does."""


_Page = wire.DefinitionPage | wire.InstancePage | wire.HistoryPage | wire.WorkerPage


class BrokerMode(Protocol):
    """What the engine asks of `outbox_mode.OutboxMode`."""

    def definition_uploaded(self, job_types: Collection[str]) -> None: ...
    def degraded(self) -> Sequence[str]: ...
    def details(self) -> dict[str, object]: ...


class Engine:
    """See `api.engine_port.EnginePort` for what each method promises."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        lanes: Lanes,
        polls: WaitingPolls,
        wake_ups: WakeUps,
        heartbeat: NodeHeartbeat,
        telemetry: NodeTelemetry,
        node: str,
        role: str,
        is_draining: Callable[[], bool],
        outbox_mode: BrokerMode | None = None,
        traces: JobTraces | None = None,
    ) -> None:
        self._traces = traces
        self._settings = settings
        self._database = database
        self._lanes = lanes
        self._polls = polls
        self._wake_ups = wake_ups
        self._heartbeat = heartbeat
        self._telemetry = telemetry
        self._node = node
        self._role = role
        self._version = version("windlass")
        self._is_draining = is_draining
        self._outbox_mode = outbox_mode
        self._overload = Overload(lanes.wait_s, settings.queue_s_max, telemetry.call_shed)
        self._catalog = Catalog(database)
        self._views = Views(database, settings.answer_bytes_max)
        self._workers = Workers(database)
        self._schema = Schema(database)
        self._rights = Rights(database, removes=settings.retention_days > 0)
        self._readiness: tuple[float, wire.Readiness] | None = None

    # -- definitions

    async def upload_definition(self, document: bytes) -> wire.DefinitionSummary:
        if len(document) > UPLOAD_IN_LOOP_BYTES_MAX:
            upload = await asyncio.to_thread(parse_upload, document)
        else:
            upload = parse_upload(document)
        steps = _parsed_steps(upload.content)
        caller = PRINCIPAL.get()
        if caller is not None:
            caller.require_definition(upload.definition_id, "upload versions")
        summary, is_new = await self._catalog.upload(
            upload,
            msgspec.json.encode(steps).decode(),
            audit=self._settings.audit_log_enabled,
            actor=caller.name if caller is not None else ENGINE,
        )
        if is_new:
            self._telemetry.definition_uploaded()
            if self._outbox_mode is not None:
                self._outbox_mode.definition_uploaded(
                    {step["jobType"] for step in steps if step["type"] == "SERVICE_TASK"}
                )
        return summary

    async def list_definitions(
        self, *, keyword: str, page: int, page_size: int, page_token: str | None
    ) -> wire.DefinitionPage:
        caller = PRINCIPAL.get()
        found = await self._catalog.list_page(
            keyword=keyword,
            page=page,
            page_size=page_size,
            page_token=page_token,
            bytes_max=self._settings.answer_bytes_max,
            only=caller.definitions if caller is not None else None,
        )
        self._note_cut("list", found, page_size)
        return found

    async def get_definition(self, definition_id: str, version: int | None) -> bytes:
        _refuse_impossible(definition_id, version)
        _require_definition(definition_id, "read versions")
        return await self._catalog.get(definition_id, version)

    # -- instances

    def admit(self, call_bytes: int) -> None:
        self._overload.admit(call_bytes)

    async def start_instance(
        self, *, definition_id: str, version: int | None, variables: wire.RawJson, business_key: str | None
    ) -> wire.InstanceView:
        _refuse_impossible(definition_id, version)
        _require_definition(definition_id, "start instances")
        return await self._changed(
            commands.StartInstance(
                definition_id,
                version or None,
                decode_variables(variables),
                business_key or None,
                TRACEPARENT.get(),
                _size(variables),
                PRINCIPAL.get(),
                TRACE.get(),
            )
        )

    async def get_instance(self, instance_id: str) -> wire.InstanceView:
        view = await self._views.instance(instance_id)
        _require_definition(view.definition_id, "read instances")
        return view

    async def list_instances(
        self,
        *,
        definition_id: str | None,
        status: str | None,
        business_key: str | None,
        page: int,
        page_size: int,
        page_token: str | None = None,
    ) -> wire.InstancePage:
        caller = PRINCIPAL.get()
        if caller is not None and caller.definitions is not None:
            if definition_id is None:
                raise Forbidden(
                    f"the caller {caller.name!r} may read instances of some definitions only; say which in definitionId"
                )
            caller.require_definition(definition_id, "read instances")
        found = await self._views.instances(
            definition_id=definition_id,
            status=status,
            business_key=business_key,
            page=page,
            page_size=page_size,
            page_token=page_token,
        )
        self._note_cut("list", found, page_size)
        return found

    async def instance_history(
        self, instance_id: str, *, page_token: str | None = None, with_snapshots: bool = True
    ) -> wire.HistoryPage:
        caller = PRINCIPAL.get()
        if caller is not None and caller.definitions is not None:
            await self.get_instance(instance_id)
        found = await self._views.history(instance_id, page_token=page_token, with_snapshots=with_snapshots)
        self._note_cut("history", found, HISTORY_ROWS_MAX)
        return found

    def _note_cut(self, answer: str, page: _Page, rows_max: int) -> None:
        """A page that goes on although it has fewer rows than it may."""
        if page.next_page_token is not None and len(page.items) < rows_max:
            self._telemetry.answer_was_cut(answer)

    async def cancel_instance(self, instance_id: str, *, reason: str) -> wire.InstanceView:
        return await self._changed(
            commands.CancelInstance(instance_id, reason, TRACEPARENT.get(), PRINCIPAL.get(), TRACE.get())
        )

    # -- jobs

    async def poll_jobs(
        self,
        *,
        worker_id: str,
        job_types: Sequence[str],
        max_jobs: int,
        lease_s: float,
        wait_s: float,
        job_bytes_max: int | None = None,
        early: EarlyEnd | None = None,
    ) -> Sequence[wire.JobView]:
        caller = PRINCIPAL.get()
        if caller is not None:
            caller.require_job_types(job_types, "poll jobs")
        jobs = await self._polls.poll(
            worker_id=worker_id,
            job_types=job_types,
            jobs_max=max_jobs,
            lease_s=lease_s,
            wait_s=wait_s,
            job_bytes_max=job_bytes_max,
            early=early,
        )
        if not jobs:
            self._telemetry.poll_was_empty()
        return jobs if self._traces is None else self._traces.handed_out(jobs)

    def give_back(self, leases: Sequence[tuple[str, str]]) -> None:
        self._polls.give_back(leases)

    async def complete_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, variables: wire.RawJson
    ) -> None:
        await self._lanes.execute(
            commands.CompleteJob(
                job_id,
                worker_id,
                lease_token,
                decode_variables(variables),
                TRACEPARENT.get(),
                _size(variables),
                PRINCIPAL.get(),
                TRACE.get(),
            )
        )

    async def fail_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, error_message: str, retryable: bool
    ) -> None:
        await self._lanes.execute(
            commands.FailJob(
                job_id,
                worker_id,
                lease_token,
                error_message,
                retryable,
                TRACEPARENT.get(),
                PRINCIPAL.get(),
                TRACE.get(),
            )
        )

    async def complete_user_task(
        self, instance_id: str, step_id: str, *, worker_id: str | None, variables: wire.RawJson
    ) -> None:
        await self._lanes.execute(
            commands.CompleteUserTask(
                instance_id,
                step_id,
                worker_id,
                decode_variables(variables),
                TRACEPARENT.get(),
                _size(variables),
                PRINCIPAL.get(),
                TRACE.get(),
            )
        )

    async def signal_wait(self, instance_id: str, step_id: str, *, variables: wire.RawJson) -> None:
        await self._lanes.execute(
            commands.SignalWait(
                instance_id,
                step_id,
                decode_variables(variables),
                TRACEPARENT.get(),
                _size(variables),
                PRINCIPAL.get(),
                TRACE.get(),
            )
        )

    async def _changed(self, command: commands.StartInstance | commands.CancelInstance) -> wire.InstanceView:
        answer = await self._lanes.execute(command)
        assert isinstance(answer, wire.InstanceView)
        return answer

    # -- workers

    async def register_worker(self, worker: wire.WorkerRegistration) -> tuple[wire.WorkerView, bool]:
        caller = PRINCIPAL.get()
        if caller is not None:
            caller.require_job_types(worker.job_types, "register for jobs")
        return await self._workers.register(worker, caller)

    async def worker_is_alive(self, worker_id: str) -> None:
        await self._workers.beat(worker_id, PRINCIPAL.get())

    async def unregister_worker(self, worker_id: str) -> None:
        await self._workers.remove(worker_id, PRINCIPAL.get())

    async def list_workers(self, *, page: int, page_size: int, page_token: str | None) -> wire.WorkerPage:
        found = await self._workers.page(page, page_size, page_token, self._settings.answer_bytes_max)
        self._note_cut("list", found, page_size)
        return found

    # -- health

    async def readiness(self) -> wire.Readiness:
        """Checks the database at most twice a second, however often it is called."""
        now_s = time.monotonic()
        if self._readiness is not None and now_s - self._readiness[0] < READINESS_KEPT_S:
            return self._readiness[1]
        reasons = ["this node is draining"] if self._is_draining() else []
        try:
            reasons += await self._schema_reasons()
        except Unavailable as err:
            reasons.append(str(err))
        except EngineError as err:
            reasons.append(f"the database answers with an error: {err}")
        readiness = wire.Readiness(not reasons, reasons, self._degraded())
        was_ready = self._readiness is None or self._readiness[1].ready
        if was_ready and not readiness.ready and not self._is_draining():
            self._telemetry.database_lost("; ".join(reasons))
        elif readiness.ready and not was_ready:
            self._telemetry.database_back()
        self._readiness = (time.monotonic(), readiness)
        return readiness

    def _degraded(self) -> tuple[str, ...]:
        """Why work is slower than it should be, although calls are answered."""
        found = list(self._outbox_mode.degraded()) if self._outbox_mode is not None else []
        # That the database is away makes a node unready, and that a pooler gives no sessions is told at boot.
        if self._settings.wake_bus != "postgres" and self._wake_ups.trouble:
            found.append(
                f"the wake bus {self._settings.wake_bus} cannot be used: {self._wake_ups.trouble}; jobs of other nodes "
                f"are found by polling every {self._settings.fallback_poll_interval_s:g} s"
            )
        return tuple(found)

    async def _schema_reasons(self) -> list[str]:
        """Why the schema cannot be used, or not by this role."""
        right = await self._rights.first_missing()
        try:
            schema = await self._schema.state()
        except EngineError:
            if right is None:
                raise
            # Without it the schema cannot even be judged.
            return [str(right)]
        reasons = [schema.read_only] if schema.read_only else []
        if schema.refused and (right is None or right.is_to_rows):
            # Rights to another application's tables are not asked for.
            return [*reasons, schema.refused]
        if right is not None:
            reasons.append(str(right))
        if not schema.is_current:
            reasons.append(
                f"migrations pending: the schema is at {schema.version}, this release needs {schema.needed}; "
                "run windlass migrate"
            )
        return reasons

    async def cluster_info(self) -> dict[str, object]:
        nodes = [
            {
                "id": node.id,
                "role": node.role,
                "version": node.version,
                "dispatchMode": node.dispatch_mode,
                "startedAt": wire.format_time(node.started_at),
                "lastSeenAt": wire.format_time(node.last_seen_at),
                "alive": node.alive,
                "self": node.id == self._node,
            }
            for node in await self._heartbeat.nodes()
        ]
        workers = await self._workers.first(wire.WORKERS_SHOWN_MAX, self._settings.answer_bytes_max)
        return {
            "node": self._node,
            "server_id": self._node,
            "version": self._version,
            "roles": ROLES[self._role],
            "dispatchMode": self._settings.dispatch_mode,
            "wakeMode": self._settings.wake_mode,
            "wakeBus": self._settings.wake_bus,
            "nodes": nodes,
            "alive": sum(bool(node["alive"]) for node in nodes),
            "peers": [node["id"] for node in nodes if node["alive"] and not node["self"]],
            "workers": workers.items,
            "workersAlive": workers.total,
        }

    def details(self) -> dict[str, object]:
        found: dict[str, object] = {
            "lanes": {
                "count": self._settings.lanes,
                "commandsWaiting": self._lanes.waiting,
                "waitSeconds": round(self._lanes.wait_s(0), 3),
            },
            "polls": {"waiting": self._polls.parked},
            "pool": self._database.occupancy(),
            "database": {"way": self._database.way.value, "sessions": self._database.has_sessions},
            "postgresVersion": self._database.server.version,
            "wake": {
                "mode": self._settings.wake_mode,
                "bus": self._settings.wake_bus,
                "listening": self._wake_ups.is_listening,
                "degraded": self._wake_ups.is_degraded,
                "alone": self._wake_ups.is_alone,
            },
            "dispatchMode": self._settings.dispatch_mode,
            "draining": self._is_draining(),
        }
        if self._outbox_mode is not None:
            found["relay"] = self._outbox_mode.details()
        return found


def _require_definition(definition_id: str, what: str) -> None:
    """Raises Forbidden when the caller's token is not for it."""
    caller = PRINCIPAL.get()
    if caller is not None:
        caller.require_definition(definition_id, what)


def _refuse_impossible(definition_id: str, version: int | None) -> None:
    """A version beyond an integer column cannot exist."""
    if version is not None and version > VERSION_MAX:
        raise NotFound(f"definition {definition_id} version {version} not found")


def _size(variables: wire.RawJson) -> int:
    return memoryview(variables).nbytes


def _parsed_steps(content: bytes) -> list[dict[str, Any]]:
    """The steps with jobType filled in, as other tools read them (contract 9.1)."""
    steps: list[dict[str, Any]] = msgspec.json.decode(content)["steps"]
    for step in steps:
        if step["type"] == "SERVICE_TASK":
            step.setdefault("jobType", step["id"])
    return steps
