"""A small file system under the data of a `PostgresServer`, which can be filled to its last byte.

It is a tmpfs, so it takes root and the right to mount. The data that the server had before stays beside it, and takes
its place again at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

from seatrial.cluster import ClusterError
from seatrial.cluster.postgres import PostgresServer

_CAP_SYS_ADMIN = 21
_COMMAND_WITHIN_S = 30.0
_CHUNK_BYTES = 1 << 20
_FILLER = "filler"


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


class SmallDisk:
    """`put` ... `take_away`."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._folder = server.data_folder
        self._kept = self._folder.with_name("kept")
        self._is_there = False

    async def put(self, free_bytes: int) -> None:
        """The server stops, and is started again with a copy of its data and so much beside it. Raises ClusterError."""
        await self._server.stop()
        owner = self._folder.stat()
        self._folder.rename(self._kept)
        self._is_there = True
        self._folder.mkdir(mode=0o700)
        size = _size(self._kept) + free_bytes
        options = f"size={size},mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
        self._server.watch_mount(self._folder)
        await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._folder))
        await _run("cp", "-a", f"{self._kept}/.", str(self._folder))
        await self._server.start()

    async def fill(self) -> int:
        """Takes what is free; how many bytes that was."""
        return await asyncio.to_thread(self._fill)

    async def empty(self) -> None:
        """Gives it back; nothing happens when nothing was taken."""
        (self._folder / _FILLER).unlink(missing_ok=True)

    async def take_away(self) -> None:
        """The server is started with the data that it had before; safe to call half-way."""
        if not self._is_there:
            return
        self._is_there = False
        await self._server.stop("immediate")
        if self._folder.is_mount():
            await _run("umount", str(self._folder))
        self._folder.rmdir()
        self._kept.rename(self._folder)
        await self._server.start()

    def _fill(self) -> int:
        chunk = bytes(_CHUNK_BYTES)
        with (self._folder / _FILLER).open("ab", buffering=0) as filler:
            while chunk:
                try:
                    filler.write(chunk)
                except OSError as err:
                    if err.errno != errno.ENOSPC:
                        raise
                    chunk = chunk[: len(chunk) // 2]
            return filler.tell()


def _size(folder: Path) -> int:
    """In whole pages, as a tmpfs counts."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


async def _run(*command: str) -> None:
    try:
        await asyncio.to_thread(
            subprocess.run, command, check=True, capture_output=True, timeout=_COMMAND_WITHIN_S
        )
    except (subprocess.SubprocessError, OSError) as err:
        said = getattr(err, "stderr", None) or b""
        raise ClusterError(f"{command[0]} failed: {err} {said.decode(errors='replace').strip()}") from err
