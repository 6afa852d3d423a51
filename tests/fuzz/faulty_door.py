"""A door that answers with what a test says, byte for byte: for the oracles that judge an answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class FaultyDoor:
    """`with FaultyDoor(answer) as port`: reads what comes first, sends `answer`, and closes unless it is to be kept."""

    def __init__(self, answer: bytes, *, keeps_open: bool = False) -> None:
        self._answer = answer
        self._keeps_open = keeps_open
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._taken: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes a thread that still waits for a caller, or for what it says.
        for each in (self._listener, *self._taken):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, *self._taken):
            each.close()

    def _serve(self) -> None:
        # A caller that goes away before its answer ends this, too.
        with contextlib.suppress(OSError):
            taken, _ = self._listener.accept()
            self._taken.append(taken)
            taken.recv(65536)
            taken.sendall(self._answer)
            if not self._keeps_open:
                taken.close()
