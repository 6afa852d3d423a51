"""In which order the rows of a batch are published: pure, so that it can be tested without a broker.

The rows of one instance and job type are a line: they keep their order. The rows of a wave are published together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from windlass.job_event import Line, OutboxRow


class Plan(NamedTuple):
    waves: Sequence[Sequence[OutboxRow]]
    """No wave holds two rows of one line, and each waits for the one before, so nothing overtakes a failed message."""
    stale: Sequence[OutboxRow]
    """Rows to be removed without being published."""
    held: Sequence[OutboxRow]
    """Rows of lines that wait."""


def plan(rows: Iterable[OutboxRow], held_lines: Collection[Line]) -> Plan:
    """`rows` in the order of the outbox; those of `held_lines` are not published."""
    waves: list[list[OutboxRow]] = []
    depth: dict[Line, int] = {}
    stale, held = [], []
    for row in rows:
        if not row.is_due:
            stale.append(row)
        elif row.line in held_lines:
            held.append(row)
        else:
            wave = depth.get(row.line, 0)
            depth[row.line] = wave + 1
            if wave == len(waves):
                waves.append([])
            waves[wave].append(row)
    return Plan(waves, stale, held)
