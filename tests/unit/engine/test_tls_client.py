"""The client over TLS: whom it trusts, the certificate that it shows, and that proxies are not for this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc_door import opened as grpc_opened
from tls_door import AUTHORITY, CALLERS, LINES, STRANGER, Secure, secure

from patience import eventually
from windlass_client import Client, Forbidden, Unauthenticated, Unavailable, Unreachable, tls

both = pytest.mark.parametrize("transport", ["rest", "grpc"])


def address_of(door: Secure, transport: str) -> str:
    return (
        f"https://localhost:{door.rest.port}"
        if transport == "rest"
        else f"grpcs://localhost:{door.grpc.port}"
    )


@pytest.fixture
def looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_INTERVAL_S", 0.0)


@both
async def test_it_trusts_the_authority_that_it_is_given(tmp_path: Path, transport: str) -> None:
    good, wrong = AUTHORITY.write(tmp_path / "ca.crt"), STRANGER.write(tmp_path / "other.crt")
    async with secure(tmp_path / "door") as door:
        async with Client(address_of(door, transport), ca_file=good, retry_for_s=0) as client:
            assert (await client.get("i")).id == "i"
        for ca_file in (None, wrong):
            async with Client(address_of(door, transport), ca_file=ca_file, retry_for_s=0) as client:
                with pytest.raises((Unreachable, Unavailable)):
                    await client.get("i")


@both
async def test_without_one_it_trusts_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY.write(tmp_path / "ca.crt")))
    async with (
        secure(tmp_path / "door") as door,
        Client(address_of(door, transport), retry_for_s=0) as client,
    ):
        assert (await client.get("i")).id == "i"


@both
@pytest.mark.usefixtures("looks_always")
async def test_its_certificate_is_read_again_and_calls_under_way_go_on(
    tmp_path: Path, transport: str
) -> None:
    ca_file = AUTHORITY.write(tmp_path / "ca.crt")
    cert, key = CALLERS["by-uri"].write(tmp_path / "own")
    async with (
        secure(tmp_path / "door", LINES, asks=True) as door,
        Client(
            address_of(door, transport), ca_file=ca_file, cert_file=cert, key_file=key, retry_for_s=0
        ) as client,
    ):
        poll = asyncio.create_task(client.poll("w", ["a"], wait_s=20))
        await eventually(lambda: door.service.held_polls == 1)
        with pytest.raises(Forbidden):
            await client.get("i")
        CALLERS["by-name"].write(tmp_path / "own")
        assert (await client.get("i")).id == "i"
        with pytest.raises(Forbidden):
            await client.poll("w", ["a"])
        assert not poll.done()
        door.service.gate.set()
        assert await poll == []
        # A certificate that fits nobody; then one that is none, so that the one before stays.
        CALLERS["by-none"].write(tmp_path / "own")
        with pytest.raises(Unauthenticated):
            await client.get("i")
        CALLERS["by-name"].write(tmp_path / "own")
        assert (await client.get("i")).id == "i"


@both
@pytest.mark.usefixtures("looks_always")
async def test_files_that_break_meanwhile_change_nothing_and_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    ca_file = AUTHORITY.write(tmp_path / "ca.crt")
    async with (
        secure(tmp_path / "door") as door,
        Client(address_of(door, transport), ca_file=ca_file, retry_for_s=0) as client,
    ):
        ca_file.write_text("")
        for _ in range(3):
            assert (await client.get("i")).id == "i"
    (told,) = [record.getMessage() for record in caplog.records if record.name == "windlass_client"]
    assert "has no readable PEM certificate in it" in told


@both
@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"ca_file": "/nowhere"}, "ca_file '/nowhere' cannot be read: No such file or directory"),
        ({"ca_file": "empty"}, "has no readable PEM certificate in it; name a file of CAs"),
        ({"cert_file": "tls.crt", "key_file": "other.key"}, "are no PEM certificate and its key"),
    ],
)
async def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, transport: str, files: dict[str, str], told: str
) -> None:
    CALLERS["by-name"].write(tmp_path)
    (tmp_path / "other.key").write_text(CALLERS["by-uri"].key_text)
    (tmp_path / "empty").write_text("")
    given: dict[str, Any] = {name: tmp_path / file for name, file in files.items()}
    address = "https://localhost:1" if transport == "rest" else "grpcs://localhost:1"
    with pytest.raises(ValueError, match=told):
        await Client(address, **given).open()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Client("https://h", cert_file="a"), "needs cert_file and key_file; give both, or none"),
        (lambda: Client("http://h", ca_file="a"), "is without TLS, so .* write https://, or leave them out"),
        (lambda: Client("grpc://h:1", cert_file="a", key_file="b"), "is without TLS, so .* write grpcs://"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Client], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


async def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of gRPC sends calls through it whatever their host is."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "no_grpc_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with grpc_opened() as door:
            for host in ("localhost", "127.0.0.1", "LOCALHOST"):
                async with Client(f"grpc://{host}:{door.app.port}", timeout_s=5, retry_for_s=0) as client:
                    assert (await client.get("i")).id == "i"
        with pytest.raises(BlockingIOError):
            proxy.accept()
