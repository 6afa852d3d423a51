import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from patience import eventually
from seatrial.cluster import ClusterError
from seatrial.cluster.port import Ports
from seatrial.cluster.proxy import HELD_BYTES_MAX, Proxy

WITHIN_S = 10.0
T = TypeVar("T")
Run = Callable[[Coroutine[None, None, None]], None]
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]

    def runner(main: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(main)

    return runner


@dataclass
class Session:
    """One connection as the server saw it."""

    peer_port: int
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False


class EchoServer:
    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.port = 0
        self.proxy_port = 0
        self.wires: list[Wire] = []

    async def connect(self) -> Wire:
        """Through the proxy; closed at the end."""
        wire = await asyncio.open_connection("127.0.0.1", self.proxy_port)
        self.wires.append(wire)
        return wire

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(writer.get_extra_info("peername")[1])
        self.sessions.append(session)
        try:
            while data := await reader.read(65536):
                session.received += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        session.ended = True
        writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, EchoServer]]:
    echo = EchoServer()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    ports = Ports()
    echo.proxy_port = ports.take()
    proxy = Proxy(echo.proxy_port, echo.port)
    await proxy.open()
    try:
        yield proxy, echo
    finally:
        await proxy.close()
        for _, writer in echo.wires:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await eventually(lambda: all(session.ended for session in echo.sessions))
        server.close()
        await server.wait_closed()
        ports.close()


async def ask(wire: Wire, data: bytes) -> bytes:
    wire[1].write(data)
    return await within(wire[0].readexactly(len(data)))


async def within(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, WITHIN_S)


async def is_silent(wire: Wire) -> bool:
    try:
        await asyncio.wait_for(wire[0].read(1), 0.1)
    except TimeoutError:
        return True
    return False


