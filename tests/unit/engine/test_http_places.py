"""More connections than the HTTP server has places, on both event loops: who makes room for whom."""

from __future__ import annotations

import asyncio
import json

from caller import get
from http_site import on_both_loops, serving

from patience import eventually
from windlass.api.call import MadeRoom
from windlass.api.http import REFUSED_AT_ONCE_MAX


@on_both_loops
async def test_at_the_cap_the_longest_idle_connection_makes_room() -> None:
    async with serving(connections_max=2, quiet_s=0.0, unused_s=0.0) as site:
        oldest, busy = await site.connect(), await site.connect()
        await busy.send(get("/wait"))
        await eventually(lambda: site.echo.served)
        newest = await site.connect()
        assert (await newest.call(get("/new")))[0] == 200
        assert await oldest.closed() == b""
        await newest.send(get("/wait/2"))
        await eventually(lambda: "/wait/2" in site.echo.served)
        refused = await site.connect()
        status, _, body = await refused.answer()
        assert status == 503
        assert "2 connections" in json.loads(body)["reason"]
        site.echo.gate.set()
        assert (await busy.answer())[0] == 200


@on_both_loops
async def test_calls_that_wait_leave_the_last_connections_to_those_that_do_not() -> None:
    async with serving(connections_max=5, spare_part=5, quiet_s=0.0, unused_s=0.0) as site:
        waiting = [await site.connect() for _ in range(4)]
        for number, caller in enumerate(waiting):
            await caller.send(get(f"/wait/{number}"))
        await eventually(lambda: len(site.echo.served) == 4)
        for _ in range(3):
            probe = await site.connect()
            status, headers, _ = await probe.call(get("/probe"))
            assert (status, headers["connection"]) == (200, "close")
            assert await probe.closed() == b""
        silent = await site.connect()
        # A silent one gives way to the next.
        assert (await (await site.connect()).call(get("/probe")))[0] == 200
        assert await silent.closed() == b""
        site.echo.gate.set()
        assert [(await caller.answer())[0] for caller in waiting] == [200] * 4

        async def one_may_stay() -> bool:
            status, headers, _ = await (await site.connect()).call(get("/probe"))
            return (status, headers.get("connection")) == (200, None)

        # As soon as one of those that have nothing to do any more has been silent for long enough.
        await eventually(one_may_stay)


@on_both_loops
async def test_who_makes_room_is_told_apart_within_one_look_at_the_clock() -> None:
    async with serving(connections_max=12, quiet_s=0.0, unused_s=0.0) as site:
        callers = [await site.connect() for _ in range(12)]
        for caller in reversed(callers):
            assert (await caller.call(get("/hello")))[0] == 200
        newer = [await site.connect() for _ in range(6)]
        for caller in callers[6:]:
            assert await caller.closed() == b""
        for caller in callers[:6] + newer:
            assert (await caller.call(get("/still")))[0] == 200


@on_both_loops
async def test_newcomers_beyond_the_limit_are_answered_however_late_their_call_comes() -> None:
    async with serving(connections_max=10, spare_part=5, quiet_s=5.0) as site:
        callers = [await site.connect() for _ in range(60)]
        await eventually(lambda: len(site.server.connections) == 10)
        await asyncio.sleep(0.3)
        told = await asyncio.gather(*(caller.call(get(f"/late/{n}")) for n, caller in enumerate(callers)))
        assert [status for status, _, _ in told] == [200] * 60
        assert len(site.server.connections) <= 10


@on_both_loops
async def test_at_the_cap_the_call_that_waits_for_longest_is_answered_for_a_newcomer() -> None:
    async with serving(connections_max=5, spare_part=5) as site:
        polls = [await site.connect() for _ in range(4)]
        for number, caller in enumerate(polls):
            await caller.send(get(f"/poll/{number}"))
            await eventually(lambda number=number: len(site.echo.served) == number + 1)  # type: ignore[misc]
        silent = await site.connect()
        await eventually(lambda: len(site.server.connections) == 5)
        newest = await site.connect()
        assert (await newest.call(get("/probe")))[0] == 200
        status, headers, body = await polls[0].answer()
        assert (status, headers["connection"], body) == (200, "close", b"nothing")
        assert site.echo.made_room_by == [MadeRoom.POLL_ENDED]
        assert (await silent.call(get("/late")))[0] == 200
        assert len(site.server.waiting) == 3


@on_both_loops
async def test_a_connection_just_used_is_not_closed_for_newcomers_while_calls_wait_or_are_to_come() -> None:
    async with serving(connections_max=5, spare_part=5, quiet_s=0.0) as site:
        pooled = [await site.connect() for _ in range(2)]
        for caller in pooled:
            assert (await caller.call(get("/first")))[0] == 200
        polls = [await site.connect() for _ in range(3)]
        for number, caller in enumerate(polls):
            await caller.send(get(f"/poll/{number}"))
        await eventually(lambda: len(site.server.waiting) == 3)
        # Longer than a newcomer may be silent.
        await asyncio.sleep(2 * site.server.limits.look_interval_s + 0.2)
        for _ in range(2):
            newcomer = await site.connect()
            await newcomer.send(get("/poll/next"))
        await eventually(lambda: site.echo.made_room_by)
        assert set(site.echo.made_room_by) == {MadeRoom.POLL_ENDED}
        for caller in pooled:
            assert (await caller.call(get("/second")))[0] == 200


@on_both_loops
async def test_who_connects_and_says_nothing_makes_room_after_a_moment() -> None:
    async with serving(connections_max=5, spare_part=5, quiet_s=0.2) as site:
        silent = [await site.connect() for _ in range(5)]
        await eventually(lambda: len(site.server.connections) == 5)
        assert (await (await site.connect()).call(get("/probe")))[0] == 200
        assert await silent[0].closed() == b""
        assert site.echo.made_room_by[0] is MadeRoom.IDLE_CLOSED


@on_both_loops
async def test_of_many_refused_only_a_few_are_told_at_a_time() -> None:
    async with serving(connections_max=2) as site:
        busy = [await site.connect() for _ in range(2)]
        for caller in busy:
            await caller.send(get("/wait"))
        await eventually(lambda: len(site.echo.served) == 2)
        refused = [await site.connect() for _ in range(20)]
        await eventually(lambda: len(site.server.connections) == 2 + REFUSED_AT_ONCE_MAX)
        await asyncio.sleep(0.1)
        assert len(site.server.connections) == 2 + REFUSED_AT_ONCE_MAX
        site.echo.gate.set()
        assert [(await caller.answer())[0] for caller in busy] == [200] * 2
        for caller in (*busy, *refused[:-1]):
            await caller.close()
        assert (await refused[-1].call(get("/late")))[0] == 200
