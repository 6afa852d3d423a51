"""Brings the schema up to date at every boot, one migration in one transaction, under a lock (contract 9.3)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import NamedTuple

from windlass.errors import BootRefused, EngineError
from windlass.store import takeover
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.ledger import Migration, Standing, judge, look, newest
from windlass.store.queries import sql
from windlass.store.rights import make_schema, require_to_migrate
from windlass.store.session import Session, SessionFailed
from windlass.store.shape import SHARED_MADE_HERE
from windlass.store.sqlstate import Failure

LOOK_INTERVAL_S = 0.5
TELL_INTERVAL_S = 5.0
LOCK_WAIT_MAX_S = 1.0
"""Longest wait of a migration for a table: whoever wants that table after it has to wait behind it."""
LOCK_PAUSE_S = 3.0
"""Between two attempts, so that those who came after it get their work done."""


class Blocker(NamedTuple):
    """A session that holds what a migration waits for."""

    pid: int
    """0 for a prepared transaction."""
    application_name: str
    since: datetime | None
    """Start of its transaction, or end of its last statement; None when this role may not see it."""


class _Held(Exception):
    """A migration has waited long enough for a table or a row; nothing was changed."""


WaitTold = Callable[[Blocker, float], None]
"""Called with each blocker and how long it has been in the way so far."""


async def migrate(database: Database, waits: WaitTold) -> tuple[list[str], int]:
    """Applies what is missing, each in its own transaction; returns what was done and the ledger's newest version.

    A ledger that is ahead is left alone: the previous release runs on the new schema. What it has to wait for,
    another node's migrations or anybody's lock on a table, it waits for without a limit and tells `waits`; for a table
    in short attempts, since all others would wait behind it. Raises BootRefused when a migration fails (it is rolled
    back), the schema is another application's or in disorder, the role may not make tables, or the database takes no
    writes.
    """
    session = await database.session("migrate")
    try:
        await make_schema(session, database.schema)
        done: list[str] = []
        # Looked at without the lock first, so that a role without the right to make tables, and a standby, can boot on
        # a schema that is current.
        standing = await _look(session)
        if not standing.is_current:
            await require_to_migrate(session, database.schema)
        watch = _Watch(database, waits)
        while not standing.is_current:
            try:
                standing, told = await _step(session, watch)
            except _Held:
                await asyncio.sleep(LOCK_PAUSE_S)
                standing, told = await _look(session), []
            done += told
        return done, max(standing.own, newest())
    except SessionFailed as err:
        raise BootRefused(_with_remedy(f"the schema cannot be brought up to date ({err})", err)) from err
    finally:
        await session.close(within_s=5)


async def _look(session: Session) -> Standing:
    async with session.transaction():
        await session.execute(sql("schema_snapshot"))
        found = await look(session.fetch_row)
        standing = judge(found)
        if _takes_over(standing):
            await takeover.check(session)
    if not standing.is_current and (read_only := read_only_reason(found.state)):
        raise BootRefused(f"the schema is at {standing.own}, this release needs {newest()}, and {read_only}")
    return standing


def _takes_over(standing: Standing) -> bool:
    """Whether there may be instances of another engine: its tables, and not one step of ours."""
    return standing.shared >= SHARED_MADE_HERE and any(m.is_own and m.version == 1 for m in standing.missing)


async def _step(session: Session, watch: _Watch) -> tuple[Standing, list[str]]:
    """One migration, or nothing if another node has done the rest meanwhile; what was done, and where that leads."""
    async with session.transaction():
        row = await session.fetch_row(sql("schema_transaction"))
        assert row is not None
        async with watch.over(row["pid"]):
            await session.execute(sql("schema_lock"))
            found = await look(session.fetch_row)
            standing = judge(found)
            if standing.is_current:
                return standing, []
            if standing.set_back_to is not None:
                assert found.shared is not None
                await _set_shared(session, standing.set_back_to)
                told = f"schema_migrations set back from {found.shared.version} to {standing.set_back_to}"
                return standing._replace(set_back_to=None), [told]
            migration = standing.missing[0]
            await session.execute(sql("schema_patience"), f"{LOCK_WAIT_MAX_S:g}s")
            await _apply(session, migration, takes_over=_takes_over(standing) and migration.is_own)
    own = migration.version if migration.is_own else standing.own
    return standing._replace(own=own, missing=standing.missing[1:]), [migration.label]


async def _apply(session: Session, migration: Migration, *, takes_over: bool) -> None:
    try:
        if migration.is_own:
            await session.execute(sql("schema_ledger_table"))
            await session.execute(migration.text)
            if takes_over:
                await takeover.take_over(session)
            await session.execute(sql("schema_ledger_add"), migration.version, migration.name)
        else:
            await session.execute(sql("schema_shared_table"))
            await session.execute(migration.text)
            await _set_shared(session, migration.version)
    except SessionFailed as err:
        if err.is_lock_timeout:
            raise _Held from err
        told = f"migration {migration.label} failed and was rolled back: {err.__cause__}"
        raise BootRefused(_with_remedy(told, err)) from err


async def _set_shared(session: Session, version: int) -> None:
    await session.execute(sql("schema_clear_shared"))
    await session.execute(sql("schema_set_shared"), version)


def _with_remedy(told: str, err: SessionFailed) -> str:
    remedy = err.remedy
    if err.failure is Failure.MISSING_RIGHT:
        remedy = (
            "give the role of WE_POSTGRES_DSN the right to create tables there, or run windlass migrate as a role that "
            "has it"
        )
    return f"{told}; {remedy}" if remedy else told


def read_only_reason(state: Row) -> str:
    """Why a database with this row of `schema_state` takes no writes, and the remedy; empty when it takes them."""
    if state["is_standby"]:
        return (
            "the database takes no writes: it is a standby (in recovery); point WE_POSTGRES_DSN at the primary, or "
            "promote this server"
        )
    if state["is_read_only"]:
        return (
            "the database takes no writes: default_transaction_read_only is on; once its cause is gone, switch it off "
            "where it was set: ALTER DATABASE or ALTER ROLE ... RESET default_transaction_read_only, or postgresql.conf"
        )
    return ""


# -- waiting


class _Watch:
    """Tells `waits` soon who is in the way, and again every few seconds, over all attempts."""

    def __init__(self, database: Database, waits: WaitTold) -> None:
        self._database = database
        self._waits = waits
        self._told: set[int] = set()
        self._since_s = self._due_s = 0.0

    @contextlib.asynccontextmanager
    async def over(self, pid: int) -> AsyncIterator[None]:
        """While that backend may wait."""
        watch = asyncio.create_task(self._run(pid), name="migration-waits")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _run(self, pid: int) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            with contextlib.suppress(EngineError):
                self._look_at(
                    [Blocker(*row) for row in await self._database.fetch(sql("schema_blockers"), pid)]
                )

    def _look_at(self, blockers: list[Blocker]) -> None:
        pids = {blocker.pid for blocker in blockers}
        now_s = time.monotonic()
        if pids - self._told:
            self._since_s, self._due_s = now_s - LOOK_INTERVAL_S, now_s
        if pids and now_s >= self._due_s:
            self._due_s = now_s + TELL_INTERVAL_S
            for blocker in blockers:
                self._waits(blocker, now_s - self._since_s)
        # Between two attempts nobody is in the way.
        self._told = pids or self._told
