"""A node in this process, and short words for what its tests do all the time."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from windlass import wire
from windlass.app import Node


def raw(**values: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(values).encode())


def service(id_: str, next_: str | None, **more: Any) -> dict[str, Any]:
    step = {"id": id_, "name": id_, "type": "SERVICE_TASK", "jobType": f"do-{id_}", **more}
    return step | ({"nextStep": next_} if next_ else {})


END = {"id": "end", "name": "end", "type": "END"}
#: another engine's, as its migration makes it; statements that name it run only where it exists
CHAIN_TABLE = """
    CREATE TABLE workflow_chain (
        source_instance_id text PRIMARY KEY REFERENCES workflow_instance (id),
        target_definition_id text NOT NULL, variables jsonb NOT NULL, business_key text,
        child_instance_id text REFERENCES workflow_instance (id), created_at timestamptz NOT NULL DEFAULT now())"""


class Running:
    """A node in this process, its log, and short words for what tests do all the time."""

    def __init__(self, node: Node, log_stream: io.BytesIO) -> None:
        self.node = node
        self.engine = node.engine
        self.database = node.database
        self._log_stream = log_stream

    def log_lines(self) -> list[dict[str, Any]]:
        self.node.log.flush()
        return [json.loads(line) for line in self._log_stream.getvalue().splitlines()]

    async def define(self, *steps: dict[str, Any], id_: str = "d", **top: Any) -> int:
        document = {"id": id_, "name": id_, "steps": [{"name": s["id"], **s} for s in steps], **top}
        return (await self.engine.upload_definition(json.dumps(document).encode())).version

    async def start(self, id_: str = "d", **variables: Any) -> wire.InstanceView:
        return await self.engine.start_instance(
            definition_id=id_, version=None, variables=raw(**variables), business_key=None
        )

    async def poll(
        self, *job_types: str, worker: str = "w", most: int = 10, lease_s: float = 30.0, wait_s: float = 0.0
    ) -> Sequence[wire.JobView]:
        return await self.engine.poll_jobs(
            worker_id=worker, job_types=job_types, max_jobs=most, lease_s=lease_s, wait_s=wait_s
        )

    async def complete(
        self, job: wire.JobView | str, worker: str = "w", token: str | None = None, **variables: Any
    ) -> None:
        job_id = job if isinstance(job, str) else job.id
        await self.engine.complete_job(
            job_id, worker_id=worker, lease_token=token, variables=raw(**variables)
        )

    async def fail(
        self, job: wire.JobView, worker: str = "w", token: str | None = None, *, retryable: bool = True
    ) -> None:
        await self.engine.fail_job(
            job.id, worker_id=worker, lease_token=token, error_message="broke", retryable=retryable
        )

    async def rows(self, text: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.fetch(text, *arguments)]

    async def status(self, instance_id: str) -> str:
        return (await self.engine.get_instance(instance_id)).status

    async def variables(self, instance_id: str) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(bytes((await self.engine.get_instance(instance_id)).variables))
        return decoded


Boot = Callable[..., Awaitable[Running]]
"""Starts a node; variables as in the environment."""
