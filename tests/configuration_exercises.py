"""Exercises of the abilities that configure replicas, or start others beside them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exercise_looks import (
    OTHER,
    POLLING,
    REPLICA,
    SMALL_BODIES,
    answers,
    eventually,
    is_ready,
    of,
    reaches_broker,
    refuses_large_bodies,
    rows,
)
from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import (
    Boots,
    Certificates,
    Commands,
    Database,
    Logs,
    Reconfigure,
    RollingReconfigure,
    Siblings,
)
from seatrial.cluster.broker import Broker
from seatrial.cluster.values import engine_variables
from seatrial.drill import OUTBOX_VALUES
from seatrial.observe.certificates import doors_of, shown

BOOT_BOUND_S = 40.0


async def certificates(ability: Certificates, cluster: Cluster, _folder: Path) -> None:
    """In a cluster that speaks TLS."""
    doors = doors_of(cluster.replicas())
    assert {door.name for door in doors} == {"rest", "grpc", "metrics"}

    async def all_show(serial: str) -> bool:
        return {found for found, _ in await asyncio.gather(*map(shown, doors))} == {serial}

    renewed = await ability.renew()
    await eventually(lambda: all_show(renewed), "every door shows the renewed certificate")
    spoilt = await ability.spoil()
    log = cluster.ability(Logs).log_path(REPLICA)
    await eventually(lambda: "tls: the certificate files cannot be used" in log.read_text(), "it is told of")
    assert spoilt != renewed
    assert await all_show(renewed)
    again = await ability.renew()
    await eventually(lambda: all_show(again), "every door shows the next good one")


async def reconfigure(ability: Reconfigure, cluster: Cluster, _folder: Path) -> None:
    address = of(cluster, REPLICA)
    if not cluster.has(Broker):
        await ability.reconfigure(REPLICA, SMALL_BODIES)
        assert of(cluster, REPLICA) == address
        assert await refuses_large_bodies(cluster, REPLICA)
        assert not await refuses_large_bodies(cluster, OTHER)
        await ability.reconfigure(REPLICA, {}, wait_ready=False)
        await is_ready(cluster, REPLICA)
        assert not await refuses_large_bodies(cluster, REPLICA)
        return
    await reaches_broker(cluster, REPLICA)
    await ability.reconfigure(REPLICA, POLLING)
    assert of(cluster, REPLICA) == address
    await reaches_broker(cluster, REPLICA, is_so=False)
    await reaches_broker(cluster, OTHER)
    await ability.reconfigure(REPLICA, {}, wait_ready=False)
    await reaches_broker(cluster, REPLICA)


async def rolling_reconfigure(ability: RollingReconfigure, cluster: Cluster, _folder: Path) -> None:
    if not cluster.has(Broker):
        for bodies, is_small in ((SMALL_BODIES, True), ({}, False)):
            await ability.reconfigure_all(bodies)
            for name in (REPLICA, OTHER):
                assert await refuses_large_bodies(cluster, name) is is_small
        return
    for values, is_so in ((POLLING, False), (OUTBOX_VALUES, True)):
        await ability.reconfigure_all(values)
        for name in (REPLICA, OTHER):
            assert await answers(cluster, name, "/ready", 5.0)
            await reaches_broker(cluster, name, is_so=is_so)


async def boots(ability: Boots, cluster: Cluster, _folder: Path) -> None:
    before = cluster.replicas()
    good = await ability.boot(POLLING, bound_s=BOOT_BOUND_S)
    assert (good.exit_code, good.ready, good.leaked, good.processes_left) == (None, True, False, 0), (
        good.output
    )
    bad = await ability.boot(engine_variables(WINDLASS_LEASE_SECONDS="soon"), bound_s=BOOT_BOUND_S)
    assert bad.exit_code, bad.output
    assert (bad.ready, bad.leaked) == (False, False)
    assert "WINDLASS_LEASE_SECONDS" in bad.output
    assert cluster.replicas() == before


async def siblings(ability: Siblings, cluster: Cluster, folder: Path) -> None:
    made = ability.sibling(folder, replicas=1, values=POLLING)
    assert made.abilities == cluster.abilities
    try:
        await made.up()
        (replica,) = made.replicas()
        await is_ready(made, replica.name)
        name = "SELECT current_database()"
        assert await rows(made.ability(Database).dsn(), name) != await rows(
            cluster.ability(Database).dsn(), name
        )
    finally:
        await made.down()


async def commands(ability: Commands, _cluster: Cluster, _folder: Path) -> None:
    await ability.run_command(REPLICA, "migrate")
    with pytest.raises(ClusterError, match="no-such-word"):
        await ability.run_command(REPLICA, "no-such-word")
