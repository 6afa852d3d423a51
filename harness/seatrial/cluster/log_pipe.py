"""A pipe for a process's output, and its reader, which may stop: as the reader of a container's log may."""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from pathlib import Path

#: the smallest that Linux has (pipe(7)), so that it is soon full
CAPACITY_BYTES = 4096
_READ_BYTES = 65_536


class LogPipe:
    """`open` once for each run of the process. What is read is appended to the log."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._read_fd: int | None = None
        self._is_stopped = False

    def open(self) -> int:
        """The end to write to, which whoever starts the process closes afterwards."""
        self.close()
        self._read_fd, write_fd = os.pipe()
        fcntl.fcntl(self._read_fd, fcntl.F_SETPIPE_SZ, CAPACITY_BYTES)
        os.set_blocking(self._read_fd, False)
        if not self._is_stopped:
            asyncio.get_running_loop().add_reader(self._read_fd, self._read)
        return write_fd

    def stop(self) -> None:
        """Nothing is read any more; the pipe stays open."""
        self._is_stopped = True
        if self._read_fd is not None:
            asyncio.get_running_loop().remove_reader(self._read_fd)

    def resume(self) -> None:
        self._is_stopped = False
        if self._read_fd is not None:
            asyncio.get_running_loop().add_reader(self._read_fd, self._read)

    def unread_bytes(self) -> int:
        if self._read_fd is None:
            return 0
        waiting = bytearray(4)
        fcntl.ioctl(self._read_fd, termios.FIONREAD, waiting)
        return int.from_bytes(waiting, "little")

    def close(self) -> None:
        """Keeps what can still be read; safe to call twice."""
        if self._read_fd is not None:
            while self._read_fd is not None and self.unread_bytes():
                self._read()
            self._end()

    def _read(self) -> None:
        if self._read_fd is None:
            return
        try:
            data = os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            with self._log_path.open("ab") as log:
                log.write(data)
        else:
            self._end()

    def _end(self) -> None:
        if self._read_fd is not None:
            asyncio.get_running_loop().remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = None
