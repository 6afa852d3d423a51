"""A broker without Kafka: what the outbox mode needs of one and no more, in this process's memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence

from windlass.dispatch.broker import Message, Probe, Refusal, Scope
from windlass.errors import BootRefused, Unavailable
from windlass.job_event import JobEvent


class MemoryBroker:
    """Implements `windlass.dispatch.broker.Broker` with queues for destinations."""

    batch_size = 50

    def __init__(self, *job_types: str) -> None:
        self.job_types = set(job_types)
        """Those that have a queue."""
        self.is_away = False
        self.refused_messages: set[str] = set()
        """Instances whose messages are refused one by one."""
        self.messages: list[Message] = []
        self.said: list[str] = []
        self.probed = 0

    @property
    def system(self) -> str:
        return "memory"

    def destination(self, job_type: str) -> str:
        return f"queue/{job_type}"

    def encode(self, event: JobEvent) -> bytes:
        return json.dumps({"job": event.job_id, "type": event.job_type}).encode()

    async def check(self) -> None:
        await self.handshake()
        self.said.append("checked")

    async def check_destinations(self, job_types: Sequence[str]) -> None:
        missing = await self.unusable(job_types)
        if missing:
            raise BootRefused(f"queues are missing: {', '.join(missing)}; declare them")
        self.said.append("destinations")

    def report_started(self) -> None:
        self.said.append("started")

    async def handshake(self) -> None:
        if self.is_away:
            raise BootRefused("the queues are away")

    async def unusable(self, job_types: Collection[str]) -> Mapping[str, str]:
        if self.is_away:
            raise Unavailable("the queues are away")
        return {job_type: "no such queue" for job_type in job_types if job_type not in self.job_types}

    async def publish(self, messages: Sequence[Message]) -> Sequence[Refusal | None]:
        return [self._outcome(message) for message in messages]

    def _outcome(self, message: Message) -> Refusal | None:
        if self.is_away:
            return Refusal(Scope.BROKER, "AWAY", "the queues are away")
        if message.job_type not in self.job_types:
            return Refusal(Scope.DESTINATION, "MISSING", "no such queue")
        if message.ordering_key in self.refused_messages:
            return Refusal(Scope.MESSAGE, "REFUSED", "nobody wants this one")
        self.messages.append(message)
        return None

    def recall(self) -> None:
        self.said.append("recalled")

    def probes(
        self,
        leads: Callable[[], bool],
        job_types: Callable[[], Collection[str]],
    ) -> Sequence[Probe]:
        async def look() -> None:
            if leads():
                self.probed += len(job_types())

        return [Probe("depth", 0.05, look)]

    async def close(self) -> None:
        self.said.append("closed")
