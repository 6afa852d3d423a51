"""JWTs against a whole node on a real database, with an issuer whose keys are behind TLS: over both transports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from nodes import END, Boot, Running, service

from issuer import AUDIENCE, ISSUER, ROLES, KeyServer, Signer, claims, encoded, key_server, key_set
from patience import eventually
from windlass.auth import key_watch
from windlass.auth.principal import Role
from windlass.auth.tokens import line_of
from windlass_client import Client, Forbidden, NotFound, Unauthenticated, Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="session")

RS, NEXT = Signer("RS256", "rs"), Signer("EdDSA", "next")
both = pytest.mark.parametrize("transport", ["rest", "grpc"])


class Issued:
    def __init__(self, running: Running, server: KeyServer) -> None:
        self.running, self.server = running, server
        node = running.node
        assert node.grpc is not None
        self.rest = f"http://127.0.0.1:{node.rest.port}"
        self._addresses = {"rest": self.rest, "grpc": f"grpc://127.0.0.1:{node.grpc.port}"}

    def client(self, transport: str, token: str | None) -> Client:
        return Client(self._addresses[transport], token=token, retry_for_s=0)

    def told(self) -> list[str]:
        return [each["msg"] for each in self.running.log_lines() if each["msg"].startswith("auth: ")]


def variables(server: KeyServer, folder: Path) -> dict[str, str]:
    file = folder / "tokens.toml"
    file.write_text(line_of("filed", Role.CLIENT, "wdl_filed"))
    return {
        "WINDLASS_TOKENS_FILE": str(file),
        "WINDLASS_JWT_ISSUER": ISSUER,
        "WINDLASS_JWT_AUDIENCE": AUDIENCE,
        "WINDLASS_JWT_JWKS_URL": server.url,
        "WINDLASS_JWT_CA_PATH": server.ca_path,
        "WINDLASS_JWT_ROLES": ROLES,
        "WINDLASS_JWT_JOB_TYPES_CLAIM": "job_types",
    }


@pytest_asyncio.fixture(loop_scope="session")
async def issued(boot: Boot, tmp_path: Path) -> AsyncIterator[Issued]:
    with key_server(tmp_path, RS) as server:
        yield Issued(await boot(**variables(server, tmp_path)), server)


@both
async def test_a_jwt_s_roles_and_limits_bound_it_and_its_name_is_the_actor(
    issued: Issued, transport: str
) -> None:
    running = issued.running
    await running.define(service("a", "b"), service("b", "end"), END)
    async with (
        issued.client(transport, RS.token(sub="shop", roles=["client"])) as shop,
        issued.client(transport, RS.token(sub="mailer", roles=["worker"], job_types=["do-a"])) as mailer,
        issued.client(transport, RS.token(sub="nobody", roles=[])) as nobody,
    ):
        instance = await shop.start("d")
        with pytest.raises(Forbidden, match="'jwt:shop' has the role client, which may not poll jobs"):
            await shop.poll("w", ["do-a"])
        with pytest.raises(Forbidden, match="'jwt:nobody' has no role here, which may not read instances"):
            await nobody.get(instance.id)
        with pytest.raises(Forbidden, match="'jwt:mailer' may not poll jobs of type 'do-b'"):
            await mailer.poll("w", ["do-b"])
        [job] = await mailer.poll("w", ["do-a"])
        await mailer.complete(job)
    async with issued.client(transport, "wdl_filed") as filed:
        assert (await filed.get(instance.id)).current_step_ids == ("b",)
    rows = await running.rows("SELECT kind, actor FROM audit_log WHERE instance_id = $1", instance.id)
    found = {(row["kind"], row["actor"]) for row in rows}
    assert {("instance-started", "jwt:shop"), ("job-completed", "jwt:mailer")} <= found


def unsigned() -> str:
    return f"{encoded(json.dumps({'alg': 'none'}).encode())}.{encoded(json.dumps(claims()).encode())}.x"


FORGED: dict[str, Callable[[], str]] = {
    "unsigned": unsigned,
    "of a stranger": lambda: Signer("RS256", "rs").token(),
    "for another audience": lambda: RS.token(aud="other"),
    "of another issuer": lambda: RS.token(iss="https://evil.example"),
    "expired": lambda: RS.token(exp=1_000_000_000),
    "early": lambda: RS.token(nbf=4_000_000_000),
    "critical": lambda: RS.token({"crit": ["exp"]}),
    "with its own key": lambda: RS.token({"jwk": RS.public()}),
    "huge": lambda: RS.token(filler="x" * 20_000),
}


@both
@pytest.mark.parametrize("forged", FORGED)
async def test_a_forged_one_changes_nothing(issued: Issued, transport: str, forged: str) -> None:
    await issued.running.define(END, id_="d")
    async with issued.client(transport, FORGED[forged]()) as client:
        with pytest.raises(Unauthenticated):
            await client.start("d")
    assert await issued.running.rows("SELECT 1 FROM workflow_instance") == []
    assert "eyJ" not in str(issued.running.log_lines())


@both
async def test_a_rotated_key_is_known_without_a_restart(
    issued: Issued, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_watch, "RETRY_S", 0.2)
    issued.server.body = key_set(RS, NEXT)
    async with issued.client(transport, NEXT.token()) as client:

        async def is_known() -> bool:
            try:
                await client.get("nothing")
            except NotFound:
                return True
            except (Unavailable, Unauthenticated):
                return False
            raise AssertionError("there is no such instance")

        await eventually(is_known, within_s=30)
    assert issued.told() == [
        "auth: tokens read",
        "auth: the issuer's keys read",
        "auth: the issuer's keys read",
    ]


async def test_a_node_boots_without_its_issuer_and_serves_who_needs_no_key(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_watch, "RETRY_S", 0.2)
    with key_server(tmp_path, RS) as server:
        server.status = 500
        issued = Issued(await boot(**variables(server, tmp_path)), server)
        for transport in ("rest", "grpc"):
            async with issued.client(transport, RS.token()) as client:
                with pytest.raises(Unavailable, match="keys are being fetched"):
                    await client.get("nothing")
            async with issued.client(transport, "wdl_filed") as client:
                with pytest.raises(NotFound):
                    await client.get("nothing")
        async with aiohttp.ClientSession() as session, session.get(f"{issued.rest}/ready") as answer:
            assert answer.status == 200
        assert issued.told() == [
            "auth: tokens read",
            "auth: the issuer's keys cannot be read, JWTs are answered 503 until they are",
        ]
        server.status = 200
        async with issued.client("rest", RS.token()) as client:

            async def is_known() -> bool:
                try:
                    await client.get("nothing")
                except NotFound:
                    return True
                except Unavailable:
                    return False
                raise AssertionError("there is no such instance")

            await eventually(is_known, within_s=30)
