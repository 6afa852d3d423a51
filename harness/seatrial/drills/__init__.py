"""The catalogue: one drill a file, named here by hand so that nothing runs that nobody listed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from seatrial.drill import Drill
from seatrial.drills import (
    all_killed,
    chain,
    claim_flatness,
    database_crash,
    double_complete,
    failed_migration,
    helm_rollback,
    lease_reclaim,
    node_drain,
    non_sticky,
    poison,
    polling_purity,
    probes,
    rolling_upgrade,
    small_pool,
    smoke,
    timers,
    zombie,
    zombie_same_name,
)
from seatrial.yard import Misuse

CATALOGUE: Mapping[str, Drill] = {
    drill.id: drill
    for drill in (
        smoke.DRILL,
        lease_reclaim.DRILL,
        zombie.DRILL,
        zombie_same_name.DRILL,
        double_complete.DRILL,
        non_sticky.DRILL,
        poison.DRILL,
        all_killed.DRILL,
        polling_purity.DRILL,
        database_crash.DRILL,
        probes.DRILL,
        rolling_upgrade.DRILL,
        failed_migration.DRILL,
        helm_rollback.DRILL,
        node_drain.DRILL,
        timers.DRILL,
        chain.DRILL,
        claim_flatness.DRILL,
        small_pool.DRILL,
    )
}


def select(
    names: Sequence[str], *, core: bool = False, everything: bool = False, backend: str = "local"
) -> list[Drill]:
    """The named drills in their order, then the rest of the backend's core or of the catalogue. Raises Misuse."""
    unknown = [name for name in names if _find(name) is None]
    if unknown:
        raise Misuse("; ".join(_unknown(name) for name in unknown))
    chosen = [drill for name in names if (drill := _find(name)) is not None]
    if core or everything:
        of_core = {
            drill.id for drill in CATALOGUE.values() if (drill.on_kind if backend == "kind" else drill.core)
        }
        chosen += [
            drill
            for drill in CATALOGUE.values()
            if (everything or drill.id in of_core) and drill not in chosen
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
