"""docs/ways-in.md: its commands, as they stand there but for the port."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from engine_process import RunWindlass

from windlass.config import settings_from_env

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[2] / "docs" / "ways-in.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)


async def test_the_commands_do_what_the_page_says(windlass: RunWindlass, dsn: str) -> None:
    serve, ask = COMMANDS
    assignment, *words = serve.split()
    assert words == ["windlass", "serve"]
    name, _, address = assignment.partition("=")
    process = await windlass("serve", WE_POSTGRES_DSN=dsn, **{name: address})
    line = await process.until_logged("engine: REST listening")
    assert line["addr"] == f"[::1]:{process.rest_port}"
    asked = await asyncio.create_subprocess_shell(
        ask.replace(":8080", f":{process.rest_port}"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asked.communicate()
    assert (asked.returncode, b'"ready":true' in out) == (0, True)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", process.rest_port)


async def test_the_numbers_are_the_engine_s() -> None:
    found = settings_from_env({"WE_POSTGRES_DSN": "postgresql:///d"}, Path("/nonexistent/engine.yaml"))
    assert f"after {found.grpc_connection_age_s:g} s" in PAGE
    assert f"have {found.request_timeout_s + 5:g} s" in PAGE
    assert f"a long poll waits {found.long_poll_s_max:g} s" in PAGE
    assert f"it is {found.idle_timeout_s:g} s" in PAGE
    for name, value in re.findall(r"`(WINDLASS_[A-Z_]+)=([^`]+)`", PAGE):
        settings_from_env(
            {"WE_POSTGRES_DSN": "postgresql:///d", name: value}, Path("/nonexistent/engine.yaml")
        )
