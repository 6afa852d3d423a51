"""Calls that may be large, slow or given up, many at once; one body's bytes are shared by all that send it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import grpc
import msgspec
from grpc_cases import SERVICE
from oracle import ANSWER_WITHIN_S, Broken

HOST = "127.0.0.1"
READ_BYTES = 256 * 1024
ENDED_EARLY = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class Reply(NamedTuple):
    """Of either door: a status of HTTP, or the name of gRPC's. 0: the connection ended without an answer."""

    status: int | str
    body: bytes
    took_s: float

    @property
    def is_success(self) -> bool:
        return self.status in {200, 201, 204, "OK"}

    def shown(self) -> str:
        return f"{self.status} after {self.took_s:.1f} s: {self.body[:200]!r}"


class Connection:
    """A bare connection to the REST door."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()

    @classmethod
    async def open(cls, port: int) -> Self:
        raw = socket.socket()
        raw.setblocking(False)
        try:
            await asyncio.wait_for(
                asyncio.get_running_loop().sock_connect(raw, (HOST, port)), ANSWER_WITHIN_S
            )
        except BaseException:
            raw.close()
            raise
        return cls(raw)

    async def send(self, *parts: bytes | memoryview) -> None:
        """To the end, or until the other side takes no more."""
        with contextlib.suppress(OSError):
            for part in parts:
                await self._loop.sock_sendall(self._raw, part)

    async def reply(self, began_s: float) -> Reply:
        """The next answer."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if not await self._more():
                return Reply(0, bytes(self._received[:200]), time.monotonic() - began_s)
        lines = self._received[:end].decode("latin-1").lower().split("\r\n")
        lengths = [int(line.split(": ")[1]) for line in lines if line.startswith("content-length")]
        del self._received[: end + 4]
        length = lengths[0] if lengths else 0
        while len(self._received) < length:
            if not await self._more():
                return Reply(0, bytes(self._received[:200]), time.monotonic() - began_s)
        body = bytes(self._received[:length])
        del self._received[:length]
        return Reply(int(lines[0].split()[1]), body, time.monotonic() - began_s)

    async def _more(self) -> bool:
        try:
            got = await self._loop.sock_recv(self._raw, READ_BYTES)
        except OSError:
            return False
        self._received += got
        return bool(got)

    def end_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._raw.close()


def head_of(method: str, path: str, length: int | None, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: fuzz", "Content-Type: application/json", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


class Doors:
    """`async with Doors(rest_port, grpc_port)`: both, with gRPC's client as it is by default."""

    def __init__(self, rest_port: int, grpc_port: int) -> None:
        self.rest_port = rest_port
        self._grpc_port = grpc_port

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(
            f"{HOST}:{self._grpc_port}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def rest(
        self, method: str, path: str, body: object = None, *, within_s: float = ANSWER_WITHIN_S
    ) -> Reply:
        """A call on a connection of its own; bytes go out as they are, all else as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        began_s = time.monotonic()
        connection = await Connection.open(self.rest_port)
        sending = asyncio.ensure_future(connection.send(head_of(method, path, len(data)), data))
        try:
            return await asyncio.wait_for(connection.reply(began_s), within_s)
        except TimeoutError:
            raise Broken("in time", f"{method} {path}: no answer within {within_s:g} s") from None
        finally:
            sending.cancel()
            try:
                await asyncio.gather(sending, return_exceptions=True)
            finally:
                connection.close()

    def call(self, name: str, message: bytes, *, within_s: float = ANSWER_WITHIN_S) -> Any:
        """gRPC's own call object, begun."""
        method: Any = self._channel.unary_unary(f"/{SERVICE}/{name}")
        return method(message, timeout=within_s, wait_for_ready=True)

    async def grpc(self, name: str, message: bytes, *, within_s: float = ANSWER_WITHIN_S) -> Reply:
        began_s = time.monotonic()
        try:
            body = await self.call(name, message, within_s=within_s)
        except grpc.aio.AioRpcError as error:
            if error.code() in ENDED_EARLY:
                raise Broken("in time", f"{name}: {error.code().name} within {within_s:g} s") from None
            return Reply(error.code().name, (error.details() or "").encode(), time.monotonic() - began_s)
        return Reply("OK", body, time.monotonic() - began_s)

    async def posted(self, path: str, body: object, status: int) -> Mapping[str, Any]:
        """What must succeed for the case to be about anything."""
        reply = await self.rest("POST", path, body)
        if reply.status != status:
            raise Broken("still serving", f"POST {path} was answered {reply.shown()}")
        found: Mapping[str, Any] = msgspec.json.decode(reply.body) if reply.body else {}
        return found
