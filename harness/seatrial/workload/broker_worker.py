"""A worker that takes its jobs from the broker as the SDKs' runners do (contract 10.4), as a process of its own.

`python -m seatrial.workload.broker_worker CONFIG.json` has one consumer for each job type, and each handles one message
at a time: drop it if its dedup id came within ten minutes, run the handler, complete or fail over REST at a random
replica, acknowledge the message. An answer that does not come is noted and the message is acknowledged all the same, as
the Go runner does: what is lost by that is the engine's to deliver again.

`WorkerSpec.acknowledges` makes it worse than any SDK: `early` acknowledges before it works, `never` not at all.
SIGTERM: it takes no new message, finishes the current ones, closes its consumers and exits 0.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from seatrial.client import Answer, Job, RecordingClient
from seatrial.cluster.broker import AcknowledgeFailed, Consumer, ConsumerAccess, JobEvent, Record
from seatrial.cluster.brokers import new_consumer
from seatrial.history import Recorder
from seatrial.workload import Handler, WorkerConfig, WorkerSpec
from seatrial.workload.pool import ACCESS_VARIABLE
from seatrial.workload.worker import work

DEDUP_S = 600.0
_RETRY_REFUSED_S = 0.02


class BrokerWorker:
    def __init__(self, config: WorkerConfig, access: ConsumerAccess, recorder: Recorder) -> None:
        self._config = config
        self._spec: WorkerSpec = config.spec
        self._access = access
        self._recorder = recorder
        self._rng = random.Random(config.seed)
        self._client = RecordingClient(
            config.process,
            config.replicas,
            recorder,
            random.Random(f"{config.seed}:calls"),
            timeout_s=config.spec.call_timeout_s,
            transports=config.transports,
        )
        self._leaving = asyncio.Event()
        self._seen_until_s: dict[str, float] = {}

    def leave(self) -> None:
        """Takes no new messages from now on."""
        self._leaving.set()

    async def run(self) -> None:
        """Runs until `leave`, and until the current messages are answered; a held job is dropped."""
        async with self._client, asyncio.TaskGroup() as group:
            for job_type, handler in self._spec.handlers.items():
                group.create_task(self._consume(job_type, handler))

    async def _consume(self, job_type: str, handler: Handler) -> None:
        consumer = new_consumer(
            self._access,
            job_type,
            name=self._config.process,
            session_timeout_s=self._spec.session_timeout_s,
        )
        try:
            while not self._leaving.is_set():
                if (record := await consumer.next()) is not None:
                    await self._handle(consumer, record, handler)
        finally:
            await consumer.close()

    async def _handle(self, consumer: Consumer, record: Record, handler: Handler) -> None:
        if self._spec.acknowledges == "early":
            await self._acknowledge(consumer, record)
        if record.event is None:
            # A poison message: named, and left behind.
            self._note("undecodable", {**record.place(), "cause": record.cause})
        else:
            repeated = self._is_repeated(record.event.dedup_id)
            self._note("deliver", delivered(record.event, record.place(), repeated=repeated))
            if not repeated:
                await self._work(record.event, handler)
        if self._spec.acknowledges == "after" and not (handler.hold and self._leaving.is_set()):
            await self._acknowledge(consumer, record)

    def _is_repeated(self, dedup_id: str) -> bool:
        """Remembers it before the handler's outcome is known, as the SDKs do."""
        now_s = time.monotonic()
        if self._seen_until_s.get(dedup_id, 0.0) > now_s:
            return True
        if dedup_id:
            self._seen_until_s[dedup_id] = now_s + DEDUP_S
        return False

    async def _work(self, event: JobEvent, handler: Handler) -> None:
        job = Job(
            job_id=event.job_id,
            instance_id=event.instance_id,
            step_execution_id=event.step_execution_id,
            job_type=event.job_type,
            retries_remaining=event.retries_remaining,
            variables=event.variables,
        )
        self._note("execute", {"job_id": job.job_id, "lease_token": None, "dedup_id": event.dedup_id})
        if handler.poison_variable and job.variables.get(handler.poison_variable):
            os.kill(os.getpid(), signal.SIGKILL)
        if handler.hold:
            await self._leaving.wait()
            return
        await asyncio.sleep(self._rng.uniform(handler.think_min_s, handler.think_max_s))
        above = handler.fail_while_retries_above
        if above is not None and job.retries_remaining > above:
            await self._fail(job, f"handler of {job.job_type} fails, as planned")
            return
        result = {target: job.variables[source] for target, source in handler.echo.items()}
        answer = await self._answered(lambda: self._client.complete(job, self._config.worker_id, result))
        if not answer.ok and self._spec.fails_after_lost_complete:
            await self._fail(job, f"complete was answered {answer.code or answer.outcome}")

    async def _fail(self, job: Job, message: str) -> None:
        await self._answered(
            lambda: self._client.fail_job(job, self._config.worker_id, message, retryable=True)
        )

    async def _answered(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Tries another replica when one does not listen, as a Service does; a call that was sent is never repeated."""
        for _ in range(2 * len(self._config.replicas)):
            answer = await call()
            if not answer.refused:
                break
            await asyncio.sleep(_RETRY_REFUSED_S)
        return answer

    async def _acknowledge(self, consumer: Consumer, record: Record) -> None:
        try:
            await consumer.acknowledge(record)
        except AcknowledgeFailed as err:
            self._note("acknowledge", {**record.place(), "failed": str(err)})
        else:
            self._note("acknowledge", record.place())

    def _note(self, f: str, value: dict[str, Any]) -> None:
        self._recorder.info(self._config.process, f, value)


def delivered(event: JobEvent, place: dict[str, Any], *, repeated: bool) -> dict[str, Any]:
    """The value of a `deliver` line of history.py."""
    told = {name: value for name, value in msgspec.structs.asdict(event).items() if name != "variables"}
    return {**told, **place, "repeated": repeated}


def _new_worker(config: WorkerConfig, recorder: Recorder) -> BrokerWorker:
    return BrokerWorker(
        config, msgspec.json.decode(os.environ[ACCESS_VARIABLE], type=ConsumerAccess), recorder
    )


if __name__ == "__main__":
    work(_new_worker)
