"""docs/tls.md: its commands make certificates that a node serves with and that callers are known by."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest
from nodes import Boot

from windlass.auth import tokens
from windlass_client import Client, Forbidden, Unauthenticated, WindlassError

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[3] / "docs" / "tls.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


MAKE, SERVE, ASK = blocks("sh")
(LINES,) = blocks("toml")
REST, GRPC, KNOWN = (line for block in blocks("python") for line in block.splitlines())


def typed(text: str, folder: Path, **env: str) -> str:
    return subprocess.run(
        ["bash", "-euc", text],
        cwd=folder,
        env={**os.environ, **env},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def as_written(line: str, folder: Path, rest_port: int, grpc_port: int) -> Client:
    """The page's client, at the ports of this test."""
    made = line.replace(":8080", f":{rest_port}").replace(":9090", f":{grpc_port}")
    made = re.sub(r'_file="', f'_file="{folder}/', made).replace('")', '", retry_for_s=0)')
    client = eval(made, {"Client": Client})  # noqa: S307 - the page's own line
    assert isinstance(client, Client)
    return client


async def test_its_commands_and_clients(boot: Boot, tmp_path: Path) -> None:
    await asyncio.to_thread(typed, MAKE, tmp_path)
    export, check, _ = SERVE.splitlines()
    found = await asyncio.to_thread(typed, f"{export}\n{check}", tmp_path, WE_POSTGRES_DSN="postgresql:///x")
    env = dict(line.split("=", 1) for line in found.splitlines() if line.startswith("WINDLASS_TLS_"))
    (tmp_path / "tokens.toml").write_text(LINES)
    running = await boot(
        WINDLASS_TLS_CERT_FILE=env["WINDLASS_TLS_CERT_FILE"],
        WINDLASS_TLS_KEY_FILE=env["WINDLASS_TLS_KEY_FILE"],
        WINDLASS_TLS_CLIENT_CA_FILE=str(tmp_path / "ca.crt"),
        WINDLASS_TOKENS_FILE=str(tmp_path / "tokens.toml"),
    )
    assert running.node.grpc is not None
    ports = running.node.rest.port, running.node.grpc.port
    ready = await asyncio.to_thread(typed, ASK.replace("8080", str(ports[0])), tmp_path)
    assert '"ready":true' in ready
    async with as_written(REST, tmp_path, *ports) as nobody:
        with pytest.raises(Unauthenticated):
            await nobody.get("i")
    async with as_written(GRPC, tmp_path, *ports) as nobody:
        # Over gRPC each caller needs a certificate.
        with pytest.raises(WindlassError):
            await nobody.get("i")
    async with as_written(KNOWN, tmp_path, *ports) as mailer:
        assert await mailer.poll("w", ["send-mail"]) == []
        with pytest.raises(Forbidden):
            await mailer.poll("w", ["charge"])
        with pytest.raises(Forbidden):
            await mailer.get("i")


async def test_its_lines_are_a_tokens_file() -> None:
    assert {principal.name for principal in tokens.parse(LINES).values()} == {"mailer", "shop", "console"}
    written = set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE))
    assert {key for key in tokens.parse(LINES) if isinstance(key, str)} == written
