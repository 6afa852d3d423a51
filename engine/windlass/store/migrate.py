"""Numbered migrations, run at every boot under a lock, idempotent (contract 9.3)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import asyncpg

from windlass.errors import BootRefused
from windlass.store.database import Connection, Database, describe
from windlass.store.queries import sql

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


async def migrate(database: Database) -> tuple[list[str], int]:
    """Applies what is missing, each in its own transaction; returns the names applied and the version reached.

    A database that is ahead is left alone: the previous release runs on the new schema. Raises BootRefused when a
    migration fails (it is rolled back), a former tool left the schema marked dirty, or the role may not make tables.
    """
    connection = await database.dedicated("migrate")
    try:
        await connection.execute(sql("schema_lock"))
        try:
            return await _migrate(connection)
        finally:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.execute(sql("schema_unlock"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as err:
        raise BootRefused(
            f"the schema cannot be brought up to date ({describe(err)}); give the role of WE_POSTGRES_DSN the right "
            "to create tables there, or run windlass migrate as a role that has it"
        ) from err
    finally:
        await connection.close(timeout=5)


async def _migrate(connection: Connection) -> tuple[list[str], int]:
    await connection.execute("SET client_min_messages = warning")
    if not await connection.fetchval(sql("schema_has_table")):
        # Asked first: a role that may only use tables boots on a schema that is current.
        await connection.execute(sql("schema_table"))
    row = await connection.fetchrow(sql("schema_version"))
    if row["dirty"]:
        raise BootRefused(
            f"schema_migrations: version {row['version']} is marked dirty; repair that migration by hand, "
            "then set dirty = false"
        )
    applied = [await _apply(connection, m) for m in migrations() if m.version > row["version"]]
    return applied, max(row["version"], newest())


async def _apply(connection: Connection, migration: Migration) -> str:
    try:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(sql("schema_clear_version"))
            await connection.execute(sql("schema_set_version"), migration.version)
    except Exception as err:
        raise BootRefused(f"migration {migration.name} failed and was rolled back: {err}") from err
    return migration.name
