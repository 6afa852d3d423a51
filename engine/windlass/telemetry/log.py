"""The log. A line is one JSON object on standard output (contract 8.4). Lines collect in memory and are written
together soon after; warnings, errors and the end of the process do not wait.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import time
import traceback
from typing import Any, BinaryIO

import msgspec

from windlass.dsn import redact
from windlass.telemetry.events import Event

#: The W3C trace header of the request being served, copied onto every line it causes (contract 1.3).
TRACEPARENT: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent", default=None)

FLUSH_AFTER_S = 0.02
BUFFER_BYTES_MAX = 256 * 1024

DEBUG, INFO, WARN, ERROR = 10, 20, 30, 40
_LEVELS = {"debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}


class Log:
    """Writes one JSON line an event to `stream`, a binary file; safe to use with no event loop too.

    If the reader is gone, lines are lost but the process continues.
    """

    def __init__(self, level: str, stream: BinaryIO) -> None:
        self._threshold = _LEVELS[level]
        self._stream = stream
        self._encode = msgspec.json.Encoder(enc_hook=_as_json).encode
        self._lines: list[bytes] = []
        self._bytes = 0
        self._second = -1
        self._second_text = ""
        self._flush_scheduled_on: asyncio.AbstractEventLoop | None = None
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
            self.flush()

    def error(self, msg: str, **attrs: Any) -> None:
        self._line("ERROR", msg, attrs)
        self.flush()

    def flush(self) -> None:
        self._flush_scheduled_on = None
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        self._lines.clear()
        self._bytes = 0
        try:
            self._stream.write(data)
            self._stream.flush()
        except (OSError, ValueError):
            # Closed pipe, full disk, closed file: better to serve without a log than not at all.
            return

    def _line(self, level: str, msg: str, attrs: dict[str, Any]) -> None:
        now_us = time.time_ns() // 1000
        second, micros = divmod(now_us, 1_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        record = {"time": f"{self._second_text}.{micros:06d}Z", "level": level, "msg": msg}
        if attrs:
            if "err" in attrs:
                attrs["err"] = redact(_error_text(attrs["err"]))
            record.update(attrs)
        traceparent = TRACEPARENT.get()
        if traceparent is not None:
            record["traceparent"] = traceparent
        try:
            line = self._encode(record)
        except (TypeError, ValueError, RecursionError):
            line = self._encode({key: _printable(value) for key, value in record.items()})
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > BUFFER_BYTES_MAX:
            self.flush()
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if loop is not self._flush_scheduled_on:
            self._flush_scheduled_on = loop
            loop.call_later(FLUSH_AFTER_S, self.flush)


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


def _error_text(error: object) -> str:
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return str(error)


def _as_json(value: object) -> object:
    return redact(_error_text(value)) if isinstance(value, BaseException) else str(value)


def _printable(value: object) -> object:
    """Return what can be encoded for sure: lone surrogates escaped, anything else as Python shows it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, int):
        return value
    return repr(value).encode("ascii", "backslashreplace").decode()
