"""A call and its answer, the server's limits, and the interface of a handler."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from windlass.auth.principal import Principal
from windlass.early_end import EarlyEnd

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

#: Status of a call whose caller disconnected before the answer; it is logged and counted, never sent.
STATUS_GONE = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds and bytes; the times are those of contract 1.3."""

    request_s: float = 30.0
    read_s: float = 30.0
    write_s: float = 60.0
    idle_s: float = 120.0
    #: how long a body may wait until there is room for it
    room_s: float = 5.0
    #: for how long one may arrive slowly while others wait for room
    slow_body_s: float = 2.0
    #: the time in which what its room is for has to arrive while others wait
    whole_body_s: float = 10.0
    #: how long data from a refused caller is still read and discarded, so that it can read the refusal
    discard_s: float = 2.0
    head_bytes_max: int = 32 * 1024
    body_bytes_max: int = 16 * 1024 * 1024
    connections_max: int = 2000
    #: of them, the last one in so many is for one call each
    spare_part: int = 20
    #: TLS handshakes under way; more wait
    handshakes_max: int = 256
    #: an idle connection that was used since then has a request on its way, perhaps: it is not closed for another one
    quiet_s: float = 1.0
    #: one unused for so long is closed before a poll is ended; clients' pools have let go of theirs by then, mostly
    unused_s: float = 20.0
    #: calls of one connection read ahead of the one being answered
    pipeline_max: int = 16

    @property
    def head_too_large(self) -> tuple[int, str]:
        return 431, f"the request's head is larger than {self.head_bytes_max} bytes"

    @property
    def body_too_large(self) -> tuple[int, str]:
        return 413, f"the request body is larger than {self.body_bytes_max} bytes"

    @property
    def connections_kept_max(self) -> int:
        """Connections that may stay for as long as their callers like."""
        return self.connections_max - self.connections_max // self.spare_part

    @property
    def look_interval_s(self) -> float:
        """How often deadlines are checked; each may be up to this much late."""
        shortest = min(
            self.room_s,
            self.slow_body_s,
            self.request_s,
            self.read_s,
            self.write_s,
            self.idle_s,
            self.discard_s,
        )
        return min(1.0, max(0.02, shortest / 4))


class Request:
    """One call. Header names are lower case; of a repeated header the first value counts."""

    __slots__ = (
        "answer_bytes",
        "body",
        "certificate",
        "drawn_bytes",
        "early",
        "headers",
        "held_bytes",
        "keep_alive",
        "method",
        "path",
        "peer",
        "principal",
        "query",
        "refusal",
        "route",
        "span",
        "started_ns",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes = b"",
        peer: str = "",
        *,
        keep_alive: bool = False,
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.body = body
        self.peer = peer
        self.keep_alive = keep_alive
        #: who calls, as the gate found; None while authentication is off
        self.principal: Principal | None = None
        #: what the caller's certificate names it as, for the gate
        self.certificate: frozenset[str] = frozenset()
        #: what was drawn on the memory budget, for the body and for serving it
        self.held_bytes = self.drawn_bytes = 0
        #: ... and for its answer, if that is large
        self.answer_bytes = 0
        #: time.perf_counter_ns() when its turn came
        self.started_ns = 0
        #: the handler's own: which route it found
        self.route: Any = None
        #: with tracing on, the caller's trace and that of the call's own span
        self.span: tuple[str | None, str] | None = None
        #: its answer, when it is not served
        self.refusal: Response | None = None
        #: set by the handler of a call that waits and can be answered before its time
        self.early: EarlyEnd | None = None


#: What a target in absolute form has before its path (RFC 9112, 3.2.2); whose host it is does not matter here.
_ABSOLUTE = re.compile(rb"^https?://[^/?#]*(/?)", re.IGNORECASE)


def origin_form(url: bytes) -> bytes:
    """Path and query of a target in absolute form; any other is as it was."""
    return _ABSOLUTE.sub(b"/", url)


class Response:
    """An answer. `headers` are ready lines, each ended by CRLF; no body means no content type.

    `untaken` is called instead of writing it if the caller has gone, and when the connection is lost while a part of it
    is still unsent.
    """

    __slots__ = ("body", "close", "content_type", "headers", "status", "untaken")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: bytes = JSON,
        headers: bytes = b"",
        *,
        close: bool = False,
        untaken: Callable[[], None] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type if body else b""
        self.headers = headers
        self.close = close
        self.untaken = untaken

    def drop(self) -> None:
        """Nobody will have it."""
        if self.untaken is not None:
            self.untaken()


class MadeRoom(StrEnum):
    """What was done for a caller who came when all places were taken."""

    IDLE_CLOSED = "the connection idle for longest was closed"
    POLL_ENDED = "the call that had waited for longest was answered, and its connection closed"
    REFUSED = "nothing could be done: it was refused"


class Handler(Protocol):
    """The application behind the server. Nothing here may block."""

    def handle(self, request: Request) -> Response | Coroutine[Any, Any, Response]: ...

    def weigh(self, request: Request) -> int:
        """Bytes of memory that serving a call with this body takes beside the body."""
        ...

    def refuse(self, status: int, reason: str) -> Response:
        """Answer a request that could not be read: malformed, too large, too slow."""
        ...

    def observe(self, request: Request, response: Response, duration_ns: int) -> None:
        """Record an answered call; status 499 if the caller had disconnected."""
        ...

    def made_room(self, how: MadeRoom) -> None:
        """Count it."""
        ...
