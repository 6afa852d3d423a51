"""Answers end before they are too large: what does not fit stays unleased, or is on the next page."""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from nodes import END, Boot, Running, raw, service
from test_grpc_engine import Line, line_to

from patience import eventually
from windlass.api import protobuf
from windlass.api.gen import workflow_pb2 as pb
from windlass.store.queries import sql
from windlass.wire import WorkerRegistration, answer_bytes
from windlass_client import Client

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
    (told,) = await eventually(
        lambda: [entry for entry in line.one.log_lines() if entry["msg"] == "job: too large for gRPC polls"]
    )
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


# -- lists and histories


async def define(one: Running, id_: str, description: str) -> None:
    document = {"id": id_, "name": id_, "description": description, "steps": [END]}
    await one.engine.upload_definition(json.dumps(document).encode())


async def ask(one: Running, path: str) -> tuple[int, dict[str, Any], int]:
    """Status, body and size of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{one.node.rest.port}{path}") as answer,
    ):
        body = await answer.read()
        return answer.status, json.loads(body), len(body)


async def pages(one: Running, path: str, bytes_max: int) -> list[list[dict[str, Any]]]:
    found, token = [], ""
    while True:
        status, body, size = await ask(
            one, path + (f"{'&' if '?' in path else '?'}pageToken={token}" if token else "")
        )
        assert status == 200, body
        assert size <= bytes_max or len(body["items"]) == 1
        found.append(body["items"])
        if "nextPageToken" not in body:
            return found
        token = body["nextPageToken"]


async def test_a_list_ends_before_the_bound_and_its_cursor_goes_on(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")
    await one.define(service("a", "end"), END)
    ids = [(await one.start(text="x" * 30_000)).id for _ in range(7)]
    ids.append((await one.start(text="x" * 200_000)).id)
    ids += [(await one.start(text="small")).id for _ in range(3)]
    found = await pages(one, "/v1/instances?definitionId=d", 100_000)
    assert [item["id"] for page in found for item in page] == ids[::-1]
    assert [len(page) for page in found] == [3, 1, 3, 3, 1]
    found = await pages(one, "/v1/instances?pageSize=2", 100_000)
    assert [item["id"] for page in found for item in page] == ids[::-1]


async def test_a_list_of_definitions_ends_before_the_bound_and_its_cursor_goes_on(boot: Boot) -> None:
    """Over both doors; a text that escapes make longer counts as it is written."""
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")
    ids = [f"d{n:02}" for n in range(12)]
    for n, id_ in enumerate(ids):
        description = ("\x01" * 5_000, "x" * 150_000, "short")[n % 3]
        await define(one, id_, description)
    found = await pages(one, "/v1/definitions", 100_000)
    assert [item["id"] for page in found for item in page] == ids
    assert len(found) > 4
    assert [len(page) for page in await pages(one, "/v1/definitions?pageSize=5&keyword=1", 10**9)] == [
        1,
        1,
        1,
    ]
    _, body, _ = await ask(one, "/v1/definitions?page=5&pageSize=2")
    assert ([item["id"] for item in body["items"]], body["total"]) == (ids[10:11], 12)
    assert "nextPageToken" in body
    line = line_to(one)
    listed: list[Any] = []
    token = ""
    while not listed or token:
        answer = await line.call("ListDefinitions", page_token=token)
        assert (answer.total, answer.ByteSize() <= 100_000) == (12, True)
        listed += answer.definitions
        token = answer.next_page_token
    assert [each.id for each in listed] == ids
    assert [each.id for each in listed if not each.description] == ids[1::3], "too large for any client"
    await line.channel.close()


async def test_a_list_of_workers_ends_before_the_bound_and_its_cursor_goes_on(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")
    ids = [f"w{n}" for n in range(7)]
    for id_ in ids:
        job_types = [f"{n}" + "x" * 200 for n in range(50)]
        await one.engine.register_worker(WorkerRegistration(id_, job_types, "1", 1, 15.0))
    found = await pages(one, "/v1/workers", 100_000)
    assert [item["id"] for page in found for item in page] == ids
    assert len(found) == 7
    _, body, _ = await ask(one, "/v1/workers")
    assert body["total"] == 7
    assert [len(page) for page in await pages(one, "/v1/workers?pageSize=3", 100_000)] == [1] * 7
    _, body, size = await ask(one, "/cluster/info")
    assert size < 100_000


async def test_instances_of_one_moment_are_each_on_one_page(one: Running) -> None:
    await one.define(service("a", "end"), END)
    ids = {view.id for view in await asyncio.gather(*(one.start() for _ in range(20)))}
    await one.rows(
        "UPDATE workflow_instance SET started_at = (SELECT min(started_at) FROM workflow_instance)"
    )
    for path in ("/v1/instances?pageSize=3", "/v1/instances?status=ACTIVE&pageSize=3"):
        found = await pages(one, path, 4_000_000)
        assert [item["id"] for page in found for item in page] == sorted(ids, reverse=True)


async def test_a_list_by_pages_is_as_it_was(one: Running) -> None:
    await one.define(service("a", "end"), END)
    ids = [(await one.start(n=n)).id for n in range(5)]
    _, body, _ = await ask(one, "/v1/instances?page=1&pageSize=2")
    assert [item["id"] for item in body["items"]] == [ids[2], ids[1]]
    assert (body["total"], body["page"], body["pageSize"]) == (5, 1, 2)
    _, body, _ = await ask(one, "/v1/instances")
    assert set(body) == {"items", "total", "page", "pageSize"}
    _, body, _ = await ask(one, "/v1/instances?page=9")
    assert (body["items"], body["total"]) == ([], 5)


@pytest.mark.parametrize("token", ["x", "%00", "////", "MjAyNg", "9" * 1000])
@pytest.mark.parametrize(
    "path", ["/v1/instances", "/v1/instances/i/history", "/v1/definitions", "/v1/workers"]
)
async def test_a_token_of_nobody_is_refused(one: Running, path: str, token: str) -> None:
    status, body, _ = await ask(one, f"{path}?pageToken={token}")
    assert (status, body["error"]) == (400, "bad-request")
    assert "pageToken" in body["reason"]


async def test_a_history_ends_before_the_bound_and_its_cursor_goes_on(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="1000000")
    steps = [
        {"id": f"t{n}", "type": "TRANSFORMATION", "transformations": {"n": n}, "nextStep": f"t{n + 1}"}
        for n in range(100)
    ]
    await one.define(*steps, {"id": "t100", "type": "END"})
    instance = await one.start(text="x" * 20_000)
    found = await pages(one, f"/v1/instances/{instance.id}/history", 1_000_000)
    assert [item["stepId"] for page in found for item in page] == [f"t{n}" for n in range(101)]
    assert len(found) > 5
    line = line_to(one)
    answer = await line.call("GetInstanceHistory", id=instance.id)
    assert (len(answer.executions), answer.next_page_token) == (101, ""), "it has no snapshots"
    await line.channel.close()


async def test_lists_over_grpc_are_received(line: Line) -> None:
    await line.one.define(service("a", "end"), END)
    ids = [(await line.one.start(numbers=[1] * 300_000)).id for _ in range(4)]
    ids += [(await line.one.start(text="x" * 900_000)).id for _ in range(6)]
    ids.append((await line.one.start(text="x" * 6_000_000)).id)
    found: list[Any] = []
    token, calls = "", 0
    while not found or token:
        answer = await line.call("ListInstances", definition_id="d", page_token=token)
        assert (answer.total, answer.ByteSize() <= 4_000_000) == (11, True)
        found += answer.instances
        token, calls = answer.next_page_token, calls + 1
    assert [each.id for each in found] == ids[::-1]
    assert calls > 4
    assert [each.id for each in found if not each.HasField("variables")] == [ids[-1]], (
        "too large for any client"
    )


async def test_an_instance_that_no_grpc_client_can_receive_is_named(line: Line) -> None:
    await line.one.define(service("a", "end"), END)
    for variables in ({"text": "x" * 5_000_000}, {"numbers": [1] * 600_000}):
        instance = await line.one.start(**variables)
        status, told = await line.status("GetInstance", id=instance.id)
        assert status == "RESOURCE_EXHAUSTED"
        assert all(text in told for text in (instance.id, "WINDLASS_ANSWER_BYTES_MAX", "REST"))
        assert (await ask(line.one, f"/v1/instances/{instance.id}"))[0] == 200
        answer = await line.call("CancelInstance", id=instance.id)
        assert (answer.instance.status, answer.instance.HasField("variables")) == (5, False)


async def test_a_definition_that_no_grpc_client_can_receive_is_named(line: Line) -> None:
    await define(line.one, "large", "x" * 5_000_000)
    status, told = await line.status("GetDefinition", id="large")
    assert status == "RESOURCE_EXHAUSTED"
    assert all(text in told for text in ("large", "WINDLASS_ANSWER_BYTES_MAX", "REST"))
    assert (await ask(line.one, "/v1/definitions/large"))[0] == 200


async def test_cut_answers_and_jobs_passed_over_are_counted(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="100000")

    def counted(name: str, **labels: str) -> float:
        return one.node.metrics.registry.get_sample_value(f"windlass_{name}_total", labels) or 0

    steps = [
        {
            "id": f"t{n}",
            "type": "TRANSFORMATION",
            "transformations": {"n": n},
            "nextStep": ("t1", "t2", "a")[n],
        }
        for n in range(3)
    ]
    await one.define(*steps, service("a", "end"), END)
    first = await one.start(text="x" * 40_000)
    for path in ("/v1/instances", f"/v1/instances/{first.id}/history?pageToken=", "/v1/instances?pageSize=1"):
        assert (await ask(one, path))[0] == 200
    await one.poll("do-a", most=10)
    assert [counted("answers_cut", answer=answer) for answer in ("poll", "list", "history")] == [0, 0, 1]
    for _ in range(2):
        await one.start(text="x" * 40_000)
    assert "nextPageToken" in (await ask(one, "/v1/instances?pageSize=2"))[1]
    assert counted("answers_cut", answer="list") == 0, "it is as long as was asked for"
    assert "nextPageToken" in (await ask(one, "/v1/instances"))[1]
    assert counted("answers_cut", answer="list") == 1
    await one.start(text="x" * 40_000)
    assert len(await one.poll("do-a", most=10)) == 2
    assert counted("answers_cut", answer="poll") == 1
    await one.poll("do-a", most=10)
    await one.start(text="x" * 200_000)
    assert counted("jobs_passed_over") == 0
    line = line_to(one)
    assert await line.poll(max_jobs=5) == []
    await line.channel.close()
    await eventually(lambda: counted("jobs_passed_over") == 1)


async def test_the_client_reads_a_history_to_its_end(boot: Boot) -> None:
    one = await boot(WINDLASS_ANSWER_BYTES_MAX="16384")
    steps = [
        {"id": f"t{n}", "type": "TRANSFORMATION", "transformations": {"n": n}, "nextStep": f"t{n + 1}"}
        for n in range(60)
    ]
    await one.define(*steps, {"id": "t60", "type": "END"})
    instance = await one.start()
    assert one.node.grpc is not None
    for url in (f"http://127.0.0.1:{one.node.rest.port}", f"grpc://127.0.0.1:{one.node.grpc.port}"):
        async with Client(url) as client:
            history = await client.history(instance.id)
        assert [each.step_id for each in history] == [f"t{n}" for n in range(61)]


async def test_the_longest_names_fit_the_indexes(one: Running) -> None:
    """A start's key and its definition's id are in one entry."""
    letters = random.Random(1).choices(string.ascii_letters + string.digits, k=2048)
    id_, key = "".join(letters[:256]), "".join(letters[::-1])
    await one.define(service("a", "end"), END, id_=id_)
    instance = await one.engine.start_instance(
        definition_id=id_, version=None, variables=raw(), business_key=key
    )
    _, body, _ = await ask(one, f"/v1/instances?businessKey={key}&definitionId={id_}")
    assert [item["id"] for item in body["items"]] == [instance.id]
