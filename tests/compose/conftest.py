"""What these tests need: Docker with its compose plugin, and the engine's image of this tree.

A need that is missing skips them by its name; under CI a skip fails the run (tests/conftest.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from seatrial.cluster.backend import Services
from seatrial.cluster.backends import BACKENDS
from seatrial.cluster.compose.engine_settings import usual_image
from seatrial.cluster.options import Options

ROOT = Path(__file__).parents[2]


def missing_need() -> str | None:
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    for words, need in (
        (["info"], "no Docker daemon answers"),
        (["compose", "version"], "docker has no compose"),
    ):
        if subprocess.run(["docker", *words], capture_output=True, check=False).returncode:
            return need
    return None


@pytest.fixture(scope="session")
def image() -> str:
    """The engine's, built by scripts/image from this tree, with the builds that it is upgraded to."""
    if need := missing_need():
        pytest.skip(need)
    if not os.environ.get("WINDLASS_IMAGE"):
        subprocess.run([ROOT / "scripts" / "image", "--drills"], check=True, stdout=subprocess.DEVNULL)
    return os.environ.get("WINDLASS_IMAGE") or usual_image(None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services(image: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    options = Options(1, tmp_path_factory.mktemp("run"), backend="compose")
    opened = BACKENDS["compose"].open(options, {}, print)
    yield opened
    await opened.close()
