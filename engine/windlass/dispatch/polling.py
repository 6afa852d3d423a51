"""Polling dispatch: which polls wait for which jobs, and how jobs are claimed for them.

Three things keep a poll cheap (contract 6.1). A type known to be empty is answered from memory until a local insert, a
NOTIFY or a short time says otherwise. Polls of the same types that arrive together are claimed together. And a poll
that waits is given a job at its reservation (`reserve`), so that the claim costs no write of its own.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from windlass.early_end import EarlyEnd
from windlass.errors import EngineError
from windlass.store.jobs import ClaimedJob, Jobs, PassedOver
from windlass.store.reservation import LeaseReservation
from windlass.wire import JobView

CLAIM_JOBS_MAX = 256
"""Jobs one claim statement may lease, over all the polls it answers."""
REFUSED_RETRY_S = 0.25
"""How soon a waiting poll asks again that the database has refused."""
PASSED_OVER_INTERVAL_S = 60.0
"""Between two looks for jobs of one type that are too large for some polls."""
TYPES_KEPT_MAX = 10_000
"""Job types remembered before those that nobody waits for are forgotten."""


GroupKey: TypeAlias = tuple[tuple[str, ...], int | None]
"""What polls have in common that are claimed for together: job types, and the size of a job that they can receive."""


@dataclass(slots=True, eq=False)
class Poll:
    """One call that wants jobs. `answer` ends it; what arrives after that is given back."""

    worker_id: str
    job_types: tuple[str, ...]
    jobs_max: int
    lease_s: float
    waits: bool
    answer: asyncio.Future[list[JobView]]
    job_bytes_max: int | None = None
    """Of a job that its caller can receive; None: any."""
    parked: bool = False
    """Whether it waits in the queues of its types; if not, a claim in progress will answer it."""
    reserved: int = 0
    """Jobs being written for it right now."""
    reserved_bytes: int = 0
    """What they take in its answer at most."""
    delivered: list[JobView] = field(default_factory=list)
    refusal: EngineError | None = None
    """Why it has not been told of jobs: it will ask again soon, and this is its answer if its time is over before."""


@dataclass(slots=True)
class TypeMemory:
    """What this node knows about one job type."""

    generation: int = 0
    """Grows whenever a job of this type may have become claimable."""
    empty_until_s: float = 0.0
    """Monotonic time until which a poll of this type is answered without asking the database."""
    none_fits_until_s: float = 0.0
    """The same for polls that cannot take a job of any size: there may be some that are too large for them."""
    parked: dict[Poll, None] = field(default_factory=dict)
    """Polls that wait, longest first."""
    passed_over_s: float = -math.inf
    """Monotonic time at which it was last asked which jobs are too large for some polls."""

    def known_empty_until_s(self, job_bytes_max: int | None) -> float:
        """For polls that can receive a job of that size; 0 if a job may have appeared since the last claim."""
        if job_bytes_max is None:
            return self.empty_until_s
        return max(self.empty_until_s, self.none_fits_until_s)

    def may_have_jobs(self) -> None:
        self.empty_until_s = self.none_fits_until_s = 0.0


@dataclass(slots=True)
class ClaimGroup:
    """Polls of one `GroupKey`: at most one claim is in progress, further polls join the next one."""

    gathering: deque[Poll] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class PollingSettings:
    empty_memory_s: float
    recheck_s: float
    """How often a waiting poll asks the database although nothing woke it."""
    rechecks: Callable[[], bool]
    """Whether it does: not in wake mode event_driven, while there can be notifications."""
    answer_bytes_max: int
    """Of the jobs of one claim, and of those that are inserted already leased to one poll."""


class WaitingPolls:
    """Implements `store.reservation.LeaseReservations`; owned by the composition root."""

    def __init__(
        self,
        jobs: Jobs,
        settings: PollingSettings,
        *,
        claimed: Callable[[Sequence[JobView], float, Sequence[float]], None],
        refused: Callable[[Exception], None],
        passed_over: Callable[[PassedOver, int], None],
        cut: Callable[[], None],
    ) -> None:
        """`cut` is told of each claim that left jobs because its answer had no room."""
        self._jobs = jobs
        self._settings = settings
        self._claimed = claimed
        self._refused = refused
        self._passed_over = passed_over
        self._cut = cut
        self._types: dict[str, TypeMemory] = {}
        self._forget_at = TYPES_KEPT_MAX
        self._groups: dict[GroupKey, ClaimGroup] = {}
        #: polls that will ask again
        self._refused_polls: set[Poll] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._recheck: asyncio.Task[None] | None = None
        self._draining = False

    def start(self) -> None:
        self._recheck = asyncio.create_task(
            self._recheck_parked(self._settings.recheck_s), name="poll-recheck"
        )

    # -- polls

    async def poll(
        self,
        *,
        worker_id: str,
        job_types: Sequence[str],
        jobs_max: int,
        lease_s: float,
        wait_s: float,
        job_bytes_max: int | None = None,
        early: EarlyEnd | None = None,
    ) -> list[JobView]:
        """Up to `jobs_max` leased jobs, oldest first, and no more than one answer holds; waits up to `wait_s` when
        there are none, or until `early`. Those above `job_bytes_max`, which the caller could not receive, are passed
        over.

        When the caller cancels it, jobs that were already claimed for it are given back.
        """
        types = tuple(sorted(set(job_types)))
        if self._draining or (wait_s <= 0 and self._known_empty(types, job_bytes_max)):
            return []
        answer: asyncio.Future[list[JobView]] = asyncio.get_running_loop().create_future()
        poll = Poll(worker_id, types, jobs_max, lease_s, wait_s > 0, answer, job_bytes_max)
        patience = asyncio.get_running_loop().call_later(wait_s, self._give_up, poll) if wait_s > 0 else None
        if wait_s > 0 and self._known_empty(types, job_bytes_max):
            self._park(poll)
        else:
            self._gather(poll)
        if early is not None:
            early.bind(functools.partial(self._give_up, poll))
        try:
            return await poll.answer
        except asyncio.CancelledError:
            self._unpark(poll)
            if poll.answer.done() and not poll.answer.cancelled() and poll.answer.exception() is None:
                self._release(poll.answer.result())
            self._release(poll.delivered)
            poll.delivered = []
            raise
        finally:
            if patience is not None:
                patience.cancel()

    def wake(self, job_types: Iterable[str]) -> None:
        """Jobs of these types may be claimable: from another node's hint, a sweep, or a lane here."""
        for job_type in job_types:
            memory = self._types.get(job_type)
            if memory is None:
                continue
            memory.generation += 1
            memory.may_have_jobs()
            for poll in tuple(memory.parked):
                if not poll.reserved:
                    self._unpark(poll)
                    self._gather(poll)

    def wake_all(self) -> None:
        """Hints may have been missed."""
        self.wake(tuple(self._types))

    def stop(self) -> None:
        """Answers every waiting poll with nothing, now and from now on; those with a claim in progress get its jobs."""
        self._draining = True
        if self._recheck is not None:
            self._recheck.cancel()
        for memory in tuple(self._types.values()):
            for poll in tuple(memory.parked):
                if not poll.reserved:
                    self._give_up(poll)
        for poll in tuple(self._refused_polls):
            poll.refusal = None
            self._refused_polls.discard(poll)
            if not poll.answer.done():
                poll.answer.set_result([])

    async def drain(self) -> None:
        """Returns when no claim is in progress and every lease that nobody took is given back."""
        while tasks := [*self._background, *(g.task for g in self._groups.values() if g.task is not None)]:
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def parked(self) -> int:
        """How many polls wait, for jobs or for the database."""
        return len({poll for memory in self._types.values() for poll in memory.parked} | self._refused_polls)

    # -- jobs that are inserted already leased

    def reserve(self, job_type: str, size_bytes: int) -> LeaseReservation | None:
        memory = self._types.get(job_type)
        if memory is None or self._draining:
            return None
        for poll in memory.parked:
            if poll.reserved < poll.jobs_max and not poll.answer.done() and self._takes(poll, size_bytes):
                poll.reserved += 1
                poll.reserved_bytes += size_bytes
                # To the end of the queue: the next job of this batch goes to another poll.
                for name in poll.job_types:
                    line = self._memory(name).parked
                    line.pop(poll, None)
                    line[poll] = None
                return LeaseReservation(poll.worker_id, poll.lease_s, poll)
        return None

    def _takes(self, poll: Poll, size_bytes: int) -> bool:
        """One job always, unless its caller cannot receive it; more while its answer has room."""
        if poll.job_bytes_max is not None and size_bytes > poll.job_bytes_max:
            return False
        return not poll.reserved or poll.reserved_bytes + size_bytes <= self._settings.answer_bytes_max

    def deliver(self, reservations: Sequence[tuple[LeaseReservation, JobView]]) -> None:
        """After the commit: answers each poll with all it was given in this batch."""
        polls: dict[Poll, None] = {}
        for reservation, job in reservations:
            poll = reservation.holder
            assert isinstance(poll, Poll)
            poll.reserved -= 1
            poll.delivered.append(job)
            polls[poll] = None
        for poll in polls:
            if poll.reserved:
                continue
            jobs, poll.delivered, poll.reserved_bytes = poll.delivered, [], 0
            self._unpark(poll)
            if poll.answer.done():
                self._release(jobs)
            else:
                self._claimed(jobs, 0.0, [0.0] * len(jobs))
                poll.answer.set_result(jobs)

    def abandon(self, reservations: Sequence[LeaseReservation]) -> None:
        """The batch was not committed: the polls continue to wait."""
        for reservation in reservations:
            poll = reservation.holder
            assert isinstance(poll, Poll)
            poll.reserved -= 1
            if not poll.reserved:
                poll.reserved_bytes = 0
                if self._draining or not poll.waits:
                    self._give_up(poll)

    # -- claims

    def _gather(self, poll: Poll) -> None:
        key = (poll.job_types, poll.job_bytes_max)
        group = self._groups.setdefault(key, ClaimGroup())
        group.gathering.append(poll)
        if group.task is None:
            group.task = asyncio.create_task(self._claim_until_none_gather(key, group), name="claim")

    async def _claim_until_none_gather(self, key: GroupKey, group: ClaimGroup) -> None:
        try:
            while group.gathering:
                polls: list[Poll] = []
                room = CLAIM_JOBS_MAX
                while group.gathering and room > 0:
                    poll = group.gathering.popleft()
                    if not poll.answer.done():
                        polls.append(poll)
                        room -= poll.jobs_max
                if polls:
                    await self._claim(key, polls)
        finally:
            group.task = None
            if not group.gathering:
                self._groups.pop(key, None)

    async def _claim(self, key: GroupKey, polls: list[Poll]) -> None:
        types, job_bytes_max = key
        generations = [self._memory(name).generation for name in types]
        slots = _deal(polls, CLAIM_JOBS_MAX)
        began = time.monotonic()
        try:
            claim = await self._jobs.claim(
                types,
                slots,
                [p.worker_id for p in polls],
                [p.lease_s for p in polls],
                bytes_max=self._settings.answer_bytes_max,
                job_bytes_max=job_bytes_max,
            )
        except EngineError as err:
            self._refused(err)
            for poll in polls:
                self._put_off(poll, err)
            return
        elapsed_s = time.monotonic() - began
        found_all = len(claim.jobs) < len(slots) and not claim.is_cut
        if found_all:
            self._remember_empty(key, generations)
        if claim.is_cut:
            self._cut()
        given: list[list[ClaimedJob]] = [[] for _ in polls]
        for job in claim.jobs:
            given[job.slot - 1].append(job)
        for poll, share in zip(polls, given, strict=True):
            if claim.is_cut and not share and not poll.answer.done():
                # There are more: the next claim takes them.
                self._gather(poll)
            else:
                self._settle(poll, share, elapsed_s)
        if found_all and job_bytes_max is not None:
            await self._tell_passed_over(types, job_bytes_max)

    def _put_off(self, poll: Poll, refusal: EngineError) -> None:
        """A poll that waits asks again; its worker would do the same at once, and again, for as long as it lasts."""
        if poll.answer.done():
            return
        if not poll.waits or self._draining:
            poll.answer.set_exception(refusal)
            return
        poll.refusal = refusal
        self._refused_polls.add(poll)
        asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._ask_again, poll)

    def _ask_again(self, poll: Poll) -> None:
        if poll in self._refused_polls:
            self._refused_polls.discard(poll)
            poll.refusal = None
            if not poll.answer.done():
                self._gather(poll)

    async def _tell_passed_over(self, types: Sequence[str], job_bytes_max: int) -> None:
        """If there are jobs left that these polls cannot receive, one of them is named, now and then."""
        due_s = time.monotonic() - PASSED_OVER_INTERVAL_S
        due = [name for name in types if self._memory(name).passed_over_s < due_s]
        if not due:
            return
        for name in due:
            self._memory(name).passed_over_s = time.monotonic()
        try:
            job = await self._jobs.passed_over(due, job_bytes_max)
        except EngineError as err:
            self._refused(err)
            return
        if job is not None:
            self._passed_over(job, job_bytes_max)

    def _settle(self, poll: Poll, share: list[ClaimedJob], elapsed_s: float) -> None:
        if not share and poll.waits and not poll.answer.done() and not self._draining:
            self._park(poll)
            return
        jobs = [job.view for job in share]
        if poll.answer.done():
            self._release(jobs)
            return
        self._claimed(jobs, elapsed_s, [job.age_s for job in share])
        poll.answer.set_result(jobs)

    # -- memory

    def _memory(self, job_type: str) -> TypeMemory:
        memory = self._types.get(job_type)
        if memory is None:
            if len(self._types) >= self._forget_at:
                self._forget()
            memory = self._types[job_type] = TypeMemory()
        return memory

    def _forget(self) -> None:
        """Callers may name any type; types without a poll or a claim in progress are forgotten."""
        claimed = {name for types, _ in self._groups for name in types}
        for name in [n for n, m in self._types.items() if not m.parked and n not in claimed]:
            del self._types[name]
        self._forget_at = max(TYPES_KEPT_MAX, 2 * len(self._types))

    def _known_empty(self, types: Iterable[str], job_bytes_max: int | None) -> bool:
        now_s = time.monotonic()
        return all(
            (m := self._types.get(t)) is not None and m.known_empty_until_s(job_bytes_max) > now_s
            for t in types
        )

    def _remember_empty(self, key: GroupKey, generations: Sequence[int]) -> None:
        """Not when a job may have appeared while the claim was under way."""
        types, job_bytes_max = key
        until_s = time.monotonic() + self._settings.empty_memory_s
        for name, generation in zip(types, generations, strict=True):
            memory = self._memory(name)
            if memory.generation != generation:
                continue
            if job_bytes_max is None:
                memory.empty_until_s = until_s
            else:
                memory.none_fits_until_s = until_s

    def _park(self, poll: Poll) -> None:
        poll.parked = True
        for name in poll.job_types:
            self._memory(name).parked[poll] = None
        if any(self._memory(name).known_empty_until_s(poll.job_bytes_max) == 0.0 for name in poll.job_types):
            # Something appeared between the claim's snapshot and now.
            self._unpark(poll)
            self._gather(poll)

    def _unpark(self, poll: Poll) -> None:
        poll.parked = False
        for name in poll.job_types:
            memory = self._types.get(name)
            if memory is not None:
                memory.parked.pop(poll, None)

    def _give_up(self, poll: Poll) -> None:
        """The poll's waiting time is over; jobs being written for it at this moment still reach it."""
        poll.waits = False
        if poll.refusal is not None:
            self._refused_polls.discard(poll)
            if not poll.answer.done():
                poll.answer.set_exception(poll.refusal)
        elif poll.parked and not poll.reserved:
            self._unpark(poll)
            if not poll.answer.done():
                poll.answer.set_result([])

    def give_back(self, leases: Sequence[tuple[str, str]]) -> None:
        """Frees jobs, each by id and lease token, whose poll has gone. Returns at once."""
        if leases:
            task = asyncio.create_task(self._give_back(leases), name="release")
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    def _release(self, jobs: Sequence[JobView]) -> None:
        self.give_back([(job.id, job.lease_token) for job in jobs])

    async def _give_back(self, leases: Sequence[tuple[str, str]]) -> None:
        try:
            job_types = await self._jobs.release(leases)
        except EngineError as err:
            # Their leases expire by themselves.
            self._refused(err)
            return
        self.wake(job_types)

    async def _recheck_parked(self, every_s: float) -> None:
        """The fallback behind every hint (contract 6.1): waiting polls also ask."""
        while True:
            await asyncio.sleep(every_s)
            if not self._settings.rechecks():
                continue
            self.wake_all()
            due_s = time.monotonic() - PASSED_OVER_INTERVAL_S
            for name in [
                n
                for n, m in self._types.items()
                if not m.parked and m.known_empty_until_s(0) == 0.0 and m.passed_over_s < due_s
            ]:
                del self._types[name]


def _deal(polls: Sequence[Poll], most: int) -> list[int]:
    """Slots round-robin, one for each poll and round, so that few jobs are shared fairly. Numbers are from 1."""
    rounds = max(poll.jobs_max for poll in polls)
    order = (number for turn in range(rounds) for number, poll in enumerate(polls, 1) if turn < poll.jobs_max)
    return list(itertools.islice(order, most))
