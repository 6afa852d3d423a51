"""Violations as a check meets them, and the verdict they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.check.facts import Facts
from seatrial.verdict import Outcome, Verdict, Witness

WITNESSES_MAX = 50
OPS_MAX = 20


class Findings:
    """Counts every violation, keeps the first `WITNESSES_MAX`."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._witnesses: list[Witness] = []
        self.count = 0

    def add(self, text: str, *ids: str, at: Iterable[int] = ()) -> None:
        """`at`: indexes of the ops that show it; the nearest others of the same ids are added."""
        self.count += 1
        if len(self._witnesses) < WITNESSES_MAX:
            self._witnesses.append(Witness(text, ids, self._facts.around(ids, at, OPS_MAX)))

    def verdict(
        self,
        check: str,
        guarantee: str,
        summary: str,
        figures: Mapping[str, Any],
        *,
        vacuous: str | None = None,
    ) -> Verdict:
        """FAIL for any violation; else VACUOUS with that reason when one is given; else PASS."""
        outcome = Outcome.FAIL if self.count else Outcome.VACUOUS if vacuous else Outcome.PASS
        if outcome is Outcome.VACUOUS:
            summary = f"{vacuous} ({summary})"
        elif self.count:
            summary = f"{self.count} violation{'s' if self.count > 1 else ''}: {self._witnesses[0].text} ({summary})"
        return Verdict(check, guarantee, outcome, summary, tuple(self._witnesses), dict(figures))
