"""The kernel's tables of sockets, as a node gives them: what began on this side, what came in, what is nobody's."""

from __future__ import annotations

from seatrial.cluster.kind.network import Socket, accepted, opened, parsed

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
