"""Which rows of a batch are published when: pure, so that its rules can be tested without a broker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from windlass.job_event import Line, OutboxRow


class Plan(NamedTuple):
    waves: Sequence[Sequence[OutboxRow]]
    """No wave holds two rows of one line, and each waits for the one before: nothing overtakes a message that fails."""
    stale: Sequence[OutboxRow]
    """To be removed unpublished."""
    held: Sequence[OutboxRow]
    """Of lines that wait."""


def plan(rows: Iterable[OutboxRow], held_lines: Collection[Line]) -> Plan:
    """From rows in their order; those of `held_lines` stay where they are."""
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
