"""Contract 1.2: callers of a database that takes no writes are told so, long before they give up themselves."""

from __future__ import annotations

import time

import pytest
from engine_on_trial import rows
from engine_process import RunWindlass
from workflow import END, service

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOLD_WITHIN_S = 5.0


async def test_a_start_is_refused_within_seconds(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    """The time for a database that is away is as long as by default, 10 s."""
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(service("a"), END)
    database = dsn.partition("?")[0].rpartition("/")[2]
    await rows(server.dsn(), f"ALTER DATABASE {database} SET default_transaction_read_only = on")

    async def is_unready() -> bool:
        return (await engine.get("/ready")).status == 503

    await eventually(is_unready)
    began_s = time.monotonic()
    answer = await engine.post("/v1/instances", {"definitionId": workflow.id})
    answer.refused(503, "unavailable")
    assert "takes no writes" in answer.json["reason"]
    assert time.monotonic() - began_s < TOLD_WITHIN_S
