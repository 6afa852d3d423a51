"""Removes what finished long ago, in small batches beside the load (docs/size-and-care.md).

A pass goes once through the instances that began before the limit, then through the audit rows that are older than it.
Any number of nodes may do so at once: each skips what another has locked.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from windlass.errors import EngineError
from windlass.store.retention import AUDIT, Batch, Position, Retention

LOOKED_AT_MAX = 1000
IDS_MIN, IDS_MAX = 50, 500
BATCH_S = 0.1
"""Batches become smaller when one takes twice as long, and larger when it takes half as long. On a busy machine most of
it is waiting, which smaller ones do not shorten: hence the least size.
"""
PAUSE_RATIO = 2.0
"""After each statement comes a pause that is this many times as long: a node spends at most a third of its time so."""
FAILURES_MAX = 3
"""In a row, of single instances: after that the database is to blame."""
PASSES_PER_AGE = 1000
INTERVAL_S_MIN, INTERVAL_S_MAX = 0.5, 60.0
AUDIT_INTERVAL_S_MAX = 3600.0


def interval_s(older_than_s: float) -> float:
    """The pause between two passes."""
    return min(max(older_than_s / PASSES_PER_AGE, INTERVAL_S_MIN), INTERVAL_S_MAX)


@dataclass(slots=True)
class Removed:
    """What a pass has removed, or in a dry run would remove, so far."""

    rows: Counter[str] = field(default_factory=Counter)
    """By table."""
    in_use: int = 0
    held: int = 0
    oldest_s: float = 0.0
    """The longest time since one that it found due finished, whether it could be removed or not."""
    complete: bool = False
    """The pass got to its end."""


Told = Callable[[Removed, Mapping[str, int]], None]
"""Called after each batch with the pass so far and the rows of the batch."""


class RetentionPass:
    def __init__(self, retention: Retention, *, dry_run: bool = False, told: Told) -> None:
        self._retention = retention
        self._told = told
        self._act: Callable[..., Awaitable[Batch]] = retention.count if dry_run else retention.remove
        self._act_on_audit = retention.count_stray_audit if dry_run else retention.remove_stray_audit
        self._ids_max = IDS_MIN
        self._removed = Removed()

    @property
    def oldest_s(self) -> float:
        """Of the pass under way, or else the last."""
        return self._removed.oldest_s

    async def run(
        self, older_than_s: float, *, audit: bool = True, stopped: Callable[[], bool] = lambda: False
    ) -> Removed:
        """Returns after the current batch once `stopped` says so.

        An instance that cannot be removed alone is passed over, and its error is raised at the end of the pass.
        """
        self._removed = Removed()
        cutoff = await self._retention.cutoff(older_than_s)
        failure = await self._instances(cutoff, stopped)
        if audit:
            await self._stray_audit(cutoff, stopped)
        if failure is not None:
            raise failure
        self._removed.complete = not stopped()
        return self._removed

    async def _instances(self, cutoff: datetime, stopped: Callable[[], bool]) -> EngineError | None:
        at: Position | None = Position()
        failure: EngineError | None = None
        failures = 0
        while at is not None and not stopped():
            began_s = time.monotonic()
            page = await self._retention.page(cutoff, at, looked_at_max=LOOKED_AT_MAX, ids_max=self._ids_max)
            self._removed.oldest_s = max(self._removed.oldest_s, page.oldest_s)
            if page.ids:
                try:
                    batch = await self._act(page.ids, cutoff)
                except EngineError as err:
                    failures += 1
                    if self._ids_max > 1:
                        self._ids_max = 1
                        continue
                    if failures > FAILURES_MAX:
                        raise
                    failure = err
                else:
                    failures = 0
                    self._note(batch)
                    self._adapt(time.monotonic() - began_s)
            at = page.next
            await asyncio.sleep((time.monotonic() - began_s) * PAUSE_RATIO)
        return failure

    async def _stray_audit(self, cutoff: datetime, stopped: Callable[[], bool]) -> None:
        at: int | None = 0
        while at is not None and not stopped():
            began_s = time.monotonic()
            count, at = await self._act_on_audit(cutoff, at, LOOKED_AT_MAX)
            if count:
                self._note(Batch({AUDIT: count}))
            await asyncio.sleep((time.monotonic() - began_s) * PAUSE_RATIO)

    def _note(self, batch: Batch) -> None:
        removed = self._removed
        removed.rows.update(batch.rows)
        removed.in_use += batch.in_use
        removed.held += batch.held
        self._told(removed, batch.rows)

    def _adapt(self, took_s: float) -> None:
        if took_s > 2 * BATCH_S:
            self._ids_max = max(min(IDS_MIN, self._ids_max), self._ids_max // 2)
        elif took_s < BATCH_S / 2 or self._ids_max < IDS_MIN:
            self._ids_max = min(IDS_MAX, self._ids_max * 2)


class RetentionSweep:
    """Passes at intervals; audit rows without an instance are looked for once an hour at most."""

    def __init__(
        self,
        retention: Retention,
        older_than_s: float,
        *,
        removed: Callable[[Mapping[str, int]], None],
        oldest: Callable[[float], None],
    ) -> None:
        """`removed` gets the rows of each batch by table, `oldest` the age of the oldest that a pass found, in s."""
        self._pass = RetentionPass(retention, told=lambda _, rows: removed(rows))
        self._older_than_s = older_than_s
        self._oldest = oldest
        self._audit_interval_s = min(AUDIT_INTERVAL_S_MAX, older_than_s)
        self._audit_at_s = float("-inf")

    async def sweep(self) -> int:
        """Returns how many rows it has removed."""
        now_s = time.monotonic()
        audit = now_s - self._audit_at_s >= self._audit_interval_s
        try:
            done = await self._pass.run(self._older_than_s, audit=audit)
        except EngineError:
            # What cannot be removed is what an alert is for; that nothing was found says nothing here.
            if self._pass.oldest_s:
                self._oldest(self._pass.oldest_s)
            raise
        if audit:
            self._audit_at_s = now_s
        self._oldest(done.oldest_s)
        return sum(done.rows.values())
