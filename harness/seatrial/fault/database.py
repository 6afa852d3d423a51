"""Faults of the database itself: it crashes, it stops, it ends a replica's sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import psycopg
from psycopg import sql

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Database, Disk, Kill
from seatrial.fault import DATABASE, Bare, Evidence, FaultHadNoEffect
from seatrial.fault.liveness import all_ready, names

_CONNECT_TIMEOUT_S = 2
READER = "a-report-that-takes-long"
"""The application_name of `ReadWithoutEnd`."""
_SEGMENTS_MAX = 50
RELAY_LOCK = 4893219751932018491
_TERMINATE_LOCK_HOLDER = """
SELECT count(pg_terminate_backend(l.pid, 5000))
FROM pg_locks AS l
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = %s
"""


@dataclass(frozen=True)
class CrashDatabase(Bare):
    """`how`: SIGKILL to every process of it, or one of PostgreSQL's own ways to stop; healed by its recovery."""

    name: ClassVar[str] = "crash_database"
    needs: ClassVar[tuple[type, ...]] = (Database, Kill)
    how: Literal["kill", "immediate", "fast"] = "kill"
    target: str = DATABASE

    def parameters(self) -> Mapping[str, Any]:
        return {"how": self.how}

    async def inject(self, cluster: Cluster) -> None:
        database = cluster.ability(Database)
        if self.how == "kill":
            await database.crash()
        else:
            await database.stop(self.how)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        dsn = cluster.ability(Database).dsn()
        try:
            async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_CONNECT_TIMEOUT_S):
                pass
        except psycopg.OperationalError as err:
            return {"connect": str(err).splitlines()[0]}
        raise FaultHadNoEffect(f"{self.name}: the database still accepts connections")

    async def heal(self, cluster: Cluster) -> None:
        await cluster.ability(Database).start()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


@dataclass(frozen=True)
class MakeReadOnly(Bare):
    """As an operator or a full disk's guard does it: sessions that are opened from now on take no writes."""

    name: ClassVar[str] = "make_read_only"
    needs: ClassVar[tuple[type, ...]] = (Database, Kill)
    target: str = DATABASE

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        await _alter(cluster, sql.SQL("SET default_transaction_read_only = on"))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        dsn = cluster.ability(Database).dsn()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            row = await (await connection.execute("SHOW default_transaction_read_only")).fetchone()
        if row != ("on",):
            raise FaultHadNoEffect(f"{self.name}: a new session says {row}")
        return {"default_transaction_read_only": "on"}

    async def heal(self, cluster: Cluster) -> None:
        await _alter(cluster, sql.SQL("RESET default_transaction_read_only"))

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


async def _alter(cluster: Cluster, change: sql.SQL) -> None:
    """Of the cluster's database, by a session to which its settings do not apply."""
    async with await psycopg.AsyncConnection.connect(
        cluster.ability(Database).dsn(), autocommit=True, options="-c default_transaction_read_only=off"
    ) as connection:
        database = sql.Identifier(connection.info.dbname)
        await connection.execute(sql.SQL("ALTER DATABASE {} {}").format(database, change))


@dataclass(frozen=True)
class _SessionsEnded(Bare):
    """pg_terminate_backend; over at once, so there is nothing to take away."""

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]] = (Database, Kill)
    missing: ClassVar[str]
    target: str
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        if not self._seen.get("sessions"):
            raise FaultHadNoEffect(f"{self.name}: {self.missing.format(target=self.target)}")
        return dict(self._seen)

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, [self.target], self.name)


@dataclass(frozen=True)
class TerminateSessions(_SessionsEnded):
    """Every session of one replica."""

    name: ClassVar[str] = "terminate_sessions"
    missing: ClassVar[str] = "{target} had no session"

    async def inject(self, cluster: Cluster) -> None:
        self._seen["sessions"] = await cluster.ability(Database).terminate_sessions(self.target)


@dataclass(frozen=True)
class TerminateLeaderSession(_SessionsEnded):
    """The session that holds the relay's advisory lock (contract 9.2); `target` leads by it."""

    name: ClassVar[str] = "terminate_leader_session"
    missing: ClassVar[str] = f"nobody held the lock {RELAY_LOCK}"

    async def inject(self, cluster: Cluster) -> None:
        dsn = cluster.ability(Database).dsn()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            found = await connection.execute(_TERMINATE_LOCK_HOLDER, (RELAY_LOCK,))
            row = await found.fetchone()
        self._seen["sessions"] = row[0] if row else 0


@dataclass(frozen=True)
class ReadWithoutEnd(Bare):
    """A transaction that has read `table` and stays open, as a report or a dump does: it holds ACCESS SHARE."""

    name: ClassVar[str] = "read_without_end"
    needs: ClassVar[tuple[type, ...]] = (Database,)
    table: str
    target: str = DATABASE
    _reader: list[psycopg.AsyncConnection[Any]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def parameters(self) -> Mapping[str, Any]:
        return {"table": self.table}

    async def inject(self, cluster: Cluster) -> None:
        reader = await psycopg.AsyncConnection.connect(
            cluster.ability(Database).dsn(), connect_timeout=_CONNECT_TIMEOUT_S, application_name=READER
        )
        self._reader.append(reader)
        await reader.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(self.table)))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        (reader,) = self._reader
        found = await reader.execute(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = %s::regclass", [self.table]
        )
        row = await found.fetchone()
        if row is None:
            raise FaultHadNoEffect(f"{self.name}: the reader holds no lock on {self.table}")
        return {"lock": row[0]}

    async def heal(self, cluster: Cluster) -> None:  # noqa: ARG002  every fault is asked so
        while self._reader:
            await self._reader.pop().close()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """Its locks went with it."""


class _Full(Bare):
    """What a full disk has in common, whatever stops by it."""

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]] = (Database, Disk, Kill)
    target: str

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Disk).fill()

    async def heal(self, cluster: Cluster) -> None:
        """A server that could not recover without space is started, as its supervisor would do."""
        await cluster.ability(Disk).empty()
        await cluster.ability(Database).start()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await all_ready(cluster, names(cluster), self.name)


@dataclass(frozen=True)
class FillDisk(_Full):
    """No table can grow any more; what needs no new page goes on."""

    name: ClassVar[str] = "fill_disk"
    target: str = DATABASE

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        dsn = cluster.ability(Database).dsn()
        try:
            async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_CONNECT_TIMEOUT_S) as one:
                await one.execute(
                    "CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)"
                )
                await one.rollback()
        except psycopg.errors.DiskFull as err:
            return {"refused": str(err).splitlines()[0]}
        raise FaultHadNoEffect(f"{self.name}: a table can still grow")


@dataclass(frozen=True)
class FillDiskUnderLog(_Full):
    """The write-ahead log cannot grow either: PostgreSQL panics, and cannot recover before there is space."""

    name: ClassVar[str] = "fill_disk_under_log"
    target: str = DATABASE

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        dsn = cluster.ability(Database).dsn()
        try:
            for _ in range(_SEGMENTS_MAX):
                async with await psycopg.AsyncConnection.connect(
                    dsn, connect_timeout=_CONNECT_TIMEOUT_S, autocommit=True
                ) as one:
                    await one.execute(
                        "SELECT pg_logical_emit_message(false, 'seatrial', ''), pg_switch_wal()"
                    )
        except psycopg.OperationalError as err:
            return {"ended": str(err).splitlines()[0]}
        raise FaultHadNoEffect(f"{self.name}: the log still grows after {_SEGMENTS_MAX} segments")
