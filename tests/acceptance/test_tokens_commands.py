"""docs/tokens.md: its commands make a token that a node takes, and no call without it gets in."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path

import pytest
from engine_process import WINDLASS, RunWindlass

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[2] / "docs" / "tokens.md").read_text()
SHOWN, MAKE, ASK = (
    block
    for block in re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    if not block.startswith("WINDLASS_JWT")
)


async def typed(text: str, folder: Path, dsn: str) -> tuple[int | None, str]:
    env = {"PATH": f"{WINDLASS.parent}:{os.environ['PATH']}", "WE_POSTGRES_DSN": dsn}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", text, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_the_commands_turn_authentication_on(windlass: RunWindlass, dsn: str, tmp_path: Path) -> None:
    *make, serve = MAKE.splitlines()
    assert serve == "windlass serve"
    code, out = await typed("\n".join(make), tmp_path, dsn)
    tokens_file = tmp_path / "tokens.toml"
    assert code == 0
    assert re.search(rf"^WINDLASS_TOKENS_FILE={tokens_file}$", out, re.MULTILINE)
    assert {path.name for path in tmp_path.iterdir()} == {"ops.token", tokens_file.name}
    assert stat.S_IMODE((tmp_path / "ops.token").stat().st_mode) == 0o600
    process = await windlass("serve", WE_POSTGRES_DSN=dsn, WINDLASS_TOKENS_FILE=str(tokens_file))
    await process.until_logged("engine: REST listening")
    ask = ASK.replace(":8080", f":{process.rest_port}")
    code, out = await typed(ask, tmp_path, dsn)
    assert (code, '"items"' in out) == (0, True)
    code, _ = await typed(ask.partition(" -H ")[0], tmp_path, dsn)
    assert code == 22, "curl --fail ends so at a 401"


async def test_the_token_of_the_example_is_for_one_job_type(tmp_path: Path, dsn: str) -> None:
    code, out = await typed(SHOWN, tmp_path, dsn)
    token, line = out.splitlines()
    assert (code, token[:4]) == (0, "wdl_")
    written = re.search(r'```toml\n("mailer" = .*)\n```', PAGE)
    assert written is not None
    assert re.sub(r'sha256 = "[^"]*"', "", line) == re.sub(r'sha256 = "[^"]*"', "", written[1])
