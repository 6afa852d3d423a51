"""The catalogue: one drill per file, listed here by hand so that nothing else runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from seatrial.cluster import backends
from seatrial.cluster.options import Misuse
from seatrial.drill import Drill
from seatrial.drills import (
    ack_lost,
    ack_then_crash,
    all_killed,
    balancer_restarted,
    blocked_log,
    broker_away,
    broker_refuses,
    broker_unreachable,
    certificate_renewal,
    chain,
    claim_flatness,
    dashboard_load,
    database_crash,
    disk_full,
    double_complete,
    doubling_timers,
    engines_away,
    failed_migration,
    failover,
    grpc_scale_out,
    half_dead_clients,
    helm_rollback,
    instance_order,
    leader,
    lease_reclaim,
    managed_failover,
    migration_waits,
    mixed_fleet,
    mode_flips,
    node_drain,
    node_replacement,
    non_sticky,
    parked_polls,
    pinned,
    poison,
    polling_purity,
    pooler_restart,
    probes,
    read_only,
    rebalance_storm,
    refused_nodes,
    retention,
    rollback_to_polling,
    rolling_upgrade,
    scale_storm,
    schedulers,
    secret_rotation,
    server_added,
    server_cut_off,
    server_lost,
    small_cluster,
    small_pool,
    smoke,
    soak,
    start_flood,
    stop_the_world,
    switchover,
    timers,
    topic_late,
    topic_missing,
    topics_present,
    wake_bus,
    worker_gone,
    zombie,
    zombie_same_name,
)

CATALOGUE: Mapping[str, Drill] = {
    drill.id: drill
    for drill in (
        smoke.DRILL,
        smoke.KAFKA,
        smoke.SECURED,
        small_cluster.DRILL,
        lease_reclaim.DRILL,
        lease_reclaim.KAFKA,
        lease_reclaim.LONGER,
        zombie.DRILL,
        zombie.KAFKA,
        zombie_same_name.DRILL,
        double_complete.DRILL,
        double_complete.KAFKA,
        non_sticky.DRILL,
        non_sticky.KAFKA,
        pinned.DRILL,
        poison.DRILL,
        *leader.DRILLS,
        all_killed.DRILL,
        rollback_to_polling.DRILL,
        mode_flips.DRILL,
        mixed_fleet.DRILL,
        polling_purity.DRILL,
        topics_present.DRILL,
        topic_missing.DRILL,
        broker_unreachable.DRILL,
        broker_refuses.DRILL,
        topic_late.DRILL,
        refused_nodes.DRILL,
        ack_then_crash.DRILL,
        ack_lost.DRILL,
        engines_away.DRILL,
        rebalance_storm.DRILL,
        broker_away.DRILL,
        worker_gone.DRILL,
        broker_away.MINUTE,
        instance_order.DRILL,
        database_crash.DRILL,
        database_crash.KAFKA,
        disk_full.DRILL,
        pooler_restart.DRILL,
        pooler_restart.KAFKA,
        wake_bus.DRILL,
        wake_bus.NONE,
        migration_waits.DRILL,
        failover.DRILL,
        failover.KAFKA,
        failover.ASYNCHRONOUS,
        managed_failover.DRILL,
        switchover.DRILL,
        switchover.KAFKA,
        read_only.DRILL,
        read_only.KAFKA,
        retention.DRILL,
        probes.DRILL,
        rolling_upgrade.DRILL,
        failed_migration.DRILL,
        helm_rollback.DRILL,
        node_drain.DRILL,
        node_drain.BARE,
        scale_storm.DRILL,
        grpc_scale_out.DRILL,
        secret_rotation.DRILL,
        certificate_renewal.DRILL,
        node_replacement.DRILL,
        stop_the_world.DRILL,
        server_lost.DRILL,
        server_cut_off.DRILL,
        balancer_restarted.DRILL,
        server_added.DRILL,
        timers.DRILL,
        chain.DRILL,
        schedulers.DRILL,
        schedulers.THREE,
        retention.SCHEDULERS,
        claim_flatness.DRILL,
        small_pool.DRILL,
        start_flood.DRILL,
        parked_polls.DRILL,
        half_dead_clients.DRILL,
        dashboard_load.DRILL,
        blocked_log.DRILL,
        blocked_log.STOP,
        doubling_timers.DRILL,
        soak.DRILL,
    )
}


def select(
    names: Sequence[str], *, core: bool = False, everything: bool = False, backend: str = backends.DEFAULT
) -> list[Drill]:
    """The named drills in their order, then the rest of the backend's core or of the catalogue. Raises Misuse."""
    unknown = [name for name in names if _find(name) is None]
    if unknown:
        raise Misuse("; ".join(_unknown(name) for name in unknown))
    chosen = [drill for name in names if (drill := _find(name)) is not None]
    if core or everything:
        in_core = backends.BACKENDS[backend].in_core
        chosen += [
            drill for drill in CATALOGUE.values() if (everything or in_core(drill)) and drill not in chosen
        ]
    return list(dict.fromkeys(chosen))


def _find(name: str) -> Drill | None:
    """By id, whatever the case."""
    return next((drill for id_, drill in CATALOGUE.items() if id_.lower() == name.lower()), None)


def _unknown(name: str) -> str:
    folded = {drill_id.lower(): drill_id for drill_id in CATALOGUE}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.3)]
    known = f"near it: {', '.join(near)}" if near else f"there are: {', '.join(CATALOGUE)}"
    return f"no drill {name!r}; {known}"
