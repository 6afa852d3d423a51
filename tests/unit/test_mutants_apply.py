"""Every mutant of the engine still finds what it breaks: one that does not would be noticed only by its drill, minutes
later.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "mutants"
NOT_MUTANTS = frozenset(
    {"mutation.py", "catalogue.py", "chart_catalogue.py", "compose_catalogue.py", "run.py"}
)


def broken(paths: list[str]) -> int:
    """Applies each in a process of its own, which says what is wrong; returns how many are broken."""
    failed = 0
    for path in paths:
        child = os.fork()
        if not child:
            try:
                runpy.run_path(path, run_name="mutant")
            except BaseException as error:
                print(f"{path}: {error}", flush=True)
                os._exit(1)
            os._exit(0)
        failed += os.waitpid(child, 0)[1] != 0
    return failed


def test_each_mutant_applies() -> None:
    paths = [str(path) for path in sorted(FOLDER.glob("*.py")) if path.name not in NOT_MUTANTS]
    assert len(paths) > 50
    # The engine is imported once, and no module of this process is changed.
    tried = subprocess.run(
        [sys.executable, __file__, *paths],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


if __name__ == "__main__":
    import windlass.app
    import windlass.commands  # noqa: F401

    sys.exit(bool(broken(sys.argv[1:])))
