"""Streaming replication between two servers of this machine, which may change places.

The standby is a base backup of the primary and streams over its Unix socket, with a role of its own. Synchronous means
that a commit is answered when the standby has it on disk (`synchronous_commit = on`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from psycopg import sql

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Promotion
from seatrial.cluster.postgres import REPLICATION_ROLE, STANDBY, PostgresServer
from seatrial.deadline import until_passes

_STREAMS_WITHIN_S = 30.0
_PROMOTED_WITHIN_S = 30
_LOOK_INTERVAL_S = 0.02
_ROLE = sql.SQL("CREATE ROLE {} LOGIN REPLICATION")
_SYNCHRONOUS = sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
_SENDERS: LiteralString = (
    "SELECT pid, sync_state FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"
)
_TIMELINE: LiteralString = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
#: the line of the history file that the promotion has written ends with where the timelines part
_PARTED_AT: LiteralString = """
SELECT timeline, split_part(btrim(pg_read_file('pg_wal/' || timeline || '.history'), E'\\n '), E'\\n', -1)
FROM (SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)) AS found (timeline)
"""


class Replication:
    """`attach` ... `detach`, which leaves the first server alone, as a primary, whatever has happened meanwhile."""

    def __init__(self, first: PostgresServer, log_path: Path) -> None:
        self.first = first
        self.second = PostgresServer(log_path, copy_of=first)
        self.primary = first
        self._is_synchronous = False

    @property
    def standby(self) -> PostgresServer:
        """The other one, also while it is down."""
        return self.second if self.primary is self.first else self.first

    async def attach(self, *, synchronous: bool) -> None:
        """Returns when the standby streams. Raises ClusterError."""
        self._is_synchronous = synchronous
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            await ask(self.first, _ROLE.format(sql.Identifier(REPLICATION_ROLE)))
        await self.second.start()
        await self._until_streaming()

    async def hold_back(self) -> None:
        """The primary sends nothing any more, and its standby does not notice."""
        for pid, _ in await ask(self.primary, _SENDERS, STANDBY):
            psutil.Process(pid).suspend()

    async def promote(self) -> Promotion:
        """The standby becomes the primary; returns when it takes writes.

        The other one must be down: two primaries are nobody's choice. Raises ClusterError.
        """
        old, new = self.primary, self.standby
        if old.running:
            raise ClusterError("the primary runs; stop or crash it before its standby is promoted")
        ((promoted,),) = await ask(new, "SELECT pg_promote(true, %s)", _PROMOTED_WITHIN_S)
        if not promoted:
            raise ClusterError(
                f"the standby was not promoted within {_PROMOTED_WITHIN_S} s; see {new.log_path}"
            )
        self.primary = new
        ((timeline, line),) = await ask(new, _PARTED_AT)
        return Promotion(int(timeline, 16), line.split("\t")[1])

    async def rejoin(self, *, lag_s: float) -> None:
        """The old primary, which must be down, comes back as the standby of the new one, at its old address."""
        # Before PostgreSQL 16 pg_rewind takes a new primary for one of its old timeline until its first checkpoint.
        await ask(self.primary, "CHECKPOINT")
        await self.standby.follow(self.primary, lag_s=lag_s)
        await self.standby.start()
        await self._until_streaming()

    async def detach(self) -> None:
        """Safe to call half-way."""
        await self.second.close()
        if self.primary is self.first and self.first.running:
            await ask(self.first, "ALTER SYSTEM RESET ALL")
            await ask(self.first, "SELECT pg_reload_conf()")
            return
        if self.first.running:
            await self.first.crash()
        await self.first.stand_alone()
        await self.first.start()
        ((timeline,),) = await ask(self.first, _TIMELINE)
        self.first.forget_timelines(int(timeline, 16))
        self.primary = self.first

    async def _until_streaming(self) -> None:
        if self._is_synchronous:
            await ask(self.primary, _SYNCHRONOUS.format(sql.Literal(STANDBY)))
            await ask(self.primary, "SELECT pg_reload_conf()")
        wanted = "sync" if self._is_synchronous else "async"

        async def found_otherwise() -> str | None:
            states = [state for _, state in await ask(self.primary, _SENDERS, STANDBY)]
            return None if wanted in states else f"the primary knows of {', '.join(states) or 'none'}"

        await until_passes(
            found_otherwise,
            within_s=_STREAMS_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda cause: ClusterError(
                f"no standby streams as {wanted} after {_STREAMS_WITHIN_S:g} s: {cause}; see {self.standby.log_path}"
            ),
        )


async def ask(
    server: PostgresServer, query: LiteralString | sql.Composed, *values: Any
) -> list[tuple[Any, ...]]:
    """As the superuser. Raises psycopg.Error."""
    async with await psycopg.AsyncConnection.connect(
        server.dsn(), autocommit=True, connect_timeout=5, application_name="seatrial"
    ) as connection:
        cursor = await connection.execute(query, values or None)
        return await cursor.fetchall() if cursor.description else []
