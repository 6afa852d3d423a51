"""Where the doors listen, and how a caller's address is told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

import pytest
from caller import Caller, get
from door import Door
from grpc_door import GrpcDoor

from windlass.api.address import any_address, bound, cannot_listen, plain, written

pytestmark = pytest.mark.asyncio


async def test_all_of_the_machine_is_both_families() -> None:
    assert any_address() == "::"
    with contextlib.closing(bound("::", 0)) as listener:
        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("::1", "::1"),
        ("2001:db8::ffff:192.0.2.7", "2001:db8::ffff:192.0.2.7"),
        ("::ffff:0:192.0.2.7", "::ffff:0:192.0.2.7"),
    ],
)
async def test_an_ipv4_caller_of_an_ipv6_socket_is_told_by_its_ipv4_address(host: str, address: str) -> None:
    assert plain(host) == address


@pytest.mark.parametrize(
    ("host", "remote"), [("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:")], ids=["IPv4", "IPv6"]
)
async def test_the_log_tells_the_callers_own_address(host: str, remote: str) -> None:
    door = Door()
    await door.rest.start("::", 0)
    caller = Caller(*await asyncio.open_connection(host, door.rest.port))
    assert (await caller.call(get("/healthz")))[0] == 200
    await caller.close()
    assert door.lines()[0]["remote"].startswith(remote)
    await door.rest.drain(0)


async def test_grpc_on_ipv4_alone_leaves_the_ipv6_port_to_others() -> None:
    """The library takes 0.0.0.0 for both families."""
    door = GrpcDoor()
    await door.app.start("0.0.0.0", 0)
    with contextlib.closing(bound("::", door.app.port, is_shared=False)) as other:
        other.listen()
    await door.app.drain(0)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_an_address_that_is_not_here_names_its_variable(number: int) -> None:
    text = str(cannot_listen("REST", "WE_REST_PORT", "2001:db8::7", 8080, OSError(number, "")))
    assert "REST cannot listen on [2001:db8::7]:8080" in text
    assert "WINDLASS_BIND" in text


async def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert [written(host, 1) for host in ("::", "0.0.0.0")] == ["[::]:1", "0.0.0.0:1"]
