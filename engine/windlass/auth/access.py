"""Who may come in, put together: the gate, and what keeps tokens and keys as their files or the issuer have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from windlass.access_settings import AccessSettings
from windlass.auth import file
from windlass.auth.gate import Gate, Refusal
from windlass.jwt_settings import JwtSettings

if TYPE_CHECKING:
    from windlass.auth.key_watch import KeyFileWatch, KeyUrlWatch


class Reports(Protocol):
    """What `telemetry.node.NodeTelemetry` is told."""

    def authentication_off(self) -> None: ...
    def call_refused(self, reason: Refusal) -> None: ...
    def tokens_read(self, count: int) -> None: ...
    def tokens_unusable(self, cause: str) -> None: ...
    def keys_read(self, count: int) -> None: ...
    def keys_unusable(self, cause: str, *, are_there: bool, is_new: bool) -> None: ...


class Access:
    """`gate`: None while authentication is off."""

    def __init__(self, settings: AccessSettings, reports: Reports) -> None:
        self._reports = reports
        self.gate = Gate({}, reports.call_refused) if settings.is_on else None
        self._tokens: file.TokensWatch | None = None
        self._keys: KeyFileWatch | KeyUrlWatch | None = None
        if self.gate is not None and settings.tokens_file is not None:
            self._tokens = file.TokensWatch(settings.tokens_file, self.gate, reports)
        if self.gate is not None and settings.jwt is not None:
            self._keys = _watch(settings.jwt, reports)
            self.gate.jwt = self._keys.verifier

    @property
    def looks(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        """By name, what is to be called every `secret_files.LOOK_INTERVAL_S`."""
        watches = ("tokens", self._tokens), ("keys", self._keys)
        return [(name, watch.look) for name, watch in watches if watch is not None]

    async def begin(self) -> None:
        """Raises BootRefused for a file that cannot be used."""
        if self.gate is None:
            self._reports.authentication_off()
        if self._tokens is not None:
            self._tokens.begin()
        if self._keys is not None:
            await self._keys.begin()

    async def stop(self) -> None:
        if self._keys is not None:
            await self._keys.stop()


def read_files(settings: AccessSettings) -> None:
    """Raises BootRefused, as a boot would."""
    if settings.tokens_file is not None:
        file.read(settings.tokens_file)
    if settings.jwt is not None and settings.jwt.jwt_keys_file is not None:
        from windlass.auth import key_watch

        key_watch.read(settings.jwt.jwt_keys_file)


def _watch(settings: JwtSettings, reports: Reports) -> KeyFileWatch | KeyUrlWatch:
    # Imported here: without JWTs neither their library nor a client for HTTP is in the process.
    from windlass.auth.key_watch import KeyFileWatch, KeyUrlWatch

    if settings.jwt_keys_file is not None:
        return KeyFileWatch(settings, settings.jwt_keys_file, reports)
    url, ca_path = settings.jwt_keys_url, settings.jwt_keys_ca_path
    assert url is not None
    from windlass.auth.key_url import fetch

    return KeyUrlWatch(settings, lambda: fetch(url, ca_path), reports)
