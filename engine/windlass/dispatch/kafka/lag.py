"""How far consumers are behind, in seconds, computed from offsets alone: no record is read.

Each measurement records the end offset of a partition. A group's lag is the time since the end offset passed the
offset that the group has committed, interpolated between two measurements; records older than the first measurement
count from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from itertools import pairwise
from typing import NamedTuple

from windlass.dispatch.kafka.publisher import KafkaPublisher, PartitionEnds
from windlass.dispatch.kafka.topics import group_of, topic_of
from windlass.telemetry.metrics import ShowsEach

INTERVAL_S = 5.0
TOPICS_PER_LOOK_MAX = 5
"""Each takes a client of its own for a moment; of more topics some are looked at in turn."""
NOTES_MAX = 720


class Note(NamedTuple):
    at_s: float
    end: int


class PartitionHistory:
    """Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque(maxlen=NOTES_MAX)

    def lag_s(self, now_s: float, found: PartitionEnds) -> float:
        """Records the end offset and returns for how long the first uncommitted record has been there."""
        self._notes.append(Note(now_s, found.end))
        committed = max(0, found.committed)
        while len(self._notes) > 1 and self._notes[1].end <= committed:
            self._notes.popleft()
        if found.end <= committed:
            return 0.0
        if self._notes[0].end > committed:
            return now_s - self._notes[0].at_s
        for before, after in pairwise(self._notes):
            if after.end > committed:
                share = (committed - before.end) / (after.end - before.end)
                return now_s - (before.at_s + share * (after.at_s - before.at_s))
        return 0.0


class LagProbe:
    """Runs only on the leader; on other nodes its series are removed."""

    def __init__(
        self,
        publisher: KafkaPublisher,
        leads: Callable[[], bool],
        job_types: Callable[[], Collection[str]],
        gauge: ShowsEach,
        clock: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._leads = leads
        self._job_types = job_types
        self._gauge = gauge
        self._clock = clock
        self._histories: dict[tuple[str, str, int], PartitionHistory] = {}
        self._turn = 0

    async def look(self) -> None:
        """Raises Unavailable when the broker does not answer; the next look goes on."""
        if not self._leads():
            self._forget()
            return
        job_types = sorted(self._job_types())
        for _ in range(min(len(job_types), TOPICS_PER_LOOK_MAX)):
            self._turn = (self._turn + 1) % len(job_types)
            topic, group = topic_of(job_types[self._turn]), group_of(job_types[self._turn])
            for partition, found in (await self._publisher.ends(topic, group)).items():
                history = self._histories.setdefault((topic, group, partition), PartitionHistory())
                self._gauge.labels(topic, group, str(partition)).set(history.lag_s(self._clock(), found))

    def _forget(self) -> None:
        for topic, group, partition in self._histories:
            self._gauge.remove(topic, group, str(partition))
        self._histories.clear()
