"""What the harness reads in a replica's metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from seatrial.cluster import Replica
from seatrial.observe.metrics import UnreadableMetrics, parse, scrape

LEADER = "workflow_engine_dispatch_relay_leader"


def test_labels_may_hold_spaces_and_braces_and_what_is_no_number_is_left_out() -> None:
    text = '# TYPE a counter\na_total{path="/v1/{id} x"} 3 1700000000\nb 1e-3\nc NaN\nd +Inf\n\n'
    assert parse(text) == {'a_total{path="/v1/{id} x"}': 3.0, "b": 0.001}


def test_a_series_is_named_as_it_stands_in_the_text() -> None:
    lines = [
        r'a{z="1",b="say \"no\"",c="back\\slash",d="two\nlines"} 1.0',
        'h_bucket{le="0.5"} 2.0',
        "e{} 3.0",
    ]
    assert list(parse("\n".join(lines) + "\n")) == [lines[0][:-4], lines[1][:-4], "e"]


def test_only_what_is_asked_for_is_parsed() -> None:
    assert parse(f"{LEADER} 1.0\nstarts_total 2.0\nthis is no metric at all\n", LEADER) == {LEADER: 1.0}


@pytest.mark.parametrize("text", ["starts_total many\n", 'starts_total{node="a} 1.0\n', "starts_total\n"])
def test_what_cannot_be_parsed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


Serve = Callable[[str], Awaitable[Replica]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A replica with these metrics."""
    servers = []

    async def start(text: str, status: int = 200) -> Replica:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=text, status=status)

        app = web.Application()
        app.router.add_get("/metrics", answer)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return Replica("replica-0", str(server.make_url("/")), str(server.make_url("/metrics")))

    yield start
    for server in servers:
        await server.close()


async def test_a_scrape_brings_what_the_replica_says(serve: Serve) -> None:
    replica = await serve(f"{LEADER} 0.0\nb 1\n")
    async with aiohttp.ClientSession() as session:
        assert await scrape(session, replica, within_s=5) == {LEADER: 0.0, "b": 1.0}
        assert await scrape(session, replica, within_s=5, of=LEADER) == {LEADER: 0.0}


async def test_a_replica_that_does_not_answer_says_nothing(serve: Any) -> None:
    async with aiohttp.ClientSession() as session:
        assert await scrape(session, await serve("b 1\n", status=503), within_s=5) is None
        gone = Replica("gone", "http://127.0.0.1:1", "http://127.0.0.1:1/metrics")
        assert await scrape(session, gone, within_s=5) is None


async def test_what_is_no_metrics_is_named(serve: Serve) -> None:
    replica = await serve("a many\n")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(
            UnreadableMetrics, match=r"^replica-0: http://\S+/metrics cannot be parsed: .*many"
        ):
            await scrape(session, replica, within_s=5)
