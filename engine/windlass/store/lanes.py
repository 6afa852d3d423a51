"""Group commit: while one batch of a lane is in the database the next one collects, with no artificial delay.

A lane is a queue of commands. One of its batches at a time reads and decides; while that one writes and commits, the
next ones begin. Where two need the same instance, the second waits for the row, which the first has locked. A batch
ends at a number of commands or at an amount of work (`store/batch.py`). A command that is much work by itself goes
to a lane for such, with a connection of its own: as soon as this is known, which may be when it was decided.

A batch that fails before its commit is sent is tried again on a new connection while the database recovers; one that
fails because of a single command is split, so that only this command is refused. If the connection is lost after the
commit was sent, the outcome is unknown, and the callers are told so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from zlib import crc32

from windlass.commands import Command, lane_key
from windlass.errors import EngineError, Unavailable
from windlass.memory import SMALL_BYTES, Budget, Use
from windlass.store.apply import Transactor
from windlass.store.batch import LARGE_BYTES, SMALL, WRITES, Answer, Batch, Bounds, PutAside
from windlass.store.command_queue import COMMAND_BYTES, CommandQueue, Pending
from windlass.store.database import Database
from windlass.store.driver import failure_of, is_read_only
from windlass.store.sqlstate import RETRIED, Failure
from windlass.wire import InstanceView

IN_FLIGHT_MAX = 3
"""Batches of one lane in the database at a time; more would make them small and take connections from polls."""
LARGE_BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Work of a batch of large commands; one that is more is a batch by itself."""
SENT_BYTES_MAX = (LARGE_BYTES - COMMAND_BYTES) // WRITES
"""What the caller of a small command sends at most."""
BATCH_COPIES = 3
"""Of what a batch writes, on its way to the database."""
STOPPING = "this node is stopping; try another"
NO_ROOM = "this node has no memory left for a change of this size; try again"
RETRY_DELAY_FIRST_S = 0.05
RETRY_DELAY_MAX_S = 0.5
READ_ONLY_GIVE_UP_S = 2.0
"""A switchover is over by then; what else makes a database read-only lasts, and callers are told in time."""


