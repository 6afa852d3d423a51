"""The issuer's keys by HTTP: one GET, bounded in size and time. Imported when a URL is set, and only then."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import aiohttp

from windlass.auth.key_set import BYTES_MAX, Unreadable
from windlass.jwt_settings import is_loopback

FETCH_S_MAX = 5.0
_CHUNK_BYTES = 16 * 1024


async def fetch(url: str, ca_path: str | None) -> bytes:
    """HTTPS_PROXY and NO_PROXY are honoured as aiohttp does. Raises Unreadable, whose text names no address."""
    parts = urlsplit(url)
    try:
        return await _fetched(
            url,
            # The file is read each time, so that a new one needs no restart.
            await asyncio.to_thread(ssl.create_default_context, cafile=ca_path),
            # A proxy is another machine, where an address of this one leads elsewhere.
            with_proxy=not is_loopback(parts.hostname or ""),
        )
    except TimeoutError:  # an OSError, too
        raise Unreadable(f"the fetch took longer than {FETCH_S_MAX:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreadable(f"the fetch failed: {_cause(error)}") from None


async def _fetched(url: str, context: ssl.SSLContext, *, with_proxy: bool) -> bytes:
    session = aiohttp.ClientSession(
        trust_env=with_proxy,
        timeout=aiohttp.ClientTimeout(total=FETCH_S_MAX),
        connector=aiohttp.TCPConnector(ssl=context),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
    )
    async with session, session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise Unreadable(f"the fetch was answered {answer.status}; redirects are not followed")
        found = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            found += chunk
            if len(found) > BYTES_MAX:
                raise Unreadable(f"it has more than {BYTES_MAX} bytes")
        return bytes(found)


def _cause(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted; see WINDLASS_JWT_CA_PATH"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    return type(error).__name__
