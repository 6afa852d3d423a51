"""A listening port that accepts only while there is room: until then callers wait in the kernel's queue, connected and
with their request on its way, and none of them is closed unheard.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

from windlass.errors import BootRefused

BACKLOG = 1024
ACCEPTED_AT_ONCE_MAX = 256
"""Then the loop serves others first."""


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
        # The loop's own server knows how to bind every address of a host, but not how to stop accepting for a while.
        server = await self._loop.create_server(
            asyncio.Protocol, host or None, port, reuse_address=True, start_serving=False
        )
        try:
            for bound in server.sockets:
                listening = socket.socket(fileno=os.dup(bound.fileno()))
                self._sockets.append(listening)
                listening.setblocking(False)
                listening.listen(BACKLOG)
        except OSError:
            self.close()
            raise
        finally:
            server.close()
        self.resume()
        actual: int = self._sockets[0].getsockname()[1]
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
