"""TLS of the gRPC door, by the library's own: TLS 1.2 and above, its ciphers, HTTP/2 alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from windlass.tls.watch import CertificateWatch

if TYPE_CHECKING:
    from windlass.tls.files import ServerCertificate


def credentials(watch: CertificateWatch) -> Any:
    """Each new connection gets the certificate that is current then. With CAs for callers' certificates the library
    knows no choice: each caller needs one.
    """
    given = watch.current

    def changed() -> Any:
        """Called for each connection, in a thread of the library; None = the same as before."""
        nonlocal given
        current = watch.current
        if current is given:
            return None
        given = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given), changed, require_client_authentication=given.texts.authorities is not None
    )


def _configuration(certificate: ServerCertificate) -> Any:
    texts = certificate.texts
    return grpc.ssl_server_certificate_configuration(
        [(texts.key.encode(), texts.chain.encode())],
        root_certificates=None if texts.authorities is None else texts.authorities.encode(),
    )
