"""Contract 9.3: a migration waits as long as it must, says for whom, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from engine_on_trial import rows
from engine_process import EngineProcess, RunWindlass
from workflow import END, Json, service

from patience import eventually
from seatrial.cluster.local.release import next_release
from seatrial.cluster.postgres import ENGINE_ROLE, PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOCK = "SELECT pg_advisory_lock(hashtextextended('public', 4893219751932018490))"
WAITING = "migrate: waiting for a lock"


@contextlib.asynccontextmanager
async def held(dsn: str, statement: str) -> AsyncIterator[int]:
    """Somebody else's session that keeps the lock; its pid."""
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, application_name="somebody-else"
    ) as connection:
        await connection.execute(statement)
        yield connection.info.backend_pid


async def told(process: EngineProcess) -> list[Json]:
    await process.until_logged(WAITING)
    return process.log(msg=WAITING, level="WARN")


def twice_told(process: EngineProcess) -> list[Json]:
    lines = process.log(msg=WAITING)
    return lines if len(lines) > 1 else []


@pytest.mark.parametrize("word", ["serve", "migrate"])
async def test_who_holds_the_lock_is_told_and_a_signal_ends_the_wait(
    windlass: RunWindlass, server: PostgresServer, dsn: str, word: str
) -> None:
    async with held(dsn, LOCK) as pid:
        process = await windlass(word, WE_POSTGRES_DSN=dsn)
        (line,) = await told(process)
        assert (line["pid"], line["application_name"]) == (pid, "somebody-else")
        assert line["since"].endswith("Z")
        assert 0 < line["waited_s"] < 5
        process.send(signal.SIGTERM)
        code = await process.ended(5)
        assert process.log(msg="engine: shutdown signal received")[0]["signal"] == "SIGTERM"
        if word == "serve":
            assert code == 0
        else:
            assert code == 1
            assert "stopped by a signal" in process.stderr
        database = dsn.partition("?")[0].rpartition("/")[2]

        async def nobody_waits() -> bool:
            return not await rows(
                server.dsn(),
                "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'windlass/%%'",
                database,
            )

        await eventually(nobody_waits)


async def test_the_wait_is_told_again_and_ends_with_the_lock_whatever_the_roles_time_outs(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    database = dsn.partition("?")[0].rpartition("/")[2]
    for setting in ("statement_timeout", "lock_timeout"):
        await rows(server.dsn(), f"ALTER ROLE {ENGINE_ROLE} IN DATABASE {database} SET {setting} = '300ms'")
    async with held(server.dsn(database), LOCK):
        process = await windlass("migrate", WE_POSTGRES_DSN=dsn)
        first, second = (await eventually(lambda: twice_told(process)))[:2]
        assert 4 < second["waited_s"] - first["waited_s"] < 8
    assert await process.ended() == 0
    assert process.log(msg="migrate: schema is current")


async def test_a_migration_behind_somebodys_transaction_is_told_too(windlass: RunWindlass, dsn: str) -> None:
    """Here of the version row; it might be of a table that a report reads."""
    async with await psycopg.AsyncConnection.connect(dsn, application_name="a-report") as report:
        await report.execute(
            "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)"
        )
        await report.execute("INSERT INTO schema_migrations VALUES (0, false)")
        await report.commit()
        await report.execute("SELECT 1 FROM schema_migrations FOR UPDATE")
        process = await windlass("serve", WE_POSTGRES_DSN=dsn)
        line = (await told(process))[0]
        assert (line["pid"], line["application_name"]) == (report.info.backend_pid, "a-report")
        await asyncio.sleep(0.1)
        assert process.log(msg="migrate: applied") == []
        await report.rollback()
    await process.until_logged("engine: REST listening")
    process.send(signal.SIGTERM)
    assert await process.ended() == 0


async def test_others_work_on_while_the_next_releases_migration_waits_for_their_table(
    windlass: RunWindlass, dsn: str, tmp_path: Path
) -> None:
    """Nobody passes a migration that waits for a table: every call stood still until the report was done."""
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="serving")
    workflow = await engine.define(service("a"), END)
    async with await psycopg.AsyncConnection.connect(dsn, application_name="a-report") as report:
        await report.execute("SELECT count(*) FROM job")
        later = await windlass(
            "serve",
            WE_POSTGRES_DSN=dsn,
            WINDLASS_NODE_NAME="later",
            PYTHONPATH=str(next_release(tmp_path / "next")),
        )
        line = (await told(later))[0]
        assert (line["pid"], line["application_name"]) == (report.info.backend_pid, "a-report")
        began = time.monotonic()
        while time.monotonic() - began < 5:
            await asyncio.wait_for(workflow.start(), 3)
        assert later.log(msg="migrate: applied") == []
        first, second = (await eventually(lambda: twice_told(later)))[:2]
        assert 4 < second["waited_s"] - first["waited_s"] < 12, "over several attempts"
    await later.until_logged("engine: REST listening")
    await workflow.start()
