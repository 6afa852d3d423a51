"""The signals that end a process in order. SIGHUP is among them, since a terminal that closes sends it, but not where
whoever started the process has told it to ignore that, as `nohup` does.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def heeded() -> list[signal.Signals]:
    """A shell makes its background jobs ignore SIGINT, which is no wish of anybody's."""
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignores_hangup else [signal.SIGHUP])]


def end_at_once(exit_code: int) -> None:
    """Until the event loop handles them: loading the program takes about a second, in which nothing has begun yet.

    A container's first process has no default action (`man 7 pid_namespaces`), so it would ignore them until then.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        os._exit(exit_code)

    for number in heeded():
        signal.signal(number, end)
