"""Cross-origin calls: which web pages may read an answer (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Callable

from windlass.api.call import Request
from windlass.config import Settings

ANY = "*"
ORIGIN_ANY = b"Access-Control-Allow-Origin: *\r\n"
_VARIES = b"Vary: Origin\r\n"


def headers_of(settings: Settings) -> bytes:
    """Lines of every answer. Without tokens any page may read, which is the wire's default; with them none may, until
    it is named.
    """
    origins = settings.access.cors_origins
    is_any = origins == ANY or (origins is None and not settings.access.is_on)
    return ORIGIN_ANY if is_any else b""


def headers_for(settings: Settings) -> Callable[[Request], bytes] | None:
    """What makes the lines of one answer, where the origins are named."""
    if settings.access.cors_origins is None or settings.access.cors_origins == ANY:
        return None
    allowed = {
        origin: b"Access-Control-Allow-Origin: %b\r\n" % origin + _VARIES for origin in origins_of(settings)
    }
    return lambda request: allowed.get(request.headers.get(b"origin", b""), _VARIES)


def origins_of(settings: Settings) -> frozenset[bytes]:
    """Those that are named, as the header Origin has them."""
    written = settings.access.cors_origins
    if written is None or written == ANY:
        return frozenset()
    return frozenset(origin.encode() for origin in (each.strip() for each in written.split(",")) if origin)
