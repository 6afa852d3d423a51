"""Jobs that waited when the mode changed to kafka_outbox get no event (contract 6.7)."""

from __future__ import annotations

import mutation

from windlass.sweep.adoption import AdoptionSweep


async def adopt_nothing(self: AdoptionSweep) -> None:
    """In place of the look."""


AdoptionSweep.sweep = adopt_nothing  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    mutation.serve()
