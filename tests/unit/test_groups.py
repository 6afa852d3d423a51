"""Tests of one xdist_group run in one process of several, so that what they share is made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

RULE = Path(__file__).parents[1] / "conftest.py"
CASES = """
import os, pathlib, pytest
pytestmark = pytest.mark.xdist_group("shared")

@pytest.mark.parametrize("number", range(4))
def test_it(number):
    pathlib.Path(os.environ["SEEN"], f"{__name__}-{number}").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


def workers(folder: Path) -> list[str]:
    """Of each test of two files in one group, which process ran it."""
    seen = folder / "seen"
    seen.mkdir()
    for name in ("one", "two"):
        (folder / f"test_{name}.py").write_text(CASES)
    alone = ("--disable-plugin-autoload", "-p", "xdist", "-p", "no:cacheprovider", "--rootdir", str(folder))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", *alone, str(folder)]
    env = {**os.environ, "SEEN": str(seen)}
    subprocess.run(command, capture_output=True, text=True, env=env, check=True, cwd=folder)
    return [path.read_text() for path in seen.iterdir()]


def test_a_group_is_kept_together(tmp_path: Path) -> None:
    shutil.copy(RULE, tmp_path / "conftest.py")
    ran = workers(tmp_path)
    assert len(ran) == 8
    assert len(set(ran)) == 1
