"""The engine that gets the cases: one real process on a database of its own, and what is seen of it from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import threading
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from seatrial.cluster import ClusterSpec
from seatrial.cluster.ability import Database, Kill, Logs
from seatrial.cluster.local.cluster import LocalCluster
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.process import Process
from seatrial.cluster.resources import Resources
from seatrial.cluster.values import engine_variables

T = TypeVar("T")

BODY_BYTES_MAX = 1024 * 1024
"""A smaller cap than the default: many cases go past it, and the machine is not the thing on trial."""
MEMORY_BYTES_MAX = 512 * 1024 * 1024
"""What the chart allows a pod by default."""
READ_TIMEOUT_S = 0.5
QUIET = {
    "WINDLASS_MEMORY_BYTES_MAX": str(MEMORY_BYTES_MAX),
    "WINDLASS_BODY_BYTES_MAX": str(BODY_BYTES_MAX),
    "WINDLASS_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_S),
    "WINDLASS_LONG_POLL_SECONDS_MAX": "0.05",
    # Nothing but the calls may change a row.
    "WINDLASS_LEASE_SWEEP_SECONDS": "3600",
    "WINDLASS_TIMER_SWEEP_SECONDS": "3600",
    "WINDLASS_WAKE_MODE": "polling",
}
SETTLED_WITHIN_S = 60.0
FILES = 8_192
LOG_LINE_BYTES_MAX = 32 * 1024
"""Longer lines are cut or dropped by what collects them."""
REPLICA = "replica-0"

#: The engine's own sign of life; a row that no call causes.
_HEARTBEAT_TABLE = "windlass_node"
_RSS = re.compile(r"^process_resident_memory_bytes ([0-9.e+]+)$", re.MULTILINE)
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_RESET_PEAK = "5"

Rows = dict[str, tuple[int, int]]
"""For each table how many rows there are, and the newest transaction that wrote one."""


class Subject:
    """`with Subject(folder) as subject`. `engine_command` puts another engine in its place (a mutant)."""

    def __init__(
        self, folder: Path, *, engine_command: str | None = None, token: str = "", **variables: str
    ) -> None:
        #: what calls that prepare and look show
        self.token = token
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster", daemon=True)
        self._postgres = PostgresServer(folder / "postgres.log")
        spec = ClusterSpec(1, engine_variables(**QUIET | variables), engine_command, folder)
        self._cluster = LocalCluster(spec, postgres=self._postgres)
        self._database: psycopg.Connection[tuple[Any, ...]]
        self._fingerprint: sql.Composed
        self._log_read_bytes = self._kills_known = 0
        self.host, self.rest_port, self.grpc_port = "127.0.0.1", 0, 0

    def __enter__(self) -> Self:
        _allow_files()
        self._thread.start()
        try:
            self._do(self._up())
            self._database = psycopg.connect(self._cluster.ability(Database).dsn(), autocommit=True)
            self._fingerprint = self._fingerprint_query()
        except BaseException:
            self._end()
            raise
        (replica,) = self._cluster.replicas()
        self.rest_port = urlsplit(replica.rest_url).port or 0
        self.metrics_url = f"{replica.metrics_url}/metrics"
        (listening,) = [line for line in self._log_lines() if line.get("msg") == "engine: gRPC listening"]
        self.grpc_port = int(listening["addr"].rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._end()

    async def _up(self) -> None:
        await self._postgres.__aenter__()
        await self._cluster.up()

    async def _down(self) -> None:
        await self._cluster.down()
        await self._postgres.__aexit__(None, None, None)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SETTLED_WITHIN_S)

    def _end(self) -> None:
        self._do(self._down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- what can be seen

    def rows(self) -> Rows:
        """The fingerprint of the database: any insert, update or delete that was committed makes another one."""
        found = self._database.execute(self._fingerprint).fetchall()
        return {table: (count, newest) for table, count, newest in found}

    def _fingerprint_query(self) -> sql.Composed:
        names = self._database.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> %s ORDER BY 1",
            (_HEARTBEAT_TABLE,),
        )
        # A lock on a row leaves xmin as it is; every version of a row has its writer's.
        part = sql.SQL("SELECT {}, count(*), coalesce(max(xmin::text::bigint), 0) FROM {}")
        parts = [part.format(sql.Literal(name), sql.Identifier(name)) for (name,) in names]
        return sql.SQL(" UNION ALL ").join(parts)

    def count(self, query: str) -> int:
        row = self._database.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def rss_bytes(self) -> int:
        """What the process itself says of its memory, on its metrics port."""
        with urllib.request.urlopen(self.metrics_url, timeout=SETTLED_WITHIN_S) as answer:  # noqa: S310 - our own http address
            found = _RSS.search(answer.read().decode())
        assert found is not None
        return int(float(found[1]))

    def peak_bytes(self) -> int:
        """The most that was resident since `forget_peak`, by the kernel; 0 when the process has ended."""
        with contextlib.suppress(OSError):
            found = _PEAK.search(Path(f"/proc/{self._process.pid}/status").read_text())
            return int(found[1]) * 1024 if found else 0
        return 0

    def forget_peak(self) -> int:
        """The peak begins again at what is resident now, which is returned. Elsewhere than on Linux it goes on."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text(_RESET_PEAK)
        return self.peak_bytes()

    def ending(self) -> str | None:
        """How the process ended although nobody asked it to; None while it runs."""
        code = self._process.exit_code
        if code is None:
            return None
        bound = self._cluster.ability(Resources).memory_bound(REPLICA)
        if bound is not None and bound.kills > self._kills_known:
            self._kills_known = bound.kills
            return "the kernel ended the engine for its memory"
        return f"signal {-code} ended the engine" if code < 0 else f"the engine ended with exit code {code}"

    def memory_bound(self) -> str:
        """By what the memory of the engine is limited."""
        bound = self._cluster.ability(Resources).memory_bound(REPLICA)
        return "no limit" if bound is None else f"{bound.limit_bytes / 2**20:.0f} MiB by {bound.enforced_by}"

    def restart(self) -> None:
        """Another process in the place of this one, which may have ended already."""
        self._do(self._cluster.ability(Kill).kill(REPLICA))
        self._do(self._cluster.ability(Kill).start(REPLICA))

    @property
    def _process(self) -> Process:
        return self._cluster.replica(REPLICA).process

    def instance_ids(self) -> list[str]:
        return [id for (id,) in self._database.execute("SELECT id FROM workflow_instance").fetchall()]

    def log_bytes(self) -> int:
        return self._cluster.ability(Logs).log_path(REPLICA).stat().st_size

    def clear(self) -> None:
        """No instance is left, nor what belongs to one; definitions stay."""
        self._database.execute("TRUNCATE workflow_instance CASCADE")

    def complaints(self) -> list[str]:
        """Log lines since the last look that are errors, too long, or no log lines (a traceback is none)."""
        complaints = []
        # A line may hold characters that Python too takes for ends of lines.
        for line in self._new_log().split("\n")[:-1]:
            try:
                told = json.loads(line)
            except ValueError:
                complaints.append(line)
                continue
            if told.get("level") == "ERROR" or "Traceback" in line or len(line) > LOG_LINE_BYTES_MAX:
                complaints.append(line)
        return complaints

    def _new_log(self) -> str:
        """Whole lines only."""
        with self._cluster.ability(Logs).log_path(REPLICA).open("rb") as log:
            log.seek(self._log_read_bytes)
            data = log.read()
        data = data[: data.rfind(b"\n") + 1]
        self._log_read_bytes += len(data)
        return data.decode("utf-8", "replace")

    def _log_lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in self._cluster.ability(Logs).log_path(REPLICA).read_text().split("\n")[:-1]
        ]


def _allow_files() -> None:
    """Thousands of connections at both ends, which a login's limit on open files would cut short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
