"""Callers who take time: idle, slow, half-sent, too large, gone in the middle; right ones are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import broken_json
from case import Finding
from grpc_cases import PREFACE, SETTINGS
from oracle import Broken
from subject import BODY_BYTES_MAX, Subject

HOST = "127.0.0.1"
READ_TIMEOUT_S = 1.0
#: More than the idle ones, less than all at once.
CONNECTIONS_MAX = 1_200
WITHIN_S = 30.0
#: What a right call may take while the others are there; alone it takes milliseconds.
SERVED_WITHIN_S = 5.0
GROWTH_BYTES_MAX = 96 * 1024 * 1024

POLL = broken_json.encoded({"workerId": "w", "jobTypes": ["nobody-s"]})
GET = b"GET /healthz HTTP/1.1\r\nHost: fuzz\r\n\r\n"


def post(length: int, *headers: bytes) -> bytes:
    lines = [b"POST /v1/jobs/poll HTTP/1.1", b"Host: fuzz", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % length]) + b"\r\n\r\n"


@dataclass(slots=True)
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int) -> Caller:
        return cls(*await asyncio.wait_for(asyncio.open_connection(HOST, port), WITHIN_S))

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.writer.write(data)
            await self.writer.drain()

    async def status(self) -> int:
        """Of the next answer, its body read too; 0 when the connection ends instead."""
        try:
            async with asyncio.timeout(WITHIN_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").lower().split("\r\n")
                lengths = [int(line.split(": ")[1]) for line in lines if line.startswith("content-length")]
                await self.reader.readexactly(lengths[0] if lengths else 0)
        except TimeoutError:
            raise Broken("in time", f"no answer within {WITHIN_S:g} s") from None
        except (OSError, asyncio.IncompleteReadError):
            return 0
        return int(lines[0].split()[1])

    async def is_open(self) -> bool:
        """Nothing has come, and the other side has not closed."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.01)
        except TimeoutError:
            return True
        except OSError:
            return False
        return False

    async def until_closed(self) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            raise Broken("in time", f"the connection is not ended within {WITHIN_S:g} s") from None
        except OSError:
            pass

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Goes away without a word, and without a FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class SlowClients:
    """Each scenario returns how many connections it made; Broken says what was not as promised."""

    def __init__(self, subject: Subject, connections_max: int) -> None:
        self._rest, self._grpc = subject.rest_port, subject.grpc_port
        self._connections_max = connections_max
        self._callers: list[Caller] = []

    async def _many(self, count: int, port: int | None = None) -> list[Caller]:
        made = [await Caller.connect(port or self._rest) for _ in range(count)]
        self._callers += made
        return made

    async def close(self) -> None:
        for caller in self._callers:
            caller.close()
        self._callers.clear()

    async def _served(self) -> None:
        """A right call gets its answer soon, whatever the others do."""
        began_s = time.monotonic()
        (caller,) = await self._many(1)
        await caller.send(post(len(POLL)) + POLL)
        status = await caller.status()
        took_s = time.monotonic() - began_s
        if status != 200 or took_s > SERVED_WITHIN_S:
            raise Broken("still serving", f"a right call was answered {status} after {took_s:.1f} s")
        caller.close()

    async def _all_answered(self, callers: list[Caller], wanted: set[int]) -> None:
        statuses = await asyncio.gather(*(caller.status() for caller in callers))
        if strange := set(statuses) - wanted:
            raise Broken(
                "status", f"answered {sorted(strange)} (0: closed without a word), not {sorted(wanted)}"
            )

    # -- REST

    async def idle(self, count: int) -> int:
        """None of these is closed while there is room."""
        callers = await self._many(count)
        await self._served()
        if not all(await asyncio.gather(*(caller.is_open() for caller in callers))):
            raise Broken("idle connections are kept", "one was closed although there was room")
        await self._all_kept(callers)
        return count

    async def _all_kept(self, callers: list[Caller]) -> None:
        for caller in callers:
            await caller.send(GET)
        await self._all_answered(callers, {200})

    async def past_the_cap(self, count: int) -> int:
        """All newer ones are served: places for one call each, and else the longest idle ones, make room."""
        callers = await self._many(self._connections_max - count)
        await self._all_kept(callers)
        newer = await self._many(2 * count)
        await self._all_kept(newer)
        await self._served()
        kept, new = [
            sum(await asyncio.gather(*(caller.is_open() for caller in group))) for group in (callers, newer)
        ]
        if kept + new > self._connections_max or kept < self._connections_max - 3 * count:
            raise Broken(
                "the cap on connections",
                f"{kept} of {len(callers)} and {new} of {len(newer)} newer ones were kept, {self._connections_max} may",
            )
        return len(callers) + len(newer)

    async def slow_heads(self, count: int) -> int:
        """A byte now and then does not make a call: its time to arrive runs on."""
        callers = await self._many(count)

        async def drip(caller: Caller) -> None:
            for byte in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"y" * 60:
                await caller.send(bytes([byte]))
                await asyncio.sleep(READ_TIMEOUT_S / 20)

        await self._dripped(callers, drip)
        return count

    async def slow_bodies(self, count: int) -> int:
        callers = await self._many(count)

        async def drip(caller: Caller) -> None:
            await caller.send(post(1_000))
            for _ in range(60):
                await caller.send(b" ")
                await asyncio.sleep(READ_TIMEOUT_S / 20)

        await self._dripped(callers, drip)
        return count

    async def _dripped(self, callers: list[Caller], drip: Callable[[Caller], Awaitable[None]]) -> None:
        drips = [asyncio.ensure_future(drip(caller)) for caller in callers]
        try:
            await self._served()
            await self._all_answered(callers, {408})
        finally:
            for each in drips:
                each.cancel()
            await asyncio.gather(*drips, return_exceptions=True)

    async def half_sent(self, count: int) -> int:
        """Heads and bodies that stop somewhere; half of the callers then go away, the others are told."""
        whole = post(len(POLL)) + POLL
        callers = await self._many(count)
        for number, caller in enumerate(callers):
            await caller.send(whole[: 1 + number % (len(whole) - 1)])
        await self._served()
        for caller in callers[::2]:
            caller.reset()
        await self._all_answered(callers[1::2], {408})
        return count

    async def large_bodies(self, count: int) -> int:
        """Told or found to be past the cap, or chunks without end: refused before they have come in."""
        callers = await self._many(count)
        block = b"x" * 65536
        chunked = b"POST /v1/jobs/poll HTTP/1.1\r\nHost: fuzz\r\nTransfer-Encoding: chunked\r\n\r\n"

        async def pour(number: int, caller: Caller) -> int:
            told = number % 2 == 0
            await caller.send(post(BODY_BYTES_MAX + 1) if told else chunked)
            for _ in range(2 * BODY_BYTES_MAX // len(block)):
                await caller.send(block if told else b"10000\r\n" + block + b"\r\n")
            return await caller.status()

        statuses = set(await asyncio.gather(*(pour(*each) for each in enumerate(callers))))
        # The node may also be holding all it has room for.
        if not statuses <= {413, 503} or 413 not in statuses:
            raise Broken("status", f"bodies past the cap were answered {sorted(statuses)}")
        await self._served()
        return count

    async def held_bodies(self, count: int) -> int:
        """Many large bodies at once, none of them whole: past its bound the node takes no more, and then lets go."""
        callers = await self._many(count)
        part = b"x" * (BODY_BYTES_MAX - 1)
        await asyncio.gather(*(caller.send(post(BODY_BYTES_MAX) + part) for caller in callers))
        await self._all_answered(callers, {408, 503})
        await self._served()
        return count

    async def gone_in_the_middle(self, count: int) -> int:
        """Resets while the call is served or its answer is written."""
        callers = await self._many(count)
        for number, caller in enumerate(callers):
            await caller.send((post(len(POLL)) + POLL) * (1 + number % 12) + GET[: number % len(GET)])
            caller.reset()
        await self._served()
        return count

    async def deaf(self, count: int) -> int:
        """Asks and asks and never reads: answers do not pile up in the engine."""
        callers = await self._many(count)
        asked = b"GET /v1/definitions?pageSize=200 HTTP/1.1\r\nHost: fuzz\r\n\r\n" * 500

        async def ask(caller: Caller) -> None:
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(caller.send(asked), 0.5)

        await asyncio.gather(*(ask(caller) for caller in callers))
        await self._served()
        for caller in callers:
            caller.reset()
        return count

    # -- gRPC

    async def grpc_idle(self, count: int) -> int:
        """Set up and silent: kept. Not set up in time: ended. REST is served beside both."""
        idle = await self._many(count, self._grpc)
        for caller in idle:
            await caller.send(PREFACE + SETTINGS)
        silent = await self._many(count, self._grpc)
        for caller in silent[::2]:
            await caller.send(PREFACE[:7])
        await self._served()
        await asyncio.gather(*(caller.until_closed() for caller in silent))
        return 2 * count

    async def grpc_past_the_cap(self, count: int) -> int:
        """New ones are turned away while the door is full, and let in again after."""
        await self._many(self._connections_max, self._grpc)
        over = await self._many(count, self._grpc)
        await asyncio.gather(*(caller.until_closed() for caller in over))
        await self._served()
        return self._connections_max + count


@dataclass(slots=True)
class Outcome:
    connections: int = 0
    growth_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)


