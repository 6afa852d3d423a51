"""Ways to a server that say nothing: ports that drop packets, and a relay that falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.contextmanager
def silent(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that drops the first packet of every connection: its queue is full, and nobody takes from it."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class Road:
    """`walk` is for asyncio.start_server; whoever comes is led on by `far`."""

    def __init__(self, far: Callable[[], Awaitable[Opened]]) -> None:
        self._far = far
        self._walking: list[asyncio.Task[None]] = []
        self._wires: list[asyncio.StreamWriter] = []
        self.callers: list[int] = []
        """Their ports, in the order in which they came."""
        self.doors: list[str] = []
        """The addresses at which they came."""

    async def walk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.append(writer.get_extra_info("peername")[1])
        self.doors.append(writer.get_extra_info("sockname")[0])
        far_reader, far_writer = await self._far()
        self._wires += [writer, far_writer]
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._walking.append(asyncio.create_task(_carry(source, sink)))

    async def fall_silent(self) -> None:
        """Those who are on it are not told, and nothing of theirs arrives any more; who comes later is led on."""
        for task in self._walking:
            task.cancel()
        await asyncio.gather(*self._walking, return_exceptions=True)
        self._walking.clear()

    async def close(self) -> None:
        await self.fall_silent()
        for wire in self._wires:
            wire.close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(65536):
            sink.write(piece)
    sink.close()
