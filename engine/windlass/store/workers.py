"""The workers that have registered, each a row that its heartbeats keep fresh on the database's clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from windlass.auth.principal import Principal, Role
from windlass.errors import NotFound, OutOfScope
from windlass.page_token import id_of, token_after_id
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.queries import sql
from windlass.store.views import PAGE_MAX
from windlass.wire import WorkerPage, WorkerRegistration, WorkerView, format_time


class Workers:
    """Every method raises EngineError, Unavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
        self, worker: WorkerRegistration, caller: Principal | None = None
    ) -> tuple[WorkerView, bool]:
        """The worker as it is now known, and whether it was not known before. Raises OutOfScope while another
        principal's worker with the id is alive.
        """
        rows = await self._database.fetch(
            sql("worker_register"),
            worker.id,
            worker.job_types,
            worker.version,
            worker.capacity,
            worker.heartbeat_s,
            *_owner(caller),
        )
        if not rows:
            raise _of_another(worker.id)
        return _worker(rows[0]), rows[0]["is_new"]

    async def beat(self, worker_id: str, caller: Principal | None = None) -> None:
        """Raises NotFound for one that is not registered, or was removed after long silence; OutOfScope for another
        principal's.
        """
        await self._change(sql("worker_beat"), worker_id, caller)

    async def remove(self, worker_id: str, caller: Principal | None = None) -> None:
        """Raises NotFound for one that is not registered; OutOfScope for another principal's."""
        await self._change(sql("worker_remove"), worker_id, caller)

    async def _change(self, statement: str, worker_id: str, caller: Principal | None) -> None:
        if await self._database.fetch(statement, worker_id, *_owner(caller)):
            return
        if caller is not None and await self._database.fetch(sql("worker_is_registered"), worker_id):
            raise _of_another(worker_id)
        raise _not_registered(worker_id)

    async def page(self, page: int, page_size: int, page_token: str | None, bytes_max: int) -> WorkerPage:
        """Of those that are alive, in order of ids: the page after that of the token, else the one of this number. It
        ends before it has more than `bytes_max`, but has one row at least.
        """
        return await self._page(self._database.read, min(page, PAGE_MAX), page_size, page_token, bytes_max)

    async def first(self, rows_max: int, bytes_max: int) -> WorkerPage:
        """The same, also of a standby, which may show the past."""
        return await self._page(self._database.fetch, 0, rows_max, None, bytes_max)

    async def _page(
        self,
        ask: Callable[..., Awaitable[list[Row]]],
        page: int,
        page_size: int,
        page_token: str | None,
        bytes_max: int,
    ) -> WorkerPage:
        after, offset = (id_of(page_token), 0) if page_token else ("", page * page_size)
        rows = await ask(sql("worker_list"), page_size + 1, offset, after, bytes_max)
        items = [_worker(row) for row in rows[:page_size]]
        is_last = not rows or len(items) == rows[0]["found"]
        is_all = is_last and not after and offset == 0
        total = len(items) if is_all else (await ask(sql("worker_count")))[0][0]
        return WorkerPage(items, total, page, page_size, None if is_last else token_after_id(items[-1].id))

    async def remove_stale(self, rows_max: int) -> int:
        """Removes those that have been gone for an hour, `rows_max` at most; returns how many."""
        return len(await self._database.fetch(sql("worker_remove_stale"), rows_max))


def _owner(caller: Principal | None) -> tuple[str | None, bool]:
    """Its name, None while authentication is off; and whether it may change the workers of others."""
    return (None, False) if caller is None else (caller.name, Role.ADMIN in caller.roles)


def _of_another(worker_id: str) -> OutOfScope:
    return OutOfScope(
        f"worker {worker_id} was registered with another token; choose another id, or register it anew when "
        "three of its heartbeats are missed",
        limit="registration",
    )


def _not_registered(worker_id: str) -> NotFound:
    return NotFound(f"worker {worker_id} is not registered; register it with POST /v1/workers")


def _worker(row: Row) -> WorkerView:
    heartbeat_s = row["heartbeat_s"]
    return WorkerView(
        id=row["id"],
        job_types=row["job_types"],
        version=row["version"],
        capacity=row["capacity"],
        heartbeat_seconds=int(heartbeat_s) if heartbeat_s.is_integer() else heartbeat_s,
        state="LATE" if row["is_late"] else "ALIVE",
        registered_at=format_time(row["registered_at"]),
        last_seen_at=format_time(row["last_seen_at"]),
    )
