"""Does the engine's jobs: polls for as many as it has free slots, runs their handlers, answers each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from windlass_client.backoff import Backoff
from windlass_client.client import LEASE_S, Client
from windlass_client.errors import BadRequest, NonRetryableError, PollDisabled, TooLarge, WindlassError
from windlass_client.model import Job
from windlass_client.registration import Registration

CONCURRENCY = 10
GRACE_S = 30.0
#: How long a poll is held while there are no jobs; the engine may hold it for less.
POLL_WAIT_S = 20.0
#: An engine that holds no polls, or is leaving, is not asked more often than this.
POLL_INTERVAL_S = 0.5
PAUSE_S_MAX = 5.0

Handler = Callable[[Job], Awaitable[Mapping[str, Any] | None]]
"""Does a job and returns the variables to set, if any.

NonRetryableError fails the instance; any other error puts the job back while it has retries.
"""

log = logging.getLogger("windlass_client")


class Worker:
    """`await worker.run()` works until `stop()`; `async with worker` works meanwhile.

    `handlers` by job type. `concurrency`: jobs in hand at most. `lease_s`: longer than the longest handler runs, since
    a job whose lease lapses goes to another worker. `grace_s`: how long handlers may go on after `stop`; those cut
    then leave their jobs to the lease. `register`: be on the engine's list of workers meanwhile, with this `version`,
    where the engine keeps one.
    """

    def __init__(
        self,
        client: Client,
        handlers: Mapping[str, Handler],
        *,
        worker_id: str | None = None,
        concurrency: int = CONCURRENCY,
        lease_s: float = LEASE_S,
        grace_s: float = GRACE_S,
        register: bool = True,
        version: str = "",
    ) -> None:
        if not handlers:
            raise ValueError("handlers is empty; name at least one job type and what does it")
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {concurrency}")
        self.worker_id = worker_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._client = client
        self._handlers = dict(handlers)
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._registration = (
            Registration(client, self.worker_id, list(handlers), version=version, capacity=concurrency)
            if register
            else None
        )
        self._in_hand: set[asyncio.Task[None]] = set()
        self._hand_free = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.run(), name="worker")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stops and finishes; raises what ended the work before that."""
        self.stop()
        assert self._running is not None
        await self._running

    def stop(self) -> None:
        """Takes no more jobs; `run` ends once those in hand are done. May be called by a signal handler."""
        self._stopping.set()

    async def run(self) -> None:
        """Works until `stop`. Raises BadRequest or PollDisabled when this worker will never be given a job."""
        log.info("worker %s takes jobs of %s", self.worker_id, ", ".join(sorted(self._handlers)))
        if self._registration is not None:
            self._registration.start()
        try:
            await self._take_jobs()
        except (BadRequest, PollDisabled) as error:
            log.error("worker %s gets no jobs: %s", self.worker_id, error)
            raise
        finally:
            await self._finish()
            if self._registration is not None:
                await self._registration.stop()

    # -- taking

    async def _take_jobs(self) -> None:
        backoff = Backoff(PAUSE_S_MAX)
        while not self._stopping.is_set():
            asked_at_s = time.monotonic()
            try:
                jobs = await self._poll(self._concurrency - len(self._in_hand))
            except (BadRequest, PollDisabled):
                raise
            except WindlassError as error:
                log.warning("worker %s: a poll failed, trying again: %s", self.worker_id, error)
                await self._pause(backoff.pause_s())
                continue
            backoff.reset()
            for job in jobs:
                self._take(job)
            if not jobs:
                await self._pause(POLL_INTERVAL_S - (time.monotonic() - asked_at_s))
            await self._until_a_slot_is_free()

    async def _poll(self, max_jobs: int) -> Sequence[Job]:
        """Jobs, or none once `stop` was called; what came just then is not lost."""
        poll = asyncio.ensure_future(
            self._client.poll(
                self.worker_id,
                list(self._handlers),
                max_jobs=max_jobs,
                lease_s=self._lease_s,
                wait_s=POLL_WAIT_S,
            )
        )
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({poll, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not poll.done():
                poll.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await poll
        return ()

    async def _pause(self, pause_s: float) -> None:
        if pause_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    def _take(self, job: Job) -> None:
        task = asyncio.create_task(self._work(job), name=f"job {job.id}")
        self._in_hand.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._hand_free.set()

    async def _until_a_slot_is_free(self) -> None:
        while len(self._in_hand) >= self._concurrency:
            self._hand_free.clear()
            await self._hand_free.wait()

    async def _finish(self) -> None:
        if self._in_hand:
            _, late = await asyncio.wait(set(self._in_hand), timeout=self._grace_s)
            for task in late:
                log.warning("worker %s leaves %s to its lease", self.worker_id, task.get_name())
                task.cancel()
            if late:
                await asyncio.wait(late)

    # -- working

    async def _work(self, job: Job) -> None:
        handler = self._handlers.get(job.job_type)
        if handler is None:
            await self._fail(job, f"this worker has no handler for {job.job_type}", retryable=False)
            return
        try:
            result = await handler(job)
        except NonRetryableError as error:
            log.warning("job %s (%s) failed for good: %s", job.id, job.job_type, error)
            await self._fail(job, str(error), retryable=False)
        except Exception as error:
            log.exception("job %s (%s) failed", job.id, job.job_type)
            await self._fail(job, f"{type(error).__name__}: {error}", retryable=True)
        else:
            await self._complete(job, result)

    async def _complete(self, job: Job, variables: Mapping[str, Any] | None) -> None:
        try:
            await self._client.complete(job, variables)
        except (BadRequest, TooLarge) as error:
            # Its result can never be taken: without this it would be done again and again.
            await self._fail(job, f"the result of the handler was refused: {error}", retryable=False)
        except WindlassError as error:
            # Lost lease or lost engine: the next worker that gets the job does it again.
            log.warning("job %s (%s) was done but not completed: %s", job.id, job.job_type, error)

    async def _fail(self, job: Job, message: str, *, retryable: bool) -> None:
        try:
            await self._client.fail(job, message, retryable=retryable)
        except WindlassError as error:
            log.warning(
                "job %s (%s) failed, but the engine could not be told: %s", job.id, job.job_type, error
            )
