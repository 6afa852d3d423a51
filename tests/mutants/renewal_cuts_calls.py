"""A renewed certificate is for everybody at once: connections that began with the one before are cut."""

from __future__ import annotations

from typing import Any

import mutation

from windlass.api.http import HttpServer
from windlass.tls.watch import CertificateWatch

really_look = CertificateWatch.look
servers: list[HttpServer] = []


async def start(self: HttpServer, *address: Any) -> int:
    servers.append(self)
    return int(await really_start(self, *address))


async def look(self: CertificateWatch) -> None:
    before = self.current
    await really_look(self)
    if self.current is not before:
        for server in servers:
            for connection in tuple(server.connections):
                connection.abort()


really_start = mutation.replace(HttpServer, "start", start)
mutation.replace(CertificateWatch, "look", look)

if __name__ == "__main__":
    mutation.serve()
