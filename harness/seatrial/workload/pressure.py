"""Callers that ask for more than their share. What they sent and were told is counted, not recorded call by call:
their calls are no promise's subject, and their bodies would swell the history.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import aiohttp
import msgspec

from seatrial.client.rest import headers_of
from seatrial.cluster import Replica
from seatrial.cluster.trust import trust_of

_GIVE_UP_S = 30.0
_PART_BYTES = 262_144


class Pressure(ABC):
    """One kind of it at one replica; `at_once` is how many callers it has. `run` until cancelled."""

    kind: str
    again_after_s: float = 0.1
    """How long a caller waits that was refused."""

    def __init__(self, replica: Replica, at_once: int) -> None:
        self.replica = replica
        self.callers = at_once
        self.bytes = 0
        """Of all bodies that were sent or, where answers are what is asked for, received."""
        self.statuses: Counter[str] = Counter()
        """`none`: no answer came."""
        self._in_hand = 0
        self._at_once = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=self._give_up_s())
        ) as session:
            await asyncio.gather(*(self._go_on(session, number) for number in range(self.callers)))

    def told(self) -> dict[str, Any]:
        """The value of the row `pressed`."""
        return {
            "kind": self.kind,
            "bytes": self.bytes,
            "statuses": dict(sorted(self.statuses.items())),
            "at_once": self._at_once,
        }

    @abstractmethod
    async def call(self, session: aiohttp.ClientSession, number: int) -> int:
        """Makes one call and returns its status."""

    def _give_up_s(self) -> float:
        return _GIVE_UP_S

    async def _go_on(self, session: aiohttp.ClientSession, number: int) -> None:
        while True:
            try:
                with self._at_work():
                    status = await self.call(session, number)
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 0
            self.statuses[str(status or "none")] += 1
            if not 200 <= status < 300:
                await asyncio.sleep(self.again_after_s)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._in_hand += 1
        self._at_once = max(self._at_once, self._in_hand)
        try:
            yield
        finally:
            self._in_hand -= 1


class Flood(Pressure):
    """Starts with large bodies, one body after the other."""

    kind = "flood of starts"

    def __init__(self, replica: Replica, at_once: int, bodies: Sequence[bytes]) -> None:
        super().__init__(replica, at_once)
        self._bodies = itertools.cycle(bodies)

    async def call(self, session: aiohttp.ClientSession, number: int) -> int:  # noqa: ARG002  all are the same
        body = next(self._bodies)
        url = f"{self.replica.rest_url}/v1/instances"
        headers = {**headers_of(self.replica, has_body=True), "Content-Length": str(len(body))}
        async with session.post(
            url, data=self._sent(body), headers=headers, ssl=trust_of(self.replica)
        ) as response:
            await response.read()
            return response.status

    async def _sent(self, body: bytes) -> AsyncIterator[bytes]:
        """Counts what is on its way, whatever comes of it."""
        for begin in range(0, len(body), _PART_BYTES):
            part = body[begin : begin + _PART_BYTES]
            yield part
            self.bytes += len(part)


class ParkedPolls(Pressure):
    """Polls that wait for a job of a type that has none; one that was answered is made again."""

    kind = "parked polls"

    def __init__(self, replica: Replica, at_once: int, wait_s: float) -> None:
        super().__init__(replica, at_once)
        self._wait_s = wait_s

    async def call(self, session: aiohttp.ClientSession, number: int) -> int:
        body = msgspec.json.encode(
            {
                "workerId": f"parked-{number}",
                "jobTypes": ["nobody-makes-this"],
                "maxJobs": 1,
                "waitMs": round(self._wait_s * 1000),
            }
        )
        async with session.post(
            f"{self.replica.rest_url}/v1/jobs/poll",
            data=body,
            headers=headers_of(self.replica, has_body=True),
            ssl=trust_of(self.replica),
        ) as response:
            self.bytes += len(await response.read())
            return response.status

    def _give_up_s(self) -> float:
        return self._wait_s + _GIVE_UP_S


class Dashboard(Pressure):
    """Lists and histories, read to their end; `paths` give what is asked for next."""

    kind = "dashboard"

    def __init__(self, replica: Replica, at_once: int, paths: Callable[[], str]) -> None:
        super().__init__(replica, at_once)
        self._next_path = paths

    async def call(self, session: aiohttp.ClientSession, number: int) -> int:  # noqa: ARG002  all are the same
        async with session.get(
            self.replica.rest_url + self._next_path(),
            headers=headers_of(self.replica, has_body=False),
            ssl=trust_of(self.replica),
        ) as response:
            async for part in response.content.iter_any():
                self.bytes += len(part)
            return response.status
