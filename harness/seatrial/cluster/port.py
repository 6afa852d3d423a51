"""TCP ports for servers that are started later, handed out without a race.

A port is drawn from outside the kernel's ephemeral range, so no outgoing connection can sit on it while its
server is down or restarts. It is reserved by binding an abstract Unix socket of its name: the kernel lets
one process on the machine hold that, and takes it back when the holder dies.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from seatrial.cluster import ClusterError

_FIRST_PORT = 10_000
_LAST_PORT = 65_535
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS_MAX = 2_000


class Ports:
    """The ports of one owner; `close` releases them all."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}
        self._candidates = _candidates()

    def take(self) -> int:
        """A port nobody listens on and no other `Ports` on this machine holds."""
        for _ in range(_ATTEMPTS_MAX):
            # Not the drill's seeded generator: which ports are free is the machine's own business.
            port = random.choice(self._candidates)
            if port not in self._held and self._reserve(port):
                return port
        raise ClusterError(f"no free TCP port after {_ATTEMPTS_MAX} attempts; stop some listening servers")

    def release(self, port: int) -> None:
        self._held.pop(port).close()

    def close(self) -> None:
        for port in list(self._held):
            self.release(port)

    def _reserve(self, port: int) -> bool:
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mark.bind(f"\0seatrial-port-{port}")
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", port))
                probe.listen(1)
        except OSError:
            mark.close()
            return False
        self._held[port] = mark
        return True


def _candidates() -> range:
    """The wider side of the ephemeral range, among the ports that need no privilege."""
    try:
        first, last = map(int, _EPHEMERAL_RANGE.read_text().split())
    except OSError:
        first, last = 32_768, 60_999
    outside = max(range(_FIRST_PORT, first), range(last + 1, _LAST_PORT + 1), key=len)
    return outside or range(_FIRST_PORT, _LAST_PORT + 1)
