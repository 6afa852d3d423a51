"""The exercise of an address in front of the replicas."""

from __future__ import annotations

import random
from pathlib import Path

import aiohttp
import pytest

from exercise_looks import OTHER, REPLICA
from seatrial.client import RecordingClient
from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import Kill, Service
from seatrial.history import Recorder


async def service(ability: Service, cluster: Cluster, folder: Path) -> None:
    """A connection stays where it is; a new one goes to who is there then."""
    with pytest.raises(ClusterError, match="open it first"):
        ability.lead_to(REPLICA)
    entrance = await ability.open(REPLICA)
    with pytest.raises(ClusterError, match="already"):
        await ability.open(REPLICA)
    processes = cluster.ability(Kill)
    async with aiohttp.ClientSession() as kept, aiohttp.ClientSession() as fresh:

        async def name_at(session: aiohttp.ClientSession) -> str:
            async with session.get(f"{entrance.rest_url}/health") as answer:
                return str((await answer.json())["nodeName"])

        first = await name_at(kept)
        ability.lead_to(OTHER)
        assert await name_at(kept) == first
        second = await name_at(fresh)
        assert second != first
        ability.lead_to(REPLICA, OTHER)
        turns = []
        for _ in range(4):
            async with aiohttp.ClientSession() as session:
                turns.append(await name_at(session))
        assert turns == [first, second, first, second]
    recorder = Recorder(folder)
    async with RecordingClient(
        "client-0", [entrance], recorder, random.Random(1), transports=("grpc",)
    ) as client:
        assert (await client.list_instances()).ok
    recorder.close()
    await processes.stop(REPLICA)
    ability.lead_to(OTHER)
    async with aiohttp.ClientSession() as session:
        assert await name_at(session) == second
    await processes.start(REPLICA)
