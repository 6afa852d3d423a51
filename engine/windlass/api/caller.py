"""The other end of a connection: its address, and whether it has gone."""

from __future__ import annotations

import asyncio
import select

_ADDRESS_HEADERS = (b"true-client-ip", b"x-real-ip", b"x-forwarded-for")
_ADDRESS_CHARS_MAX = 64


def address_of(transport: asyncio.BaseTransport) -> str:
    """Host and port; "" when the system does not tell."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"


def certificate_of(transport: asyncio.BaseTransport | None) -> frozenset[str]:
    """What its certificate names it as; nothing without TLS, or when it has sent none."""
    found = None if transport is None else transport.get_extra_info("certificate")
    return found or frozenset()


def client_address(headers: dict[bytes, bytes], peer: str) -> str:
    """As the nearest proxy tells it, else the connection's own."""
    for name in _ADDRESS_HEADERS:
        value = headers.get(name)
        if value:
            address = value.partition(b",")[0].strip()
            if address:
                return address[:_ADDRESS_CHARS_MAX].decode("latin-1")
    return peer


def has_gone(transport: asyncio.Transport, *, surely: bool) -> bool:
    """`surely`: whether the caller's end of the connection, or its reset, has arrived although the loop has not told
    yet.
    """
    if transport.is_closing() or not surely:
        return transport.is_closing()
    fd = transport.get_extra_info("socket").fileno()
    if fd < 0:
        return True
    look = select.poll()
    look.register(fd, select.POLLRDHUP)
    return bool(look.poll(0))
