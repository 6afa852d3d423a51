"""Whether the topics that job types need can be published to; watched from upload on (contract 6.6)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from windlass.dispatch.event import topic_of
from windlass.dispatch.publisher import Publisher

INTERVAL_S = 15.0


class TopicWatch:
    """Knows the job types of all definitions, as far as this node has heard, and which of their topics will not do."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        became_unusable: Callable[[str, str], None],
        became_usable: Callable[[str], None],
    ) -> None:
        self._publisher = publisher
        self._became_unusable = became_unusable
        self._became_usable = became_usable
        self.job_types: set[str] = set()
        self.unusable: dict[str, str] = {}
        """By job type: the reason, in the broker's words."""

    async def learn(self, job_types: Collection[str]) -> None:
        """New ones are looked at now. Raises Unavailable when the broker does not answer; then the next look does."""
        new = set(job_types) - self.job_types
        await self._look(new)
        self.job_types |= new

    async def look_again(self) -> None:
        """Those that would not do."""
        await self._look(set(self.unusable))

    async def _look(self, job_types: set[str]) -> None:
        topics = {topic_of(job_type): job_type for job_type in job_types}
        found = await self._publisher.unusable(topics)
        for topic, job_type in topics.items():
            if topic in found:
                self.blame(job_type, found[topic])
            elif self.unusable.pop(job_type, None) is not None:
                self._became_usable(job_type)

    def blame(self, job_type: str, reason: str) -> None:
        """Told by whoever met the failure."""
        if job_type not in self.unusable:
            self.unusable[job_type] = reason
            self._became_unusable(job_type, reason)
