"""Commands that are much work go through a lane of their own, whenever it is found out: small ones do not wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.memory import Use

pytestmark = pytest.mark.asyncio(loop_scope="session")

LARGE = "x" * 600_000
WITHIN_S = 10


@asynccontextmanager
async def held(one: Running, text: str, *arguments: object) -> AsyncIterator[Any]:
    """A session beside that holds what it locks."""
    blocker = await asyncpg.connect(one.node.settings.postgres_dsn)
    try:
        await blocker.execute("BEGIN")
        await blocker.execute(text, *arguments)
        yield blocker
    finally:
        await blocker.close()


HOLD_UP = """
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
    CREATE TRIGGER hold_up BEFORE INSERT ON workflow_instance FOR EACH ROW WHEN (NEW.definition_id = 'large')
    EXECUTE FUNCTION hold_up()"""
"""Whoever starts an instance of that definition waits for the advisory lock."""


@asynccontextmanager
async def starts_held_up(one: Running) -> AsyncIterator[None]:
    async with held(one, "SELECT pg_advisory_lock(4711)"):
        beside = await asyncpg.connect(one.node.settings.postgres_dsn)
        await beside.execute(HOLD_UP)
        await beside.close()
        yield


async def a_statement_waits(superuser: Any) -> None:
    async def found() -> bool:
        return bool(
            await superuser.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND application_name LIKE 'windlass/%' AND datname = current_database()"
            )
        )

    await eventually(found)


async def test_small_starts_pass_a_large_one_that_is_being_written(boot: Boot, superuser: Any) -> None:
    one = await boot(WINDLASS_LANES="1")
    await one.define(service("a", "end"), END, id_="large")
    await one.define(service("a", "end"), END, id_="small")
    async with starts_held_up(one):
        writing = asyncio.create_task(one.start("large", a=LARGE))
        await a_statement_waits(superuser)
        small = await asyncio.wait_for(asyncio.gather(*(one.start("small") for _ in range(20))), WITHIN_S)
        assert not writing.done()
    assert [view.status for view in small] == ["ACTIVE"] * 20
    assert (await writing).status == "ACTIVE"


async def test_a_small_completion_of_a_large_instance_holds_up_nobody(boot: Boot, superuser: Any) -> None:
    """The call does not tell that it is much work; the size of the job does, before anything is locked."""
    one = await boot(WINDLASS_LANES="1")
    await one.define(service("a", "b"), service("b", "end"), END, id_="large")
    await one.define(service("s", "end"), END, id_="small")
    large = await one.start("large", a=LARGE)
    await one.start("small")
    (large_job,), (small_job,) = await one.poll("do-a"), await one.poll("do-s")
    async with held(one, "SELECT 1 FROM workflow_instance WHERE id = $1 FOR UPDATE", large.id):
        completing = asyncio.create_task(one.complete(large_job, done=True))
        await a_statement_waits(superuser)
        await asyncio.wait_for(one.complete(small_job), WITHIN_S)
        assert not completing.done()
    await completing
    assert await one.variables(large.id) == {"a": LARGE, "done": True}
    assert len(await one.poll("do-b")) == 1


async def test_a_start_that_opens_many_steps_is_put_aside_when_it_is_decided(
    boot: Boot, superuser: Any
) -> None:
    one = await boot(WINDLASS_LANES="1")
    steps = [
        {"id": f"t{n}", "type": "TRANSFORMATION", "transformations": {"n": n}, "nextStep": f"t{n + 1}"}
        for n in range(200)
    ]
    await one.define(*steps, service("t200", "end"), END, id_="large")
    await one.define(service("a", "end"), END, id_="small")
    async with starts_held_up(one):
        writing = asyncio.create_task(one.start("large", a="x" * 10_000))
        await a_statement_waits(superuser)
        await asyncio.wait_for(asyncio.gather(*(one.start("small") for _ in range(20))), WITHIN_S)
        assert not writing.done()
        # 10 KB were sent, and 4 MB are to be written.
        assert one.node.memory.used(Use.BATCH) > 4_000_000
    view = await writing
    assert view.current_step_ids == ("t200",)
    (row,) = await one.rows("SELECT count(*) FROM step_execution WHERE instance_id = $1", view.id)
    assert row["count"] == 201
    assert one.node.memory.used(Use.BATCH) == 0


async def test_a_batch_ends_at_an_amount_of_work_and_all_of_it_is_done(boot: Boot) -> None:
    one = await boot(WINDLASS_LANES="1")
    branches = [f"b{n}" for n in range(50)]
    await one.define(
        {"id": "g", "type": "PARALLEL_GATEWAY", "parallelNextSteps": branches, "joinStep": "j"},
        *(service(branch, "j") for branch in branches),
        {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )
    views = await asyncio.gather(*(one.start(n=n, a="x" * 2_000) for n in range(60)))
    assert [(await one.variables(view.id))["n"] for view in views] == list(range(60))
    (row,) = await one.rows("SELECT count(*) FROM job")
    assert row["count"] == 60 * 50
    text = one.node.metrics.exposition().decode()
    figures = dict(line.split() for line in text.splitlines() if line.startswith("windlass_lane_batch_size_"))
    # Each is about 280 KB of work, so that four are a batch.
    assert figures["windlass_lane_batch_size_sum"] == "60.0"
    assert float(figures["windlass_lane_batch_size_count"]) >= 15
    assert one.node.lanes.waiting == 0
