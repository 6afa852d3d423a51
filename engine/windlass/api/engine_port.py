"""The engine as REST and gRPC see it; `windlass.engine.Engine` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from windlass.early_end import EarlyEnd
from windlass.wire import (
    DefinitionPage,
    DefinitionSummary,
    HistoryPage,
    InstancePage,
    InstanceView,
    JobView,
    RawJson,
    Readiness,
    WorkerPage,
    WorkerRegistration,
    WorkerView,
)


class EnginePort(Protocol):
    """Everything that REST and gRPC may call.

    Every method raises `windlass.errors.EngineError` subclasses only; each is answered by
    `api/faults.py`. A method that returns normally has been committed.
    """

    async def upload_definition(self, document: bytes) -> DefinitionSummary: ...
    async def list_definitions(
        self, *, keyword: str, page: int, page_size: int, page_token: str | None
    ) -> DefinitionPage: ...
    async def get_definition(self, definition_id: str, version: int | None) -> bytes:
        """The stored document as JSON text, with its assigned version."""
        ...

    def admit(self, call_bytes: int) -> None:
        """Raises Overloaded, with a time, when a call of that size that begins work would wait too long for its turn;
        asked before the call is read.
        """
        ...

    async def start_instance(
        self, *, definition_id: str, version: int | None, variables: RawJson, business_key: str | None
    ) -> InstanceView: ...
    async def get_instance(self, instance_id: str) -> InstanceView: ...
    async def list_instances(
        self,
        *,
        definition_id: str | None,
        status: str | None,
        business_key: str | None,
        page: int,
        page_size: int,
        page_token: str | None = None,
    ) -> InstancePage:
        """As much of the page as one answer holds; with a token, the page after the one that gave it."""
        ...

    async def instance_history(
        self, instance_id: str, *, page_token: str | None = None, with_snapshots: bool = True
    ) -> HistoryPage:
        """As much as one answer holds, as in `list_instances`."""
        ...

    async def cancel_instance(self, instance_id: str, *, reason: str) -> InstanceView: ...

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
    ) -> Sequence[JobView]:
        """Claims up to `max_jobs`, as many as one answer holds; holds the call up to `wait_s` when nothing waits (0 =
        answer at once), or until `early`. Jobs above `job_bytes_max`, which the caller could not receive, are left to
        others.

        Cancelling the call (the client went away) returns what it was about to get.
        """
        ...

    def give_back(self, leases: Sequence[tuple[str, str]]) -> None:
        """Job ids and lease tokens of a poll's answer that its caller cannot have; returns at once."""
        ...

    async def complete_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, variables: RawJson
    ) -> None: ...
    async def fail_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, error_message: str, retryable: bool
    ) -> None: ...
    async def complete_user_task(
        self, instance_id: str, step_id: str, *, worker_id: str | None, variables: RawJson
    ) -> None: ...
    async def signal_wait(self, instance_id: str, step_id: str, *, variables: RawJson) -> None: ...

    async def register_worker(self, worker: WorkerRegistration) -> tuple[WorkerView, bool]:
        """The worker as it is now known, and whether it was not known before."""
        ...

    async def worker_is_alive(self, worker_id: str) -> None: ...
    async def unregister_worker(self, worker_id: str) -> None: ...
    async def list_workers(self, *, page: int, page_size: int, page_token: str | None) -> WorkerPage: ...

    async def readiness(self) -> Readiness: ...
    async def cluster_info(self) -> dict[str, object]:
        """The node, those that share its database, and the workers that are alive; `ClusterInfo` of the document."""
        ...

    def details(self) -> dict[str, object]:
        """The parts of /health/detailed that need no database: lanes, pool, wake mode, sweeps."""
        ...
