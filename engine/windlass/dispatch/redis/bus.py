"""Publish and subscribe of Redis as the wake bus, on two connections: a subscribed one takes no other command.

What the bus is asked at intervals goes the whole way: a publication on a channel of the node's own has to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Connection

from windlass.dispatch.bus import BusLost
from windlass.dispatch.redis.server import CONNECT_WITHIN_S, RedisServers, ask, disconnect, told
from windlass.errors import EngineError
from windlass.redis_address import Host
from windlass.redis_settings import RedisSettings

CLOSE_WITHIN_S = 1.0
WATCH_INTERVAL_S = 3.0


class RedisBus:
    """Implements `bus.WakeBus`. `channel` tells where the nodes of this installation meet, and may change."""

    def __init__(self, settings: RedisSettings, name: str, channel: Callable[[], Awaitable[str]]) -> None:
        self._servers = RedisServers(settings, name)
        self._channel = channel

    async def open(self, heard: Callable[[str], None], lost: Callable[[], None]) -> RedisConnection:
        try:
            channel = await self._channel()
        except EngineError as err:
            raise BusLost(f"the channel's name is not known: {err}") from err
        host = await self._servers.find()
        connection = RedisConnection(self._servers, host, self._channel, channel, heard, lost)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await connection.start()
        except BaseException as err:
            await connection.close()
            if isinstance(err, TimeoutError):
                raise BusLost(f"{host}: no answer in time") from err
            raise
        return connection


class RedisConnection:
    def __init__(
        self,
        servers: RedisServers,
        host: Host,
        channel_now: Callable[[], Awaitable[str]],
        channel: str,
        heard: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        self._servers = servers
        self._host = host
        self._channel_now = channel_now
        self._channel = channel
        self._own_channel = f"{channel}:{secrets.token_hex(8)}"
        self._heard = heard
        self._lost = lost
        self._publisher: Connection | None = None
        self._subscriber: Connection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._came_back = asyncio.Event()
        self._end: BusLost | None = None

    async def start(self) -> None:
        """Raises BusLost or TimeoutError; `close` is needed even then."""
        self._publisher = await self._servers.connect(self._host)
        self._subscriber = await self._servers.connect(self._host)
        with told(self._host):
            await self._subscriber.send_command("SUBSCRIBE", self._channel, self._own_channel)
            for _ in range(2):
                await self._subscriber.read_response()
        self._tasks = [
            asyncio.create_task(self._read(self._subscriber), name="wake-bus"),
            asyncio.create_task(self._watch(), name="wake-bus-watch"),
        ]

    async def publish(self, payload: str, within_s: float) -> None:
        await self._publish(self._channel, payload, within_s)

    async def ping(self, within_s: float) -> None:
        self._came_back.clear()
        await self._publish(self._own_channel, "", within_s)
        try:
            await asyncio.wait_for(self._came_back.wait(), within_s)
        except TimeoutError:
            raise BusLost(f"{self._host}: what was published did not come back in {within_s:g} s") from None
        if self._end is not None:
            raise self._end

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in (self._publisher, self._subscriber):
            if connection is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(disconnect(connection), CLOSE_WITHIN_S)

    async def _publish(self, channel: str, payload: str, within_s: float) -> None:
        if self._end is not None:
            raise self._end
        assert self._publisher is not None
        with told(self._host):
            await asyncio.wait_for(ask(self._publisher, "PUBLISH", channel, payload), within_s)

    async def _read(self, subscriber: Connection) -> None:
        try:
            with told(self._host):
                while True:
                    self._received(await subscriber.read_response())
        except BusLost as err:
            self._ended(err)

    async def _watch(self) -> None:
        """Whether this is still the place: a server that was replaced goes on answering."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            if not await self._servers.is_still(self._host):
                self._ended(BusLost(f"{self._host} is no longer the master"))
            with contextlib.suppress(EngineError):
                # The database may have been replaced by another under its name.
                if await self._channel_now() != self._channel:
                    self._ended(BusLost("the database is another one now"))

    def _ended(self, cause: BusLost) -> None:
        self._end = self._end or cause
        self._came_back.set()
        self._lost()

    def _received(self, message: Any) -> None:
        kind, channel, payload = message
        if kind == "message" and channel == self._own_channel:
            self._came_back.set()
        elif kind == "message":
            self._heard(payload)
