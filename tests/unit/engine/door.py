"""The REST door with a small in-memory `EnginePort` behind it, on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from caller import Caller, get, post

from windlass import errors, wire
from windlass.api.rest import RestApp
from windlass.config import Settings
from windlass.early_end import EarlyEnd
from windlass.memory import Budget
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Metrics

NOW = "2026-01-02T03:04:05.6Z"
FAULTS: dict[str, Exception] = {
    "missing": errors.NotFound("it is not there"),
    "held": errors.Conflict("another worker holds it"),
    "wrong": errors.BadRequest("it is of another type"),
    "away": errors.Unavailable("the database is away"),
    "bug": errors.Defect("edge 7 of the plan; host=db password=hunter2"),
    "crash": ZeroDivisionError("division by zero"),
}


def _expire(limit: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time())


class Memory:
    """A `EnginePort` that keeps what it was asked; an id out of `FAULTS` raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.jobs: list[wire.JobView] = []
        self.workers: dict[str, wire.WorkerView] = {}
        self.ready = wire.Readiness(ready=True, reasons=())
        self.gate = asyncio.Event()
        self.held_polls = 0
        #: calls that begin work are refused, and told to come again after it
        self.wait_s = 0

    def _note(self, method: str, **arguments: Any) -> None:
        plain = {key: _plain(value) for key, value in arguments.items()}
        self.asked.append((method, plain))
        for value in plain.values():
            if isinstance(value, str) and value in FAULTS:
                raise FAULTS[value]

    async def upload_definition(self, document: bytes) -> wire.DefinitionSummary:
        self._note("upload", document=document)
        if document == b"bad":
            raise errors.InvalidDefinition(["steps: one", "steps: two"])
        return wire.DefinitionSummary("d", 3, "D", NOW)

    async def list_definitions(
        self, *, keyword: str, page: int, page_size: int, page_token: str | None = None
    ) -> wire.DefinitionPage:
        more = {"page_token": page_token} if page_token else {}
        self._note("definitions", keyword=keyword, page=page, page_size=page_size, **more)
        return wire.DefinitionPage([wire.DefinitionSummary("d", 3, "D", NOW)], 1, page, page_size)

    async def get_definition(self, definition_id: str, version: int | None) -> bytes:
        self._note("definition", id=definition_id, version=version)
        return b'{"id":"d","version":3}'

    def admit(self, call_bytes: int) -> None:
        if self.wait_s:
            raise errors.Overloaded(f"{call_bytes} bytes would wait", self.wait_s)

    async def start_instance(
        self, *, definition_id: str, version: int | None, variables: wire.RawJson, business_key: str | None
    ) -> wire.InstanceView:
        self._note("start", id=definition_id, version=version, variables=variables, business_key=business_key)
        return _instance(variables=variables, business_key=business_key)

    async def get_instance(self, instance_id: str) -> wire.InstanceView:
        self._note("instance", id=instance_id)
        return _instance(status="FAILED", completed_at=NOW, failure_reason="because")

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
        self._note(
            "instances",
            id=definition_id,
            status=status,
            business_key=business_key,
            page=page,
            page_size=page_size,
            **({"page_token": page_token} if page_token else {}),
        )
        return wire.InstancePage([], 0, page, page_size)

    async def instance_history(
        self,
        instance_id: str,
        *,
        page_token: str | None = None,
        with_snapshots: bool = True,  # noqa: ARG002
    ) -> wire.HistoryPage:
        self._note("history", id=instance_id, **({"page_token": page_token} if page_token else {}))
        raw = msgspec.Raw(b'{"a":1}')
        row = wire.StepExecutionView(
            "e", instance_id, "s", "SERVICE_TASK", 2, "FAILED", NOW, None, "why", raw, None
        )
        return wire.HistoryPage([row])

    async def cancel_instance(self, instance_id: str, *, reason: str) -> wire.InstanceView:
        self._note("cancel", id=instance_id, reason=reason)
        return _instance(status="CANCELLED", failure_reason=reason, completed_at=NOW)

    async def poll_jobs(
        self,
        *,
        worker_id: str,
        job_types: Sequence[str],
        max_jobs: int,
        lease_s: float,
        wait_s: float,
        job_bytes_max: int | None = None,  # noqa: ARG002 - the port's
        early: EarlyEnd | None = None,
    ) -> Sequence[wire.JobView]:
        self._note(
            "poll", worker=worker_id, types=list(job_types), max_jobs=max_jobs, lease_s=lease_s, wait_s=wait_s
        )
        if wait_s and not self.jobs:
            self.held_polls += 1
            try:
                async with asyncio.timeout(wait_s) as limit:
                    if early is not None:
                        early.bind(functools.partial(_expire, limit))
                    await self.gate.wait()
            except TimeoutError:
                return []
            finally:
                self.held_polls -= 1
        return self.jobs

    def give_back(self, leases: Sequence[tuple[str, str]]) -> None:
        self._note("give_back", leases=list(leases))

    async def complete_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, variables: wire.RawJson
    ) -> None:
        self._note("complete", id=job_id, worker=worker_id, token=lease_token, variables=variables)

    async def fail_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, error_message: str, retryable: bool
    ) -> None:
        self._note(
            "fail", id=job_id, worker=worker_id, token=lease_token, message=error_message, retryable=retryable
        )

    async def complete_user_task(
        self, instance_id: str, step_id: str, *, worker_id: str | None, variables: wire.RawJson
    ) -> None:
        self._note("user_task", id=instance_id, step=step_id, worker=worker_id, variables=variables)

    async def signal_wait(self, instance_id: str, step_id: str, *, variables: wire.RawJson) -> None:
        self._note("signal", id=instance_id, step=step_id, variables=variables)

    async def register_worker(self, worker: wire.WorkerRegistration) -> tuple[wire.WorkerView, bool]:
        self._note("register", **msgspec.structs.asdict(worker))
        is_new = worker.id not in self.workers
        self.workers[worker.id] = wire.WorkerView(
            worker.id,
            worker.job_types,
            worker.version,
            worker.capacity,
            worker.heartbeat_s,
            "ALIVE",
            NOW,
            NOW,
        )
        return self.workers[worker.id], is_new

    async def worker_is_alive(self, worker_id: str) -> None:
        self._note("worker_is_alive", id=worker_id)

    async def unregister_worker(self, worker_id: str) -> None:
        self._note("unregister", id=worker_id)

    async def list_workers(
        self, *, page: int, page_size: int, page_token: str | None = None
    ) -> wire.WorkerPage:
        more = {"page_token": page_token} if page_token else {}
        self._note("workers", page=page, page_size=page_size, **more)
        return wire.WorkerPage(list(self.workers.values()), len(self.workers), page, page_size)

    async def readiness(self) -> wire.Readiness:
        return self.ready

    async def cluster_info(self) -> dict[str, object]:
        return {"nodes": [{"id": "n1", "alive": True, "self": True}]}

    def details(self) -> dict[str, object]:
        return {"lanes": {"count": 2}}