class Lane:
    """`large`: where commands go that are much work; None: this is the lane for them. Batches draw on `memory`."""

    def __init__(
        self,
        database: Database,
        transactor: Transactor,
        observe: Callable[[Batch, float], None],
        memory: Budget,
        *,
        batch_max: int,
        in_flight_max: int,
        give_up_s: float,
        large: Lane | None = None,
    ) -> None:
        self._database = database
        self._transactor = transactor
        self._observe = observe
        self._memory = memory
        self._give_up_s = give_up_s
        self._large = large
        self._queue = CommandQueue(batch_max, SMALL.batch_bytes_max if large else LARGE_BATCH_BYTES_MAX)
        self._gathered = asyncio.Event()
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(in_flight_max)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="lane")

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def wait_s(self) -> float:
        """How long a command that comes now would wait for its batch to begin."""
        return self._queue.wait_s()

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put(command, future)
        self._idle.clear()
        self._gathered.set()
        return future

    def take_over(self, pending: Pending) -> None:
        """A command of another lane that turned out to be much work."""
        self._queue.put_aside(pending)
        self._idle.clear()
        self._gathered.set()

    async def drain(self) -> None:
        """Returns when every command taken so far is answered."""
        await self._idle.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            for batch in self._in_flight:
                batch.cancel()
            await asyncio.gather(self._task, *self._in_flight, return_exceptions=True)
        for pending in self._queue.clear():
            _answer(pending, Unavailable(STOPPING))

    async def _run(self) -> None:
        while True:
            await self._gathered.wait()
            await self._room.acquire()
            await self._turn.acquire()
            taken = self._queue.take()
            if not self._queue:
                self._gathered.clear()
            batch = asyncio.create_task(self._take_turn(taken), name="batch")
            self._in_flight.add(batch)
            batch.add_done_callback(self._end)

    def _end(self, batch: asyncio.Task[None]) -> None:
        self._in_flight.discard(batch)
        self._room.release()
        if not self._queue and not self._in_flight:
            self._idle.set()

    async def _take_turn(self, taken: list[Pending]) -> None:
        """Settles them; the next batch may begin once they are decided, and in any case at the end."""
        is_passed = False

        def pass_on() -> None:
            nonlocal is_passed
            if not is_passed:
                is_passed = True
                self._turn.release()

        began_s = time.monotonic()
        drawn_bytes = self._weight(taken)
        is_drawn = False
        try:
            is_drawn = not drawn_bytes or await self._memory.wait(Use.BATCH, drawn_bytes)
            if is_drawn:
                if taken:
                    await self._settle(taken, pass_on)
                    self._queue.served(taken, began_s)
            else:
                for pending in taken:
                    _answer(pending, Unavailable(NO_ROOM))
        except asyncio.CancelledError:
            for pending in taken:
                _answer(pending, Unavailable(STOPPING))
            raise
        finally:
            self._memory.give_back(Use.BATCH, drawn_bytes if is_drawn else 0)
            pass_on()

    def _weight(self, taken: Sequence[Pending]) -> int:
        """Memory for what the batch holds beyond what its callers sent, which was drawn with their bodies. What small
        commands hold is bounded by their number.
        """
        count = BATCH_COPIES * sum([pending.unsent_bytes for pending in taken])
        # Half of the most can always be had when other batches end, whatever the callers of this one hold.
        return min(count, self._memory.most(Use.BATCH) // 2) if count > SMALL_BYTES else 0

    async def _settle(self, taken: list[Pending], decided: Callable[[], None]) -> None:
        """Answers all of them, or puts them into a queue again, whatever happens."""
        try:
            answers = await self._execute(taken, decided)
        except asyncio.CancelledError:
            for pending in taken:
                _answer(
                    pending,
                    Unavailable("this node stopped while the call was in flight; check before you try again"),
                )
            raise
        except Exception as err:
            if len(taken) > 1 and not _is_worth_retrying(err):
                for one in taken:
                    await self._settle([one], decided)
                return
            answers = [await self._database.translated(err)] * len(taken)
        put_back = []
        for pending, answer in zip(taken, answers, strict=True):
            if not isinstance(answer, PutAside):
                if not pending.future.done():
                    pending.future.set_result(answer)
            elif not self._put_aside(pending, answer.work_bytes):
                put_back.append(pending)
        if put_back:
            self._queue.put_back(put_back)
            self._idle.clear()
            self._gathered.set()

    def _put_aside(self, pending: Pending, work_bytes: int) -> bool:
        """False: it stays in this lane, where it comes first again, with its work known better."""
        pending.is_more(work_bytes)
        if not work_bytes or self._large is None:
            return False
        self._large.take_over(pending)
        return True

    def _bounds(self, taken: Sequence[Pending]) -> Bounds:
        if self._large is not None:
            return SMALL
        # What it was expected to be, or a little more, is drawn. What turns out to be more comes again, and draws that.
        expected_bytes = 2 * max(pending.work_bytes for pending in taken) + LARGE_BYTES
        return Bounds(expected_bytes, expected_bytes + LARGE_BATCH_BYTES_MAX, 2**62)

    async def _execute(self, taken: list[Pending], decided: Callable[[], None]) -> list[Answer]:
        began = time.monotonic()
        delay_s = RETRY_DELAY_FIRST_S
        commands, bounds = [pending.command for pending in taken], self._bounds(taken)
        while True:
            batch = self._transactor.batch(commands, decided, bounds)
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


def _answer(pending: Pending, answer: Answer) -> None:
    if not pending.future.done():
        pending.future.set_result(answer)


def _is_worth_retrying(err: Exception) -> bool:
    """Whether the whole batch may succeed at another time; no single command of it is to blame."""
    return isinstance(err, Unavailable) or failure_of(err) in RETRIED


class Lanes:
    """Chooses a lane by what the command is about, so that calls on one instance meet in one batch; `large` is for
    those that are much work.
    """

    def __init__(self, lanes: Sequence[Lane], large: Lane) -> None:
        self._lanes = lanes
        self._large = large
        self._all = (*lanes, large)
        self._turn = 0

    def start(self) -> None:
        for lane in self._all:
            lane.start()

    async def execute(self, command: Command) -> InstanceView | None:
        """The committed answer; raises the EngineError that refused it."""
        answer = await self._lane_for(command).submit(command)
        if isinstance(answer, EngineError):
            raise answer
        assert not isinstance(answer, PutAside)
        return answer

    def _lane_for(self, command: Command) -> Lane:
        if command.sent_bytes > SENT_BYTES_MAX:
            return self._large
        key = lane_key(command)
        if key:
            number = crc32(key.encode())
        else:
            self._turn += 1
            number = self._turn
        return self._lanes[number % len(self._lanes)]

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self._all)

    def wait_s(self, call_bytes: int) -> float:
        """How long a call of that size that comes now would wait for its turn, in the slowest of its lanes."""
        if call_bytes > SENT_BYTES_MAX:
            return self._large.wait_s()
        return max([lane.wait_s() for lane in self._lanes])

    async def drain(self) -> None:
        # The lane for large commands is the last: the others may leave some to it.
        for lane in self._all:
            await lane.drain()

    async def stop(self) -> None:
        for lane in self._all:
            await lane.stop()
