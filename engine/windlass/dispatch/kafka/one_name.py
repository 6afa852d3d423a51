"""TLS that verifies one fixed name, whatever host it connects to: for certificates with a name of their own."""

from __future__ import annotations

import socket
import ssl


class SeparateEndSocket(ssl.SSLSocket):
    """Returns decrypted data before it reads more, so that the end of the stream is always returned separately.

    kafka-python drops what it has read when the end follows at once: the reason for which a broker hangs up.
    """

    _has_given = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if self._has_given and not self.pending():
            self._has_given = False
            raise ssl.SSLWantReadError
        found = super().recv(buflen, flags)
        self._has_given = bool(found)
        return found


class OneNameContext(ssl.SSLContext):
    """Verifies the authority, and one fixed name whatever host it connects to.

    A client that opened TLS in any other way would have its host's name verified, and be refused.
    """

    name: str

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,  # noqa: ARG002  # the host dialled
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        return super().wrap_socket(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, self.name, session
        )


def one_name_context(name: str, ca_path: str | None) -> OneNameContext:
    """Raises ValueError for what cannot be a host's name, OSError for authorities that cannot be read."""
    context = OneNameContext(ssl.PROTOCOL_TLS_CLIENT)  # with check_hostname and CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.name = name
    context.sslsocket_class = SeparateEndSocket
    if ca_path:
        context.load_verify_locations(ca_path)
    else:
        context.load_default_certs()
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    return context
