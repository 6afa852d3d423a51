"""TLS to a database whose certificate a CA of the system's trust store has signed."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qsl

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def system_trust(url: str) -> ssl.SSLContext | None:
    """The context for a URL with sslrootcert=system, which the driver takes for a file; None for any other URL."""
    found = dict(parse_qsl(url.partition("?")[2]))
    if found.get("sslrootcert") != "system":
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])  # PostgreSQL 17 asks for it when TLS comes first
    context.minimum_version = _VERSIONS[found.get("ssl_min_protocol_version", "TLSv1.2")]
    if "ssl_max_protocol_version" in found:
        context.maximum_version = _VERSIONS[found["ssl_max_protocol_version"]]
    if "sslcrl" in found:
        context.load_verify_locations(cafile=found["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if "sslcert" in found:
        password = found.get("sslpassword", "")
        context.load_cert_chain(found["sslcert"], found.get("sslkey"), password=lambda: password)
    return context
