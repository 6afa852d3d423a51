"""Nodes that wake each other by Redis, or not at all, with a real server of each kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from kafka_case import logged, sample
from nodes import END, Boot, Running, service

from patience import eventually
from seatrial.cluster.certificate import new_authority
from seatrial.cluster.pgbouncer import NEED as POOLER_NEED
from seatrial.cluster.pgbouncer import PgBouncer, find_pgbouncer
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.redis import NEED, RedisServer, find_redis
from windlass.store.notifications import bus_channel

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(find_redis() is None, reason=NEED),
]

PASSWORD = "s3cret-of-redis"
#: Nothing but a hint of the other node makes a poll look again.
ONLY_HINTS = {"WINDLASS_WAKE_MODE": "event_driven", "WINDLASS_EMPTY_POLL_MEMORY_SECONDS": "60"}
#: What another node has made is found by looking alone.
LOOKS_S = 0.5

StartRedis = Callable[..., Awaitable[RedisServer]]


@pytest_asyncio.fixture(loop_scope="session")
async def start_redis(tmp_path: Path) -> AsyncIterator[StartRedis]:
    """Servers of this test's own; all are gone at its end."""
    async with AsyncExitStack() as stack:
        count = 0

        async def one(**options: Any) -> RedisServer:
            nonlocal count
            count += 1
            return await stack.enter_async_context(RedisServer(tmp_path / f"redis-{count}.log", **options))

        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def redis(start_redis: StartRedis) -> RedisServer:
    return await start_redis(password=PASSWORD)


def by_redis(url: str, **more: str) -> dict[str, str]:
    return {"WINDLASS_WAKE_BUS": "redis", "WINDLASS_REDIS_URL": url, **more}


async def hears(*nodes: Running, is_so: bool = True) -> None:
    await eventually(lambda: all(node.node.wake_ups.is_listening is is_so for node in nodes))


async def degraded(node: Running) -> Sequence[str]:
    node.engine._readiness = None
    found = await node.engine.readiness()
    assert found.ready, found.reasons
    return found.degraded


async def picked_up_s(one: Running, other: Running, id_: str = "d") -> float:
    """How long a poll that waits on one node takes to get what is started on the other."""
    await one.node.heartbeat.beat()
    waiting = asyncio.create_task(other.poll("do-a", wait_s=20))
    await asyncio.sleep(0.3)
    began_s = time.monotonic()
    await one.start(id_)
    (job,) = await asyncio.wait_for(waiting, 15)
    took_s = time.monotonic() - began_s
    await other.complete(job)
    return took_s


async def two(boot: Boot, variables: Mapping[str, str]) -> tuple[Running, Running]:
    one, other = await boot(**variables), await boot(**variables)
    await one.define(service("a", "end"), END)
    return one, other


# -- one server


async def test_a_poll_on_one_node_is_woken_by_a_start_on_another(boot: Boot, redis: RedisServer) -> None:
    one, other = await two(boot, by_redis(redis.url(), **ONLY_HINTS))
    await hears(one, other)
    for _ in range(3):
        assert await picked_up_s(one, other) < 5
        assert await picked_up_s(other, one) < 5
    assert await degraded(one) == ()
    wake = one.engine.details()["wake"]
    assert wake == {
        "mode": "event_driven", "bus": "redis", "listening": True, "degraded": False, "alone": False,
    }  # fmt: skip
    assert sample(one, 'windlass_wake_bus{bus="redis"}') == 1
    assert sample(one, 'windlass_wake_bus{bus="postgres"}') == 0
    assert sample(one, "windlass_wake_degraded") == 0


async def test_it_is_known_there_by_the_nodes_name_and_takes_no_session_of_the_database(
    boot: Boot, redis: RedisServer
) -> None:
    one = await boot(**by_redis(redis.url(), WINDLASS_NODE_NAME="pod 7"))
    await hears(one)
    assert str(await redis.ask("CLIENT", "LIST")).count(" name=pod_7 ") == 2
    assert await one.rows("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '%/wake'") == []


async def test_starts_in_a_row_are_told_together(boot: Boot, redis: RedisServer) -> None:
    one, other = await two(boot, by_redis(redis.url()))
    await hears(one, other)
    await one.node.heartbeat.beat()

    async def published() -> int:
        stats = str(await redis.ask("INFO", "commandstats"))
        line = next((each for each in stats.split() if each.startswith("cmdstat_publish:")), "calls=0,")
        return int(line.partition("calls=")[2].partition(",")[0])

    before = await published()
    await asyncio.gather(*(one.start() for _ in range(300)))
    await asyncio.sleep(0.1)
    assert 1 <= await published() - before < 100


