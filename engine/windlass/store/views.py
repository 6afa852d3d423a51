"""Instances and their history as the API asks for them: reads only (contract 1.4, 1.5)."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.errors import NotFound
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.queries import sql
from windlass.wire import InstancePage, InstanceView, RawJson, StepExecutionView, format_time

PAGE_MAX = 1_000_000_000
"""A page number past this is past the end of any list."""


class Views:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def instance(self, instance_id: str) -> InstanceView:
        rows = await self._database.read(sql("instance_get"), instance_id)
        if not rows:
            raise NotFound(f"instance {instance_id} not found")
        return _instance(rows[0])

    async def instances(
        self,
        *,
        definition_id: str | None,
        status: str | None,
        business_key: str | None,
        page: int,
        page_size: int,
    ) -> InstancePage:
        filters = (definition_id, status, business_key)
        page = min(page, PAGE_MAX)
        rows = await self._database.read(sql("instance_list"), *filters, page_size, page * page_size)
        if page == 0 and len(rows) < page_size:
            total = len(rows)
        else:
            total = (await self._database.read(sql("instance_count"), *filters))[0][0]
        return InstancePage([_instance(row) for row in rows], total, page, page_size)

    async def history(self, instance_id: str) -> Sequence[StepExecutionView]:
        rows = await self._database.read(sql("step_history"), instance_id)
        if not rows and not await self._database.read(sql("instance_exists"), instance_id):
            raise NotFound(f"instance {instance_id} not found")
        return [_step(row) for row in rows]


def _instance(row: Row) -> InstanceView:
    return InstanceView(
        id=row["id"],
        definition_id=row["definition_id"],
        definition_version=row["definition_version"],
        status=row["status"],
        current_step_ids=row["current_step_ids"],
        variables=RawJson(row["variables"].encode()),
        started_at=format_time(row["started_at"]),
        completed_at=format_time(row["completed_at"]) if row["completed_at"] else None,
        failure_reason=row["failure_reason"],
        business_key=row["business_key"],
    )


def _step(row: Row) -> StepExecutionView:
    return StepExecutionView(
        id=row["id"],
        instance_id=row["instance_id"],
        step_id=row["step_id"],
        step_type=row["step_type"],
        attempt_number=row["attempt_number"],
        status=row["status"],
        started_at=format_time(row["started_at"]),
        ended_at=format_time(row["ended_at"]) if row["ended_at"] else None,
        failure_reason=row["failure_reason"],
        input_snapshot=_raw(row["input_snapshot"]),
        output_snapshot=_raw(row["output_snapshot"]),
    )


def _raw(text: str | None) -> RawJson | None:
    return None if text is None else RawJson(text.encode())
