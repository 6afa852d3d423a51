"""The network between one engine and its database, or all engines and the broker: a TCP proxy, cut in four ways.

What a cut does to a connection follows what a packet filter does to TCP. Bytes on a cut path are withheld and
counted, and delivered in order when the path mends, because TCP would have sent them again; so a COMMIT sent
into a partition can arrive long after its sender gave up. A close travels the same path: the database
keeps the session of an engine that hung up during a black hole, with its locks, until the mend. After
`HELD_BYTES_MAX` the proxy stops reading and the sender's own buffers fill. A connection opened into a black
hole is accepted (an unprivileged process cannot drop a SYN) and reaches the database at the mend, unless its
client has gone by then. `refuse` resets every connection, and the kernel refuses new ones.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import cast

from seatrial.cluster import ClusterError
from seatrial.cluster.broker import CutMode

#: withheld per connection and direction before the sender is made to wait; about a kernel's socket buffer
HELD_BYTES_MAX = 1 << 20
#: kept of one direction of one connection while bytes are captured
CAPTURED_BYTES_MAX = 16 << 20
_END = b""
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on 127.0.0.1:`port` for one replica; to be used only in the event loop that opened it."""

    def __init__(self, port: int, database_port: int, *, database_host: str = "127.0.0.1") -> None:
        self.port = port
        self._database = (database_host, database_port)
        self._connections: set[_Connection] = set()
        self._reservation: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._to_database_delay_s = 0.0
        self._to_engine_delay_s = 0.0
        self._captures: list[bytearray] | None = None
        self.dropped_bytes = 0
        self.cut_connections = 0

    async def open(self) -> None:
        """Raises ClusterError when the port is taken."""
        try:
            # Bound but never listening: keeps the port ours while the listener is closed by `refuse`.
            self._reservation = _bound_socket(self.port)
            await self._listen()
        except OSError as err:
            await self.close()
            raise ClusterError(f"proxy port {self.port}: {err.strerror}; free it or choose another") from err

    async def close(self) -> None:
        """Resets every connection; safe to call twice."""
        await self._stop_listening()
        self._reset_connections()
        if self._reservation is not None:
            self._reservation.close()
            self._reservation = None

    async def cut(self, mode: CutMode, delay_s: float = 0.0) -> None:
        """Existing and new connections are cut from now on, counted from 0; replaces an earlier cut."""
        if mode == "delay" and not 0 < delay_s < math.inf:
            raise ClusterError(f"cut mode delay needs a delay above 0 s, got {delay_s}")
        self.dropped_bytes = 0
        self.cut_connections = len(self._connections)
        match mode:
            case "delay":
                self._set_delays(delay_s, delay_s)
            case "blackhole":
                self._set_delays(math.inf, math.inf)
            case "half-open":
                self._set_delays(0.0, math.inf)
            case "refuse":
                await self._stop_listening()
                self._reset_connections()
                return
        await self._listen()

    async def mend(self) -> None:
        """What was withheld is delivered in order; the port answers again."""
        self._set_delays(0.0, 0.0)
        await self._listen()

    def lead_to(self, database_port: int) -> None:
        """What is connected from now on reaches that port, as when a name or an address moves to another server; open
        connections are reset.
        """
        self._database = (self._database[0], database_port)
        self._reset_connections()

    def capture(self) -> None:
        """Keeps what goes through, of each connection that is opened from now on; forgets what was kept."""
        self._captures = []

    def captured(self) -> Sequence[bytes]:
        """Each direction of each connection since `capture`, from its first byte; the engine's side of a pair first."""
        return [bytes(stream) for stream in self._captures or ()]

    def new_capture(self) -> bytearray | None:
        """Where a flow is to copy its bytes, if anywhere."""
        if self._captures is None:
            return None
        self._captures.append(bytearray())
        return self._captures[-1]

    def database_side_ports(self) -> Sequence[int]:
        """By these the database knows the sessions of this replica (pg_stat_activity.client_port)."""
        return [port for connection in self._connections if (port := connection.database_side_port())]

    async def _listen(self) -> None:
        if self._server is None and self._reservation is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._accept, sock=_bound_socket(self.port), backlog=512)

    async def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            # Some loops close the socket in a callback: let it run, so that connects are refused from now on.
            await asyncio.sleep(0)

    def _accept(self) -> asyncio.Protocol:
        connection = _Connection(self, self._database)
        connection.set_delays(self._to_database_delay_s, self._to_engine_delay_s)
        self._connections.add(connection)
        return connection.engine_side

    def _set_delays(self, to_database_s: float, to_engine_s: float) -> None:
        self._to_database_delay_s, self._to_engine_delay_s = to_database_s, to_engine_s
        for connection in tuple(self._connections):
            connection.set_delays(to_database_s, to_engine_s)

    def _reset_connections(self) -> None:
        for connection in tuple(self._connections):
            connection.reset()

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)


