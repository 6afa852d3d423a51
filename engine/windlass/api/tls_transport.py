"""TLS of one connection: a protocol to the socket, and the transport of a `Connection`.

The event loops have one of their own, which keeps up to half a MiB for each connection that once sent a large body.
Here what arrives goes through one buffer of the server, and on in pieces of a record's size, so that a connection at
rest keeps `REST_BYTES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from windlass.api.handshakes import Handshakes
from windlass.tls.watch import CertificateWatch, HandshakeFault

if TYPE_CHECKING:
    from windlass.api.connection import Connection

RECORD_BYTES = 16 * 1024
"""The largest plaintext of a record (RFC 8446, 5.1)."""
BUFFER_BYTES = 64 * 1024
REST_BYTES = 64 * 1024
"""Of a connection without a call: 20 KiB of keys, and two buffers of a record once a large body has passed."""
_HANDSHAKE = 22
"""The first byte of whoever speaks TLS: the type of a record (RFC 8446, 5.1)."""
SPEAK_TLS = "this port speaks TLS; use https://"


class _State(Enum):
    SILENT = auto()
    """Not a byte has come."""
    HANDSHAKE = auto()
    OPEN = auto()
    PLAINTEXT = auto()
    """The caller is told so, and not listened to."""


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """The connection has it from the beginning: what is written before the handshake is over goes out after it. A
    handshake that takes longer than `handshake_s`, from the connection on, ends it. `buffer` is shared: the loop calls
    `buffer_updated` right after it has filled what `get_buffer` gave.
    """

    def __init__(
        self,
        connection: Connection,
        watch: CertificateWatch,
        buffer: memoryview,
        handshake_s: float,
        handshakes: Handshakes,
    ) -> None:
        super().__init__()
        self._handshakes = handshakes
        self._connection = connection
        self._watch = watch
        self._buffer = buffer
        self._handshake_s = handshake_s
        self._state = _State.SILENT
        self._raw: asyncio.Transport
        self._late: asyncio.TimerHandle
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject
        #: written before the handshake was over
        self._unsent: list[bytes] = []
        #: for room to begin the handshake
        self._waits = False
        #: arrived while reading was paused, or there was no room
        self._unread = b""
        self._paused = self._ended = self._closing = False
        #: the caller's certificate, empty if it has sent none; None: not asked for yet
        self._given: bytes | None = None

    # the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._late = self._loop.call_later(self._handshake_s, self._is_late)
        self._connection.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        if self._state is _State.HANDSHAKE and not self._closing:
            self._watch.handshake_failed(HandshakeFault.REFUSED)
        self._closing = True
        self._handshakes.end(self, self._loop.time())
        self._connection.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing or self._is_deaf:
            return
        data = self._buffer[:nbytes]
        if self._state is _State.SILENT:
            if data[0] != _HANDSHAKE:
                self._refuse_plaintext()
                return
            self._state = _State.HANDSHAKE
            self._tls = self._watch.current.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
            if not self._handshakes.begin(self, self._loop.time()):
                self._waits, self._unread = True, bytes(data)
                self._raw.pause_reading()
                return
        self._take(data)

    def go_on(self) -> None:
        self._waits = False
        self._loop.call_soon(self._catch_up)

    def cut(self) -> None:
        self._watch.handshake_failed(HandshakeFault.TIMEOUT)
        self.abort()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    @property
    def _is_deaf(self) -> bool:
        """What comes is dropped. A caller whose refusal waits for the handshake is heard until that is over."""
        return self._state is _State.PLAINTEXT or (self._ended and self._state is _State.OPEN)

    def _is_late(self) -> None:
        if self._state in {_State.SILENT, _State.HANDSHAKE} and not self._closing:
            self._watch.handshake_failed(HandshakeFault.TIMEOUT)
            self.abort()

    def _refuse_plaintext(self) -> None:
        self._late.cancel()
        self._state = _State.PLAINTEXT
        self._watch.handshake_failed(HandshakeFault.PLAINTEXT)
        for data in self._unsent:
            self._raw.write(data)
        if self._ended:
            self._raw.write_eof()
        else:
            self._connection.refuse_now(400, SPEAK_TLS)

    def _take(self, data: memoryview) -> None:
        for start in range(0, len(data), RECORD_BYTES):
            if self._paused:
                self._unread = bytes(data[start:])
                return
            self._incoming.write(data[start : start + RECORD_BYTES])
            self._advance()
            if self._closing or self._is_deaf:
                return

    def _advance(self) -> None:
        """Hand over what can be decrypted."""
        try:
            if self._state is _State.HANDSHAKE:
                self._tls.do_handshake()
                self._open()
            while not (self._paused or self._closing or self._is_deaf):
                data = self._tls.read(RECORD_BYTES)
                if not data:
                    self.close()
                    return
                self._connection.data_received(data)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._break()

    def _open(self) -> None:
        self._late.cancel()
        self._state = _State.OPEN
        self._handshakes.end(self, self._loop.time())
        self._flush()
        unsent, self._unsent = self._unsent, []
        for data in unsent:
            self.write(data)
        if self._ended:
            self._end()

    def _break(self) -> None:
        """The caller is told by an alert, if there is one to send."""
        if self._state is _State.HANDSHAKE:
            self._watch.handshake_failed(HandshakeFault.REFUSED)
        self._closing = True
        self._late.cancel()
        self._flush()
        self._raw.close()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # the connection's side

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`certificate`: what the caller's names it as, see `auth.certificate`."""
        return self._certificate() if name == "certificate" else self._raw.get_extra_info(name, default)

    def _certificate(self) -> frozenset[str]:
        if self._given is None:
            # Asked for at a call, so that the handshake is over.
            self._given = self._tls.getpeercert(binary_form=True) or b""
        if not self._given:
            return frozenset()
        from windlass.auth.certificate import identities_of

        return identities_of(self._given)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        if self._state is _State.PLAINTEXT:
            self._raw.write(data)
        elif self._state is not _State.OPEN:
            self._unsent.append(bytes(data))
        else:
            self._encrypt(memoryview(data))

    def _encrypt(self, rest: memoryview) -> None:
        try:
            while rest:
                # A record, and on with it: what the library keeps does not grow.
                rest = rest[self._tls.write(rest[:RECORD_BYTES]) :]
                self._flush()
        except ssl.SSLError:
            self.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """What still comes is dropped."""
        if self._ended or self._closing:
            return
        self._ended = True
        if self._state is _State.PLAINTEXT:
            self._raw.write_eof()
        elif self._state is _State.OPEN:
            self._end()

    def _end(self) -> None:
        self._notify()
        self._raw.write_eof()

    def _notify(self) -> None:
        """That nothing follows (RFC 8446, 6.1). The other's own is not waited for."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._late.cancel()
        if self._state is _State.OPEN and not self._ended:
            self._notify()
        self._raw.close()

    def abort(self) -> None:
        self._closing = True
        self._late.cancel()
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._closing or self._raw.is_closing()

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            # Not at once: whoever resumes is often called by what is handed over.
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        if self._paused or self._waits or self.is_closing():
            return
        if self._state is not _State.SILENT and not self._is_deaf:
            self._advance()
        if self._unread and not self.is_closing() and not self._paused:
            unread, self._unread = self._unread, b""
            self._take(memoryview(unread))
        if not self._paused and not self.is_closing():
            self._raw.resume_reading()
