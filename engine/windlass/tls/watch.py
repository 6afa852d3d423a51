"""Reads the certificate at boot, and again when its files change, as cert-manager renews a mounted Secret: new
connections get the new one, those that there are go on.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from windlass.errors import BootRefused
from windlass.tls_settings import TlsSettings

if TYPE_CHECKING:
    from windlass.tls.files import ServerCertificate


class HandshakeFault(StrEnum):
    """Why a connection to REST or metrics got no TLS, as the metric's label says it."""

    PLAINTEXT = "plaintext"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """The two did not agree, or one did not take the other's certificate."""


class Reports(Protocol):
    """What `telemetry.node.NodeTelemetry` is told."""

    def certificate_read(self, expires_at_s: float, serial: str) -> None: ...
    def certificate_unusable(self, cause: str) -> None: ...
    def handshake_failed(self, fault: HandshakeFault) -> None: ...


class CertificateWatch:
    """For settings that turn TLS on. `current` is there from `begin` on, and replaced as a whole."""

    current: ServerCertificate

    def __init__(self, settings: TlsSettings, reports: Reports) -> None:
        self._settings = settings
        self._reports = reports
        self._trouble = ""
        self.handshake_failed = reports.handshake_failed

    def begin(self) -> None:
        """Raises BootRefused."""
        # Imported here: without TLS what reads certificates is not in the process.
        from windlass.tls.files import read

        self.current = read(self._settings)
        self._told()

    async def look(self) -> None:
        """When they have changed and cannot be used, it is told once and nothing changes."""
        from windlass.tls import files

        try:
            texts = await asyncio.to_thread(files.read_texts, self._settings)
            if texts != self.current.texts:
                self.current = await asyncio.to_thread(files.read, self._settings)
                self._told()
            elif self._trouble:
                self._told()
        except BootRefused as error:
            if error.reason != self._trouble:
                self._trouble = error.reason
                self._reports.certificate_unusable(error.reason)

    def _told(self) -> None:
        self._trouble = ""
        self._reports.certificate_read(self.current.expires_at_s, self.current.serial)
