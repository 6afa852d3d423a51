"""A small HTTP/1.1 server on asyncio and httptools: one write per answer, one task per call that waits.

It knows nothing of the engine. A handler takes a `Request` and returns a `Response`, or a coroutine of one
when it has to wait; only then is a task made. Calls of one connection are answered in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus

from windlass.api.address import cannot_listen
from windlass.api.call import Handler, Limits, MadeRoom, Request, Response
from windlass.api.connection import Connection
from windlass.api.handshakes import Handshakes
from windlass.api.head import HeadGate
from windlass.api.listener import Listener
from windlass.api.tls_transport import BUFFER_BYTES, TlsTransport
from windlass.memory import Budget, Use
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log, stack_of
from windlass.tls.watch import CertificateWatch
from windlass.trace_context import CallTraces

#: Idle connections of a server that shuts down stay open this long, so that their next call is still answered, with
#: `Connection: close`, instead of meeting a closed socket.
DRAIN_IDLE_S = 1.0
DRAIN_LOOK_INTERVAL_S = 0.02
REFUSED_AT_ONCE_MAX = 4
"""Connections beyond the limit, to be told so; `descriptors.py` counts on it."""


class HttpServer:
    """Listens on one port. `name` and `variable` are for the message when it cannot.

    `headers` go out with every answer: ready lines, each ended by CRLF; `headers_for` makes those that depend on the
    call. `gate` is asked before a body is read. With `tls` nothing else is spoken.
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
        tls: CertificateWatch | None = None,
        traces: CallTraces | None = None,
    ) -> None:
        self.handler = handler
        self.gate = gate
        self.traces = traces
        self.limits = limits
        self.memory = memory
        #: those idle for longest come first: `now_s` is too coarse to order connections by it
        self.connections: dict[Connection, None] = {}
        #: of them, those whose call waits and can be answered early, longest first
        self.waiting: dict[Connection, None] = {}
        self.draining = False
        #: since the last check of the deadlines a body found no room
        self.is_full = False
        #: loop time at the last check of the deadlines; cheap to read for every call
        self.now_s = 0.0
        #: calls already answered 504 whose work has not ended yet
        self.overdue: set[asyncio.Task[None]] = set()
        self._log = log
        self._tls = tls
        self._tls_buffer = memoryview(bytearray(BUFFER_BYTES if tls is not None else 0))
        self._name = name
        self._variable = variable
        self._headers = headers
        self._headers_for = headers_for
        self._heads: dict[tuple[int, bytes, bytes], bytes] = {}
        self._date_line = b""
        self._drain_since_s = 0.0
        self.handshakes = Handshakes(limits.handshakes_max)
        self._listener = Listener(self._may_accept, self._accepted)
        self._listens = False
        #: connections accepted and not yet known to the loop
        self._coming: set[asyncio.Task[None]] = set()
        #: of the connections, those beyond the limit
        self._refused: set[Connection] = set()
        #: since then newcomers wait for one of the connections that are idle; 0 = none does
        self._full_since_s = 0.0
        #: connections that were idle at the last check of the deadlines; None: not needed since then
        self._quiet_ones: list[Connection] | None = None
        self._look_handle: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (the one asked for, unless that was 0). BootRefused names the cause."""
        self.loop = asyncio.get_running_loop()
        try:
            bound = await self._listener.open(host, port)
        except OSError as error:
            raise cannot_listen(self._name, self._variable, host, port, error) from error
        self._listens = True
        self._look()
        return bound

    async def drain(self, grace_s: float) -> int:
        """Answer the calls in progress, each with `Connection: close`, then close; nothing new is accepted.

        Returns how many connections had to be cut because they outlived `grace_s`.
        """
        if not self._listens:
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

    # places

    def _may_accept(self, is_known: bool) -> bool:
        """At the limit a newcomer waits unaccepted while a place is being made; only if none can be he is refused."""
        if self._taken < self.limits.connections_max:
            return True
        if not is_known or self._make_place():
            return False
        return len(self._refused) < REFUSED_AT_ONCE_MAX

    @property
    def _taken(self) -> int:
        return len(self.connections) - len(self._refused)

    def _make_place(self) -> bool:
        """Whether there will be a place soon. Whose connection has long been unused goes first, then whose call has
        waited for longest: that one is answered, and loses nothing.
        """
        if (unused := self._unused()) is not None:
            self._close_quiet(unused)
            return True
        if (longest := next(iter(self.waiting), None)) is not None:
            del self.waiting[longest]
            longest.end_early()
            self.handler.made_room(MadeRoom.POLL_ENDED)
            return True
        if not any(connection.idle for connection in self.connections):
            return False
        # Those that are new leave soon, or begin to wait; a pool of connections should not suffer from their number.
        self._full_since_s = self._full_since_s or self.now_s
        until_s = self.now_s - self.limits.quiet_s
        if self._full_since_s <= until_s:
            quiet = next((each for each in self._quiet() if each.is_idle_since(until_s)), None)
            if quiet is not None:
                self._close_quiet(quiet)
        return True

    def _quiet(self) -> Sequence[Connection]:
        """Connections that were silent at the last check, for longest first; no other can become so until the next."""
        if self._quiet_ones is None:
            until_s = self.now_s - self.limits.quiet_s
            self._quiet_ones = [each for each in self.connections if each.is_idle_since(until_s)]
        return self._quiet_ones

    def _unused(self, *, is_kept: bool = False) -> Connection | None:
        """A connection that nobody will miss: without a call for long, or silent from the beginning."""
        now_s, limits = self.now_s, self.limits
        for each in self._quiet():
            silent_s = limits.unused_s if each.was_used else limits.quiet_s
            if each.is_idle_since(now_s - silent_s) and not (is_kept and each.is_spare):
                return each
        return None

    def _close_quiet(self, connection: Connection) -> None:
        connection.close()
        self.handler.made_room(MadeRoom.IDLE_CLOSED)

    def _accepted(self, sock: socket.socket) -> None:
        """Give it a place; one of the last, each for one call, when the others are in use."""
        connection, count = Connection(self), self._taken
        if count >= self.limits.connections_max:
            connection.is_refused = True
            self._refused.add(connection)
            self.handler.made_room(MadeRoom.REFUSED)
        elif count >= self.limits.connections_kept_max:
            quiet = self._unused(is_kept=True)
            if quiet is not None:
                self._close_quiet(quiet)
            connection.is_spare = quiet is None
        self.connections[connection] = None
        task = self.loop.create_task(self._connect(connection, sock), name="accept")
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _connect(self, connection: Connection, sock: socket.socket) -> None:
        protocol: asyncio.BaseProtocol = connection
        if self._tls is not None:
            protocol = TlsTransport(
                connection, self._tls, self._tls_buffer, self.limits.read_s, self.handshakes
            )
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            # It has gone already.
            sock.close()
            self.forget(connection)

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
        self.waiting.pop(connection, None)
        self._refused.discard(connection)
        self._listener.resume()
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
        self.handshakes.look(self.now_s)
        for connection in tuple(self.connections):
            connection.meet_deadlines(self.now_s)
        if self.is_full:
            self._make_room()
        self._quiet_ones = None
        if self._taken < self.limits.connections_max:
            self._full_since_s = 0.0
        self._listener.resume()
        interval_s = DRAIN_LOOK_INTERVAL_S if self.draining else self.limits.look_interval_s
        self._look_handle = self.loop.call_later(interval_s, self._look)
