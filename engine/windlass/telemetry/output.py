"""Lines on their way out. A thread writes them, so that a reader that stopped, or a slow disk, holds up nothing else.

While it does not get on, lines are kept up to a limit; later ones are dropped and counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

HELD_BYTES_MAX = 1024 * 1024
IDLE_S = 1.0
"""A writer without work ends after this time; the next line starts another."""
FLUSH_WITHIN_S = 1.0
RETRY_AFTER_S = 0.02


class Stream(Protocol):
    def write(self, data: bytes, /) -> int | None:
        """How many bytes it took; None when it would have to wait and may not."""
        ...

    def flush(self) -> None: ...


def standard_output() -> Stream:
    """The process's, whatever Python was told about buffers."""
    return os.fdopen(1, "wb", buffering=0, closefd=False)


class Output:
    """`resumed` gets the number of dropped lines, in the writer's thread, and returns a line that says so.

    If the reader is gone, or the stream closed, lines are lost but the process continues.
    """

    def __init__(
        self, stream: Stream, *, dropped: Callable[[], None], resumed: Callable[[int], bytes]
    ) -> None:
        """`stream` should not be buffered: its lock would be held by a writer that waits while the process ends."""
        self._stream = stream
        self._count_dropped = dropped
        self._resumed = resumed
        self._state = threading.Condition()
        self._lines: list[bytes] = []
        self._held_bytes = 0
        self._dropped = 0
        self._is_due = False
        self._writes_now = False
        self._writer: threading.Thread | None = None

    def add(self, line: bytes) -> bool:
        """Keeps it until the next `hand_over`; whether that should come at once, since much is waiting."""
        with self._state:
            if self._held_bytes + len(line) > HELD_BYTES_MAX:
                self._dropped += 1
                self._count_dropped()
            else:
                self._lines.append(line)
                self._held_bytes += len(line) + 1
            return self._held_bytes > HELD_BYTES_MAX // 4

    def hand_over(self) -> None:
        """What was added is written as soon as possible. Returns at once."""
        with self._state:
            if not self._lines:
                return
            self._is_due = True
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_on, name="log", daemon=True)
                self._writer.start()
            else:
                self._state.notify_all()

    def flush(self, within_s: float = FLUSH_WITHIN_S) -> None:
        """Returns when everything is written, or after `within_s`."""
        self.hand_over()
        until_s = time.monotonic() + within_s
        with self._state:
            while self._is_due or self._writes_now:
                if not self._state.wait(until_s - time.monotonic()):
                    return

    def _write_on(self) -> None:
        while (data := self._next()) is not None:
            try:
                while data:
                    written = self._stream.write(data)
                    if written is None:  # a pipe that somebody made non-blocking is full
                        time.sleep(RETRY_AFTER_S)
                    else:
                        data = data[written:]
                self._stream.flush()
            except (OSError, ValueError):
                # Closed pipe, full disk, closed file: better to serve without a log than not at all.
                continue

    def _next(self) -> bytes | None:
        """What is to be written in one go; None when there was nothing for a while."""
        with self._state:
            self._writes_now = False
            self._state.notify_all()
            if not self._state.wait_for(lambda: self._is_due, IDLE_S):
                self._writer = None
                return None
            lines, self._lines = self._lines, []
            dropped, self._dropped = self._dropped, 0
            self._held_bytes = 0
            self._is_due, self._writes_now = False, True
        if dropped:
            lines.append(self._resumed(dropped))
        return b"\n".join([*lines, b""])
