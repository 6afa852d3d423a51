"""Statements on a database, and what a migration of it applies."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from windlass.config import settings_from_env
from windlass.store.database import Database
from windlass.store.migrate import migrate


async def run(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def migrated(dsn: str) -> list[str]:
    """What was applied."""
    database = Database(settings_from_env({"WE_POSTGRES_DSN": dsn}, Path("/nonexistent/engine.yaml")))
    await database.open()
    try:
        return (await migrate(database, lambda *_: None))[0]
    finally:
        await database.close()
