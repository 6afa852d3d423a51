"""Numbered migrations, run at every boot under a lock, idempotent (contract 9.3)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from typing import NamedTuple

from windlass.errors import BootRefused, EngineError
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.queries import sql
from windlass.store.rights import make_schema, require_to_migrate
from windlass.store.session import Session, SessionFailed
from windlass.store.sqlstate import Failure

LOOK_INTERVAL_S = 0.5
TELL_INTERVAL_S = 5.0
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")


class Migration(NamedTuple):
    version: int
    name: str
    text: str


@cache
def migrations() -> Sequence[Migration]:
    """All files in order; a gap in the numbers is a ValueError."""
    found = []
    for file in resources.files("windlass.store").joinpath("migrations").iterdir():
        match = _FILE.match(file.name)
        if match:
            found.append(
                Migration(int(match[1]), file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
            )
    found.sort()
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1..n: {[m.name for m in found]}")
    return tuple(found)


def newest() -> int:
    return migrations()[-1].version


class Blocker(NamedTuple):
    """A session that holds what a migration waits for."""

    pid: int
    """0 for a prepared transaction."""
    application_name: str
    since: datetime | None
    """Start of its transaction, or end of its last statement; None when this role may not see it."""


WaitTold = Callable[[Blocker, float], None]
"""Called with each blocker and how long it has been in the way so far."""


async def migrate(database: Database, waits: WaitTold) -> tuple[list[str], int]:
    """Applies what is missing, each in its own transaction; returns the names applied and the version reached.

    A database that is ahead is left alone: the previous release runs on the new schema. What it has to wait for,
    another node's migrations or anybody's lock on a table, it waits for without a limit and tells `waits`. Raises
    BootRefused when a migration fails (it is rolled back), a former tool left the schema marked dirty, the role may
    not make tables, or the database takes no writes.
    """
    session = await database.session("migrate")
    try:
        await make_schema(session, database.schema)
        async with _watched(session, database, waits):
            await session.execute(sql("schema_lock"))
            try:
                return await _migrate(session, database.schema)
            finally:
                with contextlib.suppress(SessionFailed):
                    await session.execute(sql("schema_unlock"))
    except SessionFailed as err:
        raise BootRefused(_with_remedy(f"the schema cannot be brought up to date ({err})", err)) from err
    finally:
        await session.close(within_s=5)


async def _migrate(session: Session, schema: str | None) -> tuple[list[str], int]:
    await session.execute("SET client_min_messages = warning")
    state = await session.fetch_row(sql("schema_state"))
    assert state is not None
    version = 0
    if state["is_there"]:
        # Checked first, so that a role without the right to create tables can boot on a schema that is current.
        row = await session.fetch_row(sql("schema_version"))
        assert row is not None
        version = row["version"]
        if row["dirty"]:
            raise BootRefused(
                f"schema_migrations: version {version} is marked dirty; repair that migration by hand, "
                "then set dirty = false"
            )
    missing = [migration for migration in migrations() if migration.version > version]
    if missing and (read_only := read_only_reason(state)):
        raise BootRefused(f"the schema is at {version}, this release needs {newest()}, and {read_only}")
    if missing:
        await require_to_migrate(session, schema)
    if not state["is_there"]:
        await session.execute(sql("schema_table"))
    return [await _apply(session, migration) for migration in missing], max(version, newest())


async def _apply(session: Session, migration: Migration) -> str:
    try:
        async with session.transaction():
            await session.execute(migration.text)
            await session.execute(sql("schema_clear_version"))
            await session.execute(sql("schema_set_version"), migration.version)
    except SessionFailed as err:
        told = f"migration {migration.name} failed and was rolled back: {err.__cause__}"
        raise BootRefused(_with_remedy(told, err)) from err
    return migration.name


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


@contextlib.asynccontextmanager
async def _watched(session: Session, database: Database, waits: WaitTold) -> AsyncIterator[None]:
    """While the session waits for somebody, `waits` is told soon, and again every few seconds."""
    row = await session.fetch_row(sql("schema_pid"))
    assert row is not None
    watch = asyncio.create_task(_watch(row["pid"], database, waits), name="migration-waits")
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(pid: int, database: Database, waits: WaitTold) -> None:
    told: set[int] = set()
    since_s = due_s = 0.0
    while True:
        await asyncio.sleep(LOOK_INTERVAL_S)
        with contextlib.suppress(EngineError):
            blockers = [Blocker(*row) for row in await database.fetch(sql("schema_blockers"), pid)]
            now_s = time.monotonic()
            pids = {blocker.pid for blocker in blockers}
            if pids - told:
                since_s, due_s = now_s - LOOK_INTERVAL_S, now_s
            if now_s >= due_s:
                due_s = now_s + TELL_INTERVAL_S
                for blocker in blockers:
                    waits(blocker, now_s - since_s)
            told = pids
