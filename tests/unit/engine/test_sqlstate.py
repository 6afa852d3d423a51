"""Every SQLSTATE that PostgreSQL knows has its meaning, and the driver's errors follow it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from windlass.errors import BadRequest, Conflict, Defect, Unavailable
from windlass.store.driver import failure_of, is_connection_loss, translate
from windlass.store.sqlstate import CLASSES, CODES, RETRIED, Failure, classify, remedy

#: Appendix A of PostgreSQL's manual, all classes; what the engine makes of each one's codes, in its order of classes.
MANUAL = """
00 01 02 03 09 0A 0B 0F 0L 0P 0Z 10 20 21 23 24 25 27 2B 2D 2F 34 38 39 3B 3F 42 44 55 F0 HV P0 XX: DEFECT
08 3D: CONNECTION_LOST
22 54: CALLERS_DATA
26: WRONG_SESSION
28: MISSING_RIGHT
40 53 57 58 72: TRANSIENT
"""
SPECIAL = """
25006 42P05 53300: WRONG_SESSION
25P03 25P04 40003 57P01 57P02 57P03 57P04 57P05: CONNECTION_LOST
40002: DEFECT
42501: MISSING_RIGHT
55006 55P03: TRANSIENT
"""


def table(text: str) -> dict[str, Failure]:
    found = {}
    for line in text.strip().splitlines():
        states, _, failure = line.partition(": ")
        found.update(dict.fromkeys(states.split(), Failure[failure]))
    return found


def driver_errors() -> list[type[asyncpg.PostgresError]]:
    """The driver has a class of its own for each code of the manual."""
    found: list[Any] = [kind for kind in vars(asyncpg.exceptions).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate]


def test_the_table_is_the_manuals() -> None:
    assert dict(CLASSES) == table(MANUAL)
    assert dict(CODES) == table(SPECIAL)
    assert all(CLASSES[code[:2]] is not failure for code, failure in CODES.items()), (
        "no exception without need"
    )


def test_every_code_of_the_driver_is_in_a_class_of_the_table() -> None:
    kinds = driver_errors()
    assert len(kinds) > 200
    assert {kind.sqlstate[:2] for kind in kinds} - CLASSES.keys() == set()
    assert CODES.keys() - {kind.sqlstate for kind in kinds} <= {"25P04"}, "newer than the driver"


@pytest.mark.parametrize("kind", driver_errors(), ids=lambda kind: f"{kind.sqlstate}-{kind.__name__}")
def test_every_error_is_answered_as_its_class_says(kind: type[asyncpg.PostgresError]) -> None:
    err = kind("told\nmore")
    answers = {
        Failure.CONNECTION_LOST: Unavailable,
        Failure.WRONG_SESSION: Unavailable,
        Failure.TRANSIENT: Unavailable,
        Failure.CALLERS_DATA: BadRequest,
        Failure.MISSING_RIGHT: Defect,
        Failure.DEFECT: Defect,
    }
    told = table(SPECIAL).get(kind.sqlstate) or table(MANUAL)[kind.sqlstate[:2]]
    if kind is asyncpg.InvalidCachedStatementError:
        told = Failure.TRANSIENT
    assert failure_of(err) is told
    answer = translate(err)
    assert type(answer) is answers[told]
    assert "told" in answer.reason
    assert "more" not in answer.reason
    assert is_connection_loss(err) is (told in {Failure.CONNECTION_LOST, Failure.WRONG_SESSION})


@pytest.mark.parametrize("unknown", ["", "99999", "ZZ000", "2"])
def test_an_unknown_code_is_a_defect(unknown: str) -> None:
    assert classify(unknown) is Failure.DEFECT


@pytest.mark.parametrize(
    ("err", "failure"),
    [
        (TimeoutError(), Failure.CONNECTION_LOST),
        (ConnectionResetError(), Failure.CONNECTION_LOST),
        (asyncio.IncompleteReadError(b"", 1), Failure.CONNECTION_LOST),
        (asyncpg.InterfaceError("closed"), Failure.CONNECTION_LOST),
        (asyncpg.InternalClientError("lost track"), Failure.CONNECTION_LOST),
        (ValueError("ours"), Failure.DEFECT),
    ],
)
def test_what_has_no_code_is_the_way_to_the_database_or_a_defect(err: Exception, failure: Failure) -> None:
    assert failure_of(err) is failure


def test_an_error_of_the_engine_is_left_as_it_is() -> None:
    told = Conflict("no")
    assert translate(told) is told


def test_what_is_refused_for_good_has_a_remedy_that_fits() -> None:
    for code in {*CODES, *(f"{name}000" for name in CLASSES)}:
        assert bool(remedy(code)) is (classify(code) in RETRIED), code
    assert "primary" in remedy("25006")
    assert "max_connections" in remedy("53300")
