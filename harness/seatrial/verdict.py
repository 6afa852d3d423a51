"""The result of a check. The worst outcome wins; only `pass` exits 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec

from seatrial.history import History


class Outcome(StrEnum):
    """From best to worst."""

    PASS = "pass"  # noqa: S105
    VACUOUS = "vacuous"
    """The situation that the drill is about never came up, so nothing was proved."""
    INVALID = "invalid"
    """The fault had no effect, or the run could not be carried out."""
    UNKNOWN = "unknown"
    """The check itself crashed; its traceback is the summary."""
    FAIL = "fail"
    """The guarantee was broken; the witnesses name the ids."""


_FROM_BEST_TO_WORST = tuple(Outcome)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """PASS for none."""
    return max(outcomes, key=_FROM_BEST_TO_WORST.index, default=Outcome.PASS)


class Witness(msgspec.Struct, frozen=True):
    """One violation: the ids at fault and the few ops around it (at most 20 are shown)."""

    text: str
    ids: tuple[str, ...] = ()
    op_indexes: tuple[int, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    check: str
    """Its id in `seatrial.check.CHECKS`."""
    guarantee: str
    """The promise, in one sentence; a failure is this sentence broken."""
    outcome: Outcome
    summary: str
    witnesses: tuple[Witness, ...] = ()
    figures: dict[str, Any] = {}
    """Numbers worth showing, units in the names (lost, duplicates, recovery_s)."""


Check = Callable[[History], Verdict]
"""Pure: a history in, a verdict out. Parameters are read from `history.header.parameters`."""


class DrillResult(msgspec.Struct, frozen=True):
    """One drill's result, from which the report and the exit code are made."""

    drill: str
    title: str
    promise: str
    outcome: Outcome
    seed: int
    schedule_hash: str
    duration_s: float
    folder: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
