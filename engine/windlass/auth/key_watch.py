"""The issuer's keys: read at boot, again at intervals or when the file changes, and for a token of an unknown one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from windlass import secret_files
from windlass.auth.jwt_verifier import JwtVerifier
from windlass.auth.key_set import BYTES_MAX, KeySet, Unreadable, parse
from windlass.errors import BootRefused
from windlass.jwt_settings import JwtSettings

RETRY_S = 10.0
"""Pause after a fetch that failed, and the least between two that unknown keys bring on, whoever sends them."""
VARIABLE = "WINDLASS_JWT_JWKS_FILE"


def read(path: str) -> tuple[bytes, KeySet]:
    """The file's content and its keys. BootRefused names what is wrong."""
    data = _content(path)
    return data, _parsed(path, data)


def _content(path: str) -> bytes:
    try:
        return secret_files.content(path, BYTES_MAX).encode()
    except secret_files.Unusable as error:
        raise BootRefused(f"{VARIABLE} {error}") from None


def _parsed(path: str, data: bytes) -> KeySet:
    try:
        return parse(data)
    except Unreadable as error:
        raise BootRefused(
            f"{VARIABLE} names {path!r}, which cannot be used: {error}; mount the issuer's keys"
        ) from None


class Reports(Protocol):
    """What `telemetry.node.NodeTelemetry` is told."""

    def keys_read(self, count: int) -> None: ...
    def keys_unusable(self, cause: str, *, are_there: bool, is_new: bool) -> None: ...


class _Watch:
    """What a file and a URL have in common: what is read goes to the verifier, a trouble is counted and told once."""

    def __init__(self, settings: JwtSettings, reports: Reports) -> None:
        self.verifier = JwtVerifier(settings, self.wanted)
        self._reports = reports
        self._data = b""
        self._trouble = ""

    def wanted(self) -> bool:
        """A token names a key that is not known. Whether more keys may come within a second or so."""
        return False

    def _took(self, data: bytes, keys: KeySet) -> None:
        if data != self._data:
            # Otherwise the signatures that are remembered stay good.
            self._data, self.verifier.keys = data, keys
        elif not self._trouble:
            return
        self._trouble = ""
        self._reports.keys_read(len(keys))

    def _failed(self, cause: str) -> None:
        is_new, self._trouble = cause != self._trouble, cause
        self._reports.keys_unusable(cause, are_there=self.verifier.keys is not None, is_new=is_new)


class KeyFileWatch(_Watch):
    def __init__(self, settings: JwtSettings, path: str, reports: Reports) -> None:
        super().__init__(settings, reports)
        self._path = path

    async def begin(self) -> None:
        """Raises BootRefused."""
        self._took(*await asyncio.to_thread(read, self._path))

    async def look(self) -> None:
        try:
            data = await asyncio.to_thread(_content, self._path)
            if data == self._data and not self._trouble:
                return
            keys = await asyncio.to_thread(_parsed, self._path, data)
        except BootRefused as error:
            if error.reason != self._trouble:
                self._failed(error.reason)
            return
        self._took(data, keys)

    async def stop(self) -> None:
        pass


class KeyUrlWatch(_Watch):
    """At most one fetch at a time. `clock` is seconds that only rise."""

    def __init__(
        self,
        settings: JwtSettings,
        fetch: Callable[[], Awaitable[bytes]],
        reports: Reports,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings, reports)
        self._fetch = fetch
        self._refresh_s = settings.jwt_refresh_s
        self._clock = clock
        self._asked_s = -RETRY_S
        self._fetching: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """One attempt: without keys the node serves whoever needs none, as a node of many that boot together has to."""
        await self._fetch_once()

    async def look(self) -> None:
        pause_s = RETRY_S if self._trouble else self._refresh_s
        if self._clock() - self._asked_s >= pause_s:
            await self._fetch_once()

    def wanted(self) -> bool:
        if self._clock() - self._asked_s >= RETRY_S:
            self._begin_fetch()
        return self._trouble != "" or (self._fetching is not None and not self._fetching.done())

    async def stop(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _begin_fetch(self) -> asyncio.Task[None]:
        if self._fetching is None or self._fetching.done():
            self._asked_s = self._clock()
            self._fetching = asyncio.create_task(self._take(), name="fetch of keys")
        return self._fetching

    async def _fetch_once(self) -> None:
        await asyncio.wait({self._begin_fetch()})

    async def _take(self) -> None:
        try:
            data = await self._fetch()
            keys = await asyncio.to_thread(parse, data)
        except Unreadable as error:
            self._failed(str(error))
            return
        self._took(data, keys)
