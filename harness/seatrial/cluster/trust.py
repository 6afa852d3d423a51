"""Whose certificate a client of a replica believes: that of the authority which the replica names, or the system's."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from typing import Literal

from seatrial.cluster import Replica


def trust_of(replica: Replica) -> ssl.SSLContext | Literal[True]:
    """For `ssl=` of aiohttp's calls; True, its own default, where there is no certificate to verify."""
    return verifying(replica.ca_file) if replica.speaks_tls else True


def roots_of(replica: Replica) -> bytes | None:
    """For gRPC, whose library brings authorities of its own: PEM; None where the system has no file of them."""
    path = replica.ca_file or ssl.get_default_verify_paths().cafile
    return Path(path).read_bytes() if path else None


@functools.lru_cache(maxsize=64)
def verifying(ca_file: str | None) -> ssl.SSLContext:
    """Raises OSError for a file that cannot be read, ssl.SSLError (which is one) for one that is no PEM."""
    return ssl.create_default_context(cafile=ca_file)
