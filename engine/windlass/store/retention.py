"""Removes finished instances with all their rows, and audit rows that belong to no instance (docs/size-and-care.md).

Any number of nodes may do so at once: each takes what no other has locked. Only the database's clock decides what is
old enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from windlass.store.arrays import text_array
from windlass.store.database import Database
from windlass.store.queries import sql

CHAINS = "workflow_chain"
AUDIT = "audit_log"
INSTANCES = "workflow_instance"
TABLES = (
    INSTANCES,
    "step_execution",
    "job",
    "user_task",
    "boundary_event_schedule",
    "dispatch_outbox",
    "windlass_job_dispatch",
    AUDIT,
    CHAINS,
)
"""Whose rows go; the last is another engine's, if it is there."""


class Position(NamedTuple):
    """A place in the list of all instances by their start; this one is before the first."""

    started_at: datetime = datetime.fromtimestamp(0, UTC)
    instance_id: str = ""


class Page(NamedTuple):
    """Instances to remove."""

    ids: Sequence[str]
    next: Position | None
    """None at the end of the list."""
    oldest_s: float
    """The longest time since one of them finished."""


class Batch(NamedTuple):
    """What became of one page."""

    rows: Mapping[str, int]
    """Removed rows, by table."""
    in_use: int = 0
    """Instances that somebody else had locked, or that are no longer finished."""
    held: int = 0
    """Instances whose chained child still runs or is still to be started."""


class Retention:
    """Every method raises EngineError, Unavailable when the database is away or a statement takes too long."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._has_chains = False

    async def cutoff(self, older_than_s: float) -> datetime:
        """Asked first, once for each pass: it also looks for the other engine's table."""
        (row,) = await self._database.fetch(sql("retention_cutoff"), older_than_s)
        self._has_chains = row["has_chains"]
        cutoff: datetime = row["cutoff"]
        return cutoff

    async def page(self, cutoff: datetime, after: Position, *, looked_at_max: int, ids_max: int) -> Page:
        """At most `ids_max` instances that finished before `cutoff`, the first to start first."""
        (row,) = await self._database.fetch(sql("retention_page"), cutoff, *after, looked_at_max, ids_max)
        more = row["last_id"] is not None
        return Page(
            row["ids"], Position(row["last_started_at"], row["last_id"]) if more else None, row["oldest_s"]
        )

    async def remove(self, ids: Sequence[str], cutoff: datetime) -> Batch:
        """In one transaction: each instance goes with all its rows, or stays as it is."""
        async with self._database.transaction() as connection:
            locked = await connection.fetch(sql("retention_lock"), text_array(ids), cutoff)
            going = [row["id"] for row in locked]
            held: set[str] = set()
            chains = 0
            if self._has_chains and going:
                found = await connection.fetch(sql("retention_chain_held"), text_array(going))
                held = {row["id"] for row in found}
                going = [each for each in going if each not in held]
                chains = await connection.fetchval(sql("retention_chain_remove"), text_array(going))
            rows = dict(await connection.fetchrow(sql("retention_remove"), text_array(going)))
        return Batch({**rows, CHAINS: chains}, len(ids) - len(locked), len(held))

    async def count(self, ids: Sequence[str], cutoff: datetime) -> Batch:
        """What `remove` would do to them if nobody else had them locked."""
        held: set[str] = set()
        chains = 0
        if self._has_chains:
            found = await self._database.fetch(sql("retention_chain_held"), text_array(ids))
            held = {row["id"] for row in found}
            ids = [each for each in ids if each not in held]
            (row,) = await self._database.fetch(sql("retention_chain_count"), text_array(ids), cutoff)
            chains = row[0]
        (rows,) = await self._database.fetch(sql("retention_count"), text_array(ids))
        return Batch({**rows, CHAINS: chains}, held=len(held))

    async def remove_stray_audit(
        self, cutoff: datetime, after_id: int, looked_at_max: int
    ) -> tuple[int, int | None]:
        """Audit rows that are older than `cutoff` and belong to no instance: how many went, and where to continue."""
        (row,) = await self._database.fetch(sql("retention_audit_remove"), after_id, cutoff, looked_at_max)
        return row["audit_log"], row["last_id"]

    async def count_stray_audit(
        self, cutoff: datetime, after_id: int, looked_at_max: int
    ) -> tuple[int, int | None]:
        """What `remove_stray_audit` would do."""
        (row,) = await self._database.fetch(sql("retention_audit_count"), after_id, cutoff, looked_at_max)
        return row["audit_log"], row["last_id"]
