"""Room in memory for the message of a gRPC call: drawn while it is read, before it is parsed, given back at its end.

The library does not tell how large a message is before it has all of it. One that has not come whole in a moment is
large or slow: it draws the largest size that there may be, and one that finds no room for this is refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

from windlass.errors import TooLarge, Unavailable
from windlass.memory import SMALL_BYTES, Budget, Use

MOMENT_S = 0.05
"""A small message comes with its call; this is for machines that are busy."""
SLOW_S = 2.0
"""A message may take this long, and longer while nobody else finds no room."""
ROOM_S = 5.0
NO_ROOM = "this node has no memory left for another request of this size; try again"
TOO_SLOW = "the request arrives too slowly while others find no room; send it faster, or later"


class MessageRooms:
    """All that is being read. `message_bytes_max`: the library refuses larger ones."""

    def __init__(self, memory: Budget, message_bytes_max: int) -> None:
        self.memory = memory
        self.most_bytes = min(message_bytes_max, memory.most(Use.BODY))
        #: those that hold the largest size, the eldest first, with the loop time since when
        self.slow: dict[MessageRoom, float] = {}

    def make_room(self, now_s: float) -> bool:
        """Cut the eldest one that is slow; True if there was one. Its room is free when its task has run."""
        for room, since_s in self.slow.items():
            if now_s - since_s > SLOW_S:
                room.cut(TOO_SLOW)
                return True
        return False


class MessageRoom:
    """Of one call. `first_bytes` are drawn at once, before anything is known of the message."""

    def __init__(self, rooms: MessageRooms, *, first_bytes: int = SMALL_BYTES) -> None:
        self._rooms = rooms
        self._first_bytes = first_bytes
        self._memory = rooms.memory
        self._held_bytes = self._drawn_bytes = 0
        self._reading: asyncio.Task[Any] | None = None
        #: done when the message is there, or not waited for any longer
        self._settled: asyncio.Future[None] | None = None
        self._cut_because = ""

    async def read(self, context: Any) -> Any:
        """The message, or the library's EOF. Unavailable when there is no room for it now, or it took too long for
        others, TooLarge when there never is.
        """
        memory, loop = self._memory, asyncio.get_running_loop()
        first = min(self._first_bytes, self._rooms.most_bytes)
        if not memory.draw(Use.BODY, first):
            memory.refused(Use.BODY)
            raise Unavailable(NO_ROOM)
        self._held_bytes = first
        # A task of its own, which nobody cancels: of a read that is cancelled the library never frees the message. It
        # ends with the call, at the latest.
        self._reading = asyncio.Task(context.read(), loop=loop, name="message")
        self._settled = loop.create_future()
        self._reading.add_done_callback(self._has_read)
        late = loop.call_later(MOMENT_S, self._is_late)
        try:
            await self._settled
        finally:
            late.cancel()
            self._settled = None
            self._rooms.slow.pop(self, None)
        if self._cut_because:
            raise Unavailable(self._cut_because)
        message, self._reading = self._reading.result(), None
        self._draw_rest(len(message) if isinstance(message, bytes) else 0)
        return message

    def _has_read(self, reading: asyncio.Task[Any]) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        elif not reading.cancelled():
            reading.exception()

    def _draw_rest(self, size: int) -> None:
        memory = self._memory
        more = size - self._held_bytes
        if more > 0 and not memory.draw(Use.BODY, more):
            memory.refused(Use.BODY)
            if size <= memory.most(Use.BODY):
                raise Unavailable(NO_ROOM)
            raise TooLarge(
                f"this node has no memory for a message of {size} bytes; send less, or set WINDLASS_MEMORY_BYTES_MAX "
                f"above {memory.limit_bytes}"
            )
        if more < 0:
            memory.give_back(Use.BODY, -more)
        self._held_bytes = size

    def _is_late(self) -> None:
        more = self._rooms.most_bytes - self._held_bytes
        if not self._memory.draw(Use.BODY, more):
            self._memory.refused(Use.BODY)
            self._rooms.make_room(asyncio.get_running_loop().time())
            self.cut(NO_ROOM)
            return
        self._held_bytes += more
        self._rooms.slow[self] = asyncio.get_running_loop().time()

    def cut(self, because: str) -> None:
        if self._settled is not None and not self._settled.done():
            self._cut_because = because
            self._settled.set_result(None)

    async def draw_to_serve(self, weight: int) -> None:
        """Unavailable when there is none in time, TooLarge when there never is."""
        memory = self._memory
        if not memory.draw(Use.PARSED, weight) and not await memory.wait(
            Use.PARSED, weight, within_s=ROOM_S if weight > SMALL_BYTES else 0.0
        ):
            if weight <= memory.most(Use.PARSED):
                raise Unavailable(NO_ROOM)
            raise TooLarge(
                f"serving this message takes {weight} bytes of memory, more than this node has for one call; "
                f"send less, or set WINDLASS_MEMORY_BYTES_MAX above {memory.limit_bytes}"
            )
        self._drawn_bytes = weight

    def close(self) -> None:
        """The call is over. What has come of a message that nobody waits for stays until the library ends its read."""
        self._memory.give_back(Use.PARSED, self._drawn_bytes)
        self._drawn_bytes = 0
        if self._reading is None or self._reading.done():
            self._free()
        else:
            self._reading.add_done_callback(self._free)

    def _free(self, _: object = None) -> None:
        self._memory.give_back(Use.BODY, self._held_bytes)
        self._held_bytes = 0
        self._reading = None
