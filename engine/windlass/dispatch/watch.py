"""Whether the destinations that job types need can be published to; watched from upload on (contract 6.6)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from windlass.dispatch.broker import Broker

INTERVAL_S = 15.0


class DestinationWatch:
    """Keeps the job types of all definitions that this node knows, and which of their destinations are unusable."""

    def __init__(
        self,
        broker: Broker,
        *,
        became_unusable: Callable[[str, str], None],
        became_usable: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._became_unusable = became_unusable
        self._became_usable = became_usable
        self.job_types: set[str] = set()
        self.unusable: dict[str, str] = {}
        """By job type: the reason, in the broker's words."""

    async def learn(self, job_types: Collection[str]) -> None:
        """Checks new ones now. Raises Unavailable when the broker does not answer; the next check includes them."""
        new = set(job_types) - self.job_types
        await self._look(new)
        self.job_types |= new

    async def look_again(self) -> None:
        """The unusable ones."""
        await self._look(set(self.unusable))

    async def _look(self, job_types: set[str]) -> None:
        found = await self._broker.unusable(job_types)
        for job_type in job_types:
            if job_type in found:
                self.blame(job_type, found[job_type])
            elif self.unusable.pop(job_type, None) is not None:
                self._became_usable(job_type)

    def blame(self, job_type: str, reason: str) -> None:
        """Called by the part that met the failure."""
        if job_type not in self.unusable:
            self.unusable[job_type] = reason
            self._became_unusable(job_type, reason)
