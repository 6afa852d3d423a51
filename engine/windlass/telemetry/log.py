"""The log. A line is one JSON object on standard output (contract 8.4). Lines collect in memory and are written
together soon after; after a warning or an error that is at once. Nobody waits for it but the end of the process.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from windlass.auth.principal import PRINCIPAL
from windlass.dsn import redact
from windlass.errors import EngineError
from windlass.telemetry.events import Event
from windlass.telemetry.output import Output, Stream

#: The W3C trace header of the request being served, copied onto every line it causes (contract 1.3).
TRACEPARENT: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent", default=None)

WRITE_AFTER_S = 0.02

DEBUG, INFO, WARN, ERROR = 10, 20, 30, 40
_LEVELS = {"debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}


class Log:
    """Writes one JSON line an event to `stream`, a binary file without a buffer; safe to use with no event loop too.

    If the reader does not read, lines are dropped and counted; if it is gone, they are lost.
    """

    def __init__(self, level: str, stream: Stream) -> None:
        self._threshold = _LEVELS[level]
        self._output = Output(stream, dropped=self._line_dropped, resumed=self._said_of_dropped)
        self.count_dropped: Callable[[], None] = lambda: None
        """Called for each line that is dropped."""
        self._encode = msgspec.json.Encoder(enc_hook=_as_json).encode
        #: as one, since the writer's thread reads it too
        self._second = (-1, "")
        self._scheduled_on: asyncio.AbstractEventLoop | None = None
        atexit.register(self.flush)

    def enabled(self, level: str) -> bool:
        """Tell whether lines of that level are written, to spare costly attributes."""
        return _LEVELS[level] >= self._threshold

    def debug(self, msg: str, **attrs: Any) -> None:
        if self._threshold <= DEBUG:
            self._line("DEBUG", msg, attrs)

    def info(self, msg: str, **attrs: Any) -> None:
        if self._threshold <= INFO:
            self._line("INFO", msg, attrs)

    def warning(self, msg: str, **attrs: Any) -> None:
        if self._threshold <= WARN:
            self._line("WARN", msg, attrs)
            self._hand_over()

    def error(self, msg: str, **attrs: Any) -> None:
        self._line("ERROR", msg, attrs)
        self._hand_over()

    def flush(self) -> None:
        """Returns when all lines are written, or after a second."""
        self._output.flush()

    def _hand_over(self) -> None:
        self._scheduled_on = None
        self._output.hand_over()

    def _line_dropped(self) -> None:
        self.count_dropped()

    def _said_of_dropped(self, count: int) -> bytes:
        return self._encoded("WARN", Event.LINES_DROPPED, {"count": count})

    def _line(self, level: str, msg: str, attrs: dict[str, Any]) -> None:
        if self._output.add(self._encoded(level, msg, attrs)):
            self._hand_over()
        else:
            self._hand_over_soon()

    def _encoded(self, level: str, msg: str, attrs: dict[str, Any]) -> bytes:
        now_us = time.time_ns() // 1000
        second, micros = divmod(now_us, 1_000_000)
        told, text = self._second
        if second != told:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        record = {"time": f"{text}.{micros:06d}Z", "level": level, "msg": msg}
        if attrs:
            if "err" in attrs:
                attrs["err"] = redact(error_text(attrs["err"]))
            record.update(attrs)
        traceparent = TRACEPARENT.get()
        if traceparent is not None:
            record["traceparent"] = traceparent
        principal = PRINCIPAL.get()
        if principal is not None:
            record["principal"] = principal.name
        try:
            return self._encode(record)
        except (TypeError, ValueError, RecursionError):
            return self._encode({key: _printable(value) for key, value in record.items()})

    def _hand_over_soon(self) -> None:
        # Asking for the running loop is a system call, and this is done for each line.
        if self._scheduled_on is not None and not self._scheduled_on.is_closed():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._hand_over()
            return
        self._scheduled_on = loop
        loop.call_later(WRITE_AFTER_S, self._hand_over)


def bridge_stdlib(log: Log) -> None:
    """Send what libraries log or warn about through `log`, from WARNING up."""
    root = logging.getLogger()
    root.handlers = [_Bridge(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


class _Bridge(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        attrs: dict[str, Any] = {"logger": record.name, "text": redact(record.getMessage())}
        if record.exc_info and record.exc_info[1] is not None:
            attrs["err"] = record.exc_info[1]
            attrs["stack"] = stack_of(record.exc_info[1])
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write(Event.LIBRARY, **attrs)


def stack_of(error: BaseException) -> str:
    """Return the traceback as text, without passwords."""
    return redact("".join(traceback.format_exception(error)))


def error_text(error: object) -> str:
    """An error as the log shows it."""
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return str(error)


def _as_json(value: object) -> object:
    return redact(error_text(value)) if isinstance(value, BaseException) else str(value)


def _printable(value: object) -> object:
    """Return what can be encoded for sure: lone surrogates escaped, anything else as Python shows it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, int):
        return value
    return repr(value).encode("ascii", "backslashreplace").decode()


def fatal(log: Log, error: EngineError) -> int:
    """Tell what ends the process, in the log and on standard error; returns the exit code."""
    log.error(Event.FATAL, err=str(error))
    log.flush()
    sys.stderr.write(f"windlass: {error}\n")
    return 1
