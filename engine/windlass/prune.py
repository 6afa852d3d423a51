"""The command `windlass prune`: its words, and what it says."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from windlass.store.retention import INSTANCES, TABLES
from windlass.sweep.retention import Removed

TELL_INTERVAL_S = 1.0
AGE_DAYS_MAX = 36_500
_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([dhms])")

_EPILOG = """\
Running instances are never touched, nor are definitions. Small batches, each a transaction of its own, leave room for
the load; the command may run on several machines at once, and beside WINDLASS_RETENTION_DAYS. Ctrl-C ends it after the
batch at hand; run it again for the rest. The database is that of WE_POSTGRES_DSN.

examples:
  windlass prune --older-than 30d --dry-run
  windlass prune --older-than 12h
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for. `age` is `older_than_s` as it was written."""

    age: str
    older_than_s: float
    dry_run: bool


def parse(words: Sequence[str]) -> Order:
    """A wrong command line ends the process with 2, a call for help with 0."""
    parser = argparse.ArgumentParser(
        prog="windlass prune",
        description="Remove finished instances with everything that belongs to them, and old audit rows of none.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--older-than",
        required=True,
        type=_age,
        metavar="AGE",
        help="how long ago an instance must have finished, by the database's clock: 30d, 12h, 90m or 45s",
    )
    parser.add_argument("--dry-run", action="store_true", help="count what would go, and change nothing")
    given = parser.parse_args(words)
    age, older_than_s = given.older_than
    return Order(age, older_than_s, given.dry_run)


def _age(text: str) -> tuple[str, float]:
    match = _AGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be a number with its unit d, h, m or s, as 30d or 12h, got {text!r}"
        )
    age_s = float(match[1]) * _UNITS_S[match[2]]
    if not 0 < age_s <= AGE_DAYS_MAX * _UNITS_S["d"]:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {AGE_DAYS_MAX}d, got {text!r}")
    return text, age_s


class Account:
    """Adds up passes and tells on standard output how far they are."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._past = Removed()
        self._told_s = time.monotonic()
        self._did = "would remove" if order.dry_run else "removed"

    def told(self, now: Removed, _: Mapping[str, int]) -> None:
        if time.monotonic() - self._told_s >= TELL_INTERVAL_S:
            self._told_s = time.monotonic()
            rows = self._past.rows + now.rows
            _say(f"... {self._did} {rows[INSTANCES]:,} instances so far, {rows.total():,} rows")

    def add(self, done: Removed) -> None:
        """A pass has ended; what it left counts from the last one."""
        self._past.rows.update(done.rows)
        self._past.in_use, self._past.held, self._past.complete = done.in_use, done.held, done.complete

    def conclude(self) -> int:
        """The exit code: 0 when the last pass got to its end, else 1."""
        past = self._past
        _say(f"{self._did} {past.rows[INSTANCES]:,} instances that finished more than {self._order.age} ago:")
        for table in TABLES:
            if past.rows[table] or table == INSTANCES:
                _say(f"  {table:<24}{past.rows[table]:>12,} rows")
        if past.held:
            _say(f"left {past.held:,} instances whose chained child is still to be started or still runs")
        if past.in_use:
            _say(f"left {past.in_use:,} instances that were in use; run it again")
        if not past.complete:
            sys.stderr.write(
                "windlass prune: stopped by a signal before the end; run it again for the rest\n"
            )
        return 0 if past.complete else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
