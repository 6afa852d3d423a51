"""What a TLS connection at rest keeps, of a server in a process of its own."""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from pathlib import Path

import uvloop

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from caller import Caller, post

from certificates import Authority
from windlass.api.tls_transport import REST_BYTES

AUTHORITY = Authority()
WARM, COUNTED = 40, 120
BODY = b"x" * 600_000
PAGE_BYTES = 4096


async def served(folder: Path) -> None:
    """Until standard input ends; says its port first."""
    from http_site import serving
    from test_tls_connection import Secure

    from windlass import allocator

    allocator.keep_little()
    async with serving(tls=Secure(folder).watch, connections_max=1000) as site:
        sys.stdout.write(f"{site.port}\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            allocator.give_back()
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
            sys.stdout.write(f"{resident}\n")
            sys.stdout.flush()


async def test_a_connection_that_a_large_body_has_passed_keeps_little() -> None:
    """The event loops' own TLS would keep half a MiB of each."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        str(Path(__file__).parents[2]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    assert server.stdin is not None
    port = int(await server.stdout.readline())
    tls = AUTHORITY.trusting()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    callers = []
    resident = []
    try:
        for count in (WARM, COUNTED):
            for _ in range(count):
                callers.append(await Caller.connect(port, tls))
                status, _, body = await callers[-1].call(post("/a", BODY))
                assert (status, len(body) > len(BODY)) == (200, True)
            server.stdin.write(b"\n")
            resident.append(int(await server.stdout.readline()))
    finally:
        for caller in callers:
            await caller.close()
        server.stdin.close()
        await server.wait()
    assert (resident[1] - resident[0]) / COUNTED < REST_BYTES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        uvloop.run(served(Path(made)))
