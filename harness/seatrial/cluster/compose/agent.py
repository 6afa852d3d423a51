"""What a container's own interface cannot do: signals that its restart policy answers, and cuts in its network.

`docker kill` tells the daemon that somebody wanted the container to end, so nothing restarts it, but a process that
crashes is restarted. So one privileged container, which shares the machine's processes, acts in its place. It uses the
machine's own iptables, which the daemon needs anyway: images of databases and engines have none.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from seatrial.cluster import ClusterError
from seatrial.cluster.compose.docker import Docker, DockerFailed
from seatrial.cluster.socket_table import Socket, parsed

LABEL = "seatrial"
_WAITS = "trap exit TERM; while :; do sleep 3600 & wait $!; done"
#: $0 is a process
_KILL = """
kill -s KILL $0
while [ -e /proc/$0 ] && ! grep -q '^State:[[:space:]]*Z' /proc/$0/status 2>/dev/null; do sleep 0.02; done
"""
_TABLES = "cat /proc/$0/net/tcp /proc/$0/net/tcp6"
#: $0 is a process of the container, $1 the chain's name, $2 the mode, the rest are the other side's addresses
_INSIDE = """
inside() { nsenter --target "$pid" --net -- chroot /machine iptables -w "$@"; }
pid=$0 chain=$1 mode=$2
"""
_CUT = (
    _INSIDE
    + """
set -e
shift 2
inside -N $chain
for address; do
  inside -A $chain -s $address -j DROP
  case $mode in
    blackhole) inside -A $chain -d $address -j DROP ;;
    refuse) inside -A $chain -p tcp -d $address -j REJECT --reject-with tcp-reset ;;
  esac
done
inside -I INPUT -j $chain
inside -I OUTPUT -j $chain
"""
)
_MEND = (
    _INSIDE
    + """
for base in INPUT OUTPUT; do inside -D $base -j $chain 2>/dev/null; done
inside -F $chain 2>/dev/null && inside -X $chain
exit 0
"""
)
_COUNTERS = _INSIDE + "inside -L $chain -n -v -x"


class Agent:
    """One container, made at its first use. `image` is any with a shell and nsenter."""

    def __init__(self, docker: Docker, image: str) -> None:
        self._docker = docker
        self._image = image
        self._name = f"seatrial-agent-{secrets.token_hex(4)}"
        self._making = asyncio.Lock()
        self._is_made = False

    async def kill(self, pid: int) -> None:
        """SIGKILL; returns when it is gone."""
        await self._run(_KILL, str(pid))

    async def sockets(self, pid: int) -> Sequence[Socket]:
        """Every TCP socket in the network of the process."""
        return parsed(await self._run(_TABLES, str(pid)))

    async def cut(self, pid: int, chain: str, mode: str, addresses: Sequence[str]) -> None:
        """In the network of the process: `blackhole` drops all bytes to and from the addresses, `half-open` those that
        come, `refuse` also resets connections when they are used.
        """
        await self._run(_CUT, str(pid), chain, mode, *addresses)

    async def mend(self, pid: int, chain: str) -> None:
        """Harmless when nothing was cut, and when the process is gone with its network."""
        await self._run(_MEND, str(pid), chain, "")

    async def dropped_bytes(self, pid: int, chain: str) -> int:
        """What the cut's rules have matched so far."""
        listed = await self._run(_COUNTERS, str(pid), chain, "")
        rows = (line.split() for line in listed.splitlines())
        return sum(int(row[1]) for row in rows if len(row) > 2 and row[1].isdecimal())

    async def close(self) -> None:
        """Safe to call twice."""
        made, self._is_made = self._is_made, False
        if made:
            await self._docker.run("rm", "--force", self._name)

    async def _run(self, script: str, *arguments: str) -> str:
        await self._made()
        return await self._docker.run("exec", self._name, "sh", "-c", script, *arguments)

    async def _made(self) -> None:
        async with self._making:
            if self._is_made:
                return
            # Before it is there: a start that fails half-way, or is interrupted, may leave the container.
            self._is_made = True
            try:
                await self._docker.run(
                    *("run", "--detach", "--rm", "--name", self._name, "--label", LABEL, "--privileged"),
                    *("--pid", "host", "--volume", "/:/machine"),
                    *("--network", "none", "--user", "0", "--entrypoint", "sh"),
                    *(self._image, "-c", _WAITS),
                )
            except DockerFailed as err:
                raise ClusterError(
                    f"the agent that makes faults cannot be started; the daemon must allow privileged containers: {err}"
                ) from None
