"""Cases of test_hosts.py that change names or drop packets, in a namespace of their own: CASE SOCKET PORT FOLDER.

`name`: in a namespace of mounts, where /etc/hosts is its own. `cut`: in one of the network, where packets are dropped.
`SOCKET` is the server's Unix socket, which every namespace of the network reaches.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from road import Road, silent

from windlass.config import settings_from_env
from windlass.errors import Unavailable
from windlass.store.connect import APART_S, SILENCE_MAX_S, Connector
from windlass.store.database import Database

SESSIONS = 4
TIMEOUT_S = 10.0
NO_FILE = Path("/nonexistent/engine.yaml")


async def name_moves(road: Road, port: int, folder: Path) -> None:
    """A name is looked up for every session, and each of its addresses gets a share of the time."""
    names = folder / "hosts"
    names.write_text("127.0.0.1 localhost\n")
    subprocess.run(["mount", "--bind", str(names), "/etc/hosts"], check=True)
    connector = Connector(f"postgresql://postgres@db.test:{port}/postgres?sslmode=disable", None, TIMEOUT_S)

    async def reach(*addresses: str) -> tuple[str, float]:
        names.write_text("".join(f"{address} db.test\n" for address in addresses))
        began = time.monotonic()
        connection = await connector.open()
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        return road.doors[-1], time.monotonic() - began

    async with AsyncExitStack() as stack:
        for address in ("127.0.0.5", "127.0.0.6"):
            stack.enter_context(silent(address, port))
        for address in ("127.0.0.7", "127.0.0.8"):
            await stack.enter_async_context(await asyncio.start_server(road.walk, address, port))
        assert (await reach("127.0.0.7"))[0] == "127.0.0.7"
        assert (await reach("127.0.0.8"))[0] == "127.0.0.8", "it has moved"
        address, took_s = await reach("127.0.0.5", "127.0.0.6", "127.0.0.7")
        assert address == "127.0.0.7"
        assert took_s < 2 * APART_S + 1
        tries = [await reach("127.0.0.6", "127.0.0.5", "127.0.0.7") for _ in range(5)]
        assert sum(took_s for _, took_s in tries) < 5 * APART_S, "the address that was good last comes first"


async def packets_are_dropped(road: Road, port: int) -> None:
    """The kernel tells of silence long before the time-out of a statement does, and then all sessions are replaced."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = settings_from_env(
        {
            "WE_POSTGRES_DSN": f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable",
            "DB_MAX_CONNS": str(SESSIONS),
            "WINDLASS_DATABASE_TIMEOUT_SECONDS": str(TIMEOUT_S),
        },
        NO_FILE,
    )
    database = Database(settings)
    async with await asyncio.start_server(road.walk, "127.0.0.1", port):
        await database.open()
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.2)") for _ in range(SESSIONS)))
        assert database.occupancy()["size"] == SESSIONS
        waiting = asyncio.create_task(database.fetch("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.3)
        for caller in road.callers:
            for one, other in (("--sport", "--dport"), ("--dport", "--sport")):
                rule = ["-p", "tcp", one, str(caller), other, str(port), "-j", "DROP"]
                subprocess.run(["iptables", "-A", "INPUT", *rule], check=True)
        began = time.monotonic()
        try:
            await database.fetch("SELECT 1")
        except Unavailable:
            took_s = time.monotonic() - began
        else:
            raise AssertionError("packets went through")
        assert took_s < SILENCE_MAX_S + 2, took_s
        began = time.monotonic()
        for _ in range(3 * SESSIONS):
            await database.fetch("SELECT 1")
        assert time.monotonic() - began < SILENCE_MAX_S
        # One that waits for an answer sends nothing that could be acknowledged; the kernel asks.
        try:
            await waiting
        except Unavailable:
            assert time.monotonic() - began < TIMEOUT_S - 1
        await database.close()


async def run(case: str, socket_path: str, port: str, folder: str) -> None:
    road = Road(lambda: asyncio.open_unix_connection(socket_path))
    if case == "name":
        await name_moves(road, int(port), Path(folder))
    else:
        await packets_are_dropped(road, int(port))
    await road.close()
    print("done")


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
