"""A role that may log in and nothing else, in a database whose defaults give nothing away."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from seatrial.cluster.postgres import PostgresServer


class Role(NamedTuple):
    name: str
    dsn: str


def database_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


async def execute(server: PostgresServer, dsn: str, *statements: str) -> None:
    """As the superuser, in the database of that DSN."""
    async with await psycopg.AsyncConnection.connect(
        server.dsn(database_of(dsn)), autocommit=True
    ) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


@asynccontextmanager
async def lesser_role(server: PostgresServer, dsn: str, name: str = "") -> AsyncIterator[Role]:
    """What everybody has by default, CONNECT, TEMP and the use of schema public, is taken away first."""
    name, password = name or f"u_{secrets.token_hex(6)}", secrets.token_urlsafe(12)
    role = sql.Identifier(name).as_string()
    where = sql.Identifier(database_of(dsn)).as_string()
    await execute(
        server,
        dsn,
        f"REVOKE ALL ON DATABASE {where} FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"CREATE ROLE {role} LOGIN PASSWORD '{password}'",
    )
    login = f"{quote(name, safe='')}:{password}"
    try:
        yield Role(name, f"postgresql://{login}@127.0.0.1:{server.port}/{database_of(dsn)}?sslmode=disable")
    finally:
        await execute(server, dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
