"""Large answers have room in memory until their callers have read them, however slowly they do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from http_site import Site, on_both_loops, serving

from patience import eventually
from windlass.memory import IDLE_BYTES, MIB, Budget, Use

ANSWER_BYTES = 4_000_000
CALLERS = 20


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def small_budget() -> Budget:
    """Half of it, 16 MiB, may be answers at a time."""
    limit = (IDLE_BYTES + 32 * MIB) * 10 // 9
    return Budget(limit)


@contextlib.asynccontextmanager
async def asking(site: Site, path: str) -> AsyncIterator[list[socket.socket]]:
    """So many callers of it that do not read their answers."""
    with contextlib.ExitStack() as stack:
        callers = []
        for number in range(CALLERS):
            own = stack.enter_context(socket.socket())
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            own.setblocking(False)
            await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", site.port))
            await asyncio.get_running_loop().sock_sendall(own, get(f"{path}-{number}"))
            callers.append(own)
        yield callers


@on_both_loops
async def test_answers_that_nobody_reads_are_no_more_than_there_is_room_for() -> None:
    memory = small_budget()
    async with serving(memory=memory, room_s=0.1) as site, asking(site, "/jobs"):
        await eventually(lambda: len(site.echo.seen) == CALLERS)
        told = [status for _, status in site.echo.seen]
        held = memory.used(Use.ANSWER)
        assert 3 * ANSWER_BYTES <= held <= 16 * MIB
        assert told.count(200) * ANSWER_BYTES == held
        assert set(told) == {200, 503}
        # The leases of jobs that were refused for want of room are given back at once.
        assert len(site.echo.untaken) == told.count(503)


@on_both_loops
async def test_the_room_of_an_answer_is_free_when_it_is_read_or_its_caller_has_gone() -> None:
    memory = small_budget()
    async with serving(memory=memory, room_s=0.1) as site:
        async with asking(site, "/jobs") as callers:
            await eventually(lambda: len(site.echo.seen) == CALLERS)
            served = next(int(path.rpartition("-")[2]) for path, status in site.echo.seen if status == 200)
            before = memory.used(Use.ANSWER)
            read = 0
            while read < ANSWER_BYTES:
                read += len(await asyncio.get_running_loop().sock_recv(callers[served], 1 << 20))
            await eventually(lambda: memory.used(Use.ANSWER) == before - ANSWER_BYTES)
        await eventually(lambda: memory.used(Use.ANSWER) == 0)
        caller = await site.connect()
        assert len((await caller.call(get("/jobs")))[2]) == ANSWER_BYTES
        await eventually(lambda: memory.used(Use.ANSWER) == 0)


@on_both_loops
async def test_an_answer_waits_for_room() -> None:
    memory = small_budget()
    async with serving(memory=memory, room_s=10) as site:
        assert memory.draw(Use.ANSWER, memory.most(Use.ANSWER))
        caller = await site.connect()
        await caller.send(get("/jobs"))
        await eventually(lambda: memory.waiting == 1)
        memory.give_back(Use.ANSWER, memory.used(Use.ANSWER))
        assert len((await caller.answer())[2]) == ANSWER_BYTES
        gone = await site.connect()
        assert memory.draw(Use.ANSWER, memory.most(Use.ANSWER))
        await gone.send(get("/jobs-gone"))
        await eventually(lambda: memory.waiting == 1)
        await gone.close()
        await eventually(lambda: site.echo.untaken == ["/jobs-gone"])
        assert memory.waiting == 0
