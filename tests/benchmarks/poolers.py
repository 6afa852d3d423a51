"""The engine behind PgBouncer in each pool mode beside the engine without it: what a pooler costs.

Each round runs pgbench and then the same load on each of the engines, which have one database each on one server. Who
begins changes from round to round.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from rig import SHAPE, Bench, Engine, cpu_s, running

from seatrial.cluster.pgbouncer import NEED, PgBouncer, PoolMode, find_pgbouncer, pgbouncer_version

MODES: Mapping[str, PoolMode | None] = {"none": None, "session": "session", "transaction": "transaction"}
PICKUP = ("--rate", "50", "--workers", "2", "--wait-ms", "5000")
COLUMNS = ("cost_u", "of_none", "jobs_per_s", "engine", "postgres", "pooler", "pickup_p95_ms")


async def compare_poolers(bench: Bench, rounds: int, instances: int, pickup_s: int) -> dict[str, Any]:
    """`figures` has `WAY_FIGURE` for each way and column: the medians of the rounds. CPU in seconds per 1000 jobs."""
    program = find_pgbouncer()
    if program is None:
        sys.exit(f"bench: {NEED}")
    # The tables of pgbench are in it.
    await bench.server.create_database("bench")
    async with AsyncExitStack() as stack:
        ways: dict[str, tuple[Engine, int | None]] = {}
        for way, mode in MODES.items():
            ways[way] = await _started(stack, bench, way, mode)
            await asyncio.to_thread(bench.drive, [ways[way][0]], "--instances", "500", *SHAPE)
        paired: list[dict[str, dict[str, float]]] = []
        for number in range(rounds):
            base = await asyncio.to_thread(bench.pgbench)
            order = list(ways) if number % 2 else list(reversed(ways))
            found = {
                way: await asyncio.to_thread(_measure, bench, *ways[way], instances, pickup_s)
                for way in order
            }
            for figures in found.values():
                cpu = figures["engine"] + figures["postgres"]
                figures["cost_u"] = cpu / base["pg_cpu_s_per_1000"]
                figures["of_none"] = cpu / (found["none"]["engine"] + found["none"]["postgres"])
            paired.append(found)
            told = "  ".join(f"{way} {figures['cost_u']:.2f}" for way, figures in sorted(found.items()))
            print(f"round {number + 1}/{rounds}: U {told}")
    version = ".".join(map(str, pgbouncer_version(program)))
    medians = {
        way: {column: statistics.median(each[way][column] for each in paired) for column in COLUMNS}
        for way in MODES
    }
    print(
        f"\nPgBouncer {version}; engine, postgres and pooler in CPU seconds per 1000 jobs\n{_table(medians)}"
    )
    figures = {f"{way}_{column}": value for way, found in medians.items() for column, value in found.items()}
    return {"rounds": paired, "figures": figures, "pgbouncer": version}


async def _started(
    stack: AsyncExitStack, bench: Bench, way: str, mode: PoolMode | None
) -> tuple[Engine, int | None]:
    """The engine, and the pooler's process id."""
    database = f"bench_{way}"
    await bench.server.create_database(database)
    dsn, pid, values = None, None, {}
    if mode is not None:
        log_path = bench.folder / f"pgbouncer-{way}.log"
        pooler = await stack.enter_async_context(PgBouncer(bench.server, log_path, pool_mode=mode))
        dsn, pid = pooler.engine_dsn(database), pooler.pid
        values = {"postgresql": {"pooler": mode}}
    log_path = bench.folder / f"engine-{way}.log"
    engine = running(bench.server, log_path, database=database, dsn=dsn, values=values)
    return await stack.enter_async_context(engine), pid


def _measure(
    bench: Bench, engine: Engine, pooler: int | None, instances: int, pickup_s: int
) -> dict[str, float]:
    before_s = cpu_s(pooler) if pooler else 0.0
    load = bench.drive([engine], "--instances", str(instances), *SHAPE)
    spent_s = cpu_s(pooler) - before_s if pooler else 0.0
    pickup = bench.drive([engine], *PICKUP, "--duration", f"{pickup_s}s")
    return {
        "jobs_per_s": load["jobs_per_s"],
        "engine": load["engine_cpu_s_per_1000_jobs"],
        "postgres": load["pg_cpu_s_per_1000_jobs"],
        "pooler": spent_s / load["jobs_completed"] * 1000,
        "pickup_p95_ms": pickup["pickup_ms"]["p95"],
    }


def _table(medians: Mapping[str, Mapping[str, float]]) -> str:
    lines: list[Sequence[str]] = [("pooler", *COLUMNS)]
    lines += [(way, *(f"{found[column]:.3g}" for column in COLUMNS)) for way, found in medians.items()]
    return "\n".join("".join(f"{word:>15}" for word in line) for line in lines)
