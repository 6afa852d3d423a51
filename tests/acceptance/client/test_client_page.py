"""docs/client.md, the client's README and examples/ as a reader runs them, over both transports."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from doors import Doors

from windlass_client import Client

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("client")]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/client.md"
README = ROOT / "client/README.md"
FENCED = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
EXAMPLES = ROOT / "examples"
WITHIN_S = 60.0


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Each block of Python, with what the page says it prints."""
    found = FENCED.findall(page.read_text(encoding="utf-8"))
    for (kind, text), (next_kind, next_text) in zip(found, [*found[1:], ("", "")], strict=True):
        assert kind in {"sh", "python", "text"}, kind
        if kind == "python":
            yield text, next_text if next_kind == "text" else ""


async def test_the_page_prints_what_it_says(doors: Doors) -> None:
    names: dict[str, object] = {}
    seen = 0
    try:
        for text, promised in blocks(PAGE):
            seen += 1
            code = text.replace("http://localhost:8080", doors.rest).replace(
                "grpc://localhost:9090", doors.grpc
            )
            compiled = compile(code, PAGE.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                outcome = eval(compiled, names)  # noqa: S307 - the page's own code
                if inspect.isawaitable(outcome):
                    await asyncio.wait_for(outcome, WITHIN_S)
            assert printed.getvalue() == promised, text
    finally:
        if isinstance(windlass := names.get("windlass"), Client):
            await windlass.close()
    assert seen >= 6


async def test_the_readme_s_program_prints_what_it_says(address: str, tmp_path: Path) -> None:
    ((text, promised),) = blocks(README)
    program = tmp_path / "program.py"
    program.write_text(text.replace("http://localhost:8080", address), encoding="utf-8")
    async with running(program) as process:
        out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
        assert (process.returncode, out.decode()) == (0, promised), err


@contextlib.asynccontextmanager
async def running(program: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_examples_greet_and_leave_when_told(address: str) -> None:
    async with running(EXAMPLES / "worker.py", address) as worker:
        for who, code, said, complained in (
            ("Ada", 0, "Hello, Ada\n", ""),
            ("", 1, "", "FAILED: nobody to greet: the variable who is missing\n"),
        ):
            async with running(EXAMPLES / "start_and_wait.py", address, who) as starter:
                out, err = await asyncio.wait_for(starter.communicate(), WITHIN_S)
                assert (starter.returncode, out.decode()) == (code, said), err
                assert err.decode().endswith(complained)
        worker.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(worker.communicate(), WITHIN_S)
        assert worker.returncode == 0
        assert "takes jobs of say-hello" in log.decode()
        assert "Traceback" not in log.decode()


@pytest.mark.parametrize("name", ["worker.py", "start_and_wait.py"])
async def test_an_example_says_how_it_is_run(name: str) -> None:
    async with running(EXAMPLES / name) as process:
        _, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
        assert process.returncode == 1
        assert f"python examples/{name} http://localhost:8080" in err.decode()
