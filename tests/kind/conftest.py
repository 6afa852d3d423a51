"""What these tests need, and one cluster for all of them.

A need that is missing skips them by its name; under CI a skip fails the run (tests/conftest.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from kafka_consumer import emptied_kafka
from trial_namespace import missing_need
from typed_shell import Shell, a_shell

from seatrial.cluster.kafka.pod import KafkaPod
from seatrial.cluster.kind.nodes import Images
from seatrial.cluster.kind.release import engine_image
from seatrial.cluster.kind.shared import SharedServices
from seatrial.render import default_chart

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "release"))


@pytest.fixture(scope="session")
def image() -> str:
    """The engine's, built by scripts/image from this tree, with the builds that it is upgraded to."""
    if need := missing_need("docker"):
        pytest.skip(need)
    subprocess.run([ROOT / "scripts" / "image", "--drills"], check=True, stdout=subprocess.DEVNULL)
    return engine_image(default_chart(), {})


@pytest.fixture(scope="session")
def postgres_image() -> str:
    return Images.from_env().postgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(image: str) -> AsyncIterator[SharedServices]:
    if need := missing_need("docker", "kind"):
        pytest.skip(need)
    made = SharedServices(images=Images.from_env())
    await made.up(image)
    yield made
    await made.down()


@pytest_asyncio.fixture(loop_scope="session")
async def broker(shared: SharedServices) -> KafkaPod:
    return await emptied_kafka(shared)


@pytest_asyncio.fixture(loop_scope="session")
async def shell(shared: SharedServices, tmp_path: Path) -> AsyncIterator[Shell]:
    if need := missing_need("helm", "kubectl", "curl"):
        pytest.skip(need)
    async with a_shell(shared, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def registry(image: str) -> Iterator[str]:
    """The address of a real registry on this machine."""
    wanted = os.environ.get("SEATRIAL_REGISTRY_IMAGE") or "registry:2"
    started = subprocess.run(
        ["docker", "run", "--detach", "--rm", "--publish", "127.0.0.1::5000", wanted],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    shown = subprocess.run(["docker", "port", started, "5000"], check=True, capture_output=True, text=True)
    yield shown.stdout.strip()
    subprocess.run(["docker", "stop", "--time", "1", started], check=True, stdout=subprocess.DEVNULL)
