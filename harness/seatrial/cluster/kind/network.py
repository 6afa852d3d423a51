"""The network of pods as their node sees it: who is connected to whom, and a port that refuses.

A NetworkPolicy leaves existing connections open, so the node's own firewall makes the cut.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.cluster.kind.agent import NodeAgent

_ESTABLISHED, _LISTEN = "01", "0A"
#: the inode of a socket that no process has any more, such as one in TIME_WAIT
_NOBODYS = "0"

_TABLES = """
for p in /proc/[0-9]*; do
  if grep -q "$0" $p/cgroup 2>/dev/null; then cat $p/net/tcp $p/net/tcp6; exit; fi
done
"""
#: $0 is an address, $1 a port; what the node forwards to it is reset, and nothing comes back
_RULES = """
as_node() { nsenter --target 1 --mount --net -- iptables -w "$@"; }
to="-p tcp -d $0 --dport $1 -j REJECT --reject-with tcp-reset"
from="-p tcp -s $0 --sport $1 -j DROP"
"""
_REFUSE = _RULES + "as_node -I FORWARD $to && as_node -I FORWARD $from"
_ACCEPT = (
    _RULES
    + """
for rule in "$to" "$from"; do
  while as_node -C FORWARD $rule 2>/dev/null; do as_node -D FORWARD $rule; done
done
"""
)


@dataclass(frozen=True, slots=True)
class Socket:
    """One line of the kernel's table."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: str


async def sockets(agent: NodeAgent, node: str, container_id: str) -> Sequence[Socket]:
    """Every TCP socket that a process of the container's pod holds."""
    return parsed(await agent.run(node, _TABLES, container_id))


def parsed(table: str) -> list[Socket]:
    """proc_pid_net(5): addresses are words of the machine's byte order in hexadecimal."""
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[0] != "sl" and fields[9] != _NOBODYS:
            found.append(Socket(*_place(fields[1]), *_place(fields[2]), fields[3]))
    return found


def opened(found: Sequence[Socket]) -> list[str]:
    """`host:port` of the other side of each connection that began on this one."""
    listening = {each.local_port for each in found if each.state == _LISTEN}
    return [
        f"{each.remote}:{each.remote_port}"
        for each in found
        if each.state != _LISTEN and each.local_port not in listening
    ]


def accepted(found: Sequence[Socket], port: int) -> int:
    """How many connections are open that came in at the port."""
    return sum(each.state == _ESTABLISHED and each.local_port == port for each in found)


async def refuse(agent: NodeAgent, node: str, address: str, port: int) -> None:
    """Connections of pods to that pod's port are reset at their next byte, new ones are refused."""
    await agent.run(node, _REFUSE, address, str(port))


async def accept(agent: NodeAgent, node: str, address: str, port: int) -> None:
    """Harmless when nothing was refused."""
    await agent.run(node, _ACCEPT, address, str(port))


def _place(text: str) -> tuple[str, int]:
    digits, port = text.split(":")
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), int(port, 16)
