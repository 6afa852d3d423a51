"""A node starts whether or not the topics of its definitions exist."""

from __future__ import annotations

import mutation

from windlass.kafka_mode import KafkaMode


async def look_away(self: KafkaMode) -> None:
    """In place of the question."""


KafkaMode._check_topics = look_away  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
