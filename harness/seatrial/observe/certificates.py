"""Which certificate each door of each node shows to whoever comes now."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from seatrial.cluster import Replica
from seatrial.history import OBSERVER, Recorder

_EVERY_S = 0.25
_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Door:
    node: str
    name: str
    """rest, grpc or metrics."""
    host: str
    port: int
    ca_file: str | None


def doors_of(replicas: Sequence[Replica]) -> list[Door]:
    """Of those that speak TLS."""
    addresses = [
        (replica, name, urlsplit(url))
        for replica in replicas
        if replica.speaks_tls
        for name, url in (
            ("rest", replica.rest_url),
            ("grpc", f"//{replica.grpc_address}" if replica.grpc_address else None),
            ("metrics", replica.metrics_url),
        )
        if url is not None
    ]
    return [
        Door(replica.name, name, str(parts.hostname), int(parts.port or 443), replica.ca_file)
        for replica, name, parts in addresses
    ]


class CertificateSampler:
    """Opens a connection to each door several times a second, and records `certificate` as what it shows changes."""

    def __init__(self, replicas: Sequence[Replica], recorder: Recorder) -> None:
        self._doors = doors_of(replicas)
        self._recorder = recorder
        self._last: dict[Door, str | None] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self, *, records_all: bool = False) -> None:
        """Looks once; with `records_all` also what has not changed is recorded."""
        for door, (serial, cause) in zip(
            self._doors, await asyncio.gather(*map(shown, self._doors)), strict=True
        ):
            if records_all or door not in self._last or self._last[door] != serial:
                self._last[door] = serial
                told = {"node": door.node, "door": door.name, "serial": serial}
                self._recorder.info(OBSERVER, "certificate", told | ({"cause": cause} if cause else {}))


async def shown(door: Door) -> tuple[str | None, str]:
    """The certificate's serial in hexadecimal, verified as a client does; or None, and why there is none."""
    try:
        data = await asyncio.to_thread(_certificate, door)
    except OSError as err:
        return None, str(err) or type(err).__name__
    return f"{x509.load_der_x509_certificate(data).serial_number:x}", ""


def _certificate(door: Door) -> bytes:
    """DER. In a thread, since a loop's streams make ado of a connection that says nothing and goes."""
    context = ssl.create_default_context(cafile=door.ca_file)
    context.set_alpn_protocols(["h2"] if door.name == "grpc" else ["http/1.1"])
    with (
        socket.create_connection((door.host, door.port), _WITHIN_S) as plain,
        context.wrap_socket(plain, server_hostname=door.host) as secured,
    ):
        data = secured.getpeercert(binary_form=True)
    assert data is not None  # the handshake demands one
    return data
