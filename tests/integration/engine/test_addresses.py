"""What a DSN may say, against a real server: passwords, parameters, and TLS that the system's trust store checks."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from seatrial.cluster.certificate import Authority, new_authority
from seatrial.cluster.postgres import PostgresServer
from windlass.config import Settings, settings_from_env
from windlass.errors import BootRefused
from windlass.store.database import Database

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO_FILE = Path("/nonexistent/engine.yaml")
ROLE = "with_a_password"
PASSWORDS = (
    "S3]x[cret",
    "c/o \u2105 ?#&=%25",
    "'\"\\:@,;$(x)`",
    "in\nside\tand\x01at the end \n",
    "\u00e9\U0001f511-\xa0-\uff0f",
)


def settings(dsn: str, **env: str) -> Settings:
    return settings_from_env({"WE_POSTGRES_DSN": dsn, "DB_MAX_CONNS": "1", **env}, NO_FILE)


async def asked(found: Settings, question: str = "SELECT current_user AS answer") -> object:
    """The answer in a session of the pool, after one of the sessions apart has given it too."""
    database = Database(found)
    await database.open()
    try:
        session = await database.session("test")
        await session.close(within_s=1.0)
        (row,) = await database.fetch(question)
        return row["answer"]
    finally:
        await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def role(superuser: asyncpg.Connection) -> AsyncIterator[str]:
    await superuser.execute(f"CREATE ROLE {ROLE} LOGIN")
    yield ROLE
    await superuser.execute(f"DROP ROLE {ROLE}")


@pytest.mark.parametrize("password", PASSWORDS)
async def test_every_password_connects_in_each_spelling(
    server: PostgresServer, superuser: asyncpg.Connection, role: str, password: str
) -> None:
    written = await superuser.fetchval(
        "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", role, password
    )
    await superuser.execute(written)
    where, encoded = f"127.0.0.1:{server.port}/postgres", quote(password, safe="")
    in_quotes = password.replace("\\", r"\\").replace("'", r"\'")
    for dsn in (
        f"postgresql://{role}:{encoded}@{where}?pool_max_conn_lifetime=1h",
        f"postgresql://{where}?user={role}&password={encoded}",
        f"host=127.0.0.1 port={server.port} user={role} dbname=postgres password='{in_quotes}'",
    ):
        assert await asked(settings(dsn)) == role
    if password == password.strip():
        with mock.patch.dict(os.environ, PGPASSWORD=password):
            assert await asked(settings(f"postgresql://{role}@{where}", PGPASSWORD=password)) == role
    wrong = f"postgresql://{role}:{encoded}x@{where}"
    with pytest.raises(BootRefused, match="password authentication failed") as refused:
        await asked(settings(wrong))
    assert password not in str(refused.value)
    assert encoded not in str(refused.value)


async def test_the_password_of_the_issue_connects_as_it_stands(
    server: PostgresServer, superuser: asyncpg.Connection, role: str
) -> None:
    """`postgres://u:S3]x[cret@h/db`: refused, with a piece of the password."""
    await superuser.execute(f"ALTER ROLE {role} PASSWORD 'S3]x[cret'")
    assert await asked(settings(f"postgres://{role}:S3]x[cret@127.0.0.1:{server.port}/postgres")) == role


async def test_what_goes_to_the_server_is_in_force(dsn: str) -> None:
    found = settings(f"{dsn}&search_path=orders&options=-c%20work_mem%3D5MB&pgbouncer=true")
    assert await asked(found, "SELECT current_setting('search_path') AS answer") == "orders"
    assert await asked(found, "SELECT current_setting('work_mem') AS answer") == "5MB"


# -- TLS


class TlsInFront:
    """Speaks TLS as PostgreSQL does, which the wheel's server cannot, and hands everything on to it."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._behind, self._context = port, context

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == struct.pack("!ii", 8, 80877103), "the client began without TLS"
        writer.write(b"S")
        try:
            await writer.start_tls(self._context)
            there, to_server = await asyncio.open_connection("127.0.0.1", self._behind)
            await asyncio.gather(_copy(reader, to_server), _copy(there, writer))
        except (ssl.SSLError, ConnectionError):
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def authority() -> Authority:
    return new_authority("public")


@pytest_asyncio.fixture(loop_scope="session")
async def port(server: PostgresServer, authority: Authority, tmp_path: Path) -> AsyncIterator[int]:
    """Of the server behind TLS, with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.write_server(tmp_path / "server.pem", ["localhost"], []))
    front = TlsInFront(server.port, context)
    async with await asyncio.start_server(front.met, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "parameters", ["sslrootcert=system", "sslmode=verify-full", "sslmode=verify-full&sslrootcert=system"]
)
async def test_the_system_s_trust_store_checks_the_server(
    dsn: str, port: int, authority: Authority, tmp_path: Path, parameters: str
) -> None:
    """[Errno 2] No such file or directory: the driver took "system" for a file, and knew no other CA than its own."""
    parts = urlsplit(dsn)
    login = parts.netloc.partition("@")[0]
    dsns = [
        parts._replace(netloc=f"{login}@{host}:{port}", query=parameters).geturl()
        for host in ("localhost", "127.0.0.1")
    ]
    trusts = {"HOME": str(tmp_path), "SSL_CERT_FILE": str(authority.write(tmp_path / "ca.pem"))}
    with mock.patch.dict(os.environ, trusts):
        assert await asked(settings(dsns[0])) == "windlass"
        with pytest.raises(BootRefused, match=r"not valid for '127\.0\.0\.1'"):
            await asked(settings(dsns[1]))
    trusts_another = {**trusts, "SSL_CERT_FILE": str(new_authority("other").write(tmp_path / "other.pem"))}
    with (
        mock.patch.dict(os.environ, trusts_another),
        pytest.raises(BootRefused, match="certificate verify failed"),
    ):
        await asked(settings(dsns[0]))
