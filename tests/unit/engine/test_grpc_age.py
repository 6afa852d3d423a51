"""A gRPC connection ends by its age, and no call with it."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from grpc_door import opened

from patience import eventually

pytestmark = pytest.mark.asyncio
AGE_S = 1.0
#: longer than moving takes on a busy machine
LONG_POLL_S = 19.0


def callers(port: int) -> set[int]:
    """The ports from which this process is connected to its own server."""
    return {
        each.laddr.port
        for each in psutil.Process().net_connections(kind="tcp")
        if each.raddr and each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED
    }


async def test_calls_move_to_a_new_connection_and_a_long_poll_ends_on_the_old_one() -> None:
    async with opened(grpc_connection_age_s=AGE_S, long_poll_s_max=LONG_POLL_S) as door:
        poll = door.dial.begin("PollJobs", worker_id="w", job_types=["t"], wait_ms=round(LONG_POLL_S * 1000))
        await eventually(lambda: door.service.held_polls)
        (first,) = callers(door.app.port)

        async def has_moved() -> bool:
            await door.dial.call("StartInstance", definition_id="d")
            return callers(door.app.port) > {first}

        await eventually(has_moved)
        assert door.service.held_polls == 1
        door.service.gate.set()
        assert not (await poll).jobs
        await eventually(lambda: first not in callers(door.app.port))


async def test_without_an_age_it_stays() -> None:
    async with opened(grpc_connection_age_s=0.0) as door:
        await door.dial.call("StartInstance", definition_id="d")
        before = callers(door.app.port)
        for _ in range(20):
            await asyncio.sleep(0.1)
            await door.dial.call("StartInstance", definition_id="d")
        assert len(before) == 1
        assert callers(door.app.port) == before
