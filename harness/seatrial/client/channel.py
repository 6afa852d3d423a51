"""gRPC's connections to a replica. Its library starts threads, so whoever speaks REST alone does not import this."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from seatrial.cluster import Replica
from seatrial.cluster.trust import roots_of


def channel_to(replica: Replica, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
    """With TLS where the replica speaks it. It must have a gRPC address."""
    address = str(replica.grpc_address)
    if not replica.speaks_tls:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots_of(replica)), options)


def metadata_of(replica: Replica) -> tuple[tuple[str, str], ...] | None:
    """What every call carries."""
    return None if replica.token is None else (("authorization", f"Bearer {replica.token}"),)