async def test_another_installation_on_the_same_server_is_not_woken(
    boot: Boot, redis: RedisServer, server: PostgresServer
) -> None:
    await server.create_database("bus_elsewhere")
    variables = by_redis(redis.url())
    one = await boot(**variables)
    stranger = await boot(**variables, WE_POSTGRES_DSN=server.engine_dsn("bus_elsewhere"))
    third = await boot(**variables, WINDLASS_SCHEMA="public")
    channels = [await bus_channel(node.database) for node in (one, stranger, third)]
    assert channels[0] == channels[2] != channels[1]
    await hears(one, stranger, third)
    assert await redis.ask("PUBSUB", "NUMSUB", *channels[:2]) == [channels[0], 2, channels[1], 1]


# -- away


async def test_a_server_that_is_away_makes_pickup_slower_and_nothing_else(
    boot: Boot, redis: RedisServer
) -> None:
    """Also in the mode that relies on hints: while none can come, it looks."""
    one, other = await two(boot, by_redis(redis.url(), **ONLY_HINTS))
    await hears(one, other)
    await redis.kill()
    await hears(one, other, is_so=False)
    assert await picked_up_s(one, other) < LOOKS_S + 1
    (reason,) = await degraded(other)
    assert reason.startswith(f"the wake bus redis cannot be used: 127.0.0.1:{redis.port}: ")
    assert reason.endswith("; jobs of other nodes are found by polling every 0.5 s")
    assert sample(other, "windlass_wake_degraded") == 1
    assert other.engine.details()["wake"]["degraded"] is True  # type: ignore[index]
    began_s = time.monotonic()
    await redis.start()
    await hears(one, other)
    assert time.monotonic() - began_s < 4
    assert await picked_up_s(one, other) < 5
    assert await degraded(other) == ()
    assert sample(other, "windlass_wake_degraded") == 0
    assert len(logged(other, "wake: degraded to polling")) == 1
    assert len(logged(other, "wake: notifications restored")) == 1


async def test_boot_does_not_wait_for_it_and_a_job_made_meanwhile_is_found_when_it_comes(
    boot: Boot, start_redis: StartRedis
) -> None:
    redis = await start_redis()
    await redis.stop()
    began_s = time.monotonic()
    one, other = await two(boot, by_redis(redis.url(), **ONLY_HINTS))
    assert time.monotonic() - began_s < 10
    await hears(one, other, is_so=False)
    await one.start()
    waiting = asyncio.create_task(other.poll("do-a", wait_s=20))
    await redis.start()
    assert len(await asyncio.wait_for(waiting, 10)) == 1


async def test_a_connection_that_falls_silent_is_noticed(boot: Boot, redis: RedisServer) -> None:
    ports = Ports()
    proxy = Proxy(ports.take(), redis.port)
    await proxy.open()
    try:
        one = await boot(**by_redis(redis.url(proxy.port)))
        await hears(one)
        await proxy.cut("blackhole")
        await hears(one, is_so=False)
        await proxy.mend()
        await hears(one)
    finally:
        await proxy.close()
        ports.close()


async def test_a_subscription_alone_that_has_ended_is_noticed(boot: Boot, redis: RedisServer) -> None:
    one = await boot(**by_redis(redis.url()))
    await hears(one)
    await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: logged(one, "wake: notifications restored"))
    assert "closed" in logged(one, "wake: degraded to polling")[0]["err"]


# -- who may


async def test_a_wrong_password_degrades_and_is_never_shown(boot: Boot, redis: RedisServer) -> None:
    url = redis.url().replace(PASSWORD, "wr0ng-password")
    one = await boot(**by_redis(url))
    (reason,) = await eventually(lambda: degraded(one))
    assert "check the user and the password of WINDLASS_REDIS_URL" in reason
    without = await boot(**by_redis(f"redis://127.0.0.1:{redis.port}"))
    (reason,) = await eventually(lambda: degraded(without))
    assert "check the user and the password of WINDLASS_REDIS_URL" in reason
    for node in (one, without):
        assert "wr0ng" not in str(node.log_lines()) + reason
        assert node.node.metrics.exposition().count(b"wr0ng") == 0


