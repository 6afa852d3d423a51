"""What these tests need, and one small cluster for all of them that only look at it.

A need that is missing skips them by its name; under CI a skip fails the run (tests/conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest
from project import SMALL_CLUSTER, Project, a_project, missing_need, run

TAG = "compose-test"


@pytest.fixture(scope="session")
def images() -> Mapping[str, str]:
    """The images of this tree, by the compose files' variables; built once."""
    if need := missing_need():
        pytest.skip(need)
    run("scripts/image", "--worker", env={**os.environ, "IMAGE_TAG": TAG}, within_s=900)
    return {"WINDLASS_IMAGE": f"windlass:{TAG}", "WINDLASS_WORKER_IMAGE": f"windlass-worker:{TAG}"}


@pytest.fixture(scope="session")
def cluster(images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Two servers, up and ready. Who breaks something mends it."""
    with a_project(SMALL_CLUSTER, tmp_path_factory.mktemp("small-cluster"), **images) as project:
        project.compose("up", "--detach", "--wait")
        yield project
