"""Instances and their history as the API asks for them: reads only (contract 1.4, 1.5)."""

from __future__ import annotations

from datetime import UTC, datetime

from windlass.errors import NotFound
from windlass.page_token import Place, place_of, token_after
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.queries import sql
from windlass.wire import (
    INSTANCES_COUNTED_MAX,
    HistoryPage,
    InstancePage,
    InstanceView,
    RawJson,
    StepExecutionView,
    format_time,
)

PAGE_MAX = 1_000_000_000
"""A page number past this is past the end of any list."""


HISTORY_ROWS_MAX = 10_000
"""Of one page."""
NEWEST = Place(datetime(9999, 12, 31, tzinfo=UTC), "")
OLDEST = Place(datetime(1, 1, 2, tzinfo=UTC), "")


class Views:
    """`answer_bytes_max`: a page ends before it has more, but has one row at least."""

    def __init__(self, database: Database, answer_bytes_max: int) -> None:
        self._database = database
        self._answer_bytes_max = answer_bytes_max

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
        page_token: str | None,
    ) -> InstancePage:
        """The page after that of the token, else the one of this number. `total` is exact unless it is more than
        `INSTANCES_COUNTED_MAX` past the end of the page; then it is that.
        """
        place = place_of(page_token) if page_token else NEWEST
        page = min(page, PAGE_MAX)
        offset = 0 if page_token else page * page_size
        statement, filters = _way(definition_id, status, business_key)
        (found,) = await self._database.read(
            statement, *place, page_size + 1, offset, offset + page_size + INSTANCES_COUNTED_MAX, *filters
        )
        ids = found["ids"][:page_size]
        rows = await self._database.read(sql("instance_rows"), ids, self._answer_bytes_max) if ids else []
        views = [_instance(row) for row in rows]
        is_last = len(found["ids"]) <= page_size and (not views or views[-1].id == ids[-1])
        return InstancePage(
            views, found["total"], page, page_size, token_after(views[-1]) if views and not is_last else None
        )

    async def history(self, instance_id: str, *, page_token: str | None, with_snapshots: bool) -> HistoryPage:
        place = place_of(page_token) if page_token else OLDEST
        found = await self._database.read(sql("step_page"), instance_id, *place, HISTORY_ROWS_MAX + 1)
        ids = [row["id"] for row in found[:HISTORY_ROWS_MAX]]
        if not ids:
            if not await self._database.read(sql("instance_exists"), instance_id):
                raise NotFound(f"instance {instance_id} not found")
            return HistoryPage([])
        rows = await self._database.read(sql("step_rows"), ids, self._answer_bytes_max, with_snapshots)
        views = [_step(row) for row in rows]
        is_last = len(found) <= HISTORY_ROWS_MAX and (not views or views[-1].id == ids[-1])
        return HistoryPage(views, token_after(views[-1]) if views and not is_last else None)


def _way(
    definition_id: str | None, status: str | None, business_key: str | None
) -> tuple[str, tuple[str | None, ...]]:
    """The statement that finds the instances by an index, and its filters."""
    if business_key is not None:
        return sql("instance_page_of_key"), (business_key, definition_id, status)
    if definition_id is not None and status is not None:
        return sql("instance_page_of_definition_in_status"), (definition_id, status)
    if definition_id is not None:
        return sql("instance_page_of_definition"), (definition_id,)
    if status is not None:
        return sql("instance_page_in_status"), (status,)
    return sql("instance_page"), ()


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
