"""Numbered migrations, run at every boot under a lock, idempotent (contract 9.3)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from windlass.errors import BootRefused
from windlass.store.database import Database
from windlass.store.queries import sql
from windlass.store.session import Session, SessionFailed

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
    session = await database.session("migrate")
    try:
        await session.execute(sql("schema_lock"))
        try:
            return await _migrate(session)
        finally:
            with contextlib.suppress(SessionFailed):
                await session.execute(sql("schema_unlock"))
    except SessionFailed as err:
        raise BootRefused(
            f"the schema cannot be brought up to date ({err}); give the role of WE_POSTGRES_DSN the right "
            "to create tables there, or run windlass migrate as a role that has it"
        ) from err
    finally:
        await session.close(within_s=5)


async def _migrate(session: Session) -> tuple[list[str], int]:
    await session.execute("SET client_min_messages = warning")
    table = await session.fetch_row(sql("schema_has_table"))
    if table is None or not table["is_there"]:
        # Checked first, so that a role without the right to create tables can boot on a schema that is current.
        await session.execute(sql("schema_table"))
    row = await session.fetch_row(sql("schema_version"))
    assert row is not None
    if row["dirty"]:
        raise BootRefused(
            f"schema_migrations: version {row['version']} is marked dirty; repair that migration by hand, "
            "then set dirty = false"
        )
    applied = [await _apply(session, m) for m in migrations() if m.version > row["version"]]
    return applied, max(row["version"], newest())


async def _apply(session: Session, migration: Migration) -> str:
    try:
        async with session.transaction():
            await session.execute(migration.text)
            await session.execute(sql("schema_clear_version"))
            await session.execute(sql("schema_set_version"), migration.version)
    except SessionFailed as err:
        raise BootRefused(f"migration {migration.name} failed and was rolled back: {err.__cause__}") from err
    return migration.name
