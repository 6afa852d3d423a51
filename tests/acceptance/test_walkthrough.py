"""The README's walk-through as it stands there, and the harness README's example drill, on real clusters."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seatrial import drill
from seatrial.environment import Environment, Options
from seatrial.verdict import Outcome

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## Try it\n(.*?)^## ", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"```(sh|json|text)\n(.*?)```", re.DOTALL)
END_OF_BLOCK = "--- end of block ---"
WITHIN_S = 300.0

#: Enough of curl for the page, where there is none.
CURL = f"""#!{sys.executable}
import sys, urllib.request
words = iter(sys.argv[1:])
url, body, form, quiet = "", None, "", False
for word in words:
    if word == "-d":
        body = next(words).encode()
    elif word == "-o":
        quiet = next(words) == "/dev/null"
    elif word == "-w":
        form = next(words)
    elif word != "-s":
        url = word
with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
    text = answer.read().decode()
    sys.stdout.write("" if quiet else text)
    sys.stdout.write(form.replace("%{{http_code}}", str(answer.status)).replace("\\\\n", "\\n"))
"""


def blocks() -> list[tuple[str, str | None]]:
    """Each block of commands, with what the page says it prints."""
    section = SECTION.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert section is not None
    found: list[tuple[str, str | None]] = []
    for kind, text in FENCED.findall(section[1]):
        if kind == "sh":
            found.append((text, None))
        else:
            found[-1] = (found[-1][0], text)
    return found


def alike(text: str) -> Any:
    """As JSON where it is, with ids and times made equal."""
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ULID", text.strip())
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return json.loads(text) if text.startswith("{") else text


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the page is typed: a folder of its own; no cluster stays up in it."""
    if shutil.which("curl") is None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/curl").write_text(CURL)
        (tmp_path / "bin/curl").chmod(0o755)
    yield tmp_path
    if (tmp_path / "reports/up/state.json").exists():
        subprocess.run([Path(sys.executable).parent / "seatrial", "down"], cwd=tmp_path, check=True)


def test_the_walk_through_prints_what_the_page_says(folder: Path) -> None:
    page = blocks()
    typed = "".join(f"{commands}echo; echo '{END_OF_BLOCK}'\n" for commands, _ in page)
    typed = typed.replace("source scripts/setup", f"source {shlex.quote(str(ROOT / 'scripts/setup'))}")
    assert "scripts/setup" in typed
    assert "seatrial up" in typed
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{typed}"],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.split(END_OF_BLOCK)[:-1]
    assert len(printed) == len(page)
    for (commands, promised), text in zip(page, printed, strict=True):
        if promised is not None:
            assert alike(text) == alike(promised), commands
    assert len([promised for _, promised in page if promised]) >= 4
    assert len(re.findall(r"REST (http://\S+)", done.stderr)) == 3
    assert printed[-1].strip() == "down"
    assert not (folder / "reports/up/state.json").exists()


async def test_the_example_drill_passes(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "harness/README.md").read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "sessions_ended.py").write_text(example[1])
    async with Environment(Options(seed=7, report_dir=tmp_path / "report")) as environment:
        result = await drill.run(runpy.run_path(str(tmp_path / "sessions_ended.py"))["DRILL"], environment)
    assert result.outcome is Outcome.PASS, result
