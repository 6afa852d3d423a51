"""The mutants: engines with one promise broken, each with the drill that must notice (drills.md A.4).

A mutant is a module `tests/mutants/<name>.py` that breaks one thing and starts the engine. `run.py` puts each on
trial; one that its drill does not catch means that the drill shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`caught_by`: the checks of `drill` any of which may catch it. `fast` ones run in CI."""

    name: str
    drill: str
    caught_by: tuple[str, ...]
    breaks: str
    fast: bool = False


MUTANTS: tuple[Mutant, ...] = (
    Mutant("outbox_in_polling", "M4", ("MP",), "outbox rows are written in polling mode", fast=True),
    Mutant("dispatch_metric_in_polling", "M4", ("MP",), "the broker's backlog is a metric in polling mode"),
    Mutant("lane_keeps_dead_connection", "D1", ("RT", "LV"), "a lane never comes back from a lost database"),
)
