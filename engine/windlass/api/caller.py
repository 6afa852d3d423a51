"""The other end of a connection: its address, and whether it has gone."""

from __future__ import annotations

import asyncio
import select


def address_of(transport: asyncio.BaseTransport) -> str:
    """Host and port; "" when the system does not tell."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"


def hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the caller's end of the connection, or its reset, has arrived although the loop has not told yet."""
    fd = transport.get_extra_info("socket").fileno()
    if fd < 0:
        return True
    look = select.poll()
    look.register(fd, select.POLLRDHUP)
    return bool(look.poll(0))
