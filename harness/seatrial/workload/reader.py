"""Whoever looks at instances while they run: mostly at those that were started last, at any replica."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from seatrial.client import RecordingClient

_EVERY_S = 0.02
_LAST = 8
_LAST_SHARE = 0.7


class Reader:
    """`started` grows while it reads: the ids of the instances whose start was acknowledged."""

    def __init__(self, client: RecordingClient, started: Sequence[str], rng: random.Random) -> None:
        self._client = client
        self._started = started
        self._rng = rng

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            if self._started:
                last = self._rng.random() < _LAST_SHARE
                await self._client.get_instance(
                    self._rng.choice(self._started[-_LAST:] if last else self._started)
                )
            await asyncio.sleep(_EVERY_S)
