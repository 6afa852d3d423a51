"""A skip names its need, and fails the run where CI has every need; what failed under CI is run once more, by name."""

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


FAILS_AT_FIRST = """
import pathlib
import pytest
been = pathlib.Path(__file__).with_name("been")

@pytest.mark.parametrize("value", [1, 2])
def test_is_late(value):
    if value == 2 and not been.exists():
        been.touch()
        raise AssertionError("too late")

def test_fails():
    assert {fails} is False
"""


@pytest.mark.parametrize(
    ("ci", "fails", "exit_code"), [("true", False, 0), ("true", True, 1), ("false", False, 1)]
)
def test_what_failed_is_run_once_more_under_ci(tmp_path: Path, ci: str, fails: bool, exit_code: int) -> None:
    shutil.copy(RULE, tmp_path / "conftest.py")
    (tmp_path / "test_cases.py").write_text(FAILS_AT_FIRST.format(fails=fails))
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/setup").write_text(f"ROOT={tmp_path} PATH={Path(sys.executable).parent}:$PATH\n")
    shutil.copy(RULE.parents[1] / "scripts/test", tmp_path / "scripts")
    command = [str(tmp_path / "scripts/test"), "-q", "test_cases.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "CI": ci}, check=False, timeout=60
    )
    assert done.returncode == exit_code, done.stdout
    passed = "passed when it was repeated: test_cases.py::test_is_late[2]\n" in done.stdout
    assert passed is (exit_code == 0)
    assert ("are run once more" in done.stdout) is (ci == "true")
