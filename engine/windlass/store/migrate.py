"""Numbered migrations, run at every boot under a lock, idempotent (contract 9.3, design 2.9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from windlass.errors import BootRefused
from windlass.store.database import Connection, Database
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


async def applied_version(connection: Connection) -> int:
    """What the schema says without changing it; 0 when nothing was ever applied."""
    if not await connection.fetchval(sql("schema_has_table")):
        return 0
    row = await connection.fetchrow(sql("schema_version"))
    return int(row["version"])


async def migrate(database: Database) -> list[str]:
    """Applies what is missing, each in its own transaction; returns the names applied.

    A database that is ahead is left alone: the previous release runs on the new schema. Raises BootRefused when a
    migration fails (it is rolled back) or a former tool left the schema marked dirty.
    """
    connection = await database.dedicated("migrate")
    try:
        await connection.execute(sql("schema_lock"))
        try:
            await connection.execute("SET client_min_messages = warning")
            await connection.execute(sql("schema_table"))
            row = await connection.fetchrow(sql("schema_version"))
            if row["dirty"]:
                raise BootRefused(
                    f"schema_migrations: version {row['version']} is marked dirty; repair that migration by hand, "
                    "then set dirty = false"
                )
            return [await _apply(connection, m) for m in migrations() if m.version > row["version"]]
        finally:
            await connection.execute(sql("schema_unlock"))
    finally:
        await connection.close(timeout=5)


async def _apply(connection: Connection, migration: Migration) -> str:
    try:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(sql("schema_clear_version"))
            await connection.execute(sql("schema_set_version"), migration.version)
    except Exception as err:
        raise BootRefused(f"migration {migration.name} failed and was rolled back: {err}") from err
    return migration.name
