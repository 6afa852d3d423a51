"""A certificate and its key as files that change as those of a mounted Secret do.

A kubelet writes each version into a folder of its own, and swaps one link to it, so that a reader finds either version
and never a mixture (Kubernetes, Secrets: mounted Secrets are updated automatically; its AtomicWriter).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from seatrial.cluster.certificate import Authority, Issued, new_authority

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
"""The keys of a Secret of the type kubernetes.io/tls."""
_VERSION = "..data"


class MountedCertificate:
    """Made with a first certificate, for servers of these names and IP addresses. The folder must not exist."""

    def __init__(self, folder: Path, names: Sequence[str], addresses: Sequence[str]) -> None:
        self._folder = folder
        self._names, self._addresses = tuple(names), tuple(addresses)
        self._authority: Authority = new_authority("Seatrial")
        self._count = 0
        folder.mkdir(mode=0o700, parents=True)
        self.serial = ""
        """Of the last good certificate."""
        self.renew()
        for name in (CERTIFICATE, KEY, AUTHORITY):
            (folder / name).symlink_to(f"{_VERSION}/{name}")

    @property
    def certificate_file(self) -> Path:
        return self._folder / CERTIFICATE

    @property
    def key_file(self) -> Path:
        return self._folder / KEY

    @property
    def ca_file(self) -> Path:
        return self._folder / AUTHORITY

    def renew(self) -> str:
        """Another one of the same authority, with another key; its serial."""
        issued = self._issued()
        self._put(issued.certificate, issued.key)
        self.serial = issued.serial
        return issued.serial

    def spoil(self) -> str:
        """A good certificate beside a key that does not belong to it; its serial."""
        issued = self._issued()
        self._put(issued.certificate, self._issued().key)
        return issued.serial

    def remove(self) -> None:
        """The folder with all in it."""
        shutil.rmtree(self._folder)

    def _issued(self) -> Issued:
        return self._authority.issue(self._names, self._addresses)

    def _put(self, certificate: bytes, key: bytes) -> None:
        self._count += 1
        version, link = f"..{self._count}", self._folder / _VERSION
        before = link.readlink() if link.is_symlink() else None
        (self._folder / version).mkdir(mode=0o700)
        for name, content in (
            (CERTIFICATE, certificate),
            (KEY, key),
            (AUTHORITY, self._authority.pem()),
        ):
            path = self._folder / version / name
            path.touch(mode=0o600)
            path.write_bytes(content)
        made = self._folder / f"{_VERSION}_new"
        made.symlink_to(version)
        made.replace(link)
        if before is not None:
            shutil.rmtree(self._folder / before)
