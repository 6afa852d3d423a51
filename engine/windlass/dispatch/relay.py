"""Publishes the outbox: reads the oldest rows, sends them to the broker, removes the acknowledged (contract 6.3).

No transaction is open while messages are sent. After a crash between acknowledgement and removal a row is published
again with the same dedup id. A destination that fails waits alone, and so does a message that the broker refuses, with
the rows behind it in its line; everything else continues. While the broker is unreachable everything waits, a little
longer after each attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from windlass.dispatch.backoff import Backoff
from windlass.dispatch.broker import Broker, Message, Refusal, Scope
from windlass.dispatch.plan import plan
from windlass.job_event import Line, OutboxRow
from windlass.store.outbox import Outbox
from windlass.trace_context import FIRST, attempt

IDLE_S = 0.25
"""Pause after the outbox was found empty, unless a hint ends it (contract 6.3)."""
DESTINATION_BACKOFF_S = (0.5, 15.0)
MESSAGE_BACKOFF_S = (1.0, 60.0)
BROKER_BACKOFF_S = (0.25, 2.0)
HELD_MAX = 1_000
"""When more single rows than this are held back, their whole destinations wait instead."""


class Lead(Protocol):
    """See `leader.Leadership`."""

    taken: asyncio.Event

    @property
    def epoch(self) -> int: ...
    def leads(self) -> bool: ...


class PublishTraces(Protocol):
    """What the relay asks of tracing."""

    def published(self, row: OutboxRow, message: Message, broker: Broker, began_ns: int) -> None:
        """The broker has it. `began_ns` is of the wall clock."""
        ...


class HeldRow(NamedTuple):
    """A row whose message the broker refused."""

    id: str
    line: Line


class Settled(NamedTuple):
    published: int
    dropped: int
    elapsed_s: float


@dataclass(slots=True)
class Hooks:
    """What the relay reports."""

    settled: Callable[[Settled], None]
    refused: Callable[[OutboxRow, Refusal], None]
    failed: Callable[[Exception], None]
    state: Callable[[], None]
    """Something that `RelayState` tells has changed."""


@dataclass(slots=True)
class RelayState:
    """What readiness and operators are told."""

    broker: str = ""
    """Why the broker cannot be reached; empty while it can."""
    destinations: dict[str, str] = field(default_factory=dict)
    """By job type: the reason for which its destination waits."""


class Relay:
    """`start` ... `stop`; publishes only while this node leads."""

    def __init__(
        self,
        outbox: Outbox,
        broker: Broker,
        lead: Lead,
        hooks: Hooks,
        *,
        batch_size: int,
        redelivery_s: float,
        audit_enabled: bool,
        traces: PublishTraces | None = None,
    ) -> None:
        self._traces = traces
        self._outbox = outbox
        self._broker = broker
        self._lead = lead
        self._hooks = hooks
        self._batch_size = batch_size
        self._redelivery_s = redelivery_s
        self._audit_enabled = audit_enabled
        self._destinations: Backoff[str] = Backoff(*DESTINATION_BACKOFF_S)
        self._messages: Backoff[HeldRow] = Backoff(*MESSAGE_BACKOFF_S)
        self._behind: dict[str, Line] = {}
        """Ids of rows that wait behind a refused message; they are left out of batches meanwhile."""
        self._is_failing = False
        self._epoch = 0
        self._outage: Backoff[str] = Backoff(*BROKER_BACKOFF_S)
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.state = RelayState()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self, within_s: float) -> None:
        """Lets the current batch end; after `within_s` its rows are left to the next leader."""
        self._stopping = True
        self._hint.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=within_s)
            if not done:
                self._broker.recall()
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Rows may have appeared: from a lane here, another node's hint, a sweep."""
        self._hint.set()

    def destination_mended(self, job_type: str) -> None:
        """The destination was seen to be usable."""
        if self._destinations.is_known(job_type):
            self._destinations.succeeded(job_type)
            self._hint.set()

    async def _run(self) -> None:
        while not self._stopping:
            if not self._lead.leads():
                await self._wait(self._lead.taken, IDLE_S)
                continue
            self._hint.clear()
            progress = False
            try:
                progress = await self._cycle()
            except Exception as err:
                if not self._is_failing:
                    self._hooks.failed(err)
                self._is_failing = True
                await asyncio.sleep(IDLE_S)
            else:
                self._is_failing = False
            if not progress and not self._stopping:
                await self._wait(self._hint, self._pause_s())
                broker_s = self._outage.next_s(time.monotonic())
                if broker_s is not None:
                    # While the broker is unreachable, hints do not shorten the pause.
                    await asyncio.sleep(broker_s)

    def _pause_s(self) -> float:
        now_s = time.monotonic()
        waits = [backoff.next_s(now_s) for backoff in (self._destinations, self._messages)]
        return min([IDLE_S, *(wait for wait in waits if wait is not None)])

    @staticmethod
    async def _wait(event: asyncio.Event, most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), most_s)

    async def _cycle(self) -> bool:
        """Publishes one batch; returns whether any row was removed."""
        began_s = time.monotonic()
        epoch = self._lead.epoch
        if epoch != self._epoch:
            self._begin_anew(epoch)
        held = self._messages.waiting(began_s)
        held_lines = {row.line for row in held}
        self._behind = {id: line for id, line in self._behind.items() if line in held_lines}
        job_types = set(self._destinations.waiting(began_s))
        if len(held) + len(self._behind) > HELD_MAX:
            job_types.update(row.line[1] for row in held)
        rows = await self._outbox.head(
            self._batch_size,
            without_job_types=job_types,
            without_ids=[*(row.id for row in held), *self._behind],
        )
        if len(rows) < self._batch_size:
            self._forget_destinations_but(job_types | {row.job_type for row in rows})
        if not rows and self.state.broker:
            # The rows with which the destination could be tried have been cancelled meanwhile.
            await self._broker.handshake()
            self._say_broker("")
        batch = plan(rows, held_lines)
        self._behind.update((row.id, row.line) for row in batch.held)
        acknowledged = await self._publish(batch.waves, epoch)
        if not acknowledged and not batch.stale:
            return False
        return await self._settle(epoch, acknowledged, batch.stale, began_s)

    def _begin_anew(self, epoch: int) -> None:
        """Other nodes have led since: what failed then may work now, or its rows may be gone."""
        self._epoch = epoch
        for backoff in (self._destinations, self._messages, self._outage):
            backoff.clear()
        self._behind.clear()
        self._forget_destinations_but(set())

    async def _publish(self, waves: Sequence[Sequence[OutboxRow]], epoch: int) -> list[OutboxRow]:
        """Returns the rows that the broker stored. A line stops at its first failure, a wave at the end of the term."""
        acknowledged: list[OutboxRow] = []
        failed_lines: set[Line] = set()
        failed_job_types: set[str] = set()
        for wave in waves:
            going = [r for r in wave if r.line not in failed_lines and r.job_type not in failed_job_types]
            if not going or self._stopping or not self._lead.leads() or self._lead.epoch != epoch:
                break
            began_ns = time.time_ns()
            messages = [_message(row, epoch, is_traced=self._traces is not None) for row in going]
            outcomes = await self._broker.publish(messages)
            if self._lead.epoch != epoch:
                # Deposed meanwhile: what was recalled says nothing about the broker.
                break
            got_through = None in outcomes
            for row, message, refusal in zip(going, messages, outcomes, strict=True):
                if refusal is None:
                    acknowledged.append(row)
                    if self._traces is not None and row.trace is not None:
                        self._traces.published(row, message, self._broker, began_ns)
                    continue
                failed_lines.add(row.line)
                self._hooks.refused(row, refusal)
                if self._blame(row, refusal, broker_answers=got_through) is Scope.DESTINATION:
                    failed_job_types.add(row.job_type)
            if got_through:
                self._outage.succeeded("")
                self._say_broker("")
            elif self._outage.waiting(time.monotonic()):
                break
        for row in acknowledged:
            self._messages.succeeded(HeldRow(row.id, row.line))
            if row.job_type not in failed_job_types:
                self._destinations.succeeded(row.job_type)
                self._say_destination(row.job_type, "")
        return acknowledged

    def _blame(self, row: OutboxRow, refusal: Refusal, *, broker_answers: bool) -> Scope:
        """What has to wait because of this refusal; not the whole broker while other messages are accepted."""
        now_s = time.monotonic()
        scope = refusal.scope
        if scope is Scope.BROKER and broker_answers:
            scope = Scope.DESTINATION
        if scope is Scope.MESSAGE:
            self._messages.failed(HeldRow(row.id, row.line), now_s)
        elif scope is Scope.DESTINATION:
            if row.job_type not in self._destinations.waiting(now_s):
                self._destinations.failed(row.job_type, now_s)
            self._say_destination(row.job_type, refusal.text)
        else:
            if not self._outage.waiting(now_s):
                self._outage.failed("", now_s)
            self._say_broker(refusal.text)
        return scope

    async def _settle(
        self, epoch: int, acknowledged: Sequence[OutboxRow], stale: Sequence[OutboxRow], began_s: float
    ) -> bool:
        removed = await self._outbox.settle(
            epoch,
            [row.id for row in acknowledged],
            [row.id for row in stale],
            redelivery_s=self._redelivery_s,
            audit_enabled=self._audit_enabled,
        )
        if removed is None:
            # Another node leads: it publishes what is still there again, under the same dedup ids.
            return False
        for row in stale:
            self._messages.succeeded(HeldRow(row.id, row.line))
        elapsed_s = time.monotonic() - began_s
        self._hooks.settled(Settled(removed.published, removed.dropped, elapsed_s))
        return True

    def _forget_destinations_but(self, job_types: set[str]) -> None:
        """A destination that failed and has no row left is reported no more."""
        for job_type in [name for name in self.state.destinations if name not in job_types]:
            self._destinations.succeeded(job_type)
            self._say_destination(job_type, "")

    def _say_broker(self, why: str) -> None:
        if bool(why) != bool(self.state.broker):
            self.state.broker = why
            self._hooks.state()

    def _say_destination(self, job_type: str, why: str) -> None:
        if bool(why) != (job_type in self.state.destinations):
            if why:
                self.state.destinations[job_type] = why
            else:
                del self.state.destinations[job_type]
            self._hooks.state()


def _message(row: OutboxRow, epoch: int, *, is_traced: bool) -> Message:
    trace = row.trace
    if is_traced and trace is not None:
        trace = attempt(trace, row.job_id, FIRST if row.is_first else row.id)
    return Message(row.job_type, row.instance_id, row.payload, row.id, epoch, trace)
