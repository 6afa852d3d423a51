"""Answers end before they are too large: what does not fit stays unleased, or is on the next page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from nodes import END, Boot, Running, service
from test_grpc_engine import Line, line_to

from patience import eventually
from windlass.api import protobuf
from windlass.api.gen import workflow_pb2 as pb
from windlass.store.queries import sql
from windlass.wire import answer_bytes

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def line(one: Running) -> AsyncIterator[Line]:
    """The client has the limits of its library."""
    made = line_to(one)
    yield made
    await made.channel.close()


async def leased(one: Running) -> int:
    (row,) = await one.rows("SELECT count(*) AS jobs FROM job WHERE status = 'LOCKED'")
    return int(row["jobs"])


async def started(one: Running, count: int, **variables: Any) -> None:
    await one.define(service("a", "end"), END)
    for _ in range(count):
        await one.start(**variables)


# -- polls


async def test_a_grpc_poll_for_many_jobs_is_received_and_the_rest_stays_unleased(line: Line) -> None:
    await started(line.one, 60, text="x" * 100 * 1024)
    got: dict[str, int] = {}
    while jobs := await line.poll(max_jobs=60):
        assert await leased(line.one) == len(got) + len(jobs), "no more than were received"
        got |= {job.id: len(job.variables["text"]) for job in jobs}
    assert list(got.values()) == [100 * 1024] * 60


async def test_a_grpc_poll_gets_what_its_client_can_read_and_the_larger_job_is_named(line: Line) -> None:
    await started(line.one, 2, text="small")
    await line.one.start(text="x" * 5_000_000)
    await line.one.start(text="small")
    assert [job.variables["text"] for job in await line.poll(max_jobs=10)] == ["small"] * 3
    assert await line.poll(max_jobs=1) == []
    (row,) = await line.one.rows("SELECT id, status, lease_token FROM job WHERE status <> 'LOCKED'")
    assert (row["status"], row["lease_token"]) == ("UNLOCKED", None), "never leased"
    (told,) = [entry for entry in line.one.log_lines() if entry["msg"] == "job: too large for gRPC polls"]
    assert (told["job_id"], told["job_type"]) == (row["id"], "do-a")
    assert "WINDLASS_ANSWER_BYTES_MAX" in told["err"]
    assert "REST" in told["err"]
    # That gRPC polls found none is no reason not to look for others.
    (job,) = await line.one.poll("do-a")
    assert len(json.loads(bytes(job.variables))["text"]) == 5_000_000


async def test_one_large_job_does_not_stand_before_the_others(line: Line) -> None:
    await started(line.one, 1, text="x" * 5_000_000)
    await line.one.start(text="small")
    assert [job.variables["text"] for job in await line.poll(max_jobs=1)] == ["small"]


async def test_a_poll_over_rest_stops_before_the_bound_but_gives_one_of_any_size(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")
    await started(one, 4, text="x" * 40_000)
    await one.start(text="x" * 300_000)
    await one.start(text="x" * 300_000)
    sizes = [[len(job.variables) for job in await one.poll("do-a", most=10)] for _ in range(5)]
    assert [len(each) for each in sizes] == [2, 2, 1, 1, 0]
    assert await leased(one) == 6


async def test_polls_that_come_together_share_the_bound_and_all_get_something(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")
    await started(one, 10, text="x" * 80_000)
    polls = [one.poll("do-a", worker=f"w{n}", most=5) for n in range(10)]
    assert [len(jobs) for jobs in await asyncio.gather(*polls)] == [1] * 10


@pytest.mark.parametrize("jobs_max", [1, 10])
async def test_jobs_that_are_inserted_already_leased_keep_to_the_bound_too(boot: Boot, jobs_max: int) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")
    await one.define(service("a", "end"), END)
    waiting = asyncio.create_task(
        one.engine.poll_jobs(
            worker_id="w", job_types=["do-a"], max_jobs=jobs_max, lease_s=30, wait_s=10, job_bytes_max=100_000
        )
    )
    await eventually(lambda: one.node.polls.parked == 1)
    await one.start(text="x" * 150_000)
    assert not waiting.done(), "it could not be received"
    # In one batch.
    await asyncio.gather(*(one.start(text="x" * 40_000) for _ in range(6)))
    jobs = await waiting
    assert 1 <= len(jobs) <= min(2, jobs_max)
    assert await leased(one) == len(jobs)


async def test_jobs_of_an_earlier_release_are_counted_when_they_are_claimed(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="400000")
    await started(one, 4, text="x" * 60_000)
    await one.start(text="x" * 150_000)
    await one.rows("UPDATE job SET answer_bytes = NULL")
    got = [len(await one.poll("do-a", most=10)) for _ in range(4)]
    assert got == [1, 1, 1, 1]
    assert (
        len(
            await one.engine.poll_jobs(
                worker_id="w", job_types=["do-a"], max_jobs=1, lease_s=30, wait_s=0, job_bytes_max=400_000
            )
        )
        == 0
    )


SHAPES = {
    "digits": [1] * 300_000,
    "empty arrays": [[]] * 200_000,
    "empty objects": [{}] * 200_000,
    "nested": [[[[[[1]]]]]] * 50_000,
    "named": {f"k{n}": 1 for n in range(60_000)},
    "short names": [{"": 1}] * 60_000,
    "words": ["", "a", None, True, False] * 40_000,
    "text": "x" * 1_000_000,
    "wide text": "\U0001f600" * 200_000,
    "escapes": '"\\\n' * 200_000,
    "long numbers": [1e300] * 20_000,
    "fractions": [0.1234567890123456789] * 60_000,
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_job_is_never_counted_as_less_than_it_takes(line: Line, shape: str) -> None:
    await started(line.one, 1, v=SHAPES[shape])
    (row,) = await line.one.rows("SELECT answer_bytes, payload::text AS text FROM job")
    (job,) = await line.one.poll("do-a")
    message = pb.Job()
    protobuf.write_job(message, job)
    over_grpc = message.ByteSize()
    assert max(over_grpc, len(row["text"].encode())) <= row["answer_bytes"]
    assert over_grpc <= answer_bytes(json.dumps({"v": SHAPES[shape]}, separators=(",", ":")).encode())


async def test_a_claim_unpacks_no_more_than_it_leases(one: Running, superuser: Any) -> None:
    """Its pages: a payload of 1 MB that cannot be packed fills more than a hundred."""
    await one.define(service("a", "end"), END)
    await one.start()
    await superuser.execute("ALTER TABLE job ALTER COLUMN payload SET STORAGE EXTERNAL")
    await superuser.execute(
        "INSERT INTO job (id, instance_id, step_execution_id, job_type, payload, answer_bytes) "
        "SELECT 'job-' || n, instance_id, step_execution_id, 'large', "
        "jsonb_build_object('x', repeat('x', 1000000)), 1002000 FROM job, generate_series(1, 40) AS n"
    )
    async with one.database.connection() as connection:
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql('job_claim')}",
            ["large"],
            "{1,1,1,1,1,1,1,1,1,1}",
            ["w"],
            [30.0],
            2_500_000,
            None,
        )
    plan = json.loads(text)[0]["Plan"]
    assert plan["Actual Rows"] == 2
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 10 * 125
