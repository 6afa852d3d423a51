"""TLS that verifies one name, whatever host is dialled: for brokers whose certificates bear a name of their own."""

from __future__ import annotations

import socket
import ssl


class LastWordsSocket(ssl.SSLSocket):
    """Gives what it has decrypted before it looks for more, so that the end is always met by itself.

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
    """Verifies authority and name, for one name whatever host is dialled.

    A client that wrapped its connections in any other way would have the dialled host verified, and be refused.
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
    context.sslsocket_class = LastWordsSocket
    if ca_path:
        context.load_verify_locations(ca_path)
    else:
        context.load_default_certs()
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    return context
