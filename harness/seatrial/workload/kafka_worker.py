"""A worker that takes its jobs from Kafka as the SDKs' runners do (contract 10.4), as a process of its own.

`python -m seatrial.workload.kafka_worker CONFIG.json` has one consumer for each job type, in that type's group, and
each handles one message at a time: drop it if its dedup id came within ten minutes, run the handler, complete or fail
over REST at a random replica, commit the offset. An answer that does not come is noted and the offset is committed
all the same, as the Go runner does: what is lost by that is the engine's to deliver again.

`WorkerSpec.commits` makes it worse than any SDK: `early` commits before it works, `never` commits nothing.
SIGTERM: it takes no new message, finishes the ones in hand, leaves its groups and exits 0.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import confluent_kafka as kafka
import msgspec
from google.protobuf.message import DecodeError

from seatrial.client import Answer, Job, RecordingClient
from seatrial.cluster.kafka_client import Access
from seatrial.gen.workflow_pb2 import JobDispatchEvent
from seatrial.history import Recorder
from seatrial.workload import Handler, WorkerConfig, WorkerSpec
from seatrial.workload.pool import OPTIONS_VARIABLE
from seatrial.workload.worker import work

TOPIC_PREFIX = "workflow.jobs."
GROUP_PREFIX = "workflow.workers."
DEDUP_S = 600.0
_POLL_S = 0.25
_RETRY_REFUSED_S = 0.02


class Delivery(msgspec.Struct, frozen=True):
    """One message, decoded; `dedup_id` may be empty, which means no dropping of repeats."""

    job: Job
    dedup_id: str
    topic: str
    partition: int
    offset: int
    created_at: str

    def recorded(self, *, repeated: bool) -> dict[str, Any]:
        """The value of a `deliver` line of history.py."""
        return {
            "job_id": self.job.job_id,
            "instance_id": self.job.instance_id,
            "step_execution_id": self.job.step_execution_id,
            "job_type": self.job.job_type,
            "retries_remaining": self.job.retries_remaining,
            "dedup_id": self.dedup_id,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "created_at": self.created_at,
            "repeated": repeated,
        }


class KafkaWorker:
    def __init__(self, config: WorkerConfig, access: Access, recorder: Recorder) -> None:
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
        self._threads = ThreadPoolExecutor(len(config.spec.handlers), thread_name_prefix="consumer")

    def leave(self) -> None:
        """Takes no new messages from now on."""
        self._leaving.set()

    async def run(self) -> None:
        """Until `leave`, and until the messages in hand are answered; a held job is dropped."""
        async with self._client, asyncio.TaskGroup() as group:
            for job_type, handler in self._spec.handlers.items():
                group.create_task(self._consume(job_type, handler))
        self._threads.shutdown()

    async def _consume(self, job_type: str, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        consumer = kafka.Consumer(
            {
                **self._access.configured(),
                "group.id": GROUP_PREFIX + job_type,
                "client.id": self._config.process,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": round(self._spec.session_timeout_s * 1000),
                "heartbeat.interval.ms": round(self._spec.session_timeout_s * 1000 / 4),
                # A topic that comes later is found in a second and not in five minutes.
                "topic.metadata.refresh.interval.ms": 1000,
                "allow.auto.create.topics": False,
            }
        )
        try:
            consumer.subscribe([TOPIC_PREFIX + job_type])
            while not self._leaving.is_set():
                message = await loop.run_in_executor(self._threads, consumer.poll, _POLL_S)
                if message is not None and message.error() is None:
                    await self._dispatch(consumer, message, handler)
        finally:
            await loop.run_in_executor(self._threads, consumer.close)

    async def _dispatch(self, consumer: kafka.Consumer, message: kafka.Message, handler: Handler) -> None:
        if self._spec.commits == "early":
            await self._commit(consumer, message)
        try:
            delivery = decoded(message)
        except (DecodeError, msgspec.DecodeError, ValueError) as err:
            # A poison message: named, and left behind.
            self._recorder.info(
                self._config.process,
                "undecodable",
                {**_place(message), "cause": f"{type(err).__name__}: {err}"},
            )
        else:
            repeated = self._is_repeated(delivery.dedup_id)
            self._recorder.info(self._config.process, "deliver", delivery.recorded(repeated=repeated))
            if not repeated:
                await self._work(delivery, handler)
        if self._spec.commits == "after" and not (handler.hold and self._leaving.is_set()):
            await self._commit(consumer, message)

    def _is_repeated(self, dedup_id: str) -> bool:
        """Remembers it before the handler's outcome is known, as the SDKs do."""
        now_s = time.monotonic()
        if self._seen_until_s.get(dedup_id, 0.0) > now_s:
            return True
        if dedup_id:
            self._seen_until_s[dedup_id] = now_s + DEDUP_S
        return False

    async def _work(self, delivery: Delivery, handler: Handler) -> None:
        job = delivery.job
        self._recorder.info(
            self._config.process,
            "execute",
            {"job_id": job.job_id, "lease_token": None, "dedup_id": delivery.dedup_id},
        )
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
        """Another replica when one does not listen, as behind a Service, but each call that was sent is sent once."""
        for _ in range(2 * len(self._config.replicas)):
            answer = await call()
            if not answer.refused:
                break
            await asyncio.sleep(_RETRY_REFUSED_S)
        return answer

    async def _commit(self, consumer: kafka.Consumer, message: kafka.Message) -> None:
        place = _place(message)
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: consumer.commit(message=message, asynchronous=False)
            )
        except kafka.KafkaException as err:
            self._recorder.info(self._config.process, "commit", {**place, "failed": err.args[0].name()})
        else:
            self._recorder.info(self._config.process, "commit", place)


def decoded(message: kafka.Message) -> Delivery:
    """Raises DecodeError, ValueError or msgspec.DecodeError for what is no event with a JSON object as payload."""
    event = JobDispatchEvent()
    event.ParseFromString(_raw(message.value()))
    if not event.job_id or not event.job_type:
        raise ValueError("a JobDispatchEvent without job_id or job_type")
    variables = msgspec.json.decode(event.job_payload or b"{}", type=dict[str, Any])
    job = Job(
        job_id=event.job_id,
        instance_id=event.instance_id,
        step_execution_id=event.step_execution_id,
        job_type=event.job_type,
        retries_remaining=event.retries_remaining,
        variables=variables,
    )
    created_at = event.created_at.ToDatetime(UTC).isoformat()
    return Delivery(job=job, dedup_id=event.dedup_id, created_at=created_at, **_place(message))


def _place(message: kafka.Message) -> dict[str, Any]:
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}


def _raw(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _new_worker(config: WorkerConfig, recorder: Recorder) -> KafkaWorker:
    options = msgspec.json.decode(os.environ.get(OPTIONS_VARIABLE, "{}"), type=dict[str, str])
    return KafkaWorker(config, Access(config.bootstrap or "", options), recorder)


if __name__ == "__main__":
    work(_new_worker)
