"""Contract 6.8: a node that is told to stop answers what it has taken on, and goes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import psycopg
import pytest
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import WINDLASS, EngineProcess, RunWindlass
from workflow import END, Json, Workflow, service, wait

from patience import eventually
from seatrial.cluster.broker import CutMode
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRACE_S = 4.0

_IGNORING = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture
def superuser_dsn(server: PostgresServer, dsn: str) -> str:
    return server.dsn(urlsplit(dsn).path.removeprefix("/"))


async def polls_wait(engine: EngineClient, count: int) -> None:
    async def they_do() -> bool:
        return bool((await engine.get("/health/detailed")).json["polls"]["waiting"] == count)

    await eventually(they_do)


def said_goodbye(process: EngineProcess) -> None:
    messages = [line["msg"] for line in process.log()]
    assert messages.count("engine: shutdown signal received") == 1
    assert messages[-1] == "engine: stopped"
    assert process.log(level="ERROR") == []
    assert process.stderr == ""


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("serve", signal.SIGTERM),
        ("serve", signal.SIGINT),
        ("serve", signal.SIGHUP),
        ("scheduler", signal.SIGTERM),
    ],
)
async def test_an_idle_node_goes_at_once(
    windlass: RunWindlass, superuser_dsn: str, dsn: str, word: str, number: signal.Signals
) -> None:
    process, engine = await windlass.serving(word, WE_POSTGRES_DSN=dsn)
    assert (await engine.get("/ready")).status == 200
    process.send(number)
    assert await process.ended() == 0
    said_goodbye(process)
    assert process.log(msg="engine: shutdown signal received")[0]["signal"] == number.name
    assert await rows(superuser_dsn, "SELECT id FROM windlass_node") == []


@pytest.mark.parametrize(("word", "code"), [("serve", 0), ("scheduler", 0), ("migrate", 1)])
async def test_a_signal_counts_before_the_program_is_loaded(
    windlass: RunWindlass, dsn: str, word: str, code: int
) -> None:
    """The first process of a container has no default action: a signal that it does not handle is ignored."""
    process = await windlass(word, WE_POSTGRES_DSN=dsn)

    def handles_it() -> bool:
        status = Path(f"/proc/{process.pid}/status").read_text()
        (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    await eventually(handles_it, every_s=0.002)
    assert process.stdout == "", "nothing has begun"
    process.send(signal.SIGTERM)
    assert await process.ended() == code


async def test_sighup_stays_ignored_where_the_starter_asked_for_it(
    tmp_path: Path, server: PostgresServer, dsn: str
) -> None:
    """As nohup does."""
    command = (sys.executable, "-c", _IGNORING, str(WINDLASS))
    windlass = RunWindlass(tmp_path, secret=server.secret, command=command)
    try:
        process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
        process.send(signal.SIGHUP)
        assert (await engine.get("/ready")).status == 200
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
    finally:
        await windlass.close()


async def test_long_polls_are_answered_empty(windlass: RunWindlass, dsn: str) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(service("a"), END)
    polls = [asyncio.create_task(workflow.lease("a", worker=f"w{n}", waitMs=25_000)) for n in range(5)]
    await polls_wait(engine, 5)
    began_s = time.monotonic()
    process.send(signal.SIGTERM)
    assert await asyncio.gather(*polls) == [[]] * 5
    assert await process.ended() == 0
    assert time.monotonic() - began_s < 10
    said_goodbye(process)


async def test_long_polls_over_grpc_are_answered_empty_too(windlass: RunWindlass, dsn: str) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    port = process.log(msg="engine: gRPC listening")[0]["addr"]
    async with grpc.aio.insecure_channel(f"127.0.0.1{port}") as channel:
        poll: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/workflow.v1.WorkflowEngine/PollJobs"
        )
        # worker_id "w", job_types ["a"], wait_ms 20000, as any client writes them
        polls = [poll(b"\x0a\x01w\x12\x01a\xa0\x06\xa0\x9c\x01") for _ in range(5)]
        await polls_wait(engine, 5)
        began_s = time.monotonic()
        process.send(signal.SIGTERM)
        assert await asyncio.gather(*polls) == [b""] * 5
        assert await process.ended() == 0
    assert time.monotonic() - began_s < 10
    said_goodbye(process)


async def test_a_job_is_never_taken_along(windlass: RunWindlass, dsn: str) -> None:
    """The next node gets at once what the leaving one's polls were waiting for."""
    leaving, first = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="leaving")
    staying, second = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="staying")
    workflow = await first.define(service("a"), END)
    polling = asyncio.create_task(workflow.lease("a", waitMs=25_000))
    await polls_wait(first, 1)
    leaving.send(signal.SIGTERM)
    there = Workflow(second, workflow.id, 1)
    instance = await there.start()
    taken = await polling
    job = taken[0] if taken else await there.lease_one("a")
    assert job["instanceId"] == instance["id"]
    await second.complete(job)
    assert await second.status(instance) == "COMPLETED"
    assert await leaving.ended() == 0
    assert staying.running


