"""What goes out: numbers that every door must be able to tell, leases of polls that were given up, large answers."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf import struct_pb2
from oracle import Broken, judge_leases
from placed import DEFINITION_ID, Placed, struct_of
from pressure_calls import Connection, Doors, Reply, head_of
from pressure_cases import CancelledPolls, LargeAnswers, Numbers
from subject import Subject
from targets import END

from windlass.api.gen import workflow_pb2 as pb

WORKER_ID = "fuzz-pressure"
LEASE_S = 3600
#: Not the one that the ordinary cases aim at.
LEASES = "SELECT count(*) FROM job WHERE status = 'LOCKED' AND job_type NOT LIKE 'fuzz-service.%'"
WAIT_MS = 3_000
#: The jobs of a flood are all there, or all given back.
SETTLED_WITHIN_S = 10.0
LARGE_WITHIN_S = 60.0
STARTS_AT_ONCE = 8
#: What Protobuf libraries take by default.
GRPC_ANSWER_BYTES_MAX = 4 * 1024 * 1024
CLIENT_SIDE = b"message larger than max"
REFUSED_TO_TELL = frozenset({"FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"})
#: A lease whose answer was on its way when the caller went is lost to everybody who knows.
LOST_ON_THE_WAY_SHARE = 0.01


class _Id(msgspec.Struct):
    id: str


class _Jobs(msgspec.Struct):
    jobs: list[_Id]


class _Page(msgspec.Struct, rename="camel"):
    items: list[_Id]
    next_page_token: str = ""


# -- numbers


async def numbers(doors: Doors, recipe: Numbers, _subject: Subject) -> int:
    """Taken by one door, a number is told by all; beyond a double it is refused."""
    placed = Placed(doors, recipe.door, recipe.place)
    await placed.prepare()
    # Over gRPC there are only doubles.
    is_double = math.isfinite(float(recipe.number))
    reply = await placed.sent(_nested(recipe) if recipe.door == "rest" else _nested_struct(recipe))
    wanted = {200, 201, 204, "OK"} if is_double else {400, "INVALID_ARGUMENT"}
    if reply.status not in wanted:
        raise Broken("the range of a double", f"{recipe.number[:40]} was answered {reply.shown()}")
    if is_double:
        await _told_by_all(doors, placed)
    return 10


def _nested(recipe: Numbers) -> bytes:
    text = recipe.number
    for kind in recipe.nesting:
        text = f"[{text}]" if kind == "array" else f'{{"a":{text}}}'
    return f'{{"x":{text}}}'.encode()


def _nested_struct(recipe: Numbers) -> bytes:
    value = struct_pb2.Value(number_value=float(recipe.number))
    for kind in recipe.nesting:
        outer = struct_pb2.Value()
        if kind == "array":
            outer.list_value.values.append(value)
        else:
            outer.struct_value.fields["a"].CopyFrom(value)
        value = outer
    return struct_of(value.SerializeToString())


async def _told_by_all(doors: Doors, placed: Placed) -> None:
    reads: list[Awaitable[Reply]] = []
    if placed.place == "definition":
        reads += [
            doors.rest("GET", f"/v1/definitions/{DEFINITION_ID}"),
            doors.grpc("GetDefinition", pb.GetDefinitionRequest(id=DEFINITION_ID).SerializeToString()),
            doors.grpc("ListDefinitions", pb.ListDefinitionsRequest(page_size=200).SerializeToString()),
        ]
    else:
        one = pb.GetInstanceRequest(id=placed.instance_id)
        reads += [
            doors.rest("GET", f"/v1/instances/{placed.instance_id}"),
            doors.rest("GET", f"/v1/instances/{placed.instance_id}/history"),
            doors.rest("GET", "/v1/instances?pageSize=200"),
            doors.grpc("GetInstance", one.SerializeToString()),
            doors.grpc("ListInstances", pb.ListInstancesRequest(page_size=200).SerializeToString()),
        ]
        poll = pb.PollJobsRequest(worker_id=WORKER_ID, job_types=["fuzz-probe.work"], max_jobs=10)
        reads.append(doors.grpc("PollJobs", poll.SerializeToString()))
    for reply in await asyncio.gather(*reads):
        if not reply.is_success:
            raise Broken("every door can tell", f"what was accepted was read with {reply.shown()}")


# -- leases


async def _definition(doors: Doors, steps: Sequence[Mapping[str, Any]]) -> str:
    id = f"fuzz-pressure-{random.SystemRandom().randrange(64)}"
    await doors.posted("/v1/definitions", {"id": id, "name": id, "steps": [*steps, END]}, 201)
    return id


def _service(job_type: str) -> Mapping[str, Any]:
    return {"id": "work", "name": "w", "type": "SERVICE_TASK", "jobType": job_type, "nextStep": "end"}


async def cancelled_polls(doors: Doors, recipe: CancelledPolls, subject: Subject) -> int:
    """Each job is told to a caller who heard it, or can be polled again: no lease is held by nobody."""
    job_type = f"fuzz-cancelled.{random.SystemRandom().randrange(2**32)}"
    id = await _definition(doors, [_service(job_type)])
    poll = _rest_poll if recipe.door == "rest" else _grpc_poll
    draws = random.Random(recipe.polls * 1000 + recipe.spread_ms)
    heard = 0
    for _ in range(recipe.polls):
        spread_s = draws.uniform(-recipe.spread_ms, recipe.spread_ms) / 1000
        heard += await poll(doors, job_type, recipe, spread_s, _starter(doors, id))
    await _settled(subject)
    held = subject.count(LEASES)
    allowed = 0 if recipe.manner == "half-closed" else 1 + round(recipe.polls * LOST_ON_THE_WAY_SHARE)
    judge_leases(held=held, heard=heard, polls=recipe.polls, lost_max=allowed)
    return 4 * recipe.polls + 5


def _starter(doors: Doors, id: str) -> Callable[[], Awaitable[object]]:
    return lambda: doors.posted("/v1/instances", {"definitionId": id}, 201)


async def _settled(subject: Subject) -> None:
    """Until leases that are given back have been."""
    locked, same, until_s = -1, 0, time.monotonic() + SETTLED_WITHIN_S
    while same < 5 and time.monotonic() < until_s:
        found = subject.count(LEASES)
        locked, same = found, same + 1 if found == locked else 0
        await asyncio.sleep(0.05)


async def _rest_poll(
    doors: Doors,
    job_type: str,
    recipe: CancelledPolls,
    spread_s: float,
    start: Callable[[], Awaitable[object]],
) -> int:
    """How many jobs its caller heard of before it went."""
    body = msgspec.json.encode(
        {"workerId": WORKER_ID, "jobTypes": [job_type], "waitMs": WAIT_MS, "leaseSeconds": LEASE_S}
    )
    began_s = time.monotonic()
    connection = await Connection.open(doors.rest_port)
    try:
        await connection.send(head_of("POST", "/v1/jobs/poll", len(body)), body)
        reply = asyncio.ensure_future(connection.reply(began_s))
        starting = await _start_around(start, spread_s)
        if recipe.manner == "half-closed":
            connection.end_sending()
            await starting
            await asyncio.wait([reply], timeout=WAIT_MS / 1000 + 5)
        else:
            # What has come by now was heard.
            await asyncio.sleep(0)
            if not reply.done():
                reply.cancel()
                await asyncio.gather(reply, return_exceptions=True)
        answered = reply.done() and not reply.cancelled() and reply.result().status == 200
        heard = len(msgspec.json.decode(reply.result().body, type=_Jobs).jobs) if answered else 0
    finally:
        connection.close()
    await starting
    return heard


async def _grpc_poll(
    doors: Doors,
    job_type: str,
    _recipe: CancelledPolls,
    spread_s: float,
    start: Callable[[], Awaitable[object]],
) -> int:
    message = pb.PollJobsRequest(
        worker_id=WORKER_ID, job_types=[job_type], max_jobs=10, lease_seconds=LEASE_S, wait_ms=WAIT_MS
    )
    call = doors.call("PollJobs", message.SerializeToString())
    answer = asyncio.ensure_future(_body_of(call))
    starting = await _start_around(start, spread_s)
    if not answer.done():
        call.cancel()
    await starting
    return len(pb.PollJobsResponse.FromString(await answer).jobs)


async def _body_of(call: Any) -> bytes:
    """Empty when it was cancelled."""
    try:
        body: bytes = await call
    except asyncio.CancelledError:
        return b""
    return body


async def _start_around(start: Callable[[], Awaitable[object]], spread_s: float) -> asyncio.Future[object]:
    """Returns so long after the start (before it, when negative); the poll has had time to arrive."""
    await asyncio.sleep(0.005)
    if spread_s < 0:
        later = asyncio.ensure_future(_after(-spread_s, start))
    else:
        later = asyncio.ensure_future(_after(0, start))
        await asyncio.sleep(spread_s)
    return later


async def _after(pause_s: float, start: Callable[[], Awaitable[object]]) -> object:
    await asyncio.sleep(pause_s)
    return await start()


# -- large answers


async def large_answers(doors: Doors, recipe: LargeAnswers, subject: Subject) -> int:
    """All of it can be read; what is leased has been heard; what one door cannot tell stays with the other."""
    asked = {"poll": _polls, "list": _lists, "history": _histories, "instance": _instances}[recipe.told]
    return await asked(doors, recipe, subject)


async def _stored(doors: Doors, recipe: LargeAnswers) -> tuple[str, str]:
    """Definition and job type of so many instances of that size, each with a job."""
    job_type = f"fuzz-answers.{random.SystemRandom().randrange(2**32)}"
    id = await _definition(doors, [_service(job_type)])
    body = msgspec.json.encode({"definitionId": id, "variables": {"x": "y" * recipe.size_bytes}})
    waiting = asyncio.Semaphore(1 if recipe.size_bytes > 4 * 1024 * 1024 else STARTS_AT_ONCE)

    async def start() -> None:
        async with waiting:
            reply = await doors.rest("POST", "/v1/instances", body, within_s=LARGE_WITHIN_S)
        if reply.status != 201:
            raise Broken("still serving", f"one large start after another: {reply.shown()}")

    await asyncio.gather(*(start() for _ in range(recipe.count)))
    return id, job_type


async def _polls(doors: Doors, recipe: LargeAnswers, subject: Subject) -> int:
    _, job_type = await _stored(doors, recipe)
    heard: set[str] = set()
    calls = 0
    can_go = recipe.door == "rest" or recipe.size_bytes < GRPC_ANSWER_BYTES_MAX - 4096
    while True:
        asked = [_poll(doors, recipe, job_type) for _ in range(recipe.at_once)]
        found = [id for ids in await asyncio.gather(*asked) for id in ids]
        calls += recipe.at_once
        heard.update(found)
        held = subject.count(LEASES)
        judge_leases(held=held, heard=len(heard), polls=calls, lost_max=0)
        if not found:
            break
    if len(heard) != (recipe.count if can_go else 0):
        raise Broken("all can be read", f"{len(heard)} of {recipe.count} jobs were ever told")
    return calls + recipe.count


async def _poll(doors: Doors, recipe: LargeAnswers, job_type: str) -> Sequence[str]:
    if recipe.door == "grpc":
        message = pb.PollJobsRequest(
            worker_id=WORKER_ID, job_types=[job_type], max_jobs=1000, lease_seconds=LEASE_S
        )
        reply = await doors.grpc("PollJobs", message.SerializeToString(), within_s=LARGE_WITHIN_S)
        _judge_told(reply)
        return [job.id for job in pb.PollJobsResponse.FromString(reply.body).jobs] if reply.is_success else []
    body = {"workerId": WORKER_ID, "jobTypes": [job_type], "maxJobs": 1000, "leaseSeconds": LEASE_S}
    reply = await doors.rest("POST", "/v1/jobs/poll", body, within_s=LARGE_WITHIN_S)
    _judge_told(reply)
    return [job.id for job in msgspec.json.decode(reply.body, type=_Jobs).jobs] if reply.is_success else []


def _judge_told(reply: Reply) -> None:
    """An answer that its caller can take, or a refusal in words. Raises Broken."""
    if CLIENT_SIDE in reply.body:
        raise Broken("answers can be taken", reply.body.decode(errors="replace")[:300])
    if not reply.is_success and reply.status not in REFUSED_TO_TELL | {429, 503}:
        raise Broken("status", f"answered {reply.shown()}")


async def _lists(doors: Doors, recipe: LargeAnswers, _subject: Subject) -> int:
    id, _ = await _stored(doors, recipe)
    calls = sum(await asyncio.gather(*(_list(doors, recipe, id) for _ in range(recipe.at_once))))
    return calls + recipe.count


async def _list(doors: Doors, recipe: LargeAnswers, id: str) -> int:
    """Reads to the end; the number of calls."""
    found: set[str] = set()
    token, calls = "", 0
    while True:
        calls += 1
        if recipe.door == "grpc":
            listed = pb.ListInstancesRequest(definition_id=id, page_size=200)
            reply = await doors.grpc("ListInstances", listed.SerializeToString(), within_s=LARGE_WITHIN_S)
            _judge_told(reply)
            return calls
        path = f"/v1/instances?definitionId={id}&pageSize=200" + (f"&pageToken={token}" if token else "")
        reply = await doors.rest("GET", path, within_s=LARGE_WITHIN_S)
        _judge_told(reply)
        if not reply.is_success:
            return calls
        page = msgspec.json.decode(reply.body, type=_Page)
        found.update(item.id for item in page.items)
        token = page.next_page_token
        if not token:
            break
    if len(found) != (recipe.count if calls > 1 else min(recipe.count, 200)):
        raise Broken("all can be read", f"{len(found)} of {recipe.count} instances in {calls} pages")
    return calls


async def _histories(doors: Doors, recipe: LargeAnswers, _subject: Subject) -> int:
    """Of one instance whose variables each of many steps saw."""
    names = [f"s{number}" for number in range(recipe.count)]
    steps = [
        {
            "id": name,
            "name": name,
            "type": "TRANSFORMATION",
            "transformations": {"n": 1},
            "nextStep": following,
        }
        for name, following in zip(names, [*names[1:], "end"], strict=True)
    ]
    id = await _definition(doors, steps)
    body = {"definitionId": id, "variables": {"x": "y" * recipe.size_bytes}}
    instance = await doors.posted("/v1/instances", body, 201)
    asked: list[Awaitable[Reply]] = []
    for _ in range(recipe.at_once):
        if recipe.door == "grpc":
            message = pb.GetInstanceHistoryRequest(id=instance["id"]).SerializeToString()
            asked.append(doors.grpc("GetInstanceHistory", message, within_s=LARGE_WITHIN_S))
        else:
            path = f"/v1/instances/{instance['id']}/history"
            asked.append(doors.rest("GET", path, within_s=LARGE_WITHIN_S))
    for reply in await asyncio.gather(*asked):
        _judge_told(reply)
    # Each step is a line of the log.
    return recipe.at_once + recipe.count + 5


async def _instances(doors: Doors, recipe: LargeAnswers, subject: Subject) -> int:
    """Each by itself, all at once."""
    await _stored(doors, recipe)
    asked: list[Awaitable[Reply]] = []
    for id in subject.instance_ids():
        if recipe.door == "grpc":
            message = pb.GetInstanceRequest(id=id).SerializeToString()
            asked.append(doors.grpc("GetInstance", message, within_s=LARGE_WITHIN_S))
        else:
            asked.append(doors.rest("GET", f"/v1/instances/{id}", within_s=LARGE_WITHIN_S))
    for reply in await asyncio.gather(*asked):
        _judge_told(reply)
    return 2 * recipe.count
