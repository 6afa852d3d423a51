"""Short words for tests of mode kafka_outbox: a node in it, topics of a test's own, and what arrived on them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from nodes import END, Boot, Running, service

from kafka_broker import KafkaBroker
from kafka_broker import variables as broker_variables
from patience import eventually
from windlass.api.gen import workflow_pb2 as pb


class KafkaCase:
    """One test's nodes and topics; every job type begins with a word of this test's own."""

    def __init__(self, boot: Boot, broker: KafkaBroker, client: str) -> None:
        self.broker = broker
        self._client = client
        self.word = secrets.token_hex(4)
        self._boot = boot

    def job_type(self, name: str) -> str:
        return f"{self.word}-{name}"

    def topic(self, name: str) -> str:
        return f"workflow.jobs.{self.job_type(name)}"

    def step(self, name: str, next_: str | None = "end", **more: Any) -> dict[str, Any]:
        return service(name, next_, **{"jobType": self.job_type(name), **more})

    async def topics(self, *names: str, partitions: int = 2) -> None:
        await self.broker.create(*(self.topic(name) for name in names), partitions=partitions)

    async def boot(self, **variables: str) -> Running:
        return await self._boot(
            **{
                **broker_variables(self.broker.values_by(self._client)),
                **variables,
            }
        )

    async def boot_polling(self, **variables: str) -> Running:
        return await self._boot(**variables)

    async def one_step(self, node: Running, name: str = "a", **more: Any) -> None:
        """Topic and definition of a single service task."""
        await self.topics(name)
        await node.define(self.step(name, **more), END)

    async def events(self, name: str = "a") -> Sequence[pb.JobDispatchEvent]:
        records = await self.broker.records_of(self.topic(name))
        return [pb.JobDispatchEvent.FromString(record.value) for record in records]

    async def drained(self, node: Running) -> None:
        """Returns when no event waits in the outbox."""

        async def empty() -> bool:
            return await node.rows("SELECT 1 FROM dispatch_outbox") == []

        await eventually(empty, within_s=30)


def logged(node: Running, msg: str) -> list[dict[str, Any]]:
    return [line for line in node.log_lines() if line["msg"] == msg]


def sample(node: Running, series: str) -> float | None:
    """The value of one series as it is exposed; None when there is no such series."""
    for line in node.node.metrics.exposition().decode().splitlines():
        if line.startswith(f"{series} "):
            return float(line.split()[-1])
    return None
