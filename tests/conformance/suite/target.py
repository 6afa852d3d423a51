"""The engine that is measured: one that runs already, or a command that is started here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from engine_client import EngineClient
from engine_on_trial import QUICK

from suite.boot import GRPC_WITHIN_S, Boots, NotUp, answers, listens
from suite.case import Case, Need, Transport
from suite.doors.grpc import GrpcDoor
from suite.doors.rest import RestDoor


@dataclass(frozen=True, slots=True)
class Target:
    rest: RestDoor | None = None
    grpc: GrpcDoor | None = None
    metrics: bool = False
    dsn: str | None = None
    log_path: Path | None = None
    boots: Boots | None = None

    def lacks(self, case: Case, transport: Transport) -> str:
        """Why the case cannot be tried here, "" when it can."""
        doors: Mapping[Transport, object] = {Transport.REST: self.rest, Transport.GRPC: self.grpc}
        means: Mapping[Need, tuple[object, str]] = {
            Need.REST: (self.rest, "no rest door: no --rest address was given"),
            Need.METRICS: (self.rest and self.metrics, "no --metrics address was given"),
            Need.DATABASE: (self.dsn, "no database address was given (CONFORMANCE_POSTGRES_DSN)"),
            Need.LOG: (self.log_path, "no --log file was given"),
            Need.BOOT: (
                self.boots,
                "an engine that is already running is not restarted; use --engine-command",
            ),
        }
        if doors[transport] is None:
            return f"no {transport} door: no --{transport} address was given, or nothing listened there"
        return next((reason for need, (has, reason) in means.items() if need in case.needs and not has), "")


@asynccontextmanager
async def attached(
    rest_url: str | None,
    grpc_address: str | None,
    metrics_url: str | None,
    *,
    dsn: str | None = None,
    log_path: Path | None = None,
) -> AsyncIterator[Target]:
    """An engine that runs already; NotUp when it cannot be reached. It keeps what the cases leave there."""
    async with contextlib.AsyncExitStack() as stack:
        rest = door = None
        if rest_url is not None:
            client = await stack.enter_async_context(EngineClient(rest_url.rstrip("/"), metrics_url or ""))
            if not await answers(client):
                raise NotUp(
                    f"nothing answers {rest_url}/healthz with 200; is the engine up, is that its REST port?"
                )
            rest = RestDoor(client)
        if grpc_address is not None:
            channel = grpc.aio.insecure_channel(grpc_address)
            stack.push_async_callback(channel.close, None)
            if not await listens(channel, GRPC_WITHIN_S):
                raise NotUp(f"nothing listens at {grpc_address}; is the engine up, is that its gRPC port?")
            door = GrpcDoor(channel)
        yield Target(rest, door, metrics_url is not None, dsn, log_path)


@asynccontextmanager
async def started(command: Sequence[str], folder: Path) -> AsyncIterator[Target]:
    """The command on an empty PostgreSQL of its own.

    Its sweeps are asked to be quick, by variables that an engine without them ignores.
    """
    async with Boots(command, folder) as boots:
        booted = await boots.serving(**QUICK)
        yield Target(booted.rest, booted.grpc, True, booted.dsn, booted.log_path, boots)
