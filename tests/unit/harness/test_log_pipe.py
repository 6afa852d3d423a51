"""A reader of a process's output that stops and goes on; a real pipe and a real process."""

from __future__ import annotations

import sys
from pathlib import Path

from seatrial.cluster.log_pipe import CAPACITY_BYTES, LogPipe
from seatrial.cluster.process import Process
from seatrial.cluster.reaper import Reaper
from seatrial.deadline import until

LINES = 2000
WRITES = f"for number in range({LINES}): print(number)"


def blocked(what: str) -> AssertionError:
    return AssertionError(f"not in time: {what}")


async def test_a_reader_that_stops_holds_up_who_writes_and_loses_nothing(tmp_path: Path) -> None:
    reaper = Reaper()
    process = Process(
        "writer", [sys.executable, "-uc", WRITES], env={}, log_path=tmp_path / "log", reaper=reaper
    )
    process.pipe = pipe = LogPipe(process.log_path)
    try:
        pipe.stop()
        process.start()
        await until(
            lambda: pipe.unread_bytes() > CAPACITY_BYTES - 10,
            within_s=10,
            every_s=0.02,
            otherwise=lambda: blocked("the pipe is full"),
        )
        assert process.running
        assert process.log_path.read_text() == ""
        pipe.resume()
        assert await process.wait() == 0
        await until(
            lambda: len(process.log_path.read_text().splitlines()) == LINES,
            within_s=10,
            every_s=0.02,
            otherwise=lambda: blocked("all lines"),
        )
        process.start()
        assert await process.wait() == 0
        pipe.close()
        assert len(process.log_path.read_text().splitlines()) == 2 * LINES
        assert pipe.unread_bytes() == 0
    finally:
        await process.kill()
        pipe.close()
        reaper.close()
