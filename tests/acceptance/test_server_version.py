"""The server's version: refused when it is too old, warned of when it is newer than those tried, shown in any case.
And the database's encoding, refused when it cannot hold every text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from engine_process import RunWindlass

from lesser_role import database_of, execute
from seatrial.cluster.postgres import PostgresServer
from windlass.store.server import TRIED

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SAID = re.compile(rb"S(.{4})server_version\x00[^\x00]*\x00", re.DOTALL)


@asynccontextmanager
async def saying(version: str, port: int) -> AsyncIterator[int]:
    """A way to the server at `port` on which it says that it has another version; yields its port."""
    word = b"server_version\x00" + version.encode() + b"\x00"
    told = b"S" + (len(word) + 4).to_bytes(4, "big") + word

    open_ones: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What the server says of itself arrives in one piece with the end of the login.
        while chunk := await reader.read(65536):
            writer.write(_SAID.sub(lambda _: told, chunk))
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(copy(reader, to_there), copy(there, writer), return_exceptions=True)
        finally:
            writer.close()
            to_there.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(asyncio.create_task(join(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in open_ones:
            each.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


@pytest.mark.parametrize("command", ["serve", "migrate"])
@pytest.mark.parametrize("version", ["14.22", "9.6.24", "13.0.0"])
async def test_an_older_server_is_refused_by_its_version(
    windlass: RunWindlass, server: PostgresServer, dsn: str, command: str, version: str
) -> None:
    async with saying(version, server.port) as port:
        process = await windlass(command, WE_POSTGRES_DSN=dsn.replace(f":{server.port}/", f":{port}/"))
        text = await process.refused_to_boot()
    assert f"is PostgreSQL {version}; Windlass needs {TRIED[0]} or newer: upgrade" in text
    assert server.secret not in text


async def test_a_newer_server_is_used_with_a_warning(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    async with saying("99beta1", server.port) as port:
        process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn.replace(f":{server.port}/", f":{port}/"))
        (line,) = [each for each in process.log(msg="config: warning") if "PostgreSQL" in each["warning"]]
        assert f"PostgreSQL 99beta1; this release was tried on {TRIED[0]} to {TRIED[-1]}" in line["warning"]
        assert (await engine.get("/health/detailed")).json["postgresVersion"] == "99beta1"


async def test_a_tried_server_is_shown_without_a_word(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    shown = (await engine.get("/health/detailed")).json["postgresVersion"]
    assert int(shown.split(".")[0]) in TRIED
    assert not [each for each in process.log(msg="config: warning") if "PostgreSQL" in each["warning"]]


@pytest.mark.parametrize("command", ["serve", "migrate"])
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_a_database_of_another_encoding_is_refused(
    windlass: RunWindlass, server: PostgresServer, dsn: str, command: str, encoding: str
) -> None:
    name = f"{database_of(dsn)}_other"
    await execute(
        server,
        dsn,
        f"CREATE DATABASE {name} OWNER windlass ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
    )
    try:
        process = await windlass(command, WE_POSTGRES_DSN=server.engine_dsn(name))
        text = await process.refused_to_boot()
    finally:
        await server.drop_database(name)
    assert f"has the encoding {encoding}, which cannot hold every text" in text
    assert server.secret not in text
