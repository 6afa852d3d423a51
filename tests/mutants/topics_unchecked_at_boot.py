"""A node starts whether or not the topics of its definitions exist."""

from __future__ import annotations

import mutation

from windlass.outbox_mode import OutboxMode


async def look_away(self: OutboxMode) -> None:
    """In place of the question."""


OutboxMode._check_destinations = look_away  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
