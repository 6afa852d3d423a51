"""The engine's image for tests of the compose backend, and whether there can be one."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from seatrial.cluster.compose.engine_settings import usual_image

ROOT = Path(__file__).parents[2]


@functools.cache
def built() -> str:
    """By scripts/image from this tree, with the builds that it is upgraded to, unless WINDLASS_IMAGE names one. Skips
    the test without Docker.
    """
    if shutil.which("docker") is None:
        pytest.skip("docker is not on PATH")
    for words, need in (
        (["info"], "no Docker daemon answers"),
        (["compose", "version"], "docker has no compose plugin"),
    ):
        if subprocess.run(["docker", *words], capture_output=True, check=False).returncode:
            pytest.skip(need)
    if named := os.environ.get("WINDLASS_IMAGE"):
        return named
    subprocess.run([ROOT / "scripts" / "image", "--drills"], check=True, stdout=subprocess.DEVNULL)
    return usual_image(None)
