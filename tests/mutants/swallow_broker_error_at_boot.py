"""A broker that does not answer at boot is met with a shrug (contract 11 row 15)."""

from __future__ import annotations

import contextlib

import mutation

from windlass.dispatch.kafka.publisher import KafkaPublisher
from windlass.errors import EngineError

honest = KafkaPublisher.handshake


async def shrug(self: KafkaPublisher) -> None:
    with contextlib.suppress(EngineError):
        await honest(self)


KafkaPublisher.handshake = shrug  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
