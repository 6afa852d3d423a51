"""A small HTTP/1.1 server on asyncio and httptools: one write per answer, one task per call that waits.

It knows nothing of the engine. A handler takes a `Request` and returns a `Response`, or a coroutine of one
when it has to wait; only then is a task made. Calls of one connection are answered in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from windlass.api.call import Handler, Limits, Request, Response
from windlass.api.connection import Connection
from windlass.api.head import HeadGate
from windlass.errors import BootRefused
from windlass.memory import Budget, Use
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log, stack_of

#: Idle connections of a server that shuts down stay open this long, so that their next call is still answered, with
#: `Connection: close`, instead of meeting a closed socket.
DRAIN_IDLE_S = 1.0
DRAIN_LOOK_INTERVAL_S = 0.02
BACKLOG = 1024


def cannot_listen(name: str, variable: str, host: str, port: int, error: OSError) -> BootRefused:
    """Return the error to raise, with the cause and the variable to change."""
    where = f"{name} cannot listen on {host or '*'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return BootRefused(
            f"{where}: the port is in use; stop the process that uses it or set {variable} to a free port"
        )
    if error.errno == errno.EACCES:
        return BootRefused(f"{where}: not permitted; set {variable} to a port above 1023")
    return BootRefused(f"{where}: {error.strerror or error}; set {variable} to a port that is free")


class HttpServer:
    """Listens on one port. `name` and `variable` are for the message when it cannot.

    `headers` go out with every answer: ready lines, each ended by CRLF; `headers_for` makes those that depend on the
    call. `gate` is asked before a body is read.
    """

    def __init__(
        self,
        handler: Handler,
        log: Log,
        limits: Limits,
        memory: Budget,
        *,
        name: str,
        variable: str,
        headers: bytes = b"",
        headers_for: Callable[[Request], bytes] | None = None,
        gate: HeadGate | None = None,
    ) -> None:
        self.handler = handler
        self.gate = gate
        self.limits = limits
        self.memory = memory
        #: those idle for longest come first: `now_s` is too coarse to order connections by it
        self.connections: dict[Connection, None] = {}
        self.draining = False
        #: since the last check of the deadlines a body found no room
        self.is_full = False
        #: loop time at the last check of the deadlines; cheap to read for every call
        self.now_s = 0.0
        #: calls already answered 504 whose work has not ended yet
        self.overdue: set[asyncio.Task[None]] = set()
        self._log = log
        self._name = name
        self._variable = variable
        self._headers = headers
        self._headers_for = headers_for
        self._heads: dict[tuple[int, bytes, bytes], bytes] = {}
        self._date_line = b""
        self._drain_since_s = 0.0
        self._listener: asyncio.Server | None = None
        self._look_handle: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (the one asked for, unless that was 0). BootRefused names the cause."""
        self.loop = asyncio.get_running_loop()
        try:
            self._listener = await self.loop.create_server(
                lambda: Connection(self), host or None, port, backlog=BACKLOG, reuse_address=True
            )
        except OSError as error:
            raise cannot_listen(self._name, self._variable, host, port, error) from error
        self._look()
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def drain(self, grace_s: float) -> int:
        """Answer the calls in progress, each with `Connection: close`, then close; nothing new is accepted.

        Returns how many connections had to be cut because they outlived `grace_s`.
        """
        if self._listener is None:
            return 0
        self.draining = True
        self._drain_since_s = self.loop.time()
        self._listener.close()
        self._stop_looking()
        self._look()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace_s)
        cut = len(self.connections)
        for connection in tuple(self.connections):
            connection.abort()
        self._stop_looking()
        return cut

    def _stop_looking(self) -> None:
        if self._look_handle is not None:
            self._look_handle.cancel()

    def idle_deadline_s(self, idle_since_s: float) -> float:
        """Return the loop time at which a connection idle since then is closed."""
        if self.draining:
            return max(idle_since_s, self._drain_since_s) + min(DRAIN_IDLE_S, self.limits.idle_s)
        return idle_since_s + self.limits.idle_s

    def admit(self, connection: Connection) -> bool:
        """Make room by closing the longest idle connection. If every one is busy it is one of the spare ones, each for
        one call that does not wait; False when these are taken too.
        """
        admitted, count = True, len(self.connections)
        if count >= self.limits.connections_kept_max:
            is_full = count >= self.limits.connections_max
            idle = next((it for it in self.connections if it.idle and (is_full or not it.is_spare)), None)
            if idle is not None:
                idle.close()
            connection.is_spare = idle is None or idle.is_spare
            admitted = idle is not None or not is_full
        self.connections[connection] = None
        return admitted

    def _make_room(self) -> None:
        """Refuse bodies that hold room and do not arrive, those that arrive most slowly first: not the newcomers."""
        self.is_full = False
        slow = [connection for connection in self.connections if connection.is_slow(self.now_s)]
        slow.sort(key=lambda connection: connection.room.arrived_share)
        for connection in slow:
            connection.give_way()
        self.is_full = self.memory.waits(Use.BODY)

    def rested(self, connection: Connection) -> None:
        """The connection has answered a call; it is now the last one to be closed for another."""
        if connection in self.connections:
            del self.connections[connection]
            self.connections[connection] = None

    def forget(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        if self.draining and not self.connections:
            self._empty.set()

    def broke(self, request: Request, error: Exception) -> Response:
        """Answer for a handler that raised: 500 and an empty body (contract 1.3); the process continues."""
        self._log.error(
            Event.REST_HANDLER_BROKE,
            method=request.method,
            path=request.path.decode("latin-1"),
            err=error,
            stack=stack_of(error),
        )
        return Response(500)

    def render(self, request: Request, response: Response, *, keep: bool) -> bytes:
        # HTTP/1.0 callers must be told that the connection stays open; 1.1 callers that sent the header get it back.
        stays = b"keep-alive" if b"connection" in request.headers else b""
        connection = stays if keep else b"close"
        key = (response.status, response.content_type, connection)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(*key)
        headers = response.headers
        if self._headers_for is not None:
            headers += self._headers_for(request)
        if response.status == 204:
            return b"%b%b%b\r\n" % (head, self._date_line, headers)
        body = b"" if request.method == "HEAD" else response.body
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
            head,
            self._date_line,
            headers,
            len(response.body),
            body,
        )

    def _head(self, status: int, content_type: bytes, connection: bytes) -> bytes:
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode()), self._headers]
        if content_type:
            lines.append(b"Content-Type: %b\r\n" % content_type)
        if connection:
            lines.append(b"Connection: %b\r\n" % connection)
        return b"".join(lines)

    def _look(self) -> None:
        """Enforce the deadlines of all connections, and schedule the next check."""
        self.now_s = self.loop.time()
        self._date_line = b"Date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in tuple(self.connections):
            connection.meet_deadlines(self.now_s)
        if self.is_full:
            self._make_room()
        interval_s = DRAIN_LOOK_INTERVAL_S if self.draining else self.limits.look_interval_s
        self._look_handle = self.loop.call_later(interval_s, self._look)
