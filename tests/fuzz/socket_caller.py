"""A caller on a bare socket: what a case says is what goes out, and every byte that comes back is accounted for."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

CONNECT_WITHIN_S = 10.0
_READ_BYTES = 256 * 1024


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Exchange:
    """What came back for what was sent."""

    answers: list[Answer] = field(default_factory=list)
    #: bytes that are no part of an answer
    rest: bytes = b""
    ended: Literal["open", "closed", "silent"] = "open"
    took_s: float = 0.0


def exchange(port: int, data: bytes, *, answers: int, within_s: float) -> Exchange:
    """Sends `data` and reads so many answers, and to the end when the last one says that the connection closes.

    `silent`: neither the answers nor the end came within `within_s`. 1xx answers are passed over.
    """
    began_s = time.monotonic()
    found = Exchange()
    with socket.create_connection(("127.0.0.1", port), CONNECT_WITHIN_S) as connection:
        connection.settimeout(within_s)
        with contextlib.suppress(OSError):
            # The other side may have answered and closed before it took all of it.
            connection.sendall(data)
        _read(connection, data, found, answers=answers, give_up_at_s=began_s + within_s)
    found.took_s = time.monotonic() - began_s
    return found


def _read(
    connection: socket.socket, data: bytes, found: Exchange, *, answers: int, give_up_at_s: float
) -> None:
    while True:
        _take_answers(found, head_only=data.startswith(b"HEAD "))
        ends = bool(found.answers) and found.answers[-1].headers.get("connection") == "close"
        wanted = ends or len(found.answers) < max(answers, 1) or bool(found.rest)
        wait_s = max(0.0, give_up_at_s - time.monotonic()) if wanted else 0.0
        if not select.select([connection], [], [], wait_s)[0]:
            found.ended = "silent" if wanted else "open"
            return
        try:
            got = connection.recv(_READ_BYTES)
        except OSError:
            got = b""
        if not got:
            found.ended = "closed"
            return
        found.rest += got


def _take_answers(found: Exchange, *, head_only: bool) -> None:
    while True:
        head, separator, rest = found.rest.partition(b"\r\n\r\n")
        if not separator or not head.startswith(b"HTTP/1.1 "):
            return
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = 0 if head_only or status == 204 or status < 200 else int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        found.rest = rest[length:]
        if status >= 200:
            found.answers.append(Answer(status, headers, rest[:length]))


def call(
    port: int, method: str, path: str, body: object = None, *, token: str = "", within_s: float = 30.0
) -> Answer:
    """A right call, by itself. AssertionError when no answer comes."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    lines = f"Host: fuzz\r\n{shown}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    head = f"{method} {path} HTTP/1.1\r\n{lines}"
    found = exchange(port, head.encode() + content, answers=1, within_s=within_s)
    assert len(found.answers) == 1, f"{method} {path}: {found}"
    return found.answers[0]
