"""The network of pods as their node sees it: who is connected to whom, and a port that refuses.

A NetworkPolicy leaves existing connections open, so the node's own firewall makes the cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.cluster.kind.agent import NodeAgent
from seatrial.cluster.socket_table import Socket, parsed

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


async def sockets(agent: NodeAgent, node: str, container_id: str) -> Sequence[Socket]:
    """Every TCP socket that a process of the container's pod holds."""
    return parsed(await agent.run(node, _TABLES, container_id))


async def refuse(agent: NodeAgent, node: str, address: str, port: int) -> None:
    """Connections of pods to that pod's port are reset at their next byte, new ones are refused."""
    await agent.run(node, _REFUSE, address, str(port))


async def accept(agent: NodeAgent, node: str, address: str, port: int) -> None:
    """Harmless when nothing was refused."""
    await agent.run(node, _ACCEPT, address, str(port))
