"""NextRelease: a copy of the installed engine with one more migration."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import NextRelease
from seatrial.cluster.values import engine_variables

#: As that of the image with which clusters on Kubernetes are upgraded (scripts/image).
MIGRATION = "ALTER TABLE job ADD COLUMN drill_note text;\n"
_MIGRATIONS = Path("store/migrations/own")


class LocalNextRelease(NextRelease):
    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve() / "next-release"

    def values(self) -> Mapping[str, Any]:
        return engine_variables(PYTHONPATH=str(next_release(self._folder)))


def next_release(folder: Path) -> Path:
    """The folder, which goes into PYTHONPATH; filled at the first call. Raises ClusterError."""
    package = folder / "windlass"
    if package.exists():
        return folder
    found = importlib.util.find_spec("windlass")
    if found is None or not found.submodule_search_locations:
        raise ClusterError("the package windlass is not installed; run scripts/setup")
    shutil.copytree(
        found.submodule_search_locations[0], package, ignore=shutil.ignore_patterns("__pycache__")
    )
    newest = max(int(path.name[:4]) for path in (package / _MIGRATIONS).glob("*.sql"))
    (package / _MIGRATIONS / f"{newest + 1:04d}_pre_drill.sql").write_text(MIGRATION)
    return folder
