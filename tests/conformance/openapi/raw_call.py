"""A call as it goes over the socket, also one that no client would send."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from engine_client import Answer

WITHIN_S = 20.0
"""A busy machine takes its time."""


async def raw_call(base_url: str, data: bytes) -> Answer:
    """What comes back for these bytes; nothing more is sent."""
    url = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(data)
        async with asyncio.timeout(WITHIN_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers.get("Content-Length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)
    finally:
        writer.close()
