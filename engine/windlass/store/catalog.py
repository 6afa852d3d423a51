"""Definitions as the API asks for them: upload, list, get (contract 3.6, 1.5)."""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from windlass.definition.document import Upload, with_version
from windlass.errors import InvalidDefinition, NotFound
from windlass.page_token import id_of, token_after_id
from windlass.store.arrays import text_array
from windlass.store.database import Database
from windlass.store.driver import Connection, Row
from windlass.store.queries import sql
from windlass.store.views import PAGE_MAX
from windlass.wire import DefinitionPage, DefinitionSummary, format_time


class Catalog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def upload(
        self, upload: Upload, parsed_steps: str, *, audit: bool, actor: str
    ) -> tuple[DefinitionSummary, bool]:
        """The stored version, and whether it is new; for content equal to that of a stored version, that version.

        Uploads of one id wait for each other, so two at once both get their answer.
        """
        async with self._database.transaction() as connection:
            await connection.execute(sql("definition_lock_id"), upload.definition_id)
            try:
                content = upload.content.decode()
                row = await connection.fetchrow(sql("definition_find_equal"), upload.definition_id, content)
                if row is not None:
                    return _summary(upload.definition_id, row), False
                summary = await self._insert(connection, upload, content, parsed_steps)
            except asyncpg.DataError as err:
                told = str(err).splitlines()[0]
                raise InvalidDefinition([f"the database cannot store this: {told}"]) from err
            if audit:
                await connection.execute(
                    sql("definition_audit"), upload.definition_id, summary.version, actor
                )
            return summary, True

    async def _insert(
        self, connection: Connection, upload: Upload, content: str, parsed_steps: str
    ) -> DefinitionSummary:
        row = await connection.fetchrow(
            sql("definition_insert"),
            upload.definition_id,
            upload.name,
            upload.description or None,
            content,
            parsed_steps,
            upload.chained_definition_id,
            content,
        )
        return _summary(upload.definition_id, row)

    async def get(self, definition_id: str, version: int | None) -> bytes:
        if version is None:
            rows = await self._database.read(sql("definition_get_latest"), definition_id)
        else:
            rows = await self._database.read(sql("definition_get"), definition_id, version)
        if not rows:
            wanted = "" if version is None else f" version {version}"
            raise NotFound(f"definition {definition_id}{wanted} not found")
        return with_version(rows[0]["source"].encode(), rows[0]["version"])

    async def job_types(self) -> list[str]:
        """Every job type of every stored version, in order."""
        return [row["job_type"] for row in await self._database.fetch(sql("definition_job_types"))]

    async def list_page(
        self,
        *,
        keyword: str,
        page: int,
        page_size: int,
        page_token: str | None,
        bytes_max: int,
        only: Collection[str] | None = None,
    ) -> DefinitionPage:
        """Those whose id or name has the keyword, of those in `only` if it is given: the page after that of the token,
        else the one of this number. It ends before it has more than `bytes_max`, but has one row at least.
        """
        pattern = f"%{_escaped(keyword)}%" if keyword else None
        page = min(page, PAGE_MAX)
        ids = None if only is None else text_array(only)
        after, offset = (id_of(page_token), 0) if page_token else ("", page * page_size)
        rows = await self._database.read(
            sql("definition_list"), pattern, page_size + 1, offset, after, bytes_max, ids
        )
        total = rows[0]["total"] if rows else await self._count(pattern, ids)
        items = [_summary(row["id"], row) for row in rows[:page_size]]
        is_last = not rows or len(items) == rows[0]["found"]
        return DefinitionPage(
            items, total, page, page_size, None if is_last else token_after_id(items[-1].id)
        )

    async def _count(self, pattern: str | None, ids: str | None) -> int:
        return int((await self._database.read(sql("definition_count"), pattern, ids))[0][0])


def _escaped(keyword: str) -> str:
    """For LIKE: a percent sign or underscore the user typed means itself."""
    return keyword.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _summary(definition_id: str, row: Row) -> DefinitionSummary:
    return DefinitionSummary(
        definition_id, row["version"], row["name"], format_time(row["uploaded_at"]), row["description"]
    )