def test_bytes_pass_both_ways_whole_and_in_order(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            assert await ask(wire, b"hello") == b"hello"
            much = bytes(range(256)) * 20_000
            assert await ask(wire, much) == much
            assert list(proxy.database_side_ports()) == [echo.sessions[0].peer_port]
            wire[1].close()
            await eventually(lambda: echo.sessions[0].ended)
            await eventually(lambda: not proxy.database_side_ports())
            assert proxy.dropped_bytes == 0

    run(main())


def test_a_delay_lengthens_each_way_of_old_and_new_connections(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            old = await echo.connect()
            await ask(old, b"before")
            await proxy.cut("delay", 0.1)
            for wire in (old, await echo.connect()):
                begun_s = time.monotonic()
                assert await ask(wire, b"slow") == b"slow"
                # Some loops count in whole milliseconds.
                assert 0.198 <= time.monotonic() - begun_s < 2.0
            assert proxy.dropped_bytes == 16
            await proxy.mend()
            begun_s = time.monotonic()
            assert await ask(old, b"fast") == b"fast"
            assert time.monotonic() - begun_s < 0.1

    run(main())


def test_what_is_delayed_arrives_in_order_and_at_once_when_mended(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            await ask(wire, b"-")
            await proxy.cut("delay", 60.0)
            for number in range(50):
                wire[1].write(b"%d," % number)
                await wire[1].drain()
            sent = b"".join(b"%d," % number for number in range(50))
            await eventually(lambda: proxy.dropped_bytes == len(sent))
            assert echo.sessions[0].received == b"-"
            await proxy.mend()
            assert await within(wire[0].readexactly(len(sent))) == sent

    run(main())


def test_a_black_hole_swallows_both_ways_and_the_mend_delivers_as_tcp_would(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            await ask(wire, b"-")
            await proxy.cut("blackhole")
            assert proxy.cut_connections == 1
            wire[1].write(b"COMMIT")
            await eventually(lambda: proxy.dropped_bytes == 6)
            assert await is_silent(wire)
            assert echo.sessions[0].received == b"-"
            await proxy.mend()
            assert await within(wire[0].readexactly(6)) == b"COMMIT"

    run(main())


def test_a_commit_sent_into_a_black_hole_arrives_after_its_sender_gave_up(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            await ask(wire, b"-")
            await proxy.cut("blackhole")
            wire[1].write(b"COMMIT")
            await eventually(lambda: proxy.dropped_bytes == 6)
            wire[1].close()
            await wire[1].wait_closed()
            fresh = await echo.connect()
            assert await is_silent(fresh)
            assert not echo.sessions[0].ended, "the database cannot know that the engine hung up"
            await proxy.mend()
            await eventually(lambda: echo.sessions[0].ended)
            assert echo.sessions[0].received == b"-COMMIT"

    run(main())


def test_a_connection_opened_into_a_black_hole_is_answered_after_the_mend_if_it_waited(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            await proxy.cut("blackhole")
            patient, impatient = await echo.connect(), await echo.connect()
            patient[1].write(b"anyone?")
            impatient[1].write(b"too late")
            await eventually(lambda: proxy.dropped_bytes == 15)
            impatient[1].close()
            await impatient[1].wait_closed()
            assert echo.sessions == []
            assert await is_silent(patient)
            await proxy.mend()
            assert await within(patient[0].readexactly(7)) == b"anyone?"
            assert [bytes(session.received) for session in echo.sessions] == [b"anyone?"]

    run(main())


def test_half_open_swallows_only_what_the_database_sends(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            old = await echo.connect()
            await ask(old, b"-")
            await proxy.cut("half-open")
            new = await echo.connect()
            for wire in (old, new):
                wire[1].write(b"heard")
            await eventually(lambda: [bytes(s.received) for s in echo.sessions] == [b"-heard", b"heard"])
            await eventually(lambda: proxy.dropped_bytes == 10)
            assert await is_silent(old)
            new[1].close()
            await eventually(lambda: echo.sessions[1].ended)
            await proxy.mend()
            assert await within(old[0].readexactly(5)) == b"heard"

    run(main())


def test_refuse_resets_old_connections_and_the_kernel_refuses_new_ones_until_the_mend(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            await ask(wire, b"-")
            await proxy.cut("refuse")
            assert proxy.cut_connections == 1
            with pytest.raises(ConnectionResetError):
                await within(wire[0].read(1))
            await eventually(lambda: echo.sessions[0].ended)
            with pytest.raises(ConnectionRefusedError):
                await echo.connect()
            await proxy.cut("refuse")
            await proxy.mend()
            assert await ask(await echo.connect(), b"again") == b"again"

    run(main())


def test_a_second_cut_replaces_the_first(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            await proxy.cut("refuse")
            await proxy.cut("blackhole")
            held = await echo.connect()
            held[1].write(b"held")
            await eventually(lambda: proxy.dropped_bytes == 4)
            await proxy.cut("delay", 0.01)
            assert await within(held[0].readexactly(4)) == b"held"
            wire[1].close()

    run(main())


def test_a_sender_into_a_black_hole_is_made_to_wait_and_loses_nothing(run: Run) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            wire = await echo.connect()
            await ask(wire, b"-")
            await proxy.cut("blackhole")
            much = bytes(range(256)) * (64 * HELD_BYTES_MAX // 256)
            wire[1].write(much)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wire[1].drain(), 0.5)
            assert HELD_BYTES_MAX <= proxy.dropped_bytes < 2 * HELD_BYTES_MAX
            await proxy.mend()
            assert await within(wire[0].readexactly(len(much))) == much

    run(main())


def test_without_a_database_the_connection_is_closed(run: Run) -> None:
    async def main() -> None:
        ports = Ports()
        proxy = Proxy(ports.take(), ports.take())
        await proxy.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await within(reader.read()) == b""
        writer.close()
        await eventually(lambda: not proxy.database_side_ports())
        await proxy.close()
        await proxy.close()
        ports.close()

    run(main())


@pytest.mark.parametrize("delay_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_delay_must_be_one(delay_s: float) -> None:
    async def main() -> None:
        async with proxied() as (proxy, echo):
            with pytest.raises(ClusterError, match="cut mode delay needs a delay above 0 s"):
                await proxy.cut("delay", delay_s)
            assert await ask(await echo.connect(), b"as before") == b"as before"

    asyncio.run(main())


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"proxy port {port}: Address already in use"):
            asyncio.run(Proxy(port, 1).open())


def test_ports_are_free_outside_the_ephemeral_range_and_given_once() -> None:
    first, second = Ports(), Ports()
    try:
        taken = [ports.take() for ports in (first, second) for _ in range(50)]
        assert len(set(taken)) == 100
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        assert not any(low <= port <= high for port in taken)
        for port in taken:
            socket.create_server(("127.0.0.1", port)).close()
    finally:
        first.close()
        second.close()
