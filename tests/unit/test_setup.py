"""`scripts/setup` installs all of the lock or says so: a half-made environment never passes for a whole one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTERPRETER = """#!/usr/bin/env bash
# Passes for Python 3.11 until it is to do something.
[ "$1" = -c ] && exit 0
if [ "$*" = "-m venv $PWD/.venv" ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; exit {venv}; fi
echo "no network" >&2
exit 1
"""
USER = """#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/setup"
echo went on
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts", "client", "engine", "harness", "bin"):
        (tmp_path / name).mkdir()
    for name in ("client", "engine", "harness"):
        (tmp_path / name / "pyproject.toml").touch()
    (tmp_path / "requirements.lock").write_text("uv==0.13.1 \\\n    --hash=sha256:00\n")
    shutil.copy(ROOT / "scripts/setup", tmp_path / "scripts/setup")
    (tmp_path / "scripts/user").write_text(USER)
    (tmp_path / "scripts/user").chmod(0o755)
    return tmp_path


def run(checkout: Path, script: str, *, venv: int) -> subprocess.CompletedProcess[str]:
    interpreter = checkout / "bin/python3.11"
    interpreter.write_text(INTERPRETER.format(venv=venv))
    interpreter.chmod(0o755)
    env = {**os.environ, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        [f"scripts/{script}"], cwd=checkout, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", ["setup", "user"])
@pytest.mark.parametrize("venv", [0, 1])
def test_a_step_that_fails_ends_it(checkout: Path, script: str, venv: int) -> None:
    done = run(checkout, script, venv=venv)
    assert done.returncode == 1
    assert "went on" not in done.stdout
    assert ("no network" in done.stderr) == (venv == 0)
    assert not (checkout / ".venv/.lock-installed").exists()


def test_an_environment_of_an_older_lock_is_not_taken_for_the_new_one(checkout: Path) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    for name in ("windlass", "uv", "python"):
        (checkout / ".venv/bin" / name).write_text("#!/usr/bin/env bash\nexit 1\n")
        (checkout / ".venv/bin" / name).chmod(0o755)
    stamp = checkout / ".venv/.lock-installed"
    stamp.write_text("of yesterday\n")
    done = run(checkout, "user", venv=0)
    assert done.returncode == 1
    assert "went on" not in done.stdout
    assert stamp.read_text() == "of yesterday\n"


def test_an_environment_of_this_lock_is_used_as_it_is(checkout: Path) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/windlass").write_text("#!/usr/bin/env bash\necho here\n")
    (checkout / ".venv/bin/windlass").chmod(0o755)
    names = ["requirements.lock", *(f"{each}/pyproject.toml" for each in ("client", "engine", "harness"))]
    text = b"".join((checkout / name).read_bytes() for name in names)
    sum_ = subprocess.run(["cksum"], input=text, capture_output=True, check=True).stdout.decode()
    (checkout / ".venv/.lock-installed").write_text(sum_)
    (checkout / "scripts/user").write_text(f"{USER}windlass\n")
    done = run(checkout, "user", venv=1)
    assert (done.returncode, done.stdout) == (0, "went on\nhere\n")
    assert done.stderr == ""
