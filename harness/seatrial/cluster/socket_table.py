"""What the kernel's tables of TCP sockets say: who is connected to whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Sequence
from dataclasses import dataclass

_ESTABLISHED, _LISTEN = "01", "0A"
#: the inode of a socket that no process has any more, such as one in TIME_WAIT
_NOBODYS = "0"


@dataclass(frozen=True, slots=True)
class Socket:
    """One line of the kernel's table."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: str


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


def connected(found: Sequence[Socket], addresses: Container[str]) -> int:
    """How many connections are open with one of these addresses."""
    return sum(each.state == _ESTABLISHED and each.remote in addresses for each in found)


def _place(text: str) -> tuple[str, int]:
    digits, port = text.split(":")
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), int(port, 16)
