"""The tokens file on disk: read at boot, and again when it changes, as a mounted Secret does by a swap of links."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from windlass import secret_files
from windlass.auth.gate import Gate
from windlass.auth.principal import Principal
from windlass.auth.tokens import FILE_BYTES_MAX, Unreadable, parse
from windlass.errors import BootRefused

VARIABLE = "WINDLASS_TOKENS_FILE"


def read(path: str) -> tuple[str, Mapping[bytes | str, Principal]]:
    """The file's text, and whom its tokens stand for. BootRefused names what is wrong and never a value."""
    text = _text(path)
    return text, _parsed(path, text)


def _text(path: str) -> str:
    try:
        return secret_files.content(path, FILE_BYTES_MAX)
    except secret_files.Unusable as error:
        raise BootRefused(f"{VARIABLE} {error}") from None


def _parsed(path: str, text: str) -> Mapping[bytes | str, Principal]:
    try:
        return parse(text)
    except Unreadable as error:
        raise BootRefused(f"{VARIABLE} names {path!r}, which cannot be used: {error}") from None


class Reports(Protocol):
    """What `telemetry.node.NodeTelemetry` is told."""

    def tokens_read(self, count: int) -> None: ...
    def tokens_unusable(self, cause: str) -> None: ...


class TokensWatch:
    """Gives the gate the tokens of the file; when that has changed and cannot be used, it tells once and changes
    nothing, and tells again when it can be used.
    """

    def __init__(self, path: str, gate: Gate, reports: Reports) -> None:
        self._path = path
        self._gate = gate
        self._reports = reports
        self._text, self._trouble = "", ""

    def begin(self) -> None:
        """Read it for the first time. Raises BootRefused."""
        self._text, self._gate.tokens = read(self._path)
        self._reports.tokens_read(len(self._gate.tokens))

    async def look(self) -> None:
        # All of it, since it is small: a change leaves size and times as they were if it comes soon enough.
        try:
            text = await asyncio.to_thread(_text, self._path)
            tokens = None if text == self._text else await asyncio.to_thread(_parsed, self._path, text)
        except BootRefused as error:
            if error.reason != self._trouble:
                self._trouble = error.reason
                self._reports.tokens_unusable(error.reason)
            return
        if tokens is not None:
            self._text, self._gate.tokens = text, tokens
        if tokens is not None or self._trouble:
            self._trouble = ""
            self._reports.tokens_read(len(self._gate.tokens))
