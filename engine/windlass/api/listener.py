"""A listening port that accepts only while there is room: until then callers wait in the kernel's queue, connected and
with their request on its way, and none of them is closed unheard.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from windlass.api.address import bound

BACKLOG = 1024
ACCEPTED_AT_ONCE_MAX = 256
"""Then the loop serves others first."""


class Listener:
    """`may_accept` is asked before each accept; the argument tells whether a caller is known to wait. After a no,
    nothing is accepted until `resume`. `accepted` owns the socket.
    """

    def __init__(self, may_accept: Callable[[bool], bool], accepted: Callable[[socket.socket], None]) -> None:
        self._may_accept = may_accept
        self._accepted = accepted
        self._sockets: list[socket.socket] = []
        self._reading = False

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port (the one asked for, unless that was 0). Raises OSError."""
        self._loop = asyncio.get_running_loop()
        listening = bound(host, port)
        self._sockets.append(listening)
        try:
            listening.setblocking(False)
            listening.listen(BACKLOG)
        except OSError:
            self.close()
            raise
        self.resume()
        actual: int = listening.getsockname()[1]
        return actual

    def resume(self) -> None:
        if not self._reading:
            self._reading = True
            for listening in self._sockets:
                self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        self._pause()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            for listening in self._sockets:
                self._loop.remove_reader(listening)

    def _accept(self, listening: socket.socket) -> None:
        for number in range(ACCEPTED_AT_ONCE_MAX):
            if not self._may_accept(number == 0):
                if number == 0:
                    self._pause()
                return
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptor or memory is left for another one.
                self._pause()
                return
            accepted.setblocking(False)
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(accepted)
