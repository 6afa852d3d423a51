"""Runs a command with all that descends from it, and kills all of that at once: on SIGTERM, and when the command ends.

A manager of servers starts them in sessions of their own, detached from itself, so neither its process group nor its
parent's death reaches them. Run as a program by the system's Python, with no library but the standard one:

    python3 -I -S -c SOURCE COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PYTHON = "/usr/bin/python3"
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_INTERVAL_S = 0.005


def command(words: list[str]) -> list[str]:
    """What runs `words` so; the source goes along, since another user may not read this file."""
    return [PYTHON, "-I", "-S", "-c", Path(__file__).read_text(encoding="utf-8"), *words]


def _descendants() -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(stat.rpartition(")")[2].split()[1])
    found: list[int] = []
    generation = [os.getpid()]
    while generation:
        generation = [pid for pid, parent in parents.items() if parent in generation]
        found += generation
    return found


def _end(*_: object) -> None:
    while pids := _descendants():
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue
        time.sleep(_LOOK_INTERVAL_S)
    os._exit(0)


def main() -> None:
    # Whoever detaches becomes ours, not the harness's or the first process's.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _end)
    child = subprocess.Popen(sys.argv[1:])
    while os.waitpid(-1, 0)[0] != child.pid:
        pass
    _end()


if __name__ == "__main__":
    main()
