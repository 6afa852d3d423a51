"""Room in memory for the bodies of one connection: drawn before they are read, waited for in order, given back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from windlass.api.call import Limits, Request, Response
from windlass.memory import SMALL_BYTES, Budget, Use

NO_ROOM = "this node has no memory left for another request of this size; try again"
TOO_SLOW = "the request body arrives too slowly while others wait for room; send it faster, or later"
WAITING_MAX = 64
"""Bodies that wait for room: of each, a part has been read already."""

Refusal = tuple[int, str]


class BodyRoom:
    """`found` is called when there is room for the body that waited for it."""

    def __init__(self, memory: Budget, limits: Limits, found: Callable[[], None]) -> None:
        self._memory = memory
        self._limits = limits
        self._found = found
        #: drawn for the body being read
        self.drawn_bytes = 0
        #: the room that it waits for, since this loop time
        self._asked: asyncio.Future[None] | None = None
        self._asked_bytes = 0
        self._asked_since_s = 0.0
        #: the call that waits, when all of it has come already
        self.asked_for: Request | None = None
        #: drawn for answers that the caller has not read yet
        self.unsent_bytes = 0
        #: of the body, at the last check, and in the time before it
        self._seen_bytes = self._arrived_bytes = 0

    @property
    def waits(self) -> bool:
        return self._asked is not None

    def drawn(self, count: int) -> bool:
        """So much more is there now, and is drawn."""
        if self._memory.draw(Use.BODY, count):
            self.drawn_bytes += count
            return True
        return False

    def ask(self, count: int, now_s: float) -> Refusal | None:
        """Wait for so much more; unless it is refused, nothing may be read until `found`."""
        memory = self._memory
        if count > memory.most(Use.BODY):
            memory.refused(Use.BODY)
            return 413, (
                f"this node has no memory for a request body of {self.drawn_bytes + count} bytes; send less, or set "
                f"WINDLASS_MEMORY_BYTES_MAX above {memory.limit_bytes}"
            )
        if count <= SMALL_BYTES or self._asked is not None or memory.waiting >= WAITING_MAX:
            memory.refused(Use.BODY)
            return 503, NO_ROOM
        self._asked_bytes, self._asked_since_s = count, now_s
        self._asked = memory.ask(Use.BODY, count)
        self._asked.add_done_callback(self._got)
        return None

    def _got(self, asked: asyncio.Future[None]) -> None:
        if asked is not self._asked or asked.cancelled():
            return
        self._asked = None
        if self.asked_for is None:
            self.drawn_bytes += self._asked_bytes
        else:
            self.asked_for.held_bytes += self._asked_bytes
            self.asked_for = None
        self._found()

    def hand_over(self, request: Request) -> None:
        """All of the body has come: what is drawn for it is the call's, until `release`."""
        request.held_bytes, self.drawn_bytes = self.drawn_bytes, 0
        self._seen_bytes = self._arrived_bytes = 0
        if self._asked is not None:
            self.asked_for = request

    def draw_to_serve(self, request: Request, weight: int) -> bool:
        if weight and not self._memory.draw(Use.PARSED, weight):
            return False
        request.drawn_bytes = weight
        return True

    async def wait_to_serve(self, request: Request, weight: int) -> Refusal | None:
        """None: it is drawn. Small calls do not wait: what they need is there, or too many of them are served."""
        memory = self._memory
        within_s = self._limits.room_s if weight > SMALL_BYTES else 0.0
        if await memory.wait(Use.PARSED, weight, within_s=within_s):
            request.drawn_bytes = weight
            return None
        if weight <= memory.most(Use.PARSED):
            return 503, NO_ROOM
        return 413, (
            f"serving a body of {len(request.body)} bytes takes {weight} bytes of memory, more than this node has for "
            f"one call; send less, or set WINDLASS_MEMORY_BYTES_MAX above {memory.limit_bytes}"
        )

    async def answerable(
        self, request: Request, response: Response, refuse: Callable[[int, str], Response]
    ) -> Response:
        """The large answer when there is room for it until its caller has read it, else 503. What has been changed is
        told all the same.
        """
        size = len(response.body)
        try:
            is_drawn = await self._memory.wait(Use.ANSWER, size, within_s=self._limits.room_s)
        except asyncio.CancelledError:
            response.drop()
            raise
        if is_drawn:
            request.answer_bytes = size
        elif request.method == "GET" or response.untaken is not None:
            response.drop()
            return refuse(503, NO_ROOM)
        return response

    def sent(self) -> None:
        """The caller has read its answers, or never will."""
        if self.unsent_bytes:
            self._memory.give_back(Use.ANSWER, self.unsent_bytes)
            self.unsent_bytes = 0

    def release(self, request: Request) -> None:
        """What is held for a call that is answered, or has nobody left to be answered; for its answer until `sent`."""
        self.unsent_bytes += request.answer_bytes
        request.answer_bytes = 0
        if request.held_bytes:
            self._memory.give_back(Use.BODY, request.held_bytes)
        if request.drawn_bytes:
            self._memory.give_back(Use.PARSED, request.drawn_bytes)
        request.held_bytes = request.drawn_bytes = 0
        if request is self.asked_for:
            self.asked_for = None
            self._leave()

    def release_all(self, requests: deque[Request]) -> None:
        """They will not be served."""
        for request in requests:
            self.release(request)
        requests.clear()

    def drop(self) -> None:
        """What is held for the body being read."""
        self._memory.give_back(Use.BODY, self.drawn_bytes)
        self.drawn_bytes = self._seen_bytes = self._arrived_bytes = 0
        if self.asked_for is None:
            self._leave()

    def _leave(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            self._memory.leave(Use.BODY, self._asked_bytes, asked)

    def is_overdue(self, now_s: float) -> bool:
        """It has waited for long enough."""
        if self._asked is None or now_s - self._asked_since_s <= self._limits.room_s:
            return False
        self._memory.refused(Use.BODY)
        return True

    def is_slow(self, body_bytes: int, reading_s: float) -> bool:
        """It holds room for a body that arrives too slowly to be waited for; asked at each check of the deadlines."""
        arrived, self._seen_bytes = body_bytes - self._seen_bytes, body_bytes
        self._arrived_bytes, arrived = arrived, arrived + self._arrived_bytes
        if not self.drawn_bytes or self._asked is not None or reading_s < self._limits.slow_body_s:
            return False
        window_s = 2 * self._limits.look_interval_s
        return arrived < self.drawn_bytes * window_s / self._limits.whole_body_s

    @property
    def arrived_share(self) -> float:
        """What has arrived lately, of the room that it holds."""
        return self._arrived_bytes / max(1, self.drawn_bytes)
