"""A road to the gRPC door on which the end of what a client sends comes slowly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal, Self

HOST = "127.0.0.1"
READ_BYTES = 64 * 1024
DRIBBLE_EVERY_S = 0.05

Manner = Literal["held", "dribbled", "half-closed"]


class SlowRoad:
    """`async with SlowRoad(port, passed_bytes, manner) as road`: `road.port` leads to `port`. Of each connection so
    many bytes pass to the door; then it hears nothing more, a byte now and then, or that the sender has ended.
    """

    def __init__(self, port: int, passed_bytes: int, manner: Manner) -> None:
        self._to_port = port
        self._passed_bytes = passed_bytes
        self._manner = manner
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.ensure_future(self._carry(reader, writer))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_door, to_door = await asyncio.open_connection(HOST, self._to_port)
        except OSError:
            writer.close()
            return
        back = asyncio.ensure_future(_copied(from_door, writer))
        try:
            with contextlib.suppress(OSError):
                await self._sent_on(reader, to_door)
            await back
        finally:
            back.cancel()
            for each in (writer, to_door):
                each.close()

    async def _sent_on(self, reader: asyncio.StreamReader, to_door: asyncio.StreamWriter) -> None:
        left = self._passed_bytes
        while left > 0 and (data := await reader.read(min(READ_BYTES, left))):
            left -= len(data)
            to_door.write(data)
            await to_door.drain()
        if self._manner == "half-closed":
            to_door.write_eof()
        while self._manner == "dribbled" and (data := await reader.read(1)):
            to_door.write(data)
            await to_door.drain()
            await asyncio.sleep(DRIBBLE_EVERY_S)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
