"""Reads that the database is slow to answer have half of the connections, and the rest goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.errors import Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="session")

READS = 20
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'step_execution'::regclass"


@pytest_asyncio.fixture(loop_scope="session")
async def slow_history(superuser: asyncpg.Connection, one: Running) -> AsyncIterator[str]:
    """An instance whose history nobody can read as long as this lasts."""
    await one.define(service("a", "end"), END)
    instance = await one.start()
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE step_execution IN ACCESS EXCLUSIVE MODE")
        yield instance.id


async def test_slow_reads_leave_connections_to_everybody_else(
    slow_history: str, one: Running, superuser: asyncpg.Connection
) -> None:
    reads = [asyncio.create_task(one.engine.instance_history(slow_history)) for _ in range(READS)]
    try:

        async def those_that_wait() -> bool:
            return bool(await superuser.fetchval(WAITING) >= one.node.settings.db_max_conns // 2)

        await eventually(those_that_wait)
        async with asyncio.timeout(5):
            await one.define(END, id_="other")
            (job,) = await one.poll("do-a")
            assert job.step_id == "a"
        assert await superuser.fetchval(WAITING) == one.node.settings.db_max_conns // 2
        assert not any(read.done() for read in reads)
    finally:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_a_read_that_finds_no_place_in_time_is_told_so(
    boot: Boot, superuser: asyncpg.Connection
) -> None:
    one = await boot(WINDLASS_DATABASE_TIMEOUT_SECONDS="1", DB_MAX_CONNS="4")
    await one.define(service("a", "end"), END)
    instance = await one.start()
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE step_execution IN ACCESS EXCLUSIVE MODE")
        reads = [one.engine.instance_history(instance.id) for _ in range(READS)]
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert any("reads" in str(answer) for answer in answers)
    assert len((await one.engine.instance_history(instance.id)).items) > 0