#: Scenario and how many callers it gets, at full size.
SCENARIOS = {
    "idle": 1_000,
    "past_the_cap": 100,
    "slow_heads": 100,
    "slow_bodies": 100,
    "half_sent": 200,
    "large_bodies": 40,
    "held_bodies": 60,
    "gone_in_the_middle": 200,
    "deaf": 20,
    "grpc_idle": 200,
    "grpc_past_the_cap": 50,
}


def variables(scale: float = 1.0) -> dict[str, str]:
    """For the engine that gets these callers."""
    return {
        "WINDLASS_CONNECTIONS_MAX": str(_connections_max(scale)),
        "WINDLASS_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_S),
        "WINDLASS_IDLE_TIMEOUT_SECONDS": "3600",
        # Room for ten of the largest bodies.
        "WINDLASS_MEMORY_BYTES_MAX": str(160 * BODY_BYTES_MAX),
    }


def _connections_max(scale: float) -> int:
    return max(50, round(CONNECTIONS_MAX * scale))


def run(
    subject: Subject, scale: float = 1.0, told: Callable[[str, int], None] = lambda _name, _count: None
) -> Outcome:
    """All scenarios, one after the other, at `scale` of their size; the first fault of each is kept."""
    outcome = Outcome()
    before = subject.rss_bytes()
    for name, count in SCENARIOS.items():
        try:
            made = asyncio.run(
                _one(SlowClients(subject, _connections_max(scale)), name, max(4, round(count * scale)))
            )
        except Broken as broken:
            outcome.findings.append(Finding(broken.oracle, f"{name}: {broken.text}"))
            made = 0
        outcome.connections += made
        told(name, made)
    outcome.growth_bytes = subject.rss_bytes() - before
    if outcome.growth_bytes > GROWTH_BYTES_MAX:
        grown = f"{outcome.growth_bytes / 2**20:.0f} MiB more than before the connections"
        outcome.findings.append(Finding("no growing process", grown))
    # A node that is full says so in its log, once for each caller it turns away.
    if complaints := [line for line in subject.complaints() if '"status":503' not in line]:
        outcome.findings.append(
            Finding("quiet log", f"{len(complaints)} lines, the first: {complaints[0][:500]}")
        )
    return outcome


async def _one(clients: SlowClients, name: str, count: int) -> int:
    try:
        return int(await getattr(clients, name)(count))
    finally:
        await clients.close()
