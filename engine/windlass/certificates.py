"""Files with certificates and keys, tried before a library reads them: its errors are not in the words of a user."""

from __future__ import annotations

import ssl
from pathlib import Path

#: Around the name of what follows, in the first and the last line of a PEM text.
_PEM_MARK = "-----"


def file_fault(path: str) -> str:
    """What keeps the file from being read; empty when nothing does. A PEM text in place of a path is not shown."""
    if _PEM_MARK in path:
        return "is a PEM text, but must be the path of a file that holds it"
    try:
        with Path(path).open("rb"):
            return ""
    except OSError as error:
        return f"cannot read {path!r}: {error.strerror}"
    except ValueError:
        return "is not the path of a file"


def authorities_fault(path: str) -> str:
    """What keeps a PEM file of CA certificates from being used; empty when nothing does."""
    fault = file_fault(path)
    if fault:
        return fault
    try:
        if b"-----BEGIN CERTIFICATE-----" not in Path(path).read_bytes():
            return f"no PEM certs found in {path!r}"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return f"a certificate in {path!r} is damaged"
    return ""


def revocations_fault(path: str) -> str:
    """The same for a file of revoked certificates."""
    fault = file_fault(path)
    if fault:
        return fault
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError):
        return f"no readable PEM list of revoked certificates found in {path!r}"
    return ""


def pair_fault(certificate: str, key: str | None, password: str) -> str:
    """The same for a client's certificate and its key, which may be in one file."""
    for path in filter(None, (certificate, key)):
        fault = file_fault(path)
        if fault:
            return fault
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: password)
    except (OSError, ValueError):
        return (
            "certificate and key are not readable PEM, do not belong together, or the key's password is wrong"
        )
    return ""
