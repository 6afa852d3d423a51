"""Engines that nobody has given a name, on one host."""

from __future__ import annotations

import asyncio
import time

import pytest
from engine_process import RunWindlass
from workflow import END, service

from patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT_S = 20


async def test_two_engines_without_a_name_are_two_nodes_and_wake_each_other(
    windlass: RunWindlass, dsn: str
) -> None:
    nodes = [
        await windlass.serving(
            WE_POSTGRES_DSN=dsn, WINDLASS_WAKE_MODE="event_driven", WINDLASS_NODE_HEARTBEAT_SECONDS="1"
        )
        for _ in range(2)
    ]
    (_, here), (_, there) = nodes

    async def both_count_two() -> bool:
        found = [(await engine.get("/cluster/info")).json for engine in (here, there)]
        return all(each["alive"] == 2 for each in found) and found[0]["node"] != found[1]["node"]

    await eventually(both_count_two)
    workflow = await here.define(service("a"), END)
    body = {"workerId": "w", "jobTypes": [workflow.job_type("a")], "maxJobs": 1, "waitMs": WAIT_S * 1000}
    waiting = asyncio.create_task(there.post("/v1/jobs/poll", body))

    async def parked() -> bool:
        return bool((await there.get("/health/detailed")).json["polls"]["waiting"])

    await eventually(parked)
    began = time.monotonic()
    await workflow.start()
    assert len((await waiting).json["jobs"]) == 1
    assert time.monotonic() - began < WAIT_S / 4
