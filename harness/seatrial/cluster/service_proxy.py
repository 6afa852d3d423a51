"""As a Kubernetes Service on layer 4: each new connection goes to one of the servers, in turn, and stays there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

_PIECE_BYTES = 65_536
_OPENS_WITHIN_S = 5.0


class ServiceProxy:
    """One port of 127.0.0.1 in front of several."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._servers: Sequence[int] = ()
        self._turn = 0
        self._listener: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)

    def lead_to(self, ports: Sequence[int]) -> None:
        """From now on; connections that are open stay where they are. The next one goes to the first."""
        self._servers, self._turn = tuple(ports), 0

    async def close(self) -> None:
        """Open connections are cut. Safe to call twice."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self._carry(reader, writer)
        finally:
            del self._open[task]
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._servers:
            return
        port = self._servers[self._turn % len(self._servers)]
        self._turn += 1
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_OPENS_WITHIN_S):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            back = asyncio.create_task(_copy(far_reader, writer))
            try:
                await _copy(reader, far_writer)
                await back
            finally:
                back.cancel()
                far_writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Passes the end on, too; the other direction goes on."""
    while piece := await source.read(_PIECE_BYTES):
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