async def test_calls_in_flight_are_answered(windlass: RunWindlass, superuser_dsn: str, dsn: str) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(wait("w"), END)
    instance = await workflow.start()
    async with await psycopg.AsyncConnection.connect(superuser_dsn) as blocker:
        await blocker.execute("SELECT 1 FROM workflow_instance WHERE id = %s FOR UPDATE", [instance["id"]])
        signalling = asyncio.create_task(engine.signal(instance, "w", {"x": 1}))
        await lane_waits(superuser_dsn)
        starting = asyncio.create_task(engine.post("/v1/instances", {"definitionId": workflow.id}))

        async def gathered_behind_it() -> bool:
            return bool((await engine.get("/health/detailed")).json["lanes"]["commandsWaiting"] == 1)

        await eventually(gathered_behind_it)
        process.send(signal.SIGTERM)
        await process.until_logged("engine: shutdown signal received")
        await eventually(lambda: is_closed(process.rest_port))
        assert process.running
        assert not signalling.done()
        await blocker.rollback()
    assert (await signalling).status == 204
    started = await starting
    assert started.status == 201
    assert await process.ended() == 0
    said_goodbye(process)
    found = await rows(superuser_dsn, "SELECT id, status, variables FROM workflow_instance ORDER BY id")
    assert found == [
        {"id": instance["id"], "status": "COMPLETED", "variables": {"x": 1}},
        {"id": started.json["id"], "status": "WAITING", "variables": {}},
    ]


async def lane_waits(superuser_dsn: str) -> None:
    async def it_does() -> bool:
        found = await rows(
            superuser_dsn,
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        return bool(found)

    await eventually(it_does)


async def test_a_call_that_outlives_the_grace_is_cut(
    windlass: RunWindlass, superuser_dsn: str, dsn: str
) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_SHUTDOWN_GRACE_SECONDS="1")
    workflow = await engine.define(wait("w"), END)
    instance = await workflow.start()
    async with await psycopg.AsyncConnection.connect(superuser_dsn) as blocker:
        await blocker.execute("SELECT 1 FROM workflow_instance WHERE id = %s FOR UPDATE", [instance["id"]])
        signalling = asyncio.create_task(engine.signal(instance, "w"))
        await lane_waits(superuser_dsn)
        process.send(signal.SIGTERM)
        with pytest.raises(aiohttp.ClientError):
            await signalling
        assert await process.ended() == 0
    cut = process.log(msg="rest: calls outlived the grace and were cut")
    assert [line["connections"] for line in cut] == [1]
    assert process.log()[-1]["msg"] == "engine: stopped"


@pytest.mark.parametrize("stuck", ["blackhole", "half-open"])
async def test_the_grace_is_the_whole_time_of_the_stop_also_with_a_stuck_database(
    windlass: RunWindlass, server: PostgresServer, dsn: str, stuck: CutMode
) -> None:
    """Calls, a lane's batch, claims, sweeps and the notifications' session all hang at once."""
    with contextlib.closing(Ports()) as ports:
        proxy = Proxy(ports.take(), server.port)
        await proxy.open()
        try:
            process, engine = await windlass.serving(
                WE_POSTGRES_DSN=dsn.replace(f":{server.port}/", f":{proxy.port}/"),
                WINDLASS_SHUTDOWN_GRACE_SECONDS=f"{GRACE_S}",
                WINDLASS_FALLBACK_POLL_SECONDS="0.1",
            )
            workflow = await engine.define(service("a"), END)
            await proxy.cut(stuck)
            calls: list[asyncio.Task[Any]] = [
                asyncio.create_task(workflow.lease("a", waitMs=25_000)) for _ in range(3)
            ]
            calls += [asyncio.create_task(workflow.start()) for _ in range(3)]
            await asyncio.sleep(0.5)
            began_s = time.monotonic()
            process.send(signal.SIGTERM)
            await eventually(lambda: is_closed(process.rest_port), within_s=1.5)
            assert process.running
            assert await process.ended() == 0
            assert time.monotonic() - began_s < GRACE_S + 1.0
            await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await proxy.close()
    assert process.log()[-1]["msg"] == "engine: stopped"
    assert process.log(level="ERROR") == []


async def is_closed(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def test_nothing_that_was_acknowledged_is_lost(
    windlass: RunWindlass, superuser_dsn: str, dsn: str
) -> None:
    """Starts and completions without pause until the door closes; each answer given is a row."""
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(service("a"), END)
    started: list[str] = []
    completed: list[Json] = []
    unanswered: list[Exception] = []

    async def start_on_and_on() -> None:
        while True:
            answer = await engine.post("/v1/instances", {"definitionId": workflow.id})
            assert answer.status in {201, 503}, answer
            if answer.status == 201:
                started.append(answer.json["id"])

    async def work_on_and_on(worker: str) -> None:
        while True:
            for job in await workflow.lease("a", worker=worker, waitMs=2_000):
                await engine.complete(job, worker, by=worker)
                completed.append(job)

    async def until_the_door_closes(work: object) -> None:
        try:
            await work  # type: ignore[misc]  # one of the two coroutines above
        except aiohttp.ClientError as err:
            unanswered.append(err)

    calls = [until_the_door_closes(start_on_and_on()) for _ in range(6)]
    calls += [until_the_door_closes(work_on_and_on(f"w{n}")) for n in range(3)]
    hammering = asyncio.gather(*calls)
    await eventually(lambda: len(started) > 150 and len(completed) > 50)
    process.send(signal.SIGTERM)
    await hammering
    assert await process.ended() == 0
    said_goodbye(process)
    assert all(isinstance(err, aiohttp.ClientConnectorError) for err in unanswered), unanswered
    found = await rows(superuser_dsn, "SELECT id, status FROM workflow_instance")
    status = {row["id"]: row["status"] for row in found}
    assert not set(started) - set(status)
    assert {status[job["instanceId"]] for job in completed} == {"COMPLETED"}
