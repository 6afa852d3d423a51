"""Every ability of a cluster of local processes, exercised on real engines, a real PostgreSQL and a real Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ability_exercises import EXERCISES, REPLICAS, exercised
from seatrial.cluster import Cluster, ClusterError, ClusterSpec, MissingAbility
from seatrial.cluster.ability import Certificates, Exits, Logs, Reconfigure, Schedulers
from seatrial.cluster.backend import Services
from seatrial.cluster.backends import BACKENDS
from seatrial.cluster.broker import Broker, BrokerNetwork
from seatrial.cluster.brokers import DEFAULT
from seatrial.cluster.options import Options
from seatrial.drill import OUTBOX_VALUES

pytestmark = [
    # Its jars come from a repository, the first time on a machine.
    pytest.mark.slow,
    pytest.mark.xdist_group("local-abilities"),
    pytest.mark.asyncio(loop_scope="module"),
]
ENTRY = BACKENDS["local"]
OFFERED = sorted(ENTRY.abilities(Options(1, Path())), key=lambda kind: kind.__name__)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    opened = ENTRY.open(Options(1, tmp_path_factory.mktemp("run")), {}, lambda _line: None)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(services: Services, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    spec = ClusterSpec(REPLICAS, OUTBOX_VALUES, folder=tmp_path_factory.mktemp("cluster"))
    made = await services.cluster(spec, restart=True, broker=DEFAULT)
    await made.up()
    yield made
    await made.down()


async def test_it_hands_out_what_its_entry_offers_and_nothing_else(cluster: Cluster) -> None:
    assert cluster.abilities == set(OFFERED)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in OFFERED if kind not in {Certificates, Schedulers}],
    ids=lambda kind: kind.__name__,
)
async def test_the_ability(cluster: Cluster, kind: type, tmp_path: Path) -> None:
    if lacking := ENTRY.uninstalled([kind]):
        pytest.skip(f"needs {' and '.join(lacking)}")
    await exercised(cluster, kind, tmp_path)


async def test_schedulers(services: Services, tmp_path: Path) -> None:
    """In a cluster that has one: beside it no replica of the others' would relay. Each node has its role, whatever role
    an engine command names.
    """
    spec = ClusterSpec(
        REPLICAS, {"scheduler": {"replicas": 1}}, engine_command="windlass serve", folder=tmp_path / "cluster"
    )
    made = await services.cluster(spec, restart=True, broker=None)
    try:
        await made.up()
        await exercised(made, Schedulers, tmp_path)
        (name,) = made.ability(Schedulers).names()
        await made.ability(Reconfigure).reconfigure(name, {})
        assert made.ability(Exits).unasked_exits(name) == []
        assert '"role":"scheduler"' in made.ability(Logs).log_path(name).read_text()
        assert '"role":"api"' in made.ability(Logs).log_path("replica-0").read_text()
    finally:
        await made.down()


async def test_certificates(services: Services, cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no certificate; run it with --tls"):
        await cluster.ability(Certificates).renew()
    spec = ClusterSpec(REPLICAS, folder=tmp_path / "cluster", tls=True)
    made = await services.cluster(spec, restart=True, broker=None)
    try:
        await made.up()
        await exercised(made, Certificates, tmp_path)
    finally:
        await made.down()
    assert not list(tmp_path.rglob("tls.key")), "no key stays in the report"


async def test_of_somebody_elses_broker_only_what_breaks_nothing_is_handed_out(tmp_path: Path) -> None:
    running = DEFAULT.new_server(tmp_path / "broker.log", lambda _line: None)
    try:
        await running.start()
        address = str(running.engine_values(secured=False)["kafka"]["seedBrokers"])
        options = Options(1, tmp_path, brokers=address)
        services = ENTRY.open(options, {}, lambda _line: None)
        try:
            spec = ClusterSpec(REPLICAS, OUTBOX_VALUES, folder=tmp_path)
            made = await services.cluster(spec, restart=False, broker=DEFAULT)
            assert made.abilities == ENTRY.abilities(options)
            try:
                await made.up()
                await exercised(made, Broker, tmp_path)
            finally:
                await made.down()
            with pytest.raises(MissingAbility, match="does not have the ability BrokerNetwork"):
                made.ability(BrokerNetwork)
        finally:
            await services.close()
    finally:
        await running.close()


async def test_without_a_broker_none_is_handed_out(services: Services, tmp_path: Path) -> None:
    made = await services.cluster(ClusterSpec(1, folder=tmp_path), restart=False, broker=None)
    assert set(OFFERED) - made.abilities == {kind for kind in EXERCISES if kind.__name__.startswith("Broker")}
