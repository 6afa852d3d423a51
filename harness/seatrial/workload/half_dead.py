"""Clients that are slow or half dead. No HTTP library is that rude, so these write bytes."""

from __future__ import annotations

import asyncio
import os
import socket
from abc import abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import aiohttp

from seatrial.client.rest import headers_of
from seatrial.cluster import Replica
from seatrial.cluster.trust import trust_of
from seatrial.workload.pressure import Pressure

_STEP_S = 1.0
#: so small that an answer of a list does not fit
_RECEIVE_BYTES = 4096
_HOLD_S = 25.0
#: they come one after the other: what they do from then on is what this is about
_FIRST_WITHIN_S = 4.0


class HalfDead(Pressure):
    """Each caller has one connection at a time."""

    again_after_s = 2.0

    def __init__(self, replica: Replica, at_once: int) -> None:
        super().__init__(replica, at_once)
        self._come = set[int]()

    async def call(self, session: aiohttp.ClientSession, number: int) -> int:  # noqa: ARG002
        if number not in self._come:
            self._come.add(number)
            await asyncio.sleep(_FIRST_WITHIN_S * number / self.callers)
        address = urlsplit(self.replica.rest_url)
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        try:
            await asyncio.get_running_loop().sock_connect(
                sock, (str(address.hostname), int(address.port or 0))
            )
            reader, writer = await asyncio.open_connection(
                sock=sock, limit=_RECEIVE_BYTES, **self._security(str(address.hostname))
            )
        except BaseException:
            sock.close()
            raise
        try:
            return await self.converse(reader, writer, number)
        finally:
            writer.transport.abort()

    def _security(self, host: str) -> Mapping[str, Any]:
        return {"ssl": trust_of(self.replica), "server_hostname": host} if self.replica.speaks_tls else {}

    @abstractmethod
    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:
        """Returns the status that it was told, or 0."""

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.bytes += len(data)


class SlowBody(HalfDead):
    """Nearly all of a body at once, then a byte a second. Each caller has a body of its own, the largest first: those
    that come last take what room the others have left.
    """

    kind = "slow bodies"

    def __init__(self, replica: Replica, bodies: Sequence[bytes], *, missing_bytes: int) -> None:
        super().__init__(replica, len(bodies))
        self._bodies = sorted(bodies, key=len, reverse=True)
        self._missing_bytes = missing_bytes

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:
        body = self._bodies[number]
        now, later = body[: -self._missing_bytes], body[-self._missing_bytes :]
        answer = asyncio.ensure_future(_status(reader))
        try:
            if await _first(self._send(writer, _post(self.replica, len(body)) + now), answer):
                return answer.result()
            for byte in later:
                if await _first(asyncio.sleep(_STEP_S), answer):
                    break
                await self._send(writer, bytes([byte]))
            return await answer
        finally:
            answer.cancel()


class UnreadAnswer(HalfDead):
    """Asks for lists, and reads nothing of the answers."""

    kind = "unread answers"
    ASKED_TIMES: ClassVar[int] = 4

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:  # noqa: ARG002
        # A stream takes what fits its limit, and then stops reading.
        await self._send(
            writer, _request(self.replica, "GET /v1/instances?pageSize=100", {}) * self.ASKED_TIMES
        )
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())], timeout=_HOLD_S)
        return 0


class HalfClosed(HalfDead):
    """Half of a body, and then the end of what it will ever send; the connection stays open."""

    kind = "half-closed"

    def __init__(self, replica: Replica, at_once: int, body: bytes) -> None:
        super().__init__(replica, at_once)
        self._data = _post(replica, len(body)) + body[: len(body) // 2]

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:  # noqa: ARG002
        await self._send(writer, self._data)
        await _end_of_sending(writer)
        async with asyncio.timeout(_HOLD_S):
            return await _status(reader)


async def _end_of_sending(writer: asyncio.StreamWriter) -> None:
    """Of TLS only the connection beneath it can be closed by half, once all that was written has gone there."""
    if writer.can_write_eof():
        writer.write_eof()
        return
    writer.transport.set_write_buffer_limits(high=0)
    await writer.drain()
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as beneath:
        beneath.shutdown(socket.SHUT_WR)


def _post(replica: Replica, length: int) -> bytes:
    """The head of a start whose body is so long."""
    return _request(replica, "POST /v1/instances", {"Content-Length": str(length)})


def _request(replica: Replica, call: str, more: Mapping[str, str]) -> bytes:
    """The head of a call, which is a method and a path."""
    headers = {"Host": "engine", **headers_of(replica, has_body=bool(more)), **more}
    lines = [f"{call} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _status(reader: asyncio.StreamReader) -> int:
    """Of the answer; 0 for a connection that was closed without one."""
    words: Sequence[bytes] = (await reader.readline()).split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


async def _first(work: Awaitable[Any], answer: asyncio.Future[int]) -> bool:
    """Whether the answer came before the work was done; an answer that broke off is raised."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task, answer], return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        task.cancel()
        return True
    task.result()
    return False
