"""What the nodes of a cluster take of their machine, and the ability that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """What a replica's memory may not pass, by what it is enforced, and how often the kernel ended it for that."""

    limit_bytes: int
    enforced_by: str
    kills: int


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """Of a replica's process; the peak is since it was started, the log's length since `up`."""

    rss_bytes: int
    rss_peak_bytes: int
    descriptors: int
    log_bytes: int


class Resources(Protocol):
    """What the nodes take of the machine, and what they may."""

    def nodes(self) -> Sequence[str]:
        """Replicas and schedulers."""
        ...

    def memory_bound(self, replica: str) -> MemoryBound | None:
        """None where the chart gives no limit."""
        ...

    def use(self, replica: str) -> ResourceUse | None:
        """None while it does not run."""
        ...
