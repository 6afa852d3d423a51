"""TLS of all doors, and callers known by their certificates, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from caller import Caller, get, post
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tls_door import AUTHORITY, CALLERS, FIRST, LINES, SECOND, STRANGER, get_instance, secure

from certificates import Issued
from windlass.auth import certificate, tokens
from windlass.auth.certificate import IDENTITIES_MAX, identities_of
from windlass.auth.gate import Refusal


async def test_every_door_shows_the_new_certificate_and_calls_go_on(tmp_path: Path) -> None:
    async with secure(tmp_path) as door, door.channel() as old:
        ports = door.rest.port, door.grpc.port, door.metrics_app.port
        await get_instance(old)
        for issued in (FIRST, SECOND, FIRST):
            await door.renew(issued)
            shown = [await asyncio.to_thread(AUTHORITY.serial_at, port) for port in ports]
            assert shown == [issued.serial] * 3
            await get_instance(old)
        # A pair that does not fit is no reason to show nothing.
        (door.folder / "tls.key").write_text(SECOND.key_text)
        await door.tls.look()
        assert [await asyncio.to_thread(AUTHORITY.serial_at, port) for port in ports] == [FIRST.serial] * 3
        exposed = door.metrics.exposition().decode()
        assert "\nwindlass_tls_certificate_unusable 1.0\n" in exposed
        expiry_s = FIRST.certificate.not_valid_after_utc.timestamp()
        shown_s = exposed.partition("\nwindlass_tls_certificate_expiry_timestamp_seconds ")[2].partition(
            "\n"
        )[0]
        assert float(shown_s) == pytest.approx(expiry_s)
        await door.renew(SECOND)
        assert "\nwindlass_tls_certificate_unusable 0.0\n" in door.metrics.exposition().decode()
        told = [line["msg"] for line in door.lines() if line["msg"].startswith("tls: ")]
        assert told.count("tls: certificate read") == 4
        assert told.count("tls: the certificate files cannot be used, the certificate read before stays") == 1


async def test_who_does_not_know_the_authority_does_not_come_in(tmp_path: Path) -> None:
    async with secure(tmp_path) as door:
        with pytest.raises(ssl.SSLCertVerificationError):
            await Caller.connect(door.rest.port, STRANGER.trusting())
        async with door.channel(authority=STRANGER) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await get_instance(channel)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert door.service.asked == []


async def test_a_handshake_over_grpc_that_does_not_end_is_cut(tmp_path: Path) -> None:
    async with secure(tmp_path, read_timeout_s=0.5) as door:
        for beginning in (b"", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            caller = await Caller.connect(door.grpc.port)
            await caller.send(beginning)
            with contextlib.suppress(ConnectionResetError):
                assert await caller.closed() == b""
            await caller.close()
        assert (await door.over_grpc(None))[0] == "OK"


# -- callers known by their certificates


@pytest.mark.parametrize("name", ["by-name", "by-dns"])
async def test_a_certificate_stands_for_its_line_over_both_doors(tmp_path: Path, name: str) -> None:
    async with secure(tmp_path, LINES, asks=True) as door:
        status, body = await door.over_rest(CALLERS[name], tmp_path / "own")
        assert (status, b'"id":"i"' in body) == (200, True)
        assert await door.over_grpc(CALLERS[name]) == ("OK", "")
        lines = [line for line in door.lines() if line["msg"] in {"rest request", "grpc request"}]
        assert [line["principal"] for line in lines] == [name] * 2
        assert door.refused == []


async def test_its_role_bounds_what_it_may(tmp_path: Path) -> None:
    async with secure(tmp_path, LINES, asks=True) as door:
        status, body = await door.over_rest(CALLERS["by-uri"], tmp_path / "own")
        # Told by the name of its line, and of no token, since it has sent none.
        told = "the caller 'by-uri' has the role worker, which may not read instances; use credentials with one of"
        assert (status, told in body.decode()) == (403, True)
        code, text = await door.over_grpc(CALLERS["by-uri"])
        assert (code, told in text) == ("PERMISSION_DENIED", True)


async def test_a_certificate_that_fits_no_line_or_two_is_nobody_s(tmp_path: Path) -> None:
    async with secure(tmp_path, LINES, asks=True) as door:
        for name, told in (("by-none", "fits no line"), ("by-two", "fits the lines 'by-dns', 'by-name'")):
            status, body = await door.over_rest(CALLERS[name], tmp_path / "own")
            assert (status, told.encode() in body) == (401, True)
            code, text = await door.over_grpc(CALLERS[name])
            assert (code, told in text) == ("UNAUTHENTICATED", True)
        assert door.refused == [Refusal.CERTIFICATE] * 4
        assert door.service.asked == []


async def test_a_certificate_that_has_ended_is_nobody_s_on_a_connection_made_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on one that takes up its TLS session, in whose handshake no certificate is looked at."""
    async with secure(tmp_path, LINES, asks=True) as door, door.channel(CALLERS["by-name"]) as channel:
        caller = await Caller.connect(
            door.rest.port, AUTHORITY.trusting(CALLERS["by-name"], tmp_path / "own")
        )
        assert (await caller.call(get("/v1/instances/i")))[0] == 200
        await get_instance(channel)
        ended_at_s = CALLERS["by-name"].certificate.not_valid_after_utc.timestamp()
        monkeypatch.setattr(certificate, "time", SimpleNamespace(time=lambda: ended_at_s))
        assert (await caller.call(get("/v1/instances/i")))[0] == 401
        await caller.close()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await get_instance(channel)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_browser_s_certificate_does_not_serve_whatever_page_calls(tmp_path: Path) -> None:
    async with secure(tmp_path, LINES, asks=True, cors_origins="https://console.example") as door:
        caller = await Caller.connect(
            door.rest.port, AUTHORITY.trusting(CALLERS["by-name"], tmp_path / "own")
        )
        # As a page can have it sent, without a preflight.
        cancel = "/v1/instances/i/cancel"
        assert (await caller.call(post(cancel, b"", "Origin: https://console.example")))[0] == 200
        assert len(door.service.asked) == 1
        assert (await caller.call(post(cancel, b"", "Origin: https://evil.example")))[0] == 401
        await caller.close()
        for origin in ("null", "https://console.example.evil.example"):
            own = tmp_path / "own"
            assert (await door.over_rest(CALLERS["by-name"], own, f"Origin: {origin}"))[0] == 401
        headers = "Origin: https://evil.example", "Authorization: Bearer right"
        assert (await door.over_rest(CALLERS["by-name"], own, *headers))[0] == 200
        assert len(door.service.asked) == 2


