"""A worker as a process of its own, so that killing or stopping it is real.

`python -m seatrial.workload.worker CONFIG.json` polls at random replicas for as many jobs as it has free slots,
works on them concurrently, and answers each at another random replica. SIGTERM: it takes no new jobs, finishes
the current ones, and exits 0.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec

from seatrial.client import Answer, Job, RecordingClient
from seatrial.deadline import Deadline
from seatrial.history import Recorder
from seatrial.workload import TOKEN_VARIABLE, Handler, WorkerConfig

_RETRY_MIN_S = 0.1
_RETRY_MAX_S = 1.0


class Worker:
    def __init__(self, config: WorkerConfig, recorder: Recorder) -> None:
        self._config = config
        self._spec = config.spec
        self._recorder = recorder
        self._rng = random.Random(config.seed)
        self._client = RecordingClient(
            config.process,
            config.replicas,
            recorder,
            random.Random(f"{config.seed}:calls"),
            send_token=config.spec.send_token,
            timeout_s=config.spec.call_timeout_s,
            transports=config.transports,
        )
        self._leaving = asyncio.Event()
        self._slot_free = asyncio.Event()
        self._in_hand = 0

    def leave(self) -> None:
        """Takes no new jobs from now on."""
        self._leaving.set()
        self._slot_free.set()

    async def run(self) -> None:
        """Runs until `leave`, and until the current jobs are answered; a held job is dropped."""
        async with self._client, asyncio.TaskGroup() as group:
            while not self._leaving.is_set():
                free = self._spec.slots - self._in_hand
                if free == 0:
                    self._slot_free.clear()
                    await self._slot_free.wait()
                    continue
                answer = await self._poll(free)
                for job in answer.jobs:
                    self._in_hand += 1
                    group.create_task(self._work(job))
                if not answer.jobs and (not answer.ok or not self._spec.wait_s):
                    await self._pause(self._spec.idle_s)

    async def _poll(self, free: int) -> Answer:
        return await self._client.poll(
            self._config.worker_id,
            tuple(self._spec.handlers),
            max_jobs=free,
            lease_s=self._spec.lease_s,
            wait_s=self._spec.wait_s,
            replica=self._spec.polls_at,
        )

    async def _work(self, job: Job) -> None:
        try:
            handler = self._spec.handlers[job.job_type]
            self._recorder.info(
                self._config.process, "execute", {"job_id": job.job_id, "lease_token": job.lease_token}
            )
            if handler.poison_variable and job.variables.get(handler.poison_variable):
                os.kill(os.getpid(), signal.SIGKILL)
            if handler.hold:
                await self._leaving.wait()
                return
            await asyncio.sleep(self._rng.uniform(handler.think_min_s, handler.think_max_s))
            await self._answer(job, handler)
        finally:
            self._in_hand -= 1
            self._slot_free.set()

    async def _answer(self, job: Job, handler: Handler) -> None:
        """Repeats the answer until it is accepted or refused.

        A completion of unknown outcome is safe to repeat; a fail could cost a second retry, so its lease is
        left to expire.
        """
        deadline = Deadline(self._spec.give_up_s)
        wait_s = _RETRY_MIN_S
        fails = (
            handler.fail_while_retries_above is not None
            and job.retries_remaining > handler.fail_while_retries_above
        )
        while True:
            answer = await (self._fail(job) if fails else self._complete(job, handler))
            unknown = answer.outcome == "info" and not fails
            if not (unknown or answer.refused) or deadline.is_over:
                return
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, _RETRY_MAX_S)

    async def _complete(self, job: Job, handler: Handler) -> Answer:
        result = {target: job.variables[source] for target, source in handler.echo.items()}
        return await self._client.complete(job, self._config.worker_id, result, replica=self._spec.answers_at)

    async def _fail(self, job: Job) -> Answer:
        message = (
            f"handler of {job.job_type} fails with {job.retries_remaining} retries remaining, as planned"
        )
        return await self._client.fail_job(
            job, self._config.worker_id, message, retryable=True, replica=self._spec.answers_at
        )

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            return


class Leaving(Protocol):
    """A worker of any kind."""

    def leave(self) -> None: ...
    async def run(self) -> None: ...


def work(new_worker: Callable[[WorkerConfig, Recorder], Leaving]) -> None:
    """The program of a worker's process: its configuration is the file that the command names."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerConfig)
    replicas = tuple(replace(replica, token=os.environ.get(TOKEN_VARIABLE)) for replica in config.replicas)
    config = msgspec.structs.replace(config, replicas=replicas)
    asyncio.run(_serve(config, new_worker))


async def _serve(config: WorkerConfig, new_worker: Callable[[WorkerConfig, Recorder], Leaving]) -> None:
    recorder = Recorder(Path(config.history_folder))
    worker = new_worker(config, recorder)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.leave)
    try:
        await worker.run()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None  # so that the log's last line names the cause
    recorder.close()


if __name__ == "__main__":
    work(Worker)
