"""A DSN of several hosts, a name that moves, and sessions whose other side has gone without a word."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from nodes import END, Boot, Running, service
from road import Road, silent

from seatrial.cluster.postgres import PostgresServer
from windlass.errors import BootRefused, Unavailable
from windlass.store.connect import APART_S, Connector, NoHostTaken

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_A_NAMESPACE = Path(__file__).with_name("hosts_in_namespace.py")
needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "mount", "ip", "iptables"))),
    reason="needs root, unshare, mount, ip and iptables for a namespace of its own",
)


class Standby:
    def __init__(self, server: PostgresServer, primary: PostgresServer) -> None:
        self.port = server.port
        self._hosts = (f"127.0.0.1:{server.port}", f"127.0.0.1:{primary.port}")
        self._login = f"postgresql://windlass:{primary.secret}@"

    def dsn(self, *, first: bool, attribute: str = "") -> str:
        """Of both servers, this one first or last."""
        hosts = ",".join(self._hosts if first else reversed(self._hosts))
        query = f"&target_session_attrs={attribute}" if attribute else ""
        return f"{self._login}{hosts}/postgres?sslmode=disable{query}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def standby(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Standby]:
    """One that follows nobody."""
    async with PostgresServer(tmp_path_factory.mktemp("standby") / "postgres.log") as it:
        connection = await asyncpg.connect(it.dsn())
        await connection.execute(f"ALTER ROLE windlass PASSWORD '{server.secret}'")
        await connection.close()
        await it.stop()
        (it.folders[0] / "data/standby.signal").touch()
        await it.start()
        yield Standby(it, server)


async def port_of(connector: Connector) -> int:
    connection = await connector.open()
    port: int = await connection.fetchval("SELECT inet_server_port()")
    await connection.close()
    return port


# -- several hosts


@pytest.mark.parametrize("form", ["url", "keywords"])
async def test_a_first_host_that_drops_packets_leaves_the_time_to_the_second(
    boot: Boot, server: PostgresServer, dsn: str, form: str
) -> None:
    """It took the whole time-out, and the second was never tried."""
    database = urlsplit(dsn).path.removeprefix("/")
    with silent() as port:
        two = f"postgresql://windlass:{server.secret}@127.0.0.1:{port},127.0.0.1:{server.port}/{database}?sslmode=disable"
        if form == "keywords":
            two = (
                f"host=127.0.0.1,127.0.0.1 port={port},{server.port} user=windlass password={server.secret} "
                f"dbname={database} sslmode=disable"
            )
        began = time.monotonic()
        one = await boot(WE_POSTGRES_DSN=two, WINDLASS_DATABASE_TIMEOUT_SECONDS="4")
        assert time.monotonic() - began < 4
        await one.define(service("a", "end"), END)
        began = time.monotonic()
        for _ in range(6):
            await one.database.renew_sessions()
            await one.start()
        assert time.monotonic() - began < 6 * APART_S, "the host that was good last comes first"


@pytest.mark.parametrize(
    ("attribute", "is_on_standby"),
    [
        ("", False),
        ("read-write", False),
        ("primary", False),
        ("any", True),
        ("standby", True),
        ("read-only", True),
        ("prefer-standby", True),
    ],
)
async def test_the_host_is_the_one_that_target_session_attrs_asks_for(
    standby: Standby, server: PostgresServer, attribute: str, is_on_standby: bool
) -> None:
    wanted = standby.port if is_on_standby else server.port
    assert await port_of(Connector(standby.dsn(first=True, attribute=attribute), None, 5)) == wanted
    last = Connector(standby.dsn(first=False, attribute=attribute), None, 5)
    assert await port_of(last) == (server.port if attribute == "any" else wanted)


async def test_a_standby_is_preferred_but_not_insisted_on(server: PostgresServer) -> None:
    both = f"127.0.0.1:{server.port},127.0.0.1:{server.port}"
    url = f"postgresql://windlass:{server.secret}@{both}/postgres?sslmode=disable&target_session_attrs="
    assert await port_of(Connector(f"{url}prefer-standby", None, 5)) == server.port
    with pytest.raises(NoHostTaken, match="is not standby, and target_session_attrs is standby"):
        await Connector(f"{url}standby", None, 5).open()


async def test_an_error_says_for_each_host_what_happened(
    boot: Boot, standby: Standby, server: PostgresServer
) -> None:
    with silent() as port, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = closed.getsockname()[1]
        hosts = f"127.0.0.1:{refusing},127.0.0.1:{port},127.0.0.1:{standby.port}"
        with pytest.raises(BootRefused) as refused:
            await boot(
                WE_POSTGRES_DSN=f"postgresql://windlass:{server.secret}@{hosts}/postgres?sslmode=disable",
                WINDLASS_DATABASE_TIMEOUT_SECONDS="2",
            )
    text = str(refused.value)
    assert f"127.0.0.1:{refusing}: ConnectionRefusedError" in text
    assert f"127.0.0.1:{port}: TimeoutError: no answer in 1.8 s" in text
    assert f"127.0.0.1:{standby.port}: TargetServerAttributeNotMatched: takes no writes" in text
    assert server.secret not in text


# -- sessions whose other side has gone


@pytest_asyncio.fixture(loop_scope="session")
async def road(server: PostgresServer) -> AsyncIterator[Road]:
    it = Road(lambda: asyncio.open_connection("127.0.0.1", server.port))
    yield it
    await it.close()


async def fill(one: Running) -> int:
    """Opens all sessions of the pool."""
    await asyncio.gather(*(one.rows("SELECT pg_sleep(0.2)") for _ in range(12)))
    return one.database.occupancy()["size"]


async def test_only_one_caller_waits_for_sessions_that_have_died_in_silence(
    boot: Boot, server: PostgresServer, dsn: str, road: Road
) -> None:
    """Each session cost one caller the whole time-out."""
    database = urlsplit(dsn).path.removeprefix("/")
    async with await asyncio.start_server(road.walk, "127.0.0.1") as listener:
        one = await boot(
            WE_POSTGRES_DSN=server.engine_dsn(database, listener.sockets[0].getsockname()[1]),
            WINDLASS_DATABASE_TIMEOUT_SECONDS="1.5",
            WINDLASS_WAKE_MODE="polling",
            **dict.fromkeys(
                (
                    "WINDLASS_NODE_HEARTBEAT_SECONDS",
                    "WINDLASS_LEASE_SWEEP_SECONDS",
                    "WINDLASS_TIMER_SWEEP_SECONDS",
                ),
                "60",
            ),
        )
        assert await fill(one) == 6
        await road.fall_silent()
        with pytest.raises(Unavailable, match="unreachable"):
            await one.rows("SELECT 1")
        began = time.monotonic()
        for _ in range(8):
            await one.rows("SELECT 1")
        assert time.monotonic() - began < 1.5

        # A command may be tried again, but not on a session like the first.
        await one.define(service("a", "end"), END)
        assert await fill(one) == 6
        await road.fall_silent()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="unreachable"):
            await one.start()
        assert time.monotonic() - began < 2.5
        await asyncio.gather(*(one.start() for _ in range(20)))
        assert time.monotonic() - began < 3.5


@needs_namespaces
@pytest.mark.parametrize("case", ["name", "cut"])
async def test_in_a_namespace(server: PostgresServer, tmp_path: Path, case: str) -> None:
    """What only root can do to names and packets, and only to those of a namespace of its own."""
    socket_path = server.folders[-1] / f".s.PGSQL.{server.port}"
    kinds = ["--mount", "--net"] if case == "cut" else ["--mount"]
    words = [sys.executable, str(IN_A_NAMESPACE), case, str(socket_path), str(server.port), str(tmp_path)]
    child = await asyncio.create_subprocess_exec(
        "unshare", *kinds, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, out.decode()) == (0, "done\n")
