"""Group commit: while one batch of a lane is in the database the next one collects, with no artificial delay.

A lane is a queue of commands. One of its batches at a time reads and decides; while that one writes and commits, the
next ones begin. Where two need the same instance, the second waits for the row, which the first has locked. A batch
that fails before its commit is sent is tried again on a new connection while the database recovers; one that fails
because of a single command is split, so that only this command is refused. If the connection is lost after the commit
was sent, the outcome is unknown, and the callers are told so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from zlib import crc32

from windlass.commands import Command, lane_key
from windlass.errors import EngineError, Unavailable
from windlass.store.apply import Answer, Batch, Transactor
from windlass.store.database import Database
from windlass.store.driver import failure_of, is_read_only
from windlass.store.sqlstate import RETRIED, Failure

IN_FLIGHT_MAX = 3
"""Batches of one lane in the database at a time; more would make them small and take connections from polls."""
RETRY_DELAY_FIRST_S = 0.05
RETRY_DELAY_MAX_S = 0.5
READ_ONLY_GIVE_UP_S = 2.0
"""A switchover is over by then; what else makes a database read-only lasts, and callers are told in time."""

Pending = tuple[Command, "asyncio.Future[Answer]"]


class Lane:
    def __init__(
        self,
        database: Database,
        transactor: Transactor,
        observe: Callable[[Batch, float], None],
        *,
        batch_max: int,
        in_flight_max: int,
        give_up_s: float,
    ) -> None:
        self._database = database
        self._transactor = transactor
        self._observe = observe
        self._batch_max = batch_max
        self._give_up_s = give_up_s
        self._queue: deque[Pending] = deque()
        self._gathered = asyncio.Event()
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(in_flight_max)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="lane")

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((command, future))
        self._idle.clear()
        self._gathered.set()
        return future

    async def drain(self) -> None:
        """Returns when every command taken so far is answered."""
        await self._idle.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            for batch in self._in_flight:
                batch.cancel()
            await asyncio.gather(self._task, *self._in_flight, return_exceptions=True)
        for _, future in self._queue:
            if not future.done():
                future.set_result(Unavailable("this node is stopping; try another"))
        self._queue.clear()

    async def _run(self) -> None:
        while True:
            await self._gathered.wait()
            await self._room.acquire()
            await self._turn.acquire()
            pending = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_max))]
            if not self._queue:
                self._gathered.clear()
            # Callers that have left meanwhile need no answer.
            pending = [(command, future) for command, future in pending if not future.done()]
            batch = asyncio.create_task(self._take_turn(pending), name="batch")
            self._in_flight.add(batch)
            batch.add_done_callback(self._end)

    def _end(self, batch: asyncio.Task[None]) -> None:
        self._in_flight.discard(batch)
        self._room.release()
        if not self._queue and not self._in_flight:
            self._idle.set()

    async def _take_turn(self, pending: list[Pending]) -> None:
        """Settles them; the next batch may begin once they are decided, and in any case at the end."""
        is_passed = False

        def pass_on() -> None:
            nonlocal is_passed
            if not is_passed:
                is_passed = True
                self._turn.release()

        try:
            if pending:
                await self._settle(pending, pass_on)
        finally:
            pass_on()

    async def _settle(self, pending: list[Pending], decided: Callable[[], None]) -> None:
        """Answers all of `pending`, whatever happens."""
        try:
            answers = await self._execute([command for command, _ in pending], decided)
        except asyncio.CancelledError:
            for _, future in pending:
                if not future.done():
                    future.set_result(
                        Unavailable(
                            "this node stopped while the call was in flight; check before you try again"
                        )
                    )
            raise
        except Exception as err:
            if len(pending) > 1 and not _is_worth_retrying(err):
                for one in pending:
                    await self._settle([one], decided)
                return
            answers = [await self._database.translated(err)] * len(pending)
        for (_, future), answer in zip(pending, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _execute(self, commands: list[Command], decided: Callable[[], None]) -> list[Answer]:
        began = time.monotonic()
        delay_s = RETRY_DELAY_FIRST_S
        while True:
            batch = self._transactor.batch(commands, decided)
            try:
                await self._attempt(batch)
            except Exception as err:
                if batch.committing and failure_of(err) is Failure.CONNECTION_LOST:
                    raise Unavailable(
                        "the connection was lost while the commit was in flight: it may have happened; check first"
                    ) from err
                give_up_s = (
                    min(self._give_up_s, READ_ONLY_GIVE_UP_S) if is_read_only(err) else self._give_up_s
                )
                if not _is_worth_retrying(err) or time.monotonic() - began + delay_s > give_up_s:
                    raise
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_DELAY_MAX_S)
            else:
                self._observe(batch, time.monotonic() - began)
                return batch.answers

    async def _attempt(self, batch: Batch) -> None:
        async with self._database.connection() as connection:
            try:
                await self._transactor.run(connection, batch)
            except Exception:
                if not connection.is_closed() and connection.is_in_transaction():
                    await connection.execute("ROLLBACK")
                raise


def _is_worth_retrying(err: Exception) -> bool:
    """Whether the whole batch may succeed at another time; no single command of it is to blame."""
    return isinstance(err, Unavailable) or failure_of(err) in RETRIED


class Lanes:
    """Chooses a lane by what the command is about, so that calls on one instance meet in one batch."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._turn = 0

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def execute(self, command: Command) -> Answer:
        """The committed answer; raises the EngineError that refused it."""
        key = lane_key(command)
        if key:
            number = crc32(key.encode())
        else:
            self._turn += 1
            number = self._turn
        answer = await self._lanes[number % len(self._lanes)].submit(command)
        if isinstance(answer, EngineError):
            raise answer
        return answer

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self._lanes)

    async def drain(self) -> None:
        for lane in self._lanes:
            await lane.drain()

    async def stop(self) -> None:
        for lane in self._lanes:
            await lane.stop()