async def test_a_token_counts_before_the_certificate_also_when_it_is_wrong(tmp_path: Path) -> None:
    async with secure(tmp_path, LINES, asks=True) as door:
        own = tmp_path / "own"
        # The certificate's own role, worker, may not read: the token's is what counts.
        assert (await door.over_rest(CALLERS["by-uri"], own, "Authorization: Bearer right"))[0] == 200
        assert (await door.over_grpc(CALLERS["by-uri"], "right"))[0] == "OK"
        for header in ("Bearer wrong", "", "Basic eDp5"):
            assert (await door.over_rest(CALLERS["by-name"], own, f"Authorization: {header}"))[0] == 401
        assert (await door.over_grpc(CALLERS["by-name"], "wrong"))[0] == "UNAUTHENTICATED"


async def test_without_a_certificate_rest_asks_for_a_token_and_probes_come_in(tmp_path: Path) -> None:
    """Over gRPC the library lets nobody in without one."""
    async with secure(tmp_path, LINES, asks=True) as door:
        assert (await door.over_rest(None, tmp_path, path="/ready"))[0] == 200
        assert (await door.over_rest(None, tmp_path))[0] == 401
        assert (await door.over_rest(None, tmp_path, "Authorization: Bearer right"))[0] == 200
        assert (await door.over_grpc(None, "right"))[0] == "UNAVAILABLE"
        async with door.channel(CALLERS["by-none"]) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=10)).status == 1


@pytest.mark.parametrize(
    "given",
    [STRANGER.issue("mailer", dns=()), AUTHORITY.issue("mailer", dns=(), days=-0.5)],
    ids=["of another authority", "past its end"],
)
async def test_a_certificate_that_is_no_good_ends_the_handshake(tmp_path: Path, given: Issued) -> None:
    async with secure(tmp_path, LINES, asks=True) as door:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await door.over_rest(given, tmp_path / "own")
        assert (await door.over_grpc(given))[0] == "UNAVAILABLE"


async def test_where_no_certificates_are_asked_for_none_is_looked_at(tmp_path: Path) -> None:
    async with secure(tmp_path, LINES) as door:
        assert (await door.over_rest(CALLERS["by-name"], tmp_path / "own"))[0] == 401
        assert (await door.over_grpc(CALLERS["by-name"]))[0] == "UNAUTHENTICATED"


def test_what_a_certificate_names_its_caller_as() -> None:
    def of(issued: Issued) -> frozenset[str]:
        return identities_of(issued.chain.encode())

    assert of(CALLERS["by-dns"]) == {"CN=any", "dns:mailer.example.com", "dns:more.example.com"}
    assert of(CALLERS["by-uri"]) == {"CN=any", "spiffe://example.com/shop"}
    # A name inside a name is another name.
    assert of(AUTHORITY.issue("dns:a", dns=("CN=b",))) == {"CN=dns:a", "dns:CN=b"}
    uris = "dns:mailer.example.com", "CN=mailer", "CN=a://b", "dns://mailer.example.com"
    assert of(AUTHORITY.issue("a", dns=(), uris=uris)) == {"CN=a"}
    assert (
        of(AUTHORITY.issue("many", dns=[f"h{n}.example.com" for n in range(IDENTITIES_MAX)])) == frozenset()
    )
    assert identities_of(b"nothing") == frozenset()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('certificate = "mailer"', "has certificate that names nobody"),
        ('certificate = "CN="', "has certificate that names nobody"),
        ('certificate = ["CN=a"]', "has certificate that names nobody"),
        (f'certificate = "CN=a", sha256 = "{"0" * 64}"', "has both sha256 and certificate"),
        ("", "needs sha256, the token's digest as 64 hexadecimal digits, or certificate"),
    ],
)
def test_lines_that_name_no_certificate_are_refused(line: str, problem: str) -> None:
    with pytest.raises(tokens.Unreadable) as error:
        tokens.parse(f'"a" = {{ role = "admin"{", " if line else ""}{line} }}')
    assert problem in str(error.value)


def test_one_name_has_one_line() -> None:
    text = '"a" = { role = "admin", certificate = "CN=x" }\n"b" = { role = "admin", certificate = "CN=x" }'
    with pytest.raises(tokens.Unreadable, match="'b' and 'a' have the same certificate"):
        tokens.parse(text)
