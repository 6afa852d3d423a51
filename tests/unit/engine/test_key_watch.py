"""The issuer's keys from a server over TLS and from a file: rotation, outages, and how often an issuer is asked."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from issuer import AUDIENCE, ISSUER, ROLES, KeyServer, Signer, key_server, key_set
from patience import eventually
from windlass.auth import key_url
from windlass.auth.key_set import BYTES_MAX, Unreadable
from windlass.auth.key_url import fetch
from windlass.auth.key_watch import RETRY_S, KeyFileWatch, KeyUrlWatch
from windlass.auth.tokens import digest_of
from windlass.errors import BootRefused, Unavailable
from windlass.jwt_settings import JwtSettings

OLD, NEW = Signer("ES256", "old"), Signer("EdDSA", "new")


class Reports:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.failures = 0

    def keys_read(self, count: int) -> None:
        self.told.append(f"read {count}")

    def keys_unusable(self, cause: str, *, are_there: bool, is_new: bool) -> None:
        self.failures += 1
        if is_new:
            self.told.append(f"{'kept' if are_there else 'awaited'}: {cause}")


class Watched:
    def __init__(self, server: KeyServer, **more: Any) -> None:
        self.reports, self.clock_s = Reports(), 0.0
        settings = JwtSettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_roles=ROLES, **more)
        self.watch = KeyUrlWatch(
            settings, lambda: fetch(server.url, server.ca_path), self.reports, clock=lambda: self.clock_s
        )

    def takes(self, signer: Signer) -> str:
        token = signer.token()
        try:
            return self.watch.verifier.principal_of(token, digest_of(token)).name
        except Unavailable:
            return "later"
        except Exception as error:
            return type(error).__name__

    async def settled(self) -> None:
        task = self.watch._fetching
        assert task is not None
        await asyncio.wait({task})


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeyServer]:
    # A busy machine is no slow issuer.
    monkeypatch.setattr(key_url, "FETCH_S_MAX", 60.0)
    with key_server(tmp_path, OLD) as running:
        yield running
        # A call that was given up ends when its server says so; then the loop watches its own pipe alone.
        running.answers.set()
        loop: Any = asyncio.get_running_loop()
        await eventually(lambda: len(loop._selector.get_map()) == 1)
        await eventually(lambda: not loop._ready)


async def test_a_rotated_key_is_fetched_when_a_token_names_it(server: KeyServer) -> None:
    watched = Watched(server)
    await watched.watch.begin()
    assert watched.takes(OLD) == "jwt:ada"
    server.body = key_set(OLD, NEW)
    watched.clock_s += RETRY_S
    # The call that names it does not wait for the issuer.
    assert watched.takes(NEW) == "later"
    await watched.settled()
    assert watched.takes(NEW) == watched.takes(OLD) == "jwt:ada"
    server.body = key_set(NEW)
    watched.clock_s += 300
    await watched.watch.look()
    assert watched.takes(OLD) == "NotRecognized"
    assert watched.takes(NEW) == "jwt:ada"
    assert watched.reports.told == ["read 1", "read 2", "read 1"]


async def test_unknown_keys_do_not_make_the_node_hammer_the_issuer(server: KeyServer) -> None:
    watched = Watched(server)
    await watched.watch.begin()
    assert server.asked == 1
    for _ in range(200):
        watched.clock_s += 0.05
        watched.takes(Signer("ES256", "x"))
    await watched.settled()
    assert server.asked == 2
    # While a fetch is under way there is no second one, however long it takes.
    server.answers.clear()
    for _ in range(50):
        watched.clock_s += RETRY_S
        assert watched.takes(NEW) == "later"
        await asyncio.sleep(0)
    server.answers.set()
    await watched.settled()
    assert server.asked == 3
    assert watched.takes(NEW) in {"NotRecognized", "later"}


async def test_it_refreshes_at_its_interval(server: KeyServer) -> None:
    watched = Watched(server, jwt_refresh_s=60.0)
    await watched.watch.begin()
    for _ in range(60):
        watched.clock_s += 2.0
        await watched.watch.look()
    assert server.asked == 3
    assert watched.reports.told == ["read 1"]


async def test_keys_stay_while_the_issuer_is_away_which_is_told_once(server: KeyServer) -> None:
    watched = Watched(server, jwt_refresh_s=60.0)
    await watched.watch.begin()
    server.status = 500
    for _ in range(5):
        watched.clock_s += 60.0
        await watched.watch.look()
    assert watched.takes(OLD) == "jwt:ada"
    # A key that is not known may be a new one, which nobody could fetch.
    assert watched.takes(NEW) == "later"
    assert watched.reports.told == ["read 1", "kept: the fetch was answered 500; redirects are not followed"]
    assert watched.reports.failures == 5
    server.status, server.body = 200, key_set(NEW)
    watched.clock_s += RETRY_S
    await watched.watch.look()
    assert watched.takes(NEW) == "jwt:ada"
    await watched.watch.stop()


async def test_without_the_issuer_a_node_boots_and_tries_again(server: KeyServer) -> None:
    watched = Watched(server)
    server.status = 503
    await watched.watch.begin()
    assert watched.takes(OLD) == "later"
    assert watched.reports.told == ["awaited: the fetch was answered 503; redirects are not followed"]
    server.status = 200
    watched.clock_s += 1.0
    await watched.watch.look()
    assert watched.takes(OLD) == "later"
    watched.clock_s += RETRY_S
    await watched.watch.look()
    assert watched.takes(OLD) == "jwt:ada"


async def test_a_stop_does_not_wait_for_the_issuer(server: KeyServer) -> None:
    server.answers.clear()
    watched = Watched(server)
    begun = asyncio.create_task(watched.watch.begin())
    await eventually(lambda: server.asked == 1)
    await watched.watch.stop()
    await begun


# -- one fetch


async def test_a_set_that_is_too_large_or_leads_elsewhere_is_not_taken(server: KeyServer) -> None:
    assert await fetch(server.url, server.ca_path) == key_set(OLD)
    server.body = b" " * (BYTES_MAX + 1)
    with pytest.raises(Unreadable, match=f"more than {BYTES_MAX} bytes"):
        await fetch(server.url, server.ca_path)
    server.status, server.headers = 302, {"Location": "http://127.0.0.1:1/keys"}
    with pytest.raises(Unreadable, match="answered 302; redirects are not followed"):
        await fetch(server.url, server.ca_path)


async def test_a_packed_set_is_not_unpacked(server: KeyServer) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    assert await fetch(server.url, server.ca_path) == key_set(OLD)


async def test_an_issuer_that_is_gone_or_not_trusted_is_given_up(server: KeyServer) -> None:
    with pytest.raises(Unreadable, match="certificate is not trusted; see WINDLASS_JWT_CA_PATH"):
        await fetch(server.url, None)
    with pytest.raises(Unreadable, match="certificate is not trusted"):
        await fetch(server.url.replace("localhost", "127.0.0.1"), server.ca_path)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    with pytest.raises(Unreadable, match="no connection"):
        await fetch(gone, None)


async def test_an_issuer_that_does_not_answer_is_given_up(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers.clear()
    with monkeypatch.context() as hurried:
        hurried.setattr(key_url, "FETCH_S_MAX", 0.2)
        with pytest.raises(Unreadable, match=r"took longer than 0\.2 s"):
            await fetch(server.url, server.ca_path)


async def test_a_proxy_is_asked_unless_the_host_is_here_or_excepted(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert await fetch(server.url, server.ca_path) == key_set(OLD)
        with pytest.raises(Unreadable, match="the fetch failed"):
            await fetch("https://login.invalid/keys", server.ca_path)
        assert asked == [b"CONNECT login.invalid:443 HTTP/1.1\r\n"]
        monkeypatch.setenv("NO_PROXY", "login.invalid")
        with pytest.raises(Unreadable, match="no connection"):
            await fetch("https://login.invalid/keys", server.ca_path)
        assert len(asked) == 1


# -- a file


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, reports = tmp_path / "jwks.json", Reports()
    settings = JwtSettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_roles=ROLES)
    watch = KeyFileWatch(settings, str(path), reports)
    with pytest.raises(BootRefused, match=r"WINDLASS_JWT_JWKS_FILE names .*jwks.json', which cannot be read"):
        await watch.begin()
    path.write_bytes(b'{"keys": []}')
    with pytest.raises(BootRefused, match="cannot be used: it has no key"):
        await watch.begin()
    path.write_bytes(key_set(OLD))
    await watch.begin()
    os.utime(path, (1, 1))
    changed = key_set(Signer("ES256", "old"))
    path.write_bytes(changed)
    os.utime(path, (1, 1))
    token = OLD.token()
    watch.verifier.principal_of(token, digest_of(token))
    await watch.look()
    with pytest.raises(Exception, match="signature is not"):
        watch.verifier.principal_of(token, digest_of(token))
    path.write_bytes(b"broken")
    await watch.look()
    await watch.look()
    path.unlink()
    await watch.look()
    assert not watch.wanted()
    path.write_bytes(changed)
    await watch.look()
    await watch.look()
    path.write_bytes(key_set(NEW, OLD))
    await watch.look()
    told = [text.partition(":")[0] for text in reports.told]
    assert told == ["read 1", "read 1", "kept", "kept", "read 1", "read 2"]
    assert reports.failures == 2
