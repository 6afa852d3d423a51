"""Two engines that wake each other by the database, by Redis, or not at all: what a wake bus costs, and what it gives.

Each way has two engines on a database of its own, all on one server; calls go to the two in turns. Each round runs
pgbench and then the same load on each way. Who begins changes from round to round.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from rig import SHAPE, Bench, Engine, cpu_s, running

from seatrial.cluster.redis import NEED, RedisServer, find_redis

WAYS = ("none", "postgres", "redis")
#: polls wait, so that each job made at one engine has to be told to the other
WAITING = (*SHAPE, "--wait-ms", "1000")
PICKUP = ("--rate", "50", "--workers", "1", "--wait-ms", "5000")
COLUMNS = (
    "cost_u",
    "of_postgres",
    "jobs_per_s",
    "engine",
    "postgres",
    "redis",
    "pickup_p50_ms",
    "pickup_p95_ms",
)


async def compare_buses(bench: Bench, rounds: int, instances: int, pickup_s: int) -> dict[str, Any]:
    """`figures` has `WAY_FIGURE` for each way and column: the medians of the rounds. CPU in seconds per 1000 jobs."""
    if find_redis() is None:
        sys.exit(f"bench: {NEED}")
    # The tables of pgbench are in it.
    await bench.server.create_database("bench")
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisServer(bench.folder / "redis.log", password="bench"))
        ways: dict[str, Sequence[Engine]] = {}
        for way in WAYS:
            ways[way] = await _started(stack, bench, way, redis)
            await asyncio.to_thread(bench.drive, ways[way], "--instances", "500", *WAITING)
        paired: list[dict[str, dict[str, float]]] = []
        for number in range(rounds):
            base = await asyncio.to_thread(bench.pgbench)
            order = WAYS if number % 2 else tuple(reversed(WAYS))
            found = {
                way: await asyncio.to_thread(_measure, bench, ways[way], redis.pid, instances, pickup_s)
                for way in order
            }
            usual = _cpu(found["postgres"])
            for figures in found.values():
                figures["cost_u"] = _cpu(figures) / base["pg_cpu_s_per_1000"]
                figures["of_postgres"] = _cpu(figures) / usual
            paired.append(found)
            told = "  ".join(f"{way} {figures['cost_u']:.2f}" for way, figures in sorted(found.items()))
            print(f"round {number + 1}/{rounds}: U {told}")
        version = str(await redis.ask("INFO", "server")).partition("redis_version:")[2].split()[0]
    medians = {
        way: {column: statistics.median(each[way][column] for each in paired) for column in COLUMNS}
        for way in WAYS
    }
    print(f"\nRedis {version}; engines, postgres and redis in CPU seconds per 1000 jobs\n{_table(medians)}")
    figures = {f"{way}_{column}": value for way, found in medians.items() for column, value in found.items()}
    return {"rounds": paired, "figures": figures, "redis": version}


def _cpu(figures: Mapping[str, float]) -> float:
    return figures["engine"] + figures["postgres"] + figures["redis"]


async def _started(stack: AsyncExitStack, bench: Bench, way: str, redis: RedisServer) -> Sequence[Engine]:
    database = f"bench_{way}"
    await bench.server.create_database(database)
    values: dict[str, Any] = {"engine": {"wakeBus": way}}
    if way == "redis":
        values["redis"] = {"url": redis.url()}
    return [
        await stack.enter_async_context(
            running(
                bench.server, bench.folder / f"engine-{way}-{number}.log", database=database, values=values
            )
        )
        for number in range(2)
    ]


def _measure(
    bench: Bench, engines: Sequence[Engine], redis: int, instances: int, pickup_s: int
) -> dict[str, float]:
    before_s = cpu_s(redis)
    load = bench.drive(engines, "--instances", str(instances), *WAITING)
    spent_s = cpu_s(redis) - before_s
    pickup = bench.drive(engines, *PICKUP, "--duration", f"{pickup_s}s")
    return {
        "jobs_per_s": load["jobs_per_s"],
        "engine": load["engine_cpu_s_per_1000_jobs"],
        "postgres": load["pg_cpu_s_per_1000_jobs"],
        "redis": spent_s / load["jobs_completed"] * 1000,
        "pickup_p50_ms": pickup["pickup_ms"]["p50"],
        "pickup_p95_ms": pickup["pickup_ms"]["p95"],
    }


def _table(medians: Mapping[str, Mapping[str, float]]) -> str:
    lines: list[Sequence[str]] = [("wake bus", *COLUMNS)]
    lines += [(way, *(f"{found[column]:.3g}" for column in COLUMNS)) for way, found in medians.items()]
    return "\n".join("".join(f"{word:>15}" for word in line) for line in lines)
