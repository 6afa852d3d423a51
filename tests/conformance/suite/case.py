"""A case shows one row of the contract; and what a case says when the engine differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from suite import contract

if TYPE_CHECKING:
    from suite.context import CaseContext


class Transport(StrEnum):
    REST = "rest"
    GRPC = "grpc"


class Need(StrEnum):
    """What a case needs beside its own door."""

    REST = "rest"
    METRICS = "metrics"
    DATABASE = "database"
    LOG = "log"
    BOOT = "boot"


BOTH = (Transport.REST, Transport.GRPC)
REST = (Transport.REST,)
GRPC = (Transport.GRPC,)

Run = Callable[["CaseContext"], Awaitable[None]]


class Differs(AssertionError):
    """The engine does something else than the row says; the text has what was expected and what came."""


def same(what: str, got: object, expected: object) -> None:
    """Raises Differs unless they are equal, and of one type where JSON tells two apart (1 and true)."""
    if got != expected or isinstance(got, bool) != isinstance(expected, bool):
        raise Differs(f"{what}: expected {expected!r}, got {got!r}")


def holds(what: str, condition: object, got: object) -> None:
    """Raises Differs, with what was got instead, unless the condition is true."""
    if not condition:
        raise Differs(f"{what}: expected so, got {got!r}")


def contains(what: str, text: object, part: str) -> None:
    if part not in str(text):
        raise Differs(f"{what}: expected to hold {part!r}, got {text!r}")


@dataclass(frozen=True, slots=True)
class Case:
    rows: tuple[contract.Row, ...]
    """What one run shows: when it differs, each of these does."""
    run: Run
    transports: tuple[Transport, ...]
    """Over which of them it is run; one that asks neither door runs once, as REST."""
    needs: frozenset[Need]
    slow: bool
    module: str
    test: str
    """What shows the rows there: a function, or the table it was made from."""

    @property
    def name(self) -> str:
        """Unlike any other case's."""
        return f"{self.rows[0].key}{'+' * (len(self.rows) > 1)}"


CASES: list[Case] = []
"""All of them, once `suite.cases` is imported."""


def shows(
    *keys: str, over: tuple[Transport, ...] = BOTH, needs: Iterable[Need] = (), slow: bool = False
) -> Callable[[Run], Run]:
    """Declares that the function shows these rows; LookupError for one that the contract does not have."""

    def declare(run: Run) -> Run:
        add(*keys, run=run, over=over, needs=needs, slow=slow)
        return run

    return declare


def add(
    *keys: str,
    run: Run,
    over: tuple[Transport, ...] = BOTH,
    needs: Iterable[Need] = (),
    slow: bool = False,
    shown_by: str | None = None,
) -> None:
    """The same for a function made in a loop; `shown_by` names what a reader should look at in its file."""
    known = contract.rows()
    if unknown := [key for key in keys if key not in known]:
        raise LookupError(f"{run}: the contract has no row {unknown}; look into suite/rows")
    rows = tuple(known[key] for key in keys)
    CASES.append(Case(rows, run, over, frozenset(needs), slow, run.__module__, shown_by or run.__name__))
