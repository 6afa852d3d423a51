"""An HTTP server of a test's own, on both event loops; its handler is a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from caller import Caller

from windlass.api.call import Limits, MadeRoom, Request, Response
from windlass.api.http import HttpServer
from windlass.early_end import EarlyEnd
from windlass.memory import MIB, Budget
from windlass.telemetry.log import Log
from windlass.tls.watch import CertificateWatch


def on_both_loops(scenario: Callable[[], Awaitable[None]]) -> Callable[..., None]:
    @pytest.mark.parametrize(
        "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    def test(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await scenario()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(bounded())

    return test


class Echo:
    """Answers with what it got; some paths wait, fail or say much. Keeps what the server told it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.seen: list[tuple[str, int]] = []
        self.cancelled: list[str] = []
        self.served: list[str] = []
        self.untaken: list[str] = []
        self.made_room_by: list[MadeRoom] = []
        self.gate = asyncio.Event()

    def handle(self, request: Request) -> Response | Coroutine[Any, Any, Response]:
        path = request.path.decode("latin-1")
        self.served.append(path)
        if path.startswith("/wait"):
            return self.wait(path)
        if path.startswith("/poll"):
            request.early = EarlyEnd()
            return self.poll(request.early)
        if path == "/raise":
            raise ValueError("boom with password=hunter2")
        if path == "/raise-later":
            return self.raise_later()
        if path == "/large":
            return Response(200, b"x" * 4_000_000, b"text/plain")
        if path.startswith("/jobs"):
            return self.jobs(path)
        if path == "/log":
            self.log.info("said")
            return self.say_later()
        if path == "/nothing":
            return Response(204)
        told = {
            "method": request.method,
            "path": path,
            "query": request.query.decode(),
            "body": request.body.decode(),
        }
        return Response(200, json.dumps(told).encode() + b"\n")

    async def wait(self, path: str) -> Response:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(path)
            raise
        return Response(200, path.encode(), b"text/plain", untaken=lambda: self.untaken.append(path))

    async def poll(self, early: EarlyEnd) -> Response:
        over = asyncio.Event()
        early.bind(over.set)
        await over.wait()
        return Response(200, b"nothing", b"text/plain")

    async def jobs(self, path: str) -> Response:
        await asyncio.sleep(0)
        return Response(200, b"x" * 4_000_000, b"text/plain", untaken=lambda: self.untaken.append(path))

    async def raise_later(self) -> Response:
        await asyncio.sleep(0)
        raise KeyError("later")

    async def say_later(self) -> Response:
        await asyncio.sleep(0)
        self.log.info("said later")
        return Response(204)

    def weigh(self, request: Request) -> int:
        return len(request.body)

    def refuse(self, status: int, reason: str) -> Response:
        return Response(status, json.dumps({"error": "refused", "reason": reason}).encode() + b"\n")

    def made_room(self, how: MadeRoom) -> None:
        self.made_room_by.append(how)

    def observe(self, request: Request, response: Response, duration_ns: int) -> None:
        assert duration_ns >= 0
        self.seen.append((request.path.decode("latin-1"), response.status))


class Site:
    def __init__(self, server: HttpServer, echo: Echo, log: Log, stream: io.BytesIO, port: int) -> None:
        self.server, self.echo, self.log, self.stream, self.port = server, echo, log, stream, port
        self.callers: list[Caller] = []

    async def connect(self, tls: ssl.SSLContext | None = None) -> Caller:
        caller = await Caller.connect(self.port, tls)
        self.callers.append(caller)
        return caller

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@contextlib.asynccontextmanager
async def serving(
    *, memory: Budget | None = None, tls: CertificateWatch | None = None, **limits: Any
) -> AsyncIterator[Site]:
    stream = io.BytesIO()
    log = Log("debug", stream)
    echo = Echo(log)
    server = HttpServer(
        echo,
        log,
        Limits(**limits),
        memory or Budget(1024 * MIB),
        name="TEST",
        variable="TEST_PORT",
        headers=b"X-Site: 1\r\n",
        tls=tls,
    )
    port = await server.start("127.0.0.1", 0)
    site = Site(server, echo, log, stream, port)
    try:
        yield site
    finally:
        await server.drain(0)
        for caller in site.callers:
            await caller.close()
