"""An offer to change the protocol, which is declined: the call is served as plain HTTP/1.1 (RFC 9110, 7.8)."""

from __future__ import annotations

from windlass.api.call import Request

#: Hop-by-hop words of the offer (some clients offer h2c with every first call).
_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings", b"expect"})


def without_upgrade(request: Request, url: bytes) -> bytes:
    """The head of the call without the offer."""
    lines = [f"{request.method} ".encode() + url + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers.items() if name not in _HEADERS]
    if not request.keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"
