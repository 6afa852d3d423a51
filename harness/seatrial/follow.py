"""Shows a run's progress from its history, which every process of the run appends to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import msgspec

from seatrial.history import HISTORY_FILE, Op

_LOOK_INTERVAL_S = 0.5
_CHUNK_BYTES_MAX = 8 << 20


class Watcher(Protocol):
    def phase(self, name: str) -> None: ...

    def tick(self, ops: int, ok: int, failed: int) -> None:
        """Takes totals so far."""
        ...


async def follow(folder: Path, watcher: Watcher) -> None:
    """Runs until cancelled; waits for a history that does not exist yet."""
    path = folder / HISTORY_FILE
    rest = b""
    offset = ops = ok = failed = 0
    while True:
        chunk = _read(path, offset)
        offset += len(chunk)
        whole, newline, tail = chunk.rpartition(b"\n")
        lines = rest + whole + newline
        rest = tail if newline else rest + tail
        if newline:
            ops += lines.count(b"\n")
            ok += lines.count(b'"type":"ok"')
            failed += lines.count(b'"type":"fail"')
            for line in lines.splitlines():
                if b'"f":"phase"' in line:
                    watcher.phase(str(msgspec.json.decode(line, type=Op).value["name"]))
            watcher.tick(ops, ok, failed)
        await asyncio.sleep(_LOOK_INTERVAL_S)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_CHUNK_BYTES_MAX)
    except FileNotFoundError:
        return b""
