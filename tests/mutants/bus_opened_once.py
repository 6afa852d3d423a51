"""The wake bus is opened once: a node that has lost it never hears the others again."""

from __future__ import annotations

from collections.abc import Callable

import mutation

from windlass.dispatch.bus import BusLost
from windlass.dispatch.redis.bus import RedisBus, RedisConnection

really_open = RedisBus.open
opened: set[int] = set()


async def open_once(
    self: RedisBus, heard: Callable[[str], None], lost: Callable[[], None]
) -> RedisConnection:
    if id(self) in opened:
        raise BusLost("it was lost before")
    connection = await really_open(self, heard, lost)
    opened.add(id(self))
    return connection


RedisBus.open = open_once  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
