"""Rows of workers that ended without a word."""

from __future__ import annotations

import asyncio

import pytest
from nodes import Running

from windlass.store.workers import Workers
from windlass.sweep import workers as sweep

pytestmark = pytest.mark.asyncio(loop_scope="session")

BYTES_MAX = 1_000_000
REGISTERED = """
    INSERT INTO windlass_worker (id, job_types, version, capacity, heartbeat_s, last_seen_at)
    SELECT 'w-' || n, '{t}', '', 1, $2::float8, clock_timestamp() - $3::float8 * interval '1 second'
    FROM generate_series(1, $1::integer) AS n
"""


async def left(one: Running) -> int:
    return int((await one.rows("SELECT count(*) FROM windlass_worker"))[0]["count"])


async def test_a_worker_is_removed_an_hour_after_it_counts_as_gone(one: Running) -> None:
    workers = Workers(one.database)
    # Three heartbeats of a minute, and an hour.
    for silent_s, remains in ((3600 + 120, 1), (3600 + 181, 0)):
        await one.rows("DELETE FROM windlass_worker")
        await one.rows(REGISTERED, 1, 60.0, silent_s)
        assert (await workers.page(0, 20, None, BYTES_MAX)).total == 0
        await workers.remove_stale(10)
        assert await left(one) == remains
    # Whoever is seldom heard is not gone so soon.
    await one.rows(REGISTERED, 1, 3600.0, 3 * 3600 - 60)
    assert await workers.remove_stale(10) == 0
    assert (await workers.page(0, 20, None, BYTES_MAX)).total == 1


async def test_many_go_in_parts_and_two_nodes_do_not_wait_for_each_other(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "ROWS_MAX", 7)
    workers = Workers(one.database)
    await one.rows(REGISTERED, 50, 1.0, 7200.0)
    assert await workers.remove_stale(7) == 7
    assert await left(one) == 43
    await asyncio.gather(*(sweep.WorkerSweep(workers).sweep() for _ in range(2)))
    await sweep.WorkerSweep(workers).sweep()
    assert await left(one) == 0


async def test_a_node_that_repairs_looks_for_them(one: Running) -> None:
    assert "workers" in [each.name for each in one.node.sweeps]
