"""The signals that end a process in order. SIGHUP is among them, since a terminal that closes sends it."""

from __future__ import annotations

import os
import signal
from types import FrameType

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def heeded() -> list[signal.Signals]:
    """Those that whoever started the process has not told it to ignore, as `nohup` does with SIGHUP."""
    return [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]


def end_at_once(exit_code: int) -> None:
    """Until the event loop handles them: loading the program takes about a second, in which nothing has begun yet.

    A container's first process has no default action (`man 7 pid_namespaces`), so it would ignore them until then.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        os._exit(exit_code)

    for number in heeded():
        signal.signal(number, end)
