"""What comes in: bodies that are hollow, many, or slow, and upgrades in a row."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from oracle import ANSWER_WITHIN_S, Broken, judge_error_body
from placed import LARGE_WITHIN_S, Placed, field, variables_of
from pressure_calls import Connection, Doors, Reply, head_of
from pressure_cases import BodyFlood, HollowBody, PipelinedUpgrades, SlowBodies
from slow_road import DRIBBLE_EVERY_S, SlowRoad
from socket_caller import Answer
from subject import Subject
from targets import PROBE

from windlass.api.gen import workflow_pb2 as pb

#: A call that asks for little gets its answer so soon, whatever the large ones do.
SERVED_WITHIN_S = 5.0
NEWCOMER_EVERY_S = 0.1
SLOW_FOR_S = 1.5
IN_DOUBT = b"may have happened"

TOO_MUCH: frozenset[int | str] = frozenset({408, 413, 429, 503, "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""A node may say that it is too much at present, or for ever."""
REFUSED: frozenset[int | str] = frozenset({400, "INVALID_ARGUMENT"})


def judge_reply(reply: Reply, allowed: frozenset[int | str]) -> None:
    """A success, or one of these refusals with its reason. Raises Broken."""
    if IN_DOUBT in reply.body:
        raise Broken("nobody is left in doubt", f"answered {reply.shown()}")
    if reply.is_success:
        return
    if reply.status not in allowed:
        raise Broken("status", f"answered {reply.shown()}")
    if isinstance(reply.status, int):
        judge_error_body(Answer(reply.status, {}, reply.body))
    elif not reply.body:
        raise Broken("error body", f"{reply.status} without a message")


async def _small_start(doors: Doors) -> None:
    """Raises Broken when it is not served soon."""
    reply = await doors.rest("POST", "/v1/instances", {"definitionId": PROBE["id"], "variables": {"n": 1}})
    if reply.status != 201 or reply.took_s > SERVED_WITHIN_S:
        raise Broken("newcomers are served", f"a small start beside large calls: {reply.shown()}")


@asynccontextmanager
async def _newcomers(doors: Doors) -> AsyncIterator[list[int]]:
    """Small starts, again and again, while the block runs; their number so far. Raises Broken."""
    count = [0]

    async def come() -> None:
        while True:
            await _small_start(doors)
            count[0] += 1
            await asyncio.sleep(NEWCOMER_EVERY_S)

    coming = asyncio.ensure_future(come())
    try:
        yield count
    finally:
        coming.cancel()
        (ended,) = await asyncio.gather(coming, return_exceptions=True)
    if isinstance(ended, Broken):
        raise ended
    await _small_start(doors)


async def hollow_body(doors: Doors, recipe: HollowBody, _subject: Subject) -> int:
    placed = Placed(doors, recipe.door, recipe.place)
    await placed.prepare()
    async with _newcomers(doors) as newcomers:
        reply = await placed.sent(variables_of(recipe.door, recipe.filler, recipe.size_bytes))
    judge_reply(reply, TOO_MUCH | REFUSED)
    return 5 + newcomers[0]


async def body_flood(doors: Doors, recipe: BodyFlood, _subject: Subject) -> int:
    """Each door's calls share one body."""
    placed = {door: Placed(doors, door, "start") for door in recipe.doors}
    bodies = {door: variables_of(door, recipe.filler, recipe.size_bytes) for door in recipe.doors}
    async with _newcomers(doors) as newcomers:
        doors_in_turn = itertools.islice(itertools.cycle(recipe.doors), recipe.calls)
        replies = await asyncio.gather(*(placed[door].sent(bodies[door]) for door in doors_in_turn))
    for reply in replies:
        judge_reply(reply, TOO_MUCH)
    return len(replies) + newcomers[0] + 5


async def pipelined_upgrades(doors: Doors, recipe: PipelinedUpgrades, _subject: Subject) -> int:
    """Each call is answered, in its order, as if nothing had been offered; a blank body is refused."""
    path = f"/v1/instances?businessKey={'k' * recipe.query_chars}"
    offers = ("Connection: Upgrade", f"Upgrade: {recipe.protocol}")
    method, status = ("POST", 400) if recipe.body_bytes else ("GET", 200)
    one = head_of(method, path, recipe.body_bytes, *offers) + b" " * recipe.body_bytes
    connection = await Connection.open(doors.rest_port)
    began_s = time.monotonic()
    sending = asyncio.ensure_future(connection.send(one * recipe.calls))
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            for number in range(recipe.calls):
                reply = await connection.reply(began_s)
                if reply.status == 0:
                    raise Broken("every call answered", f"{number} answers to {recipe.calls} calls")
                if reply.status != status:
                    raise Broken("status", f"call {number} was answered {reply.shown()}")
    except TimeoutError:
        raise Broken("in time", f"not all of {recipe.calls} calls within {ANSWER_WITHIN_S:g} s") from None
    finally:
        sending.cancel()
        try:
            await asyncio.gather(sending, return_exceptions=True)
        finally:
            connection.close()
    return recipe.calls


async def slow_bodies(doors: Doors, recipe: SlowBodies, subject: Subject) -> int:
    slow = _slow_messages(recipe, subject.grpc_port) if recipe.door == "grpc" else _slow_calls(doors, recipe)
    async with slow, _newcomers(doors) as newcomers:
        await asyncio.sleep(SLOW_FOR_S)
    return recipe.clients + newcomers[0] + 5


@asynccontextmanager
async def _slow_messages(recipe: SlowBodies, port: int) -> AsyncIterator[None]:
    """Each on a channel of its own, so that none waits in the window of another."""
    start = pb.StartInstanceRequest(definition_id=str(PROBE["id"])).SerializeToString()
    variables = variables_of("grpc", "one text", recipe.told_bytes)
    name, message = "StartInstance", start + field(3, variables)
    async with AsyncExitStack() as stack:
        passed_bytes = len(message) - recipe.missing_bytes
        road = await stack.enter_async_context(SlowRoad(port, passed_bytes, recipe.manner))
        lines = [await stack.enter_async_context(Doors(0, road.port)) for _ in range(recipe.clients)]
        calls = [asyncio.ensure_future(line.grpc(name, message, within_s=LARGE_WITHIN_S)) for line in lines]
        try:
            yield
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


@asynccontextmanager
async def _slow_calls(doors: Doors, recipe: SlowBodies) -> AsyncIterator[None]:
    body = variables_of("rest", "one text", recipe.told_bytes)[: recipe.told_bytes - recipe.missing_bytes]
    head = head_of("POST", "/v1/instances", recipe.told_bytes)
    connections = [await Connection.open(doors.rest_port) for _ in range(recipe.clients)]

    async def send(connection: Connection) -> None:
        await connection.send(head, body)
        if recipe.manner == "half-closed":
            connection.end_sending()
        while recipe.manner == "dribbled":
            await asyncio.sleep(DRIBBLE_EVERY_S)
            await connection.send(b" ")

    sending = [asyncio.ensure_future(send(connection)) for connection in connections]
    try:
        yield
    finally:
        for each in sending:
            each.cancel()
        try:
            await asyncio.gather(*sending, return_exceptions=True)
        finally:
            for connection in connections:
                connection.close()
