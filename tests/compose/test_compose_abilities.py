"""Every ability of a compose project, exercised on real containers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from drill_image import built

from ability_exercises import REPLICAS, exercised
from seatrial.cluster import Cluster, ClusterSpec
from seatrial.cluster.backend import Services
from seatrial.cluster.backends import BACKENDS
from seatrial.cluster.options import Options

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
ENTRY = BACKENDS["compose"]
OFFERED = sorted(ENTRY.abilities(Options(1, Path(), backend="compose")), key=lambda kind: kind.__name__)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    built()
    opened = ENTRY.open(Options(1, tmp_path_factory.mktemp("run"), backend="compose"), {}, print)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def cluster(services: Services, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    spec = ClusterSpec(REPLICAS, folder=tmp_path_factory.mktemp("cluster"))
    made = await services.cluster(spec, restart=True, broker=None)
    await made.up()
    yield made
    await made.down()


async def test_it_hands_out_what_its_entry_offers_and_nothing_else(cluster: Cluster) -> None:
    assert cluster.abilities == set(OFFERED)


@pytest.mark.parametrize("kind", OFFERED, ids=lambda kind: kind.__name__)
async def test_the_ability(cluster: Cluster, kind: type, tmp_path: Path) -> None:
    await exercised(cluster, kind, tmp_path)
