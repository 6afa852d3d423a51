"""No case is satisfied with anything: two engines that do nothing at all are found out by every one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
from aiohttp import web
from engine_client import EngineClient
from suite.cases import CASES
from suite.doors.grpc import GrpcDoor
from suite.doors.rest import RestDoor
from suite.run import Outcome, run
from suite.target import Target

Answer = Callable[[web.Request], Coroutine[Any, Any, web.Response]]
Serve = Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Coroutine[Any, Any, bytes]]


async def always_well(_: web.Request) -> web.Response:
    return web.Response(body=b"{}\n", content_type="application/json")


async def empty_message(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return b""


async def always_refused(_: web.Request) -> web.Response:
    return web.Response(status=418, body=b"no\n")


async def no_call(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")


class Handler(grpc.GenericRpcHandler):
    """Serves every method there could be."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    def service(self, _: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._serve)


@asynccontextmanager
async def idle_engine(answer: Answer, serve: Serve) -> AsyncIterator[Target]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Handler(serve)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with (
            EngineClient(url, url) as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield Target(RestDoor(client), GrpcDoor(channel), metrics=True)
    finally:
        await server.stop(None)
        await runner.cleanup()


async def satisfied(answer: Answer, serve: Serve) -> set[str]:
    """The rows that the idle engine seems to keep."""
    async with idle_engine(answer, serve) as target:
        results = await run(target, CASES)
    assert len(results) > len(CASES)
    return {f"{result.row.key} {result.transport}" for result in results if result.outcome is Outcome.SAME}


KEPT_BY_ANSWERING = {
    "1.5 empty grpc",
    "1.8 readyz rest",
    "2 plaintext grpc",
    "3.3 duration-accepted grpc",
    "3.3 duration-accepted rest",
    "8.1 polling-only rest",
    "10.2 headers rest",
    "10.3 empty-poll grpc",
    "10.3 empty-poll rest",
}
"""What asks for no more than an answer; an engine that gives none breaks these too."""


async def test_every_case_finds_out_an_engine_that_does_nothing() -> None:
    assert await satisfied(always_well, empty_message) <= KEPT_BY_ANSWERING
    assert await satisfied(always_refused, no_call) == set()