class _Connection:
    """The two halves of one proxied connection and the flows between them."""

    def __init__(self, proxy: Proxy, database: tuple[str, int]) -> None:
        self._proxy = proxy
        self._database = database
        self._to_database = _Flow(proxy)
        self._to_engine = _Flow(proxy)
        self.engine_side = _Side(self, self._to_database, self._to_engine)
        self._database_side = _Side(self, self._to_engine, self._to_database)
        self._dialling: asyncio.Task[None] | None = None
        self._is_reset = False

    def set_delays(self, to_database_s: float, to_engine_s: float) -> None:
        self._to_database.set_delay(to_database_s)
        self._to_engine.set_delay(to_engine_s)
        self.dial()

    def dial(self) -> None:
        """Connects to the database once, as soon as the path there is open."""
        if self._dialling is None and self.engine_side.transport is not None and self._to_database.is_open:
            self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self._database_side, *self._database)
        except OSError:
            self._database_side.is_lost = True
            self._to_database.discard()
            self._to_engine.end()
            self.side_lost()
        if self._is_reset:
            self._database_side.reset()

    def database_side_port(self) -> int | None:
        transport = self._database_side.transport
        return None if transport is None else cast(int, transport.get_extra_info("sockname")[1])

    def side_lost(self) -> None:
        if self.engine_side.is_lost and (self._database_side.is_lost or self._dialling is None):
            self._to_database.discard()
            self._to_engine.discard()
            self._proxy.forget(self)

    def reset(self) -> None:
        self._is_reset = True
        for flow in (self._to_database, self._to_engine):
            flow.discard()
        for side in (self.engine_side, self._database_side):
            side.reset()
        self._proxy.forget(self)


class _Side(asyncio.Protocol):
    """One half: bytes it receives go into `incoming`, bytes for its peer come out of `outgoing`."""

    def __init__(self, connection: _Connection, incoming: _Flow, outgoing: _Flow) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._incoming.source = self.transport
        self._outgoing.sink = self.transport
        self._outgoing.release()
        self._incoming.regulate()
        self._connection.dial()

    def data_received(self, data: bytes) -> None:
        self._incoming.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a reset travels on as a close
        self.is_lost = True
        self.transport = None
        self._incoming.source = None
        self._incoming.end()
        self._outgoing.discard()
        self._connection.side_lost()

    def pause_writing(self) -> None:
        self._outgoing.is_sink_full = True
        self._outgoing.regulate()

    def resume_writing(self) -> None:
        self._outgoing.is_sink_full = False
        self._outgoing.regulate()

    def reset(self) -> None:
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class _Flow:
    """One direction. A chunk leaves `delay_s` after it came: 0 is at once, infinite not before the mend."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._delay_s = 0.0
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._copy = proxy.new_capture()
        self._timer: asyncio.TimerHandle | None = None
        self._is_discarded = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.is_sink_full = False

    @property
    def is_open(self) -> bool:
        return self._delay_s < math.inf

    def feed(self, data: bytes) -> None:
        if self._copy is not None and len(self._copy) < CAPTURED_BYTES_MAX:
            self._copy += data
        if self._is_discarded:
            return
        if self._delay_s:
            self._proxy.dropped_bytes += len(data)
        elif not self._held and self.sink is not None:
            self.sink.write(data)
            return
        self._held.append((asyncio.get_running_loop().time() + self._delay_s, data))
        self._held_bytes += len(data)
        self.release()

    def end(self) -> None:
        """The source closed: so will the sink, after what is still held."""
        if not self._is_discarded:
            self._held.append((asyncio.get_running_loop().time() + self._delay_s, _END))
            self.release()

    def discard(self) -> None:
        """The sink is gone: held and later bytes are dropped."""
        self._is_discarded = True
        self.sink = None
        self._held.clear()
        self._held_bytes = 0
        self._cancel_timer()
        self.regulate()

    def set_delay(self, delay_s: float) -> None:
        """Applies to what is held as well."""
        if delay_s == self._delay_s:
            return
        self._delay_s = delay_s
        due_s = asyncio.get_running_loop().time() + delay_s
        self._held = deque((due_s, data) for _, data in self._held)
        self.release()

    def release(self) -> None:
        """Writes all that is due, then sets the timer for the next."""
        self._cancel_timer()
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        while self._held and self.sink is not None and self._held[0][0] <= now_s:
            _, data = self._held.popleft()
            self._held_bytes -= len(data)
            if not data:
                self.sink.close()
            else:
                self.sink.write(data)
        if self._held and self.sink is not None and self._held[0][0] < math.inf:
            self._timer = loop.call_at(self._held[0][0], self.release)
        self.regulate()

    def regulate(self) -> None:
        """The source may send while the sink takes it and not too much is held."""
        if self.source is None or self.source.is_closing():
            return
        if not self._is_discarded and (self.is_sink_full or self._held_bytes >= HELD_BYTES_MAX):
            self.source.pause_reading()
        else:
            self.source.resume_reading()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bound_socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return made