def _plain(value: Any) -> Any:
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value


def _instance(**changes: Any) -> wire.InstanceView:
    made: dict[str, Any] = {
        "id": "i",
        "definition_id": "d",
        "definition_version": 3,
        "status": "WAITING",
        "current_step_ids": ["s"],
        "variables": wire.EMPTY_OBJECT,
        "started_at": NOW,
    }
    return wire.InstanceView(**{**made, **changes})


class Door:
    def __init__(self, *, memory_bytes: int = 0, **settings: Any) -> None:
        self.service = Memory()
        self.stream = io.BytesIO()
        self.log = Log("info", self.stream)
        self.settings = replace(Settings(postgres_dsn="postgresql:///none", node_name="n1"), **settings)
        self.metrics = Metrics(self.settings.dispatch_mode)
        self.memory = Budget(memory_bytes or self.settings.memory_bytes_max)
        self.rest = RestApp(self.service, self.settings, self.metrics, self.log, self.memory)
        self.caller: Caller

    async def call(self, method: str, path: str, body: Any = None, *headers: str) -> tuple[int, Any]:
        """Status and decoded body, which is None when there is none."""
        status, answered, content = await self.whole(method, path, body, *headers)
        if not content:
            return status, None
        assert content.endswith(b"\n")
        return status, json.loads(content) if "json" in answered["content-type"] else content.decode()

    async def whole(
        self, method: str, path: str, body: Any, *headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = post(path, data, *headers) if method == "POST" else get(path, *headers)
        return await self.caller.call(
            request.replace(b"GET", method.encode(), 1) if method != "POST" else request
        )

    def asked(self) -> tuple[str, dict[str, Any]]:
        return self.service.asked[-1]

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@contextlib.asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Door]:
    door = Door(**settings)
    await door.rest.start("127.0.0.1", 0)
    door.caller = await Caller.connect(door.rest.port)
    try:
        yield door
    finally:
        await door.rest.drain(0)
        await door.caller.close()


INSTANCE = {
    "id": "i",
    "definitionId": "d",
    "definitionVersion": 3,
    "status": "WAITING",
    "currentStepIds": ["s"],
    "variables": {},
    "startedAt": NOW,
}
