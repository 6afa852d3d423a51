"""Every ability of a cluster on Kubernetes, exercised on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ability_exercises import REPLICAS, exercised
from seatrial.cluster import Cluster, ClusterSpec
from seatrial.cluster.backends import BACKENDS
from seatrial.cluster.brokers import DEFAULT
from seatrial.cluster.kind.cluster import KindCluster
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.options import Options
from seatrial.drill import OUTBOX_VALUES

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
OFFERED = sorted(
    BACKENDS["kind"].abilities(Options(1, Path(), backend="kind")), key=lambda kind: kind.__name__
)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def cluster(shared: SharedServices, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    spec = ClusterSpec(REPLICAS, OUTBOX_VALUES, folder=tmp_path_factory.mktemp("cluster"))
    made = KindCluster(spec, shared, broker=await shared.emptied_broker(DEFAULT))
    await made.up()
    yield made
    await made.down()


async def test_it_hands_out_what_its_entry_offers_and_nothing_else(cluster: Cluster) -> None:
    assert cluster.abilities == set(OFFERED)


@pytest.mark.parametrize("kind", OFFERED, ids=lambda kind: kind.__name__)
async def test_the_ability(cluster: Cluster, kind: type, tmp_path: Path) -> None:
    await exercised(cluster, kind, tmp_path)
