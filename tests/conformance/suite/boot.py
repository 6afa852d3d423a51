"""Starting the command under test: on a database of its own, with the variables of contract 7.1 and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import signal
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import grpc
from engine_client import EngineClient
from engine_process import EngineProcess, RunWindlass
from psycopg import conninfo

from patience import eventually
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from suite.doors.grpc import GrpcDoor
from suite.doors.rest import RestDoor

UP_WITHIN_S = 60.0
#: the gRPC port listens by the time /healthz answers, or soon after; an engine without it is measured over REST alone
GRPC_WITHIN_S = 10.0
ENDED_WITHIN_S = 45.0
#: no database is asked for a boot that its configuration refuses
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


class NotUp(Exception):
    """The engine cannot be reached or did not start; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Booted:
    """A process that serves."""

    process: EngineProcess
    rest: RestDoor
    grpc: GrpcDoor | None
    """None when nothing listens there."""
    dsn: str
    """The superuser's, to look into its database."""
    log_path: Path

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send(signal.SIGTERM)
        return await self.process.ended(ENDED_WITHIN_S)


class Boots:
    """`async with`; ends every process it started, and drops its databases with the server."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._server = PostgresServer(folder / "postgres.log")
        self._folder = folder
        self._command = command
        self._ports = Ports()
        self._numbers = itertools.count()
        self._refusals: dict[frozenset[tuple[str, str]], str] = {}
        self._shared: dict[frozenset[tuple[str, str]], Booted] = {}
        self._locks: dict[frozenset[tuple[str, str]], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stack = contextlib.AsyncExitStack()
        self._run: RunWindlass

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._server)
        self._stack.callback(self._ports.close)
        self._run = RunWindlass(self._new_folder(), secret=self._server.secret, command=self._command)
        self._stack.push_async_callback(self._run.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def database(self, *, keywords: bool = False) -> str:
        """The engine role's address of an empty database: a URL, or a libpq keyword string."""
        name = f"c_{secrets.token_hex(6)}"
        await self._server.create_database(name)
        url = self._server.engine_dsn(name)
        return conninfo.make_conninfo(url) if keywords else url

    def superuser(self, dsn: str) -> str:
        return self._server.dsn(str(conninfo.conninfo_to_dict(dsn)["dbname"]))

    async def drop(self, booted: Booted) -> None:
        """The database goes away under a process that serves."""
        await self._server.drop_database(str(conninfo.conninfo_to_dict(booted.dsn)["dbname"]))

    async def start(self, **variables: str) -> EngineProcess:
        """Returns at once; ports are free ones unless told."""
        ports = {
            name: str(self._ports.take())
            for name in ("WE_REST_PORT", "WE_GRPC_PORT", "WE_METRICS_PORT")
            if name not in variables
        }
        try:
            return await self._run(**ports, **variables)
        except OSError as error:
            raise NotUp(f"{self._command[0]} cannot be started: {error.strerror}") from error

    async def serving(self, dsn: str | None = None, **variables: str) -> Booted:
        """Once /healthz answers 200; on an empty database unless told. NotUp when it does not come to that."""
        dsn = dsn or await self.database()
        grpc_port, metrics_port = self._ports.take(), self._ports.take()
        process = await self.start(
            WE_POSTGRES_DSN=dsn, WE_GRPC_PORT=str(grpc_port), WE_METRICS_PORT=str(metrics_port), **variables
        )
        client = await self._stack.enter_async_context(
            EngineClient(process.rest_url, f"http://127.0.0.1:{metrics_port}")
        )
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}")
        self._stack.push_async_callback(channel.close, None)

        async def is_up() -> bool:
            if not process.running:
                raise NotUp(
                    f"the engine ended at its start: {process.stdout[-2000:]}{process.stderr[-2000:]}"
                )
            return await answers(client)

        try:
            await eventually(is_up, within_s=UP_WITHIN_S)
        except AssertionError:
            raise NotUp(f"no /healthz within {UP_WITHIN_S:g} s: {process.stdout[-2000:]}") from None
        door = GrpcDoor(channel) if await listens(channel, GRPC_WITHIN_S) else None
        return Booted(process, RestDoor(client), door, self.superuser(dsn), process.stdout_path)

    async def shared(self, variables: Mapping[str, str]) -> Booted:
        """A process with these variables, the same one for every case that asks: none may stop it."""
        key = frozenset(variables.items())
        async with self._locks[key]:
            if key not in self._shared:
                self._shared[key] = await self.serving(**variables)
            return self._shared[key]

    async def refusal(self, **variables: str) -> str:
        """What a boot with these variables says when it ends, which it must with exit code 1.

        The same variables are tried once: many rows read one answer.
        """
        key = frozenset(variables.items())
        async with self._locks[key]:
            if key not in self._refusals:
                process = await self.start(**variables)
                code = await process.ended(ENDED_WITHIN_S)
                assert code == 1, (
                    f"it ended with {code}, not 1: {process.stdout[-2000:]}{process.stderr[-2000:]}"
                )
                self._refusals[key] = f"{process.stdout}\n{process.stderr}"
            return self._refusals[key]

    def _new_folder(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        return folder


async def answers(client: EngineClient) -> bool:
    """Whether /healthz is answered with 200."""
    try:
        return (await client.get("/healthz")).status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def listens(channel: grpc.aio.Channel, within_s: float) -> bool:
    try:
        await asyncio.wait_for(channel.channel_ready(), within_s)
    except TimeoutError:
        return False
    return True