async def test_the_password_may_come_by_itself_and_a_user_may_only_publish_and_subscribe(
    boot: Boot, redis: RedisServer
) -> None:
    rights = ("resetchannels", "-@all", "+publish", "+subscribe", "&windlass:*")
    await redis.ask("ACL", "SETUSER", "windlass", "on", ">other p@ss/word", *rights)
    url = f"redis://windlass@127.0.0.1:{redis.port}/3"
    one, other = await two(boot, by_redis(url, WINDLASS_REDIS_PASSWORD="other p@ss/word", **ONLY_HINTS))
    await hears(one, other)
    assert await picked_up_s(one, other) < 5
    await redis.ask("ACL", "SETUSER", "windlass", "resetchannels", "&elsewhere")
    told = "NoPermissionError: this user has no permissions to access one of the channels used as arguments; allow the "
    told += "user +publish and +subscribe on the channels windlass:*"
    await eventually(lambda: told.lower() in one.node.wake_ups.trouble.lower())


async def test_with_tls_the_servers_certificate_is_checked(
    boot: Boot, start_redis: StartRedis, tmp_path: Path
) -> None:
    ports = Ports()
    authority, stranger = new_authority("redis"), new_authority("stranger")
    pem = str(authority.write_server(tmp_path / "server.pem", ["localhost"], ["127.0.0.1"]))
    port = ports.take()
    files = {
        "tls-cert-file": pem,
        "tls-key-file": pem,
        "tls-ca-cert-file": str(authority.write(tmp_path / "ca.pem")),
    }
    await start_redis(password=PASSWORD, settings={"tls-port": str(port), "tls-auth-clients": "no", **files})
    url = f"rediss://:{PASSWORD}@127.0.0.1:{port}"
    trusted = {"WINDLASS_REDIS_TLS_CA_PATH": files["tls-ca-cert-file"]}
    one, other = await two(boot, by_redis(url, **trusted, **ONLY_HINTS))
    await hears(one, other)
    assert await picked_up_s(one, other) < 5
    wrong = {"WINDLASS_REDIS_TLS_CA_PATH": str(stranger.write(tmp_path / "stranger.pem"))}
    for variables in (by_redis(url, **wrong), by_redis(url), by_redis(url.replace("rediss", "redis"))):
        refused = await boot(**variables)
        (reason,) = await eventually(lambda node=refused: degraded(node))  # type: ignore[misc]
        assert PASSWORD not in reason
        if variables["WINDLASS_REDIS_URL"].startswith("rediss"):
            assert "check WINDLASS_REDIS_TLS_CA_PATH and the names in the server's certificate" in reason
    ports.close()


# -- several servers


async def test_the_master_that_sentinels_tell_is_followed(boot: Boot, start_redis: StartRedis) -> None:
    secured = {"masterauth": PASSWORD}
    first = await start_redis(password=PASSWORD, settings=secured)
    second = await start_redis(
        password=PASSWORD, settings={**secured, "replicaof": f"127.0.0.1 {first.port}"}
    )
    watched = {
        "sentinel monitor": f"main 127.0.0.1 {first.port} 1",
        "sentinel auth-pass": f"main {PASSWORD}",
        "sentinel down-after-milliseconds": "main 500",
        "sentinel failover-timeout": "main 3000",
    }
    open_one = await start_redis(sentinel=True, settings=watched)
    await eventually(lambda: _replicas(open_one, 1))
    closed_one = await start_redis(sentinel=True, password=PASSWORD)
    hosts = f"127.0.0.1:1,127.0.0.1:{closed_one.port},127.0.0.1:{open_one.port}"
    one, other = await two(boot, by_redis(f"redis+sentinel://:{PASSWORD}@{hosts}/main", **ONLY_HINTS))
    await hears(one, other)
    assert await picked_up_s(one, other) < 5
    await first.kill()
    await hears(one, other, is_so=False)
    await hears(one, other)
    assert "role:master" in await second.ask("INFO", "replication")
    assert await picked_up_s(one, other) < 5
    unknown = await boot(**by_redis(f"redis+sentinel://:{PASSWORD}@127.0.0.1:{open_one.port}/other"))
    (reason,) = await eventually(lambda: degraded(unknown))
    assert "knows no master 'other'; name it as Sentinel does" in reason


