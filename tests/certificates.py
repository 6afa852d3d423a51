"""Certificates that a test makes for itself: an authority, and what it issues."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = Any


def key_pem(key: Key, password: bytes | None = None) -> str:
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    return pem.decode()


def certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    key: Key

    @property
    def chain(self) -> str:
        return certificate_pem(self.certificate)

    @property
    def key_text(self) -> str:
        return key_pem(self.key)

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:X}"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Certificate and key, as a Secret of the type kubernetes.io/tls names them."""
        folder.mkdir(exist_ok=True)
        paths = folder / "tls.crt", folder / "tls.key"
        paths[0].write_text(self.chain)
        paths[1].write_text(self.key_text)
        return paths


class Authority:
    def __init__(self, name: str = "an authority") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, is_authority=True)

    @property
    def pem(self) -> str:
        return certificate_pem(self.certificate)

    def write(self, path: Path) -> Path:
        path.write_text(self.pem)
        return path

    def issue(
        self,
        name: str = "localhost",
        *,
        dns: Sequence[str] = ("localhost",),
        uris: Sequence[str] = (),
        days: float = 9,
        key: Key = None,
    ) -> Issued:
        key = key or ec.generate_private_key(ec.SECP256R1())
        others: list[x509.GeneralName] = [x509.DNSName(each) for each in dns]
        others += [x509.UniformResourceIdentifier(each) for each in uris]
        others += [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return Issued(self._sign(name, key, others, days=days), key)

    def serial_at(self, port: int) -> str:
        """Of the certificate that a new connection is shown, whatever is spoken above."""
        context = self.trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            found = tls.getpeercert()
        assert found is not None
        return str(found["serialNumber"]).lstrip("0")

    def trusting(self, caller: Issued | None = None, folder: Path | None = None) -> ssl.SSLContext:
        """A caller's TLS that trusts this authority; with a certificate of its own if one is given."""
        context = ssl.create_default_context(cadata=self.pem)
        if caller is not None:
            assert folder is not None
            context.load_cert_chain(*caller.write(folder))
        return context

    def _sign(
        self,
        name: str,
        key: Key,
        others: Sequence[x509.GeneralName] = (),
        *,
        is_authority: bool = False,
        days: float = 9,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(issuer)
            .issuer_name(issuer if is_authority else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        return builder.sign(self.key, hashes.SHA256())
