"""Two engines on one server, in turns: what a change costs, as ratios that the machine's own speed does not touch."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from rig import SHAPE, Bench, Engine, running

from seatrial.cluster.postgres import PostgresServer

RATIO_MAX = 1.05
"""How much worse than the other engine this one may be in each figure."""
PICKUP = ("--rate", "50", "--workers", "2", "--wait-ms", "5000")
#: figure: whether less is better
FIGURES: Mapping[str, bool] = {
    "cpu_s_per_1000_jobs": True,
    "jobs_per_s": False,
    "pickup_p50_ms": True,
    "pickup_p95_ms": True,
}


async def compare_engines(
    server: PostgresServer, bench: Bench, program: str, rounds: int, instances: int, pickup_s: int
) -> dict[str, Any]:
    """`figures` has this engine's worsening in each figure, 1.0 for none: the median of the rounds' ratios.

    Each engine has a database of its own. Who begins changes from round to round, so that neither gains by its place.
    """
    async with AsyncExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name, command in (("this", None), ("other", program)):
            await server.create_database(f"bench_{name}")
            log_path = bench.folder / f"engine-{name}.log"
            engines[name] = await stack.enter_async_context(
                running(server, log_path, database=f"bench_{name}", program=command)
            )
            await asyncio.to_thread(bench.drive, [engines[name]], "--instances", "500", *SHAPE)
        paired = []
        for number in range(rounds):
            order = list(engines) if number % 2 else list(reversed(engines))
            found = {
                name: await asyncio.to_thread(_measure, bench, engines[name], instances, pickup_s)
                for name in order
            }
            paired.append(
                {
                    figure: _worsening(found["this"][figure], found["other"][figure], less_is_better=better)
                    for figure, better in FIGURES.items()
                }
            )
            print(
                f"round {number + 1}/{rounds}: " + "  ".join(f"{k} {v:.3f} x" for k, v in paired[-1].items())
            )
    figures = {figure: statistics.median(each[figure] for each in paired) for figure in FIGURES}
    return {"rounds": paired, "figures": figures}


def _measure(bench: Bench, engine: Engine, instances: int, pickup_s: int) -> Mapping[str, float]:
    load = bench.drive([engine], "--instances", str(instances), *SHAPE)
    pickup = bench.drive([engine], *PICKUP, "--duration", f"{pickup_s}s")
    return {
        "cpu_s_per_1000_jobs": load["engine_cpu_s_per_1000_jobs"] + load["pg_cpu_s_per_1000_jobs"],
        "jobs_per_s": load["jobs_per_s"],
        "pickup_p50_ms": pickup["pickup_ms"]["p50"],
        "pickup_p95_ms": pickup["pickup_ms"]["p95"],
    }


def _worsening(this: float, other: float, *, less_is_better: bool) -> float:
    return this / other if less_is_better else other / this


def against_verdict(figures: Mapping[str, float]) -> int:
    """Prints each figure; 1 when one is worse by more than the bound."""
    worse = [name for name, ratio in figures.items() if ratio > RATIO_MAX]
    told = "   ".join(f"{name} {ratio:.3f} x" for name, ratio in figures.items())
    print(f"worse than the other engine by (1.0: equal, {RATIO_MAX} at most): {told}")
    print(f"WORSE: {', '.join(worse)}" if worse else "the bounds hold")
    return 1 if worse else 0
