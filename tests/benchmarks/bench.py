"""Cost and rate of the engine against pgbench, in paired rounds; and how soon a job is picked up.

Absolute times on shared machines are noise. Two ratios are steady, both measured in the same minutes on the same server
(tests/benchmarks/README.md):

    cost U = (engine + PostgreSQL CPU seconds per 1000 jobs) / (PostgreSQL CPU seconds per 1000 `pgbench -N -c 8` tx)
    rate R = (jobs per second) / (transactions per second of the same pgbench)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
from against import against_verdict, compare_engines
from buses import compare_buses
from outbox import RATE_MIN, compare_ways
from poolers import compare_poolers
from rig import SHAPE, Bench, build_driver, running

from seatrial.cluster.postgres import PostgresServer

EXAMPLES = """\
examples:
  scripts/bench --quick
  scripts/bench --json figures.json
  scripts/bench --outbox --quick
  scripts/bench --quick --against ../before/.venv/bin/windlass
  scripts/bench --pooler --quick
  scripts/bench --wake-bus --quick
  scripts/bench --drivers
"""
LIMITS = {"cost_u": 3.0, "rate_r": 0.30, "pickup_p95_ms": 15.0}


async def compare(
    server: PostgresServer, bench: Bench, rounds: int, instances: int, quick: bool
) -> dict[str, Any]:
    await server.create_database("bench")
    async with running(server, bench.folder / "engine.log") as engine:
        engines = [engine]
        await asyncio.to_thread(bench.drive, engines, "--instances", "500", *SHAPE)
        paired = []
        for number in range(rounds):
            base = await asyncio.to_thread(bench.pgbench)
            load = await asyncio.to_thread(bench.drive, engines, "--instances", str(instances), *SHAPE)
            cpu = load["engine_cpu_s_per_1000_jobs"] + load["pg_cpu_s_per_1000_jobs"]
            paired.append(
                {
                    "cost_u": cpu / base["pg_cpu_s_per_1000"],
                    "rate_r": load["jobs_per_s"] / base["tps"],
                    "jobs_per_s": load["jobs_per_s"],
                    "engine_cpu_s_per_1000": load["engine_cpu_s_per_1000_jobs"],
                    "pg_cpu_s_per_1000": load["pg_cpu_s_per_1000_jobs"],
                    "pgbench_tps": base["tps"],
                    "pgbench_cpu_s_per_1000": base["pg_cpu_s_per_1000"],
                    "complete_p95_ms": load["complete_ms"]["p95"],
                    "polls_empty_per_job": load["polls_empty"] / load["jobs_completed"],
                }
            )
            print(f"round {number + 1}/{rounds}: " + "  ".join(f"{k} {v:.3g}" for k, v in paired[-1].items()))
        seconds = "12s" if quick else "30s"
        pickup = await asyncio.to_thread(
            bench.drive,
            engines,
            "--rate",
            "50",
            "--duration",
            seconds,
            "--workers",
            "2",
            "--wait-ms",
            "5000",
        )
        small = await asyncio.to_thread(
            bench.drive, engines, "--instances", str(instances // 2), "--workers", "8", "--starters", "4"
        )
    figures = {key: statistics.median(each[key] for each in paired) for key in paired[0]}
    figures |= {
        "pickup_p50_ms": pickup["pickup_ms"]["p50"],
        "pickup_p95_ms": pickup["pickup_ms"]["p95"],
        "start_p95_ms": pickup["start_ms"]["p95"],
        "jobs_per_s_8x1": small["jobs_per_s"],
    }
    return {"rounds": paired, "figures": figures}


async def drivers(server: PostgresServer, calls: int) -> None:
    """asyncpg and psycopg on a lane's four round trips: BEGIN, a locking read, a write with arrays, COMMIT."""
    await server.create_database("drivers")
    dsn = server.dsn("drivers")
    ids = [f"row-{number:04d}" for number in range(32)]
    lock = "SELECT id, n FROM t WHERE id = ANY ({}) ORDER BY id FOR UPDATE"
    write = "UPDATE t SET n = t.n + u.n FROM unnest({}::text[], {}::int[]) AS u (id, n) WHERE t.id = u.id"
    numbers = list(range(32))
    a = await asyncpg.connect(dsn)
    await a.execute("CREATE TABLE t (id text PRIMARY KEY, n integer)")
    await a.executemany("INSERT INTO t VALUES ($1, 0)", [(one,) for one in ids])
    p = await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0)
    spent = {}
    for name in ("asyncpg", "psycopg", "asyncpg", "psycopg"):
        began = time.process_time()
        for _ in range(calls):
            if name == "asyncpg":
                await a.execute("BEGIN")
                await a.fetch(lock.format("$1"), ids)
                await a.execute(write.format("$1", "$2"), ids, numbers)
                await a.execute("COMMIT")
            else:
                await p.execute("BEGIN")
                await (await p.execute(lock.format("%s"), [ids])).fetchall()
                await p.execute(write.format("%s", "%s"), [ids, numbers])
                await p.execute("COMMIT")
        spent[name] = (time.process_time() - began) / calls * 1e6
    await a.close()
    await p.close()
    for name, micros in spent.items():
        print(f"{name}: {micros:.0f} us of client CPU per batch of 32 in four round trips")
    print(f"psycopg / asyncpg = {spent['psycopg'] / spent['asyncpg']:.2f}")


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # noqa: S103, PTH101  PostgreSQL runs as another user when we are root
        async with PostgresServer(folder / "postgres.log", settings={"max_wal_size": "4GB"}) as server:
            if options.drivers:
                await drivers(server, 2_000)
                return 0
            bench = Bench(server, build_driver(folder), folder, 6 if options.quick else 15)
            rounds, instances = (3, 5_000) if options.quick else (6, 8_000)
            if options.outbox:
                result = await compare_ways(bench, rounds, instances)
            elif options.pooler:
                result = await compare_poolers(bench, rounds, instances // 2, 4 if options.quick else 10)
            elif options.wake_bus:
                result = await compare_buses(bench, rounds, instances // 2, 4 if options.quick else 10)
            elif options.against:
                # Short rounds, and many: a shared machine changes its speed within a minute.
                pickup_s = 4 if options.quick else 10
                result = await compare_engines(
                    server, bench, options.against, 4 * rounds, instances // 2, pickup_s
                )
            else:
                result = await compare(server, bench, rounds, instances, options.quick)
    figures = result["figures"]
    print(f"\nmedians: {json.dumps({key: round(value, 3) for key, value in figures.items()})}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2), encoding="utf-8")
    if options.pooler or options.wake_bus:
        return 0
    if options.against:
        return against_verdict(figures)
    return outbox_verdict(figures) if options.outbox else verdict(figures)


def outbox_verdict(figures: Mapping[str, float]) -> int:
    print(
        f"the relay alone {figures['messages_per_s']:.0f} messages/s; jobs/s by Kafka {figures['rate']:.2f} x those "
        f"by polling (wanted: {RATE_MIN})"
    )
    return 0 if figures["rate"] >= RATE_MIN else 1


def verdict(figures: Mapping[str, float]) -> int:
    print(
        f"cost U {figures['cost_u']:.2f} (limit {LIMITS['cost_u']})   rate R {figures['rate_r']:.2f} "
        f"(at least {LIMITS['rate_r']})   pickup p95 {figures['pickup_p95_ms']:.1f} ms (limit "
        f"{LIMITS['pickup_p95_ms']})"
    )
    held = (
        figures["cost_u"] <= LIMITS["cost_u"]
        and figures["rate_r"] >= LIMITS["rate_r"]
        and figures["pickup_p95_ms"] < LIMITS["pickup_p95_ms"]
    )
    print("the limits hold" if held else "A LIMIT IS BROKEN")
    return 0 if held else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    parser.add_argument("--quick", action="store_true", help="three short rounds, under 3 minutes")
    parser.add_argument(
        "--outbox",
        action="store_true",
        help="kafka_outbox beside polling on the same work, and the relay alone",
    )
    parser.add_argument(
        "--pooler",
        action="store_true",
        help="behind PgBouncer in session and in transaction mode beside the engine without it",
    )
    parser.add_argument(
        "--wake-bus",
        action="store_true",
        help="two engines that wake each other by the database, by Redis, and not at all",
    )
    parser.add_argument(
        "--against",
        metavar="PROGRAM",
        help="the windlass of another commit: both engines in turns, and by how much this one is worse",
    )
    parser.add_argument("--drivers", action="store_true", help="only compare the two PostgreSQL drivers")
    parser.add_argument("--json", metavar="FILE", help="also write every round to FILE")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
