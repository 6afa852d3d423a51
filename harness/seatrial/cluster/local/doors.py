"""What the engines of a cluster are given for their doors: who may come in, and the certificate that they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from seatrial.cluster import ClusterError, ClusterSpec
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.mounted_certificate import MountedCertificate
from seatrial.cluster.packaged_server import write_secret
from seatrial.cluster.tokens import TOKENS_FILE, tokens_file
from seatrial.render import ContainerSpec

ADDRESS = "127.0.0.1"


class Doors:
    """Files are made when they are first asked for; all replicas of a cluster have the same."""

    def __init__(self, spec: ClusterSpec, foundation: Foundation) -> None:
        self._spec = spec
        self._foundation = foundation
        self._certificate: MountedCertificate | None = None

    @property
    def scheme(self) -> str:
        return "https" if self._spec.tls else "http"

    @property
    def ca_file(self) -> str | None:
        """None without TLS."""
        return str(self.certificate.ca_file) if self._spec.tls else None

    @property
    def certificate(self) -> MountedCertificate:
        """Raises ClusterError for a cluster without TLS."""
        if not self._spec.tls:
            raise ClusterError("the engines of this cluster have no certificate; run it with --tls")
        if self._certificate is None:
            folder = self._foundation.folder / "tls"
            self._certificate = MountedCertificate(folder, ["localhost"], [ADDRESS])
            self._foundation.before_removal(self._remove_certificate)
        return self._certificate

    async def _remove_certificate(self) -> None:
        """No key stays in the report's folder."""
        made, self._certificate = self._certificate, None
        if made is not None:
            made.remove()

    def values(self) -> Mapping[str, Any]:
        """With which the chart mounts a certificate, names its files and lets probes speak TLS."""
        return {"tls": {"existingSecret": "certificate"}} if self._spec.tls else {}

    def applied(self, container: ContainerSpec) -> ContainerSpec:
        """The container with the files of this machine in place of those that a kubelet would mount."""
        env = {**container.env, **self._token_env(), **self._tls_env()}
        return dataclasses.replace(container, env=env)

    def _token_env(self) -> Mapping[str, str]:
        """Names the file with the one token that calls are made with, if they are made with any."""
        if self._spec.token is None:
            return {}
        path = self._foundation.folder / TOKENS_FILE
        if not path.exists():
            write_secret(path, tokens_file(self._spec.token))
        return {"WINDLASS_TOKENS_FILE": str(path)}

    def _tls_env(self) -> Mapping[str, str]:
        if not self._spec.tls:
            return {}
        return {
            "WINDLASS_TLS_CERT_FILE": str(self.certificate.certificate_file),
            "WINDLASS_TLS_KEY_FILE": str(self.certificate.key_file),
        }