async def _replicas(sentinel: RedisServer, count: int) -> bool:
    found = await sentinel.ask("SENTINEL", "REPLICAS", "main")
    return len(found) == count


async def test_a_master_that_was_replaced_while_it_answers_is_left(
    boot: Boot, start_redis: StartRedis
) -> None:
    first, second = await start_redis(), await start_redis()
    sentinel = await start_redis(
        sentinel=True, settings={"sentinel monitor": f"main 127.0.0.1 {first.port} 1"}
    )
    one = await boot(**by_redis(f"redis+sentinel://127.0.0.1:{sentinel.port}/main"))
    await hears(one)
    await sentinel.ask("SENTINEL", "REMOVE", "main")
    await sentinel.ask("SENTINEL", "MONITOR", "main", "127.0.0.1", str(second.port), "1")
    await eventually(lambda: logged(one, "wake: notifications restored"))
    assert (
        logged(one, "wake: degraded to polling")[0]["err"]
        == f"127.0.0.1:{first.port} is no longer the master"
    )
    assert str(await second.ask("CLIENT", "LIST")).count(" name=node-1 ") == 2


async def test_nodes_that_are_connected_to_different_servers_of_a_cluster_hear_each_other(
    boot: Boot, start_redis: StartRedis
) -> None:
    ports = Ports()
    members = [
        await start_redis(settings={"cluster-enabled": "yes", "cluster-port": str(ports.take())})
        for _ in range(3)
    ]
    bus_ports = [server._settings["cluster-port"] for server in members]
    for server, slots in zip(members, (("0", "5460"), ("5461", "10922"), ("10923", "16383")), strict=True):
        await server.ask("CLUSTER", "ADDSLOTSRANGE", *slots)
    for server, bus_port in zip(members[1:], bus_ports[1:], strict=True):
        await members[0].ask("CLUSTER", "MEET", "127.0.0.1", str(server.port), bus_port)
    for server in members:

        async def is_whole(server: RedisServer = server) -> bool:
            return "cluster_state:ok" in await server.ask("CLUSTER", "INFO")

        await eventually(is_whole)
    one = await boot(**by_redis(f"redis+cluster://127.0.0.1:{members[0].port},127.0.0.1:1", **ONLY_HINTS))
    other = await boot(**by_redis(f"redis+cluster://127.0.0.1:{members[1].port}", **ONLY_HINTS))
    await one.define(service("a", "end"), END)
    await hears(one, other)
    assert await picked_up_s(one, other) < 5
    assert await picked_up_s(other, one) < 5
    ports.close()


# -- without


async def test_without_a_bus_each_node_polls_and_is_not_degraded(boot: Boot) -> None:
    one, other = await two(boot, {"WINDLASS_WAKE_BUS": "none"})
    took_s = [await picked_up_s(one, other) for _ in range(3)]
    assert max(took_s) < LOOKS_S + 1
    assert await degraded(one) == ()
    assert sample(one, "windlass_wake_degraded") == 0
    assert sample(one, 'windlass_wake_bus{bus="none"}') == 1
    assert await one.rows("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '%/wake'") == []
    # Its own polls are woken as ever.
    assert await picked_up_s(one, one) < LOOKS_S


# -- behind a pooler


@pytest_asyncio.fixture(loop_scope="session")
async def pooler(server: PostgresServer, tmp_path: Path) -> AsyncIterator[PgBouncer]:
    async with PgBouncer(server, tmp_path / "pooler.log", pool_mode="transaction") as running:
        yield running


@pytest.mark.skipif(find_pgbouncer() is None, reason=POOLER_NEED)
async def test_behind_a_pooler_in_transaction_mode_it_wakes_without_listen(
    pooler: PgBouncer, redis: RedisServer, boot: Boot, dsn: str
) -> None:
    pooled = {"WE_POSTGRES_DSN": pooler.engine_dsn(urlsplit(dsn).path.removeprefix("/"))}
    one, other = await two(
        boot, by_redis(redis.url(), **pooled, WINDLASS_FALLBACK_POLL_SECONDS="60", **ONLY_HINTS)
    )
    await hears(one, other)
    assert one.engine.details()["database"] == {"way": "transaction pooler", "sessions": False}
    assert max([await picked_up_s(one, other) for _ in range(5)]) < 2
    assert await degraded(one) == ()
