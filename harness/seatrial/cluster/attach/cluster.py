"""A cluster that runs already: only its addresses are known, so only drills without a fault can use it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from seatrial.cluster import Cluster, ClusterError, ClusterSpec, Replica
from seatrial.cluster.attach.backend import ATTACH
from seatrial.cluster.probe import HEALTH_PATH, ill_health
from seatrial.deadline import until_passes

ALIVE_WITHIN_S = 30.0
_LOOK_INTERVAL_S = 0.2
_ANSWER_WITHIN_S = 5.0


class AttachedCluster(Cluster):
    """`up` waits for the endpoints and `down` leaves them as they are.

    `grpc_addresses` are those of the same replicas in the same order; empty where gRPC is not spoken.
    """

    def __init__(
        self,
        urls: Sequence[str],
        grpc_addresses: Sequence[str] = (),
        *,
        folder: Path | None = None,
        token: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """Over gRPC TLS is spoken where REST speaks it."""
        if not urls:
            raise ClusterError("no URL to attach to; give at least one, as http://HOST:PORT")
        if grpc_addresses and len(grpc_addresses) != len(urls):
            raise ClusterError(
                f"{len(grpc_addresses)} gRPC addresses for {len(urls)} URLs; give one for each, in the same order"
            )
        addresses: Sequence[str | None] = [_checked_grpc(address) for address in grpc_addresses] or [
            None
        ] * len(urls)
        self._replicas = [
            Replica(f"replica-{n}", _checked(url), None, address, token, str(ca_file) if ca_file else None)
            for n, (url, address) in enumerate(zip(urls, addresses, strict=True))
        ]
        super().__init__(ClusterSpec(replicas=len(urls), folder=folder or Path()), ATTACH.words)

    async def up(self) -> None:
        """Returns when every endpoint answers its health path; ClusterError names the one that does not."""
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(_until_alive(session, replica) for replica in self._replicas))
        await asyncio.gather(*(_until_listening(replica) for replica in self._replicas))

    async def down(self) -> None:
        """Nothing was made, so nothing is removed."""

    def replicas(self) -> Sequence[Replica]:
        return self._replicas


def _checked(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        raise ClusterError(f"{url!r} is not the address of an engine; give http://HOST:PORT")
    return url.rstrip("/")


def _checked_grpc(address: str) -> str:
    parts = urlsplit(f"//{address}")
    try:
        is_good = bool(parts.hostname) and bool(parts.port) and parts.netloc == address
    except ValueError:
        is_good = False
    if not is_good or "@" in address:
        raise ClusterError(
            f"{address!r} is not the gRPC address of an engine; give HOST:PORT, without a scheme"
        )
    return address


async def _until_alive(session: aiohttp.ClientSession, replica: Replica) -> None:
    await until_passes(
        lambda: ill_health(session, replica, within_s=_ANSWER_WITHIN_S),
        within_s=ALIVE_WITHIN_S,
        every_s=_LOOK_INTERVAL_S,
        otherwise=lambda cause: ClusterError(
            f"{replica.rest_url}{HEALTH_PATH} is not alive after {ALIVE_WITHIN_S:g} s: {cause}; "
            "start the engine or correct the URL"
        ),
    )


async def _until_listening(replica: Replica) -> None:
    """No call of gRPC is there for this on every engine, so a connection must do."""
    if replica.grpc_address is None:
        return
    address = replica.grpc_address
    await until_passes(
        lambda: _no_connection(address),
        within_s=ALIVE_WITHIN_S,
        every_s=_LOOK_INTERVAL_S,
        otherwise=lambda cause: ClusterError(
            f"nobody listens at {address} after {ALIVE_WITHIN_S:g} s: {cause}; start the engine "
            "or correct --attach-grpc"
        ),
    )


async def _no_connection(address: str) -> str | None:
    parts = urlsplit(f"//{address}")
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError) as err:
        return str(err) or f"no answer in {_ANSWER_WITHIN_S:g} s"
    writer.close()
    return None
