"""What the exercises of abilities look at, to see that something was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import psycopg
import pytest

from seatrial.cluster import Cluster, Replica
from seatrial.cluster.ability import Sockets
from seatrial.cluster.broker import Broker
from seatrial.cluster.trust import trust_of
from seatrial.cluster.values import engine_variables
from seatrial.deadline import until
from seatrial.fault.liveness import silence

REPLICA, OTHER = "replica-0", "replica-1"
POLLING = {"engine": {"dispatchMode": "polling"}}
_BODY_BYTES_MAX = 1024
SMALL_BODIES = engine_variables(WINDLASS_BODY_BYTES_MAX=_BODY_BYTES_MAX)
WITHIN_S = 60.0
_EVERY_S = 0.1


def of(cluster: Cluster, name: str) -> Replica:
    return next(replica for replica in cluster.replicas() if replica.name == name)


async def answers(cluster: Cluster, name: str, path: str, within_s: float = 1.0) -> bool:
    """With 200; on a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=within_s)
    url = of(cluster, name).rest_url + path
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers={"Connection": "close"}, ssl=trust_of(of(cluster, name))) as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def refuses_large_bodies(cluster: Cluster, name: str) -> bool:
    """As an engine with SMALL_BODIES does, before it reads what is in them."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            of(cluster, name).rest_url + "/v1/definitions", data=b" " * 2 * _BODY_BYTES_MAX
        ) as answer,
    ):
        return answer.status == 413


async def hears_others(cluster: Cluster, name: str) -> bool:
    """Whether the engine says that it hears what the others tell."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(of(cluster, name).rest_url + "/health/detailed") as answer,
    ):
        return bool((await answer.json())["wake"]["listening"])


async def is_ready(cluster: Cluster, name: str) -> None:
    await eventually(lambda: answers(cluster, name, "/ready"), f"{name} is ready")


async def is_not_ready(cluster: Cluster, name: str) -> bool:
    return not await answers(cluster, name, "/ready", 5.0)


async def is_silent(cluster: Cluster, name: str) -> None:
    """Raises FaultHadNoEffect when it goes on answering."""
    await silence(cluster, name, "the exercise", answer_within_s=0.5)


async def eventually(probe: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    await until(
        probe, within_s=WITHIN_S, every_s=_EVERY_S, otherwise=lambda: AssertionError(f"not in time: {what}")
    )


async def reaches_broker(cluster: Cluster, name: str, *, is_so: bool = True) -> None:
    """Or has no connection to it any more."""
    sockets = cluster.ability(Sockets)
    values = cluster.ability(Broker).engine_values(secured=False)
    port = str(values["kafka"]["seedBrokers"]).rpartition(":")[2]

    async def is_as_asked() -> bool:
        peers = await sockets.peers(name)
        return any(peer.endswith(f":{port}") for peer in peers) is is_so

    await eventually(is_as_asked, f"{name} {'is' if is_so else 'is not'} connected to the broker")


async def rows(dsn: str, query: Any) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        cursor = await connection.execute(query)
        return await cursor.fetchall() if cursor.description else []


async def is_down(dsn: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        await rows(dsn, "SELECT 1")
