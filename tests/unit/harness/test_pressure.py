"""Callers that ask for too much do what they say, count it, and end when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from google.protobuf import json_format

from seatrial.cluster import Replica
from seatrial.gen import workflow_pb2 as pb
from seatrial.workload.grpc_flood import large_messages
from seatrial.workload.half_dead import HalfClosed, SlowBody, UnreadAnswer
from seatrial.workload.pressure import Dashboard, Flood, ParkedPolls, Pressure


@asynccontextmanager
async def server(answer: bytes, *, after_s: float = 0.0) -> AsyncIterator[tuple[Replica, list[bytes]]]:
    """Reads whole requests and answers each; yields what it has read of each connection so far."""
    read: list[bytes] = []
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(read)
        read.append(b"")
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                read[number] += head
                lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                read[number] += await reader.readexactly(int(lines.get(b"Content-Length", b"0")))
                await asyncio.sleep(after_s)
                writer.write(answer)
                await writer.drain()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        talks.add(task)
        task.add_done_callback(lambda _task: writer.transport.abort())

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 26)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield Replica("replica-0", f"http://127.0.0.1:{port}", None), read
    finally:
        listening.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await asyncio.sleep(0)


def said(status: int, body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def pressing(source: Pressure, for_s: float) -> dict[str, object]:
    task = asyncio.create_task(source.run())
    await asyncio.sleep(for_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return source.told()


async def test_a_flood_sends_its_bodies_in_turn_and_counts_them() -> None:
    bodies: Sequence[bytes] = (b'{"a":1}', b"[" + b"0," * 200_000 + b"0]")
    async with server(said(503)) as (replica, read):
        told = await pressing(Flood(replica, 3, bodies), 0.5)
    assert told["kind"] == "flood of starts"
    assert told["at_once"] == 3
    statuses = told["statuses"]
    assert isinstance(statuses, dict)
    assert statuses["503"] > 3
    assert isinstance(told["bytes"], int)
    assert told["bytes"] > len(bodies[1])
    assert any(bodies[0] in each and bodies[1] in each for each in read)


async def test_parked_polls_wait_all_at_once() -> None:
    async with server(said(200, b'{"jobs":[]}'), after_s=5.0) as (replica, read):
        told = await pressing(ParkedPolls(replica, 50, 5.0), 0.7)
    assert (told["at_once"], told["statuses"]) == (50, {})
    assert len(read) == 50
    assert b'"waitMs":5000' in read[0]


async def test_a_dashboard_reads_its_lists_to_their_end() -> None:
    paths = iter(range(10**6))
    async with server(said(200, b"x" * 100_000)) as (replica, read):
        told = await pressing(Dashboard(replica, 2, lambda: f"/list/{next(paths)}"), 0.3)
    assert isinstance(told["bytes"], int)
    assert told["bytes"] >= 200_000
    assert any(b"GET /list/0 " in each for each in read)


async def test_slow_bodies_hold_back_their_last_bytes() -> None:
    async with server(said(201)) as (replica, _):
        told = await pressing(SlowBody(replica, [b"x" * 1000, b"x" * 50_000], missing_bytes=64), 3.0)
    assert told["at_once"] == 2
    assert told["statuses"] == {}, "nobody has sent it all"
    assert isinstance(told["bytes"], int)
    assert 50_936 <= told["bytes"] < 51_200, "but for what was sent since, a byte a second"


async def test_a_slow_body_that_is_refused_is_counted() -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said(408))
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    replica = Replica("replica-0", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", None)
    told = await pressing(SlowBody(replica, [b"x" * 1000], missing_bytes=64), 0.5)
    listening.close()
    assert told["statuses"] == {"408": 1}


async def test_half_a_body_and_then_the_end() -> None:
    async with server(said(400)) as (replica, read):
        told = await pressing(HalfClosed(replica, 1, b"x" * 1000), 0.5)
    assert told["statuses"] == {"none": 1}
    assert len(read) == 1


async def test_answers_are_asked_for_and_left_unread() -> None:
    async with server(said(200, b"x" * 8_000_000)) as (replica, read):
        told = await pressing(UnreadAnswer(replica, 2), 3.0)
    assert told["statuses"] == {}
    assert [each.count(b"GET ") for each in read] == [1, 1], "the second answer is never written"


def test_messages_of_a_flood_are_starts() -> None:
    text, hollow = (pb.StartInstanceRequest.FromString(each) for each in large_messages("large", 3000))
    assert text.definition_id == hollow.definition_id == "large"
    assert text.variables["large"] == "x" * 3000
    assert json_format.MessageToDict(hollow.variables) == {"large": [[]] * 750}
