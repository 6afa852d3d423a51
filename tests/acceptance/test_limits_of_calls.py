"""Rows of the Limits table in engine/README.md that are about calls and connections: at each limit, and beyond it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest
import pytest_asyncio
from engine_on_trial import EngineOnTrial, StartEngine
from grpc_client import GrpcClient, dialled, struct
from workflow import END, service

from patience import WITHIN_S, eventually
from seatrial.cluster.ability import Database
from windlass.api.call import Limits
from windlass.memory import LIMIT_BYTES_MIN, WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY_BYTES, HEAD_BYTES = 100_000, 4_096
#: method and version are not counted
REQUEST_LINE_BYTES = 32
LIMIT_S = 1.0
STREAMS = 2
CONNECTIONS = 6
#: a busy machine takes longer, and must not take much shorter
SOONER_S = 0.2
SETTINGS: dict[str, Any] = {
    "WINDLASS_BODY_BYTES_MAX": str(BODY_BYTES),
    "WINDLASS_HEAD_BYTES_MAX": str(HEAD_BYTES),
    "WINDLASS_READ_TIMEOUT_SECONDS": str(LIMIT_S),
    "WINDLASS_REQUEST_TIMEOUT_SECONDS": str(LIMIT_S),
    "WINDLASS_LONG_POLL_SECONDS_MAX": "0.5",
    "WINDLASS_GRPC_STREAMS_MAX": str(STREAMS),
}
LONG_POLL_S = 0.5
POLL = {"workerId": "w", "jobTypes": ["nobody-s"]}


@pytest_asyncio.fixture(loop_scope="session")
async def small(start_engine: StartEngine) -> EngineOnTrial:
    """An engine with small limits."""
    return await start_engine(**SETTINGS)


@pytest_asyncio.fixture(loop_scope="session")
async def dial(small: EngineOnTrial) -> AsyncIterator[GrpcClient]:
    async with dialled(small) as client:
        yield client


class Line:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, address: str) -> Line:
        host, _, port = address.removeprefix("http://").rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Of the next answer; 0 when the connection ends instead."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WITHIN_S)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length: "):
                await self.reader.readexactly(int(line.split()[1]))
        return int(head.split()[1])

    async def call(self, data: bytes) -> int:
        await self.send(data)
        return await self.status()

    async def ended_after_s(self) -> float:
        """Reads and drops until the other side ends it."""
        began_s = time.monotonic()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(WITHIN_S):
                while await self.reader.read(65536):
                    pass
        return time.monotonic() - began_s

    async def is_open(self) -> bool:
        try:
            return bool(await asyncio.wait_for(self.reader.read(1), 0.05))
        except TimeoutError:
            return True
        except ConnectionError:
            return False

    def close(self) -> None:
        self.writer.close()


def rest(engine: EngineOnTrial) -> str:
    return engine.client.rest_url


def grpc_address(engine: EngineOnTrial) -> str:
    return str(engine.cluster.replicas()[0].grpc_address)


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


HEALTH = head("GET", "/healthz")


@pytest.mark.limit("body of a call")
async def test_a_body(small: EngineOnTrial, dial: GrpcClient) -> None:
    client = small.client
    fits = json.dumps(POLL).encode().ljust(BODY_BYTES)
    assert (await client.call("POST", "/v1/jobs/poll", fits)).status == 200
    (await client.call("POST", "/v1/jobs/poll", fits + b" ")).refused(413, "too-large")
    around = len(b"\n\x01d\x1a") + 16
    await dial.refusal("StartInstance", definition_id="d", business_key="k" * 2000)
    fitting = {"definition_id": "no-such", "variables": struct(x="y" * (BODY_BYTES - around - 32))}
    assert await dial.refusal("StartInstance", **fitting) == "NOT_FOUND"
    beyond = {"definition_id": "no-such", "variables": struct(x="y" * BODY_BYTES)}
    assert await dial.refusal("StartInstance", **beyond) == "RESOURCE_EXHAUSTED"


@pytest.mark.limit("memory of the process, for all calls in progress")
async def test_memory(start_engine: StartEngine) -> None:
    """With the least that can be set, of which bodies may have a quarter of what an idle process leaves."""
    settings: dict[str, Any] = {"WINDLASS_MEMORY_BYTES_MAX": str(LIMIT_BYTES_MIN)}
    engine = await start_engine(**settings)
    never, often = 15_000_000, 5_000_000
    (await engine.client.call("POST", "/v1/instances", b" " * never)).refused(413, "too-large")
    async with dialled(engine) as dial:
        beyond = {"definition_id": "no-such", "variables": struct(x="y" * never)}
        assert await dial.refusal("StartInstance", **beyond) == "RESOURCE_EXHAUSTED"
    call = head("POST", "/v1/instances", f"Content-Length: {often}") + b" " * (often - 1)
    lines = [await Line.to(rest(engine)) for _ in range(4)]
    sent = [asyncio.ensure_future(line.call(call)) for line in lines]
    done, waiting = await asyncio.wait(sent, timeout=3 * WAIT_S, return_when=asyncio.FIRST_COMPLETED)
    assert {each.result() for each in done} <= {408, 503}
    assert done
    assert (await engine.client.call("POST", "/v1/jobs/poll", json.dumps(POLL).encode())).status == 200
    for each in waiting:
        each.cancel()
    for line in lines:
        line.close()


@pytest.mark.limit("answer of a poll, a list or a history; over gRPC a job, an instance or a definition")
async def test_an_answer(start_engine: StartEngine) -> None:
    most, size = 100_000, 40_000
    engine = await start_engine(WINDLASS_ANSWER_BYTES_MAX=str(most))
    workflow = await engine.client.define(service("a"), END)
    job_type = workflow.job_type("a")

    async def leased() -> int:
        (row,) = await engine.rows("SELECT count(*) AS n FROM job WHERE status = 'LOCKED'")
        return int(row["n"])

    for _ in range(5):
        await workflow.start(x="y" * size)
    assert len(await workflow.lease("a")) == 2
    assert await leased() == 2
    async with dialled(engine) as dial:
        poll = {"worker_id": "w", "job_types": [job_type], "max_jobs": 10}
        assert len((await dial.call("PollJobs", **poll)).jobs) == 2
        assert await leased() == 4
        assert len(await workflow.lease("a")) == 1
        await workflow.start(x="y" * (2 * most))
        assert len((await dial.call("PollJobs", **poll)).jobs) == 0
        assert await leased() == 5
    assert len(await workflow.lease("a")) == 1


@pytest.mark.limit("head of a call with its trailers; gRPC metadata")
async def test_a_head(small: EngineOnTrial, dial: GrpcClient) -> None:
    def padded(to: int) -> bytes:
        bare = len(head("GET", "/healthz", "X: "))
        return head("GET", "/healthz", "X: " + "y" * (to - bare))

    line = await Line.to(rest(small))
    assert len(padded(HEAD_BYTES)) == HEAD_BYTES
    assert await line.call(padded(HEAD_BYTES)) == 200
    assert await line.call(padded(HEAD_BYTES + REQUEST_LINE_BYTES)) == 431
    line.close()
    chunked = head("POST", "/v1/jobs/poll", "Transfer-Encoding: chunked") + b"0\r\n"
    line = await Line.to(rest(small))
    assert await line.call(chunked + b"X: %b\r\n\r\n" % (b"y" * HEAD_BYTES)) == 431
    line.close()
    # What a client adds of its own counts as well.
    await dial.call("PollJobs", worker_id="w", job_types=["t"], metadata=(("x", "y" * (HEAD_BYTES - 1_000)),))
    large = (("x", "y" * HEAD_BYTES),)
    refused = dial.begin("PollJobs", worker_id="w", job_types=["t"], metadata=large)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refused
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.limit("time for a call to arrive; for a gRPC connection to be set up")
async def test_the_time_to_arrive(small: EngineOnTrial) -> None:
    in_time = await Line.to(rest(small))
    await in_time.send(HEALTH[:10])
    await asyncio.sleep(LIMIT_S / 2)
    assert await in_time.call(HEALTH[10:]) == 200
    in_time.close()
    for part in (HEALTH[:10], head("POST", "/v1/jobs/poll", "Content-Length: 10") + b"{"):
        late, began_s = await Line.to(rest(small)), time.monotonic()
        assert await late.call(part) == 408
        assert time.monotonic() - began_s > LIMIT_S - SOONER_S
        late.close()
    silent = await Line.to(grpc_address(small))
    assert await silent.ended_after_s() > LIMIT_S - SOONER_S
    silent.close()


@pytest.mark.limit("time for a call to be served")
async def test_the_time_to_be_served(small: EngineOnTrial, dial: GrpcClient) -> None:
    workflow = await small.client.define(service("a"), END)
    instance = await workflow.start()
    locked = await psycopg.AsyncConnection.connect(small.cluster.ability(Database).dsn())
    try:
        await locked.execute("LOCK TABLE workflow_instance")
        began_s = time.monotonic()
        assert (await small.client.get(f"/v1/instances/{instance['id']}")).status == 504
        assert time.monotonic() - began_s > LIMIT_S - SOONER_S
        assert await dial.refusal("GetInstance", id=instance["id"]) == "DEADLINE_EXCEEDED"
    finally:
        await locked.close()
    assert (await small.client.get(f"/v1/instances/{instance['id']}")).status == 200


@pytest.mark.limit("time for the caller to read an answer")
async def test_the_time_to_read_an_answer(start_engine: StartEngine) -> None:
    engine = await start_engine(WINDLASS_WRITE_TIMEOUT_SECONDS=str(LIMIT_S))
    workflow = await engine.client.define(service("a"), END)
    # Larger than what the kernel takes for a caller who does not read.
    instance = await workflow.start(x="y" * 15_000_000)
    asked = head("GET", f"/v1/instances/{instance['id']}")
    reads, deaf = await Line.to(rest(engine)), await Line.to(rest(engine))
    assert await reads.call(asked) == 200
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await deaf.send(asked)
    await asyncio.sleep(LIMIT_S + 2)
    deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert await cut_off(deaf)
    reads.close()
    deaf.close()


async def cut_off(line: Line) -> bool:
    """Whether the connection ends before the answer does."""
    try:
        await line.status()
    except (asyncio.IncompleteReadError, ConnectionError):
        return True
    return False


@pytest.mark.limit("time without a call")
async def test_the_time_without_a_call(start_engine: StartEngine) -> None:
    engine = await start_engine(WINDLASS_IDLE_TIMEOUT_SECONDS=str(LIMIT_S))
    line = await Line.to(rest(engine))
    for _ in range(4):
        await asyncio.sleep(LIMIT_S / 2)
        assert await line.call(HEALTH) == 200
    assert await line.ended_after_s() > LIMIT_S - SOONER_S
    line.close()


async def polls_give_way(start_engine: StartEngine) -> None:
    """Polls wait on all twenty; for a probe the longest waiting is answered, and others use its place."""
    engine = await start_engine(WINDLASS_CONNECTIONS_MAX="20", WINDLASS_LONG_POLL_SECONDS_MAX="20")
    body = json.dumps(POLL | {"waitMs": 20_000}).encode()
    poll = head("POST", "/v1/jobs/poll", f"Content-Length: {len(body)}") + body
    waiting = [await Line.to(rest(engine)) for _ in range(19)]
    for line in waiting:
        await line.send(poll)

    async def all_wait() -> bool:
        last = await Line.to(rest(engine))
        await last.send(head("GET", "/health/detailed", "Connection: close"))
        answer = await last.reader.read()
        last.close()
        return b'"waiting":19' in answer

    await eventually(all_wait)
    waiting.append(await Line.to(rest(engine)))
    await waiting[-1].send(poll)
    answers = [asyncio.ensure_future(line.status()) for line in waiting]
    for _ in range(3):
        last = await Line.to(rest(engine))
        assert await last.call(HEALTH) == 200
        last.close()
    await eventually(lambda: [each.result() for each in answers if each.done()] == [200])
    for line, answer in zip(waiting, answers, strict=True):
        answer.cancel()
        line.close()


@pytest.mark.limit("connections, REST and gRPC each")
async def test_connections(start_engine: StartEngine) -> None:
    engine = await start_engine(
        WINDLASS_CONNECTIONS_MAX=str(CONNECTIONS), WINDLASS_LONG_POLL_SECONDS_MAX="20"
    )
    idle = [await Line.to(rest(engine)) for _ in range(CONNECTIONS)]
    for line in idle:
        assert await line.call(HEALTH) == 200
    newer = await Line.to(rest(engine))
    assert await newer.call(HEALTH) == 200
    assert [await line.is_open() for line in idle] == [False] + [True] * (CONNECTIONS - 1)
    for line in (*idle, newer):
        line.close()
    await polls_give_way(start_engine)
    kept = [await Line.to(grpc_address(engine)) for _ in range(CONNECTIONS)]
    over = await Line.to(grpc_address(engine))
    await over.ended_after_s()
    assert all([await line.is_open() for line in kept])
    for line in (*kept, over):
        line.close()


@pytest.mark.limit("concurrent calls on a gRPC connection")
async def test_concurrent_calls(dial: GrpcClient) -> None:
    # From the connection's first answer the client knows the limit.
    await dial.call("PollJobs", worker_id="w", job_types=["t"])
    began_s = time.monotonic()
    polls = [
        dial.begin("PollJobs", worker_id="w", job_types=["t"], wait_ms=60_000) for _ in range(3 * STREAMS)
    ]
    for poll in polls:
        assert list((await poll).jobs) == []
    assert time.monotonic() - began_s > 3 * LONG_POLL_S - SOONER_S


@pytest.mark.limit("`waitMs` of a poll")
async def test_a_long_wait(small: EngineOnTrial, dial: GrpcClient) -> None:
    for polled in (
        small.client.poll(["nobody-s"], waitMs=1e9),
        dial.call("PollJobs", worker_id="w", job_types=["nobody-s"], wait_ms=2**31 - 1),
    ):
        began_s = time.monotonic()
        await polled
        assert LONG_POLL_S - SOONER_S < time.monotonic() - began_s < WITHIN_S / 2


@pytest.mark.limit("calls read ahead on a REST connection")
async def test_calls_read_ahead(start_engine: StartEngine) -> None:
    """The first waits; of what is behind it only so many are taken from the connection."""
    engine = await start_engine(WINDLASS_LONG_POLL_SECONDS_MAX="2")
    behind, body = 100, json.dumps(POLL).encode().ljust(1_000_000)
    first = json.dumps({**POLL, "waitMs": 2_000}).encode()
    line = await Line.to(rest(engine))
    await line.send(head("POST", "/v1/jobs/poll", f"Content-Length: {len(first)}") + first)
    call = head("POST", "/v1/jobs/poll", f"Content-Length: {len(body)}") + body
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(behind):
            await line.send(call)
            sent += 1

    sending: asyncio.Future[Any] = asyncio.ensure_future(send())
    await asyncio.sleep(1)
    # The kernel's buffers hold some more.
    assert Limits().pipeline_max / 2 < sent < 2.5 * Limits().pipeline_max
    assert [await line.status() for _ in range(behind + 1)] == [200] * (behind + 1)
    await sending
    line.close()
