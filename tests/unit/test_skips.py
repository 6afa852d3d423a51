"""A skip names its need; where CI has every need, it fails the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RULE = Path(__file__).parents[1] / "conftest.py"
CASES = "import pytest\ndef test_runs(): ...\ndef test_is_skipped(): pytest.skip('needs a thing that is not here')\n"


def run(folder: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    shutil.copy(RULE, folder / "conftest.py")
    (folder / "test_cases.py").write_text(CASES)
    env = {key: value for key, value in os.environ.items() if key != "CI"} | ({"CI": "true"} if ci else {})
    alone = ("--disable-plugin-autoload", "-p", "no:cacheprovider", "--rootdir", str(folder))
    command = [sys.executable, "-m", "pytest", "-q", *alone, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=folder)


@pytest.mark.parametrize(("ci", "exit_code"), [(False, 0), (True, 1)])
def test_a_skip_is_counted_and_fails_only_under_ci(tmp_path: Path, ci: bool, exit_code: int) -> None:
    done = run(tmp_path, ci=ci)
    assert done.returncode == exit_code, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert ("needs a thing that is not here" in done.stdout) is ci
