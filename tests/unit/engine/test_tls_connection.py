"""TLS of our own HTTP server, over real sockets and on both event loops: what is served, renewed, refused and cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from caller import Caller, get, post
from http_site import Site, on_both_loops, serving

from certificates import Authority, Issued
from patience import eventually
from windlass.api.http import HttpServer
from windlass.tls.watch import CertificateWatch, HandshakeFault
from windlass.tls_settings import TlsSettings

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.issue(), AUTHORITY.issue()
TRUSTING = AUTHORITY.trusting()
#: the beginning of a record that never ends: a handshake of 512 bytes
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01"


class Told:
    """What the watch reports."""

    def __init__(self) -> None:
        self.serials: list[str] = []
        self.troubles: list[str] = []
        self.faults: list[HandshakeFault] = []

    def certificate_read(self, expires_at_s: float, serial: str) -> None:
        assert expires_at_s > 0
        self.serials.append(serial.upper())

    def certificate_unusable(self, cause: str) -> None:
        self.troubles.append(cause)

    def handshake_failed(self, fault: HandshakeFault) -> None:
        self.faults.append(fault)


class Secure:
    """A site behind TLS, whose files are in `folder`."""

    def __init__(self, folder: Path, client_ca: Path | None = None) -> None:
        self.folder = folder
        self.told = Told()
        cert, key = FIRST.write(folder)
        self.watch = CertificateWatch(
            TlsSettings(
                tls_cert_file=str(cert),
                tls_key_file=str(key),
                tls_client_ca_file=str(client_ca) if client_ca else None,
            ),
            self.told,
        )
        self.watch.begin()
        self.site: Site

    async def renew(self, issued: Issued) -> None:
        issued.write(self.folder)
        await self.watch.look()

    async def raw(self) -> Caller:
        """Without TLS."""
        return await self.site.connect()

    async def caller(self, tls: ssl.SSLContext = TRUSTING) -> Caller:
        return await self.site.connect(tls)

    @property
    def server(self) -> HttpServer:
        return self.site.server


@contextlib.asynccontextmanager
async def secure(client_ca: Path | None = None, **options: Any) -> AsyncIterator[Secure]:
    with tempfile.TemporaryDirectory() as folder:
        made = Secure(Path(folder), client_ca)
        async with serving(tls=made.watch, **options) as made.site:
            yield made


def shown_by(caller: Caller) -> str:
    """The serial number of the certificate that the server has shown."""
    found = caller.writer.get_extra_info("peercert")
    return str(found["serialNumber"]).lstrip("0")


def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = AUTHORITY.trusting()
    with warnings.catch_warnings():
        # Old versions are deprecated, which is why they are tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@on_both_loops
async def test_calls_are_served_over_tls_of_each_version_that_is_safe() -> None:
    async with secure() as it:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            caller = await it.caller(speaking(version))
            for _ in range(2):
                status, headers, body = await caller.call(post("/a", b"hello"))
                assert (status, headers["x-site"], b'"hello"' in body) == (200, "1", True)
            cipher = caller.writer.get_extra_info("cipher")
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
        assert it.told.faults == []
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            # The server's alert, so it is not the caller's own library that has refused.
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                await it.caller(speaking(version))
        assert it.told.faults == [HandshakeFault.REFUSED] * 2


@on_both_loops
async def test_large_bodies_and_answers_pass_whole() -> None:
    async with secure() as it:
        caller = await it.caller()
        body = bytes(range(32, 120)) * 40_000
        status, _, answer = await caller.call(post("/a", body))
        assert status == 200
        assert len(answer) > len(body)
        assert (await caller.call(get("/large")))[2] == b"x" * 4_000_000
        assert (await caller.call(get("/nothing")))[0] == 204


@on_both_loops
async def test_calls_sent_ahead_wait_their_turn_and_none_is_lost() -> None:
    """More than are read ahead, so that reading is paused with decrypted and encrypted bytes on the way."""
    async with secure() as it:
        caller = await it.caller()
        count = 300
        await caller.send(get("/wait") + b"".join(post(f"/{number}", b"b" * 700) for number in range(count)))
        await eventually(lambda: "/wait" in it.site.echo.served)
        assert len(it.site.echo.served) == 1
        it.site.echo.gate.set()
        assert (await caller.answer())[2] == b"/wait"
        for number in range(count):
            status, _, body = await caller.answer()
            assert (status, f'"/{number}"'.encode() in body) == (200, True)


@on_both_loops
async def test_new_connections_get_the_new_certificate_and_old_ones_go_on() -> None:
    async with secure() as it:
        old = await it.caller()
        assert shown_by(old) == FIRST.serial
        await it.renew(SECOND)
        new = await it.caller()
        assert shown_by(new) == SECOND.serial
        assert (await old.call(get("/a")))[0] == 200
        assert it.told.serials == [FIRST.serial, SECOND.serial]


@on_both_loops
async def test_a_pair_that_does_not_fit_changes_nothing_and_is_told_once() -> None:
    async with secure() as it:
        (it.folder / "tls.key").write_text(SECOND.key_text)
        for _ in range(3):
            await it.watch.look()
        assert shown_by(await it.caller()) == FIRST.serial
        (trouble,) = it.told.troubles
        assert "which is not the key of the first certificate" in trouble
        # The other half comes, and all is well; the first pair comes back, which was told before its trouble.
        await it.renew(SECOND)
        (it.folder / "tls.key").unlink()
        await it.watch.look()
        await it.renew(SECOND)
        assert len(it.told.troubles) == 2
        assert it.told.serials == [FIRST.serial, SECOND.serial, SECOND.serial]


@on_both_loops
async def test_plain_http_is_told_what_is_spoken_here() -> None:
    async with secure() as it:
        for data in (
            get("/a"),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x00\x01\x02",
            post("/a", b"x" * 200_000),
        ):
            caller = await it.raw()
            status, headers, body = await caller.call(data)
            assert (status, headers["connection"], b"speaks TLS" in body) == (400, "close", True)
            assert await caller.closed() == b""
        assert it.site.echo.served == []
        assert it.told.faults == [HandshakeFault.PLAINTEXT] * 4
        await eventually(lambda: not it.server.connections)


@on_both_loops
async def test_a_handshake_that_does_not_end_is_cut_and_has_a_place_until_then() -> None:
    async with secure(read_s=0.4, connections_max=3) as it:
        for beginning in (b"", HALF_HELLO):
            began_s = asyncio.get_running_loop().time()
            caller = await it.raw()
            await caller.send(beginning)
            await eventually(lambda: len(it.server.connections) == 1)
            with contextlib.suppress(ConnectionResetError):
                assert await caller.closed() == b""
            assert 0.3 < asyncio.get_running_loop().time() - began_s < 4
            await eventually(lambda: not it.server.connections)
        assert it.told.faults == [HandshakeFault.TIMEOUT] * 2


@on_both_loops
async def test_half_handshakes_at_the_cap_make_room_for_others() -> None:
    async with secure(connections_max=20, quiet_s=0.1) as it:
        for _ in range(20):
            await (await it.raw()).send(HALF_HELLO)
        await eventually(lambda: len(it.server.connections) == 20)
        async with asyncio.timeout(5):
            caller = await it.caller()
        assert (await caller.call(get("/a")))[0] == 200
        assert len(it.server.connections) <= 20


@on_both_loops
async def test_who_comes_beyond_the_limit_is_told_so_over_tls() -> None:
    async with secure(connections_max=2, spare_part=1_000) as it:
        for _ in range(2):
            await (await it.caller()).send(get("/wait"))
        await eventually(lambda: len(it.site.echo.served) == 2)
        caller = await it.caller()
        status, _, body = await caller.answer()
        assert (status, b"connections are busy" in body) == (503, True)
        assert await caller.closed() == b""
        it.site.echo.gate.set()


@on_both_loops
async def test_a_stop_does_not_wait_for_handshakes_and_ends_calls_in_order() -> None:
    async with secure(idle_s=0.2) as it:
        half, caller = await it.raw(), await it.caller()
        await half.send(HALF_HELLO)
        await caller.send(get("/wait"))
        await eventually(lambda: len(it.server.connections) == 2 and it.site.echo.served)
        draining = asyncio.create_task(it.server.drain(10))
        assert await half.closed() == b""
        it.site.echo.gate.set()
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await asyncio.wait_for(draining, 5) == 0


@on_both_loops
async def test_a_caller_that_does_not_read_is_cut() -> None:
    async with secure(write_s=0.3) as it:
        caller = await it.caller()
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await caller.send(get("/jobs") * 8)
        await eventually(lambda: not it.server.connections, 10)
        assert it.site.echo.untaken


@on_both_loops
async def test_an_answer_ends_with_a_notice_so_that_it_cannot_be_cut_short() -> None:
    def ask(port: int) -> bytes:
        whole = b""
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            TRUSTING.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
        ):
            tls.sendall(get("/a", "Connection: close"))
            while chunk := tls.recv(10_000):
                whole += chunk
        return whole

    async with secure() as it:
        answer = await asyncio.to_thread(ask, it.site.port)
        assert answer.startswith(b"HTTP/1.1 200 ")


@on_both_loops
async def test_broken_records_end_the_connection() -> None:
    async with secure() as it:
        caller = await it.caller()
        assert (await caller.call(get("/a")))[0] == 200
        fd = caller.writer.get_extra_info("socket").fileno()
        os.write(fd, b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        await eventually(lambda: not it.server.connections)


#: a record of the first bytes of a ClientHello that would be 131,000 bytes long (RFC 8446, 4)
HALF_HELLO = b"\x16\x03\x01\x01\xfe" + b"\x01" + (131_000).to_bytes(3, "big") + b"\x03\x03" + b"a" * 504


@on_both_loops
async def test_slow_handshakes_give_way_and_quick_ones_wait_for_room() -> None:
    async with secure(handshakes_max=2, read_s=20.0) as it:
        slow = [await it.raw() for _ in range(3)]
        for caller in slow:
            await caller.send(HALF_HELLO)
        began_s = time.monotonic()
        async with asyncio.timeout(10):
            callers = await asyncio.gather(*(it.caller() for _ in range(5)))
            for caller in callers:
                assert (await caller.call(get("/a")))[0] == 200
        assert time.monotonic() - began_s < 5, "long before the slow ones' time is over"
        # The third slow one came in when the first had gone, and has its second.
        assert it.told.faults == [HandshakeFault.TIMEOUT] * 2
        assert await slow[0].reader.read() == b""


@on_both_loops
async def test_a_caller_that_leaves_while_it_waits_for_room_is_forgotten() -> None:
    async with secure(handshakes_max=1, read_s=20.0) as it:
        slow, left = await it.raw(), await it.raw()
        await slow.send(HALF_HELLO)
        await eventually(lambda: len(it.server.handshakes) == 1)
        await left.send(HALF_HELLO)
        await eventually(lambda: len(it.server.handshakes) == 2)
        await left.close()
        await slow.close()
        await eventually(lambda: not len(it.server.handshakes))
        assert (await (await it.caller()).call(get("/a")))[0] == 200
