"""How a worker gets jobs of one type, as the SDKs' runners do (contract 10.4): one consumer in the type's group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import confluent_kafka as kafka

from seatrial.cluster.broker import AcknowledgeFailed, ConsumerAccess, Record
from seatrial.cluster.kafka.access import KafkaAccess
from seatrial.cluster.kafka.message import decoded, read
from seatrial.cluster.kafka.names import group_of, topic_of

_POLL_S = 0.25
Result = TypeVar("Result")


class KafkaConsumer:
    """librdkafka's calls block, so they have a thread of their own, one for each consumer.

    A record is acknowledged by committing its offset; a consumer gone for `session_timeout_s` loses its partitions.
    """

    def __init__(self, access: ConsumerAccess, job_type: str, *, name: str, session_timeout_s: float) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="consumer")
        self._consumer = kafka.Consumer(
            {
                **KafkaAccess.of_consumer(access).configured(),
                "group.id": group_of(job_type),
                "client.id": name,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": round(session_timeout_s * 1000),
                "heartbeat.interval.ms": round(session_timeout_s * 1000 / 4),
                # A topic that is created later is found within a second instead of five minutes.
                "topic.metadata.refresh.interval.ms": 1000,
                "allow.auto.create.topics": False,
            }
        )
        self._consumer.subscribe([topic_of(job_type)])

    async def next(self) -> Record | None:
        message = await self._in_thread(lambda: self._consumer.poll(_POLL_S))
        # An error in place of a message: librdkafka recovers by itself.
        if message is None or message.error() is not None:
            return None
        return decoded(read(message))

    async def acknowledge(self, record: Record) -> None:
        done = kafka.TopicPartition(record.destination, record.partition, record.position + 1)
        try:
            await self._in_thread(lambda: self._consumer.commit(offsets=[done], asynchronous=False))
        except kafka.KafkaException as err:
            raise AcknowledgeFailed(err.args[0].name()) from err

    async def close(self) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown()

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
