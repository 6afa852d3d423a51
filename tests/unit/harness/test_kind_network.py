"""The tables of sockets as a node gives them, and the rules of its firewall that a cut makes and takes back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import cast

import pytest

from seatrial.cluster import ClusterError
from seatrial.cluster.kafka.pod import KafkaPod
from seatrial.cluster.kind.agent import NodeAgent
from seatrial.cluster.kind.kube import Kube
from seatrial.cluster.kind.network import accept, refuse
from seatrial.cluster.socket_table import Socket, accepted, opened, parsed

#: keeps rules in a file, one a line, as the kernel keeps them in a chain
FIREWALL = """#!/bin/sh
while [ "$1" != iptables ]; do shift; done
shift; [ "$1" = -w ] || exit 3
act=$2; [ "$3" = FORWARD ] || exit 3
shift 3
touch "$RULES"
case $act in
  -I) echo "$*" >> "$RULES" ;;
  -C) grep -qxF -e "$*" "$RULES" ;;
  -D) n=$(grep -nxF -e "$*" "$RULES" | head -1 | cut -d: -f1); sed -i "${n}d" "$RULES" ;;
esac
"""

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
IPV4 = HEAD + (
    "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 10001 0 101 1 0 100 0 0 10 0\n"
    "   1: 0700F40A:1F90 0100F40A:C350 01 00000000:00000000 00:00000000 00000000 10001 0 102 1 0 20 4 30 10 -1\n"
    "   2: 0700F40A:9C40 05006A0A:1538 01 00000000:00000000 02:0000A1B2 00000000 10001 0 103 2 0 20 4 30 10 -1\n"
    "   3: 0700F40A:9C41 06006A0A:2384 02 00000000:00000000 01:00000064 00000000 10001 0 104 2 0 20 4 30 10 -1\n"
    "   4: 0700F40A:9C42 06006A0A:2384 06 00000000:00000000 03:00000064 00000000     0 0   0 3 0\n"
)
IPV6 = HEAD + (
    "   0: 00000000000000000000000000000000:2384 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000 1000 0 201 1 0 100 0 0 10 0\n"
    "   1: 0000000000000000FFFF00000900F40A:2384 0000000000000000FFFF00000700F40A:9C41 01 "
    "00000000:00000000 00:00000000 00000000 1000 0 202 1 0 20 4 30 10 -1\n"
    "   2: 0000000000000000FFFF00000900F40A:2384 0000000000000000FFFF00000800F40A:9C41 08 "
    "00000000:00000000 00:00000000 00000000 1000 0 203 1 0 20 4 30 10 -1\n"
)


def test_what_began_on_this_side_is_told_from_what_came_in_and_a_closed_one_is_nobodys() -> None:
    assert opened(parsed(IPV4)) == ["10.106.0.5:5432", "10.106.0.6:9092"]


def test_a_connection_that_is_still_being_opened_counts() -> None:
    """Whoever tries to reach the broker knows of one."""
    assert Socket("10.244.0.7", 40001, "10.106.0.6", 9092, "02") in parsed(IPV4)


def test_a_server_counts_those_that_are_open_and_ipv4_in_ipv6_reads_as_ipv4() -> None:
    found = parsed(IPV6)
    assert found[1] == Socket("10.244.0.9", 9092, "10.244.0.7", 40001, "01")
    assert accepted(found, 9092) == 1
    assert accepted(found, 9094) == 0
    assert opened(found) == []


class ThisMachine:
    """Runs what an agent would, with a firewall of its own."""

    def __init__(self, folder: Path) -> None:
        program = folder / "nsenter"
        program.write_text(FIREWALL)
        program.chmod(0o755)
        self.rules = folder / "rules"
        self._env = {"PATH": f"{folder}:{os.environ['PATH']}", "RULES": str(self.rules)}

    async def run(self, _node: str, script: str, *arguments: str) -> str:
        ran = subprocess.run(
            ["sh", "-c", script, *arguments], env=self._env, check=True, capture_output=True, text=True
        )
        return ran.stdout


async def test_a_cut_resets_what_goes_to_the_port_and_is_taken_back_whole(tmp_path: Path) -> None:
    machine = ThisMachine(tmp_path)
    agent = cast("NodeAgent", machine)
    await accept(agent, "node", "10.244.0.9", 9092)
    await refuse(agent, "node", "10.244.0.9", 9092)
    cut = machine.rules.read_text().splitlines()
    assert cut == [
        "-p tcp -d 10.244.0.9 --dport 9092 -j REJECT --reject-with tcp-reset",
        "-p tcp -s 10.244.0.9 --sport 9092 -j DROP",
    ]
    # Twice, as when a run was broken off, and beside another port's, which stays.
    await refuse(agent, "node", "10.244.0.9", 9092)
    await refuse(agent, "node", "10.244.0.9", 9094)
    await accept(agent, "node", "10.244.0.9", 9092)
    assert machine.rules.read_text().splitlines() == [rule.replace("9092", "9094") for rule in cut]


def a_broker() -> KafkaPod:
    return KafkaPod(cast("Kube", None), cast("NodeAgent", None), "trial", image="kafka", address="10.0.0.1")


def test_the_broker_s_secured_door_shows_no_password() -> None:
    door = a_broker().secured()
    assert door.brokers == ("broker.trial.svc.cluster.local:9095", "broker.trial.svc:9095")
    assert door.username in repr(door)
    assert door.password not in repr(door)
    assert door.password != a_broker().secured().password


async def test_other_ways_to_cut_are_refused_by_name() -> None:
    broker = a_broker()
    with pytest.raises(ClusterError, match="cut mode 'blackhole' of the broker is not available"):
        await broker.cut("blackhole")
