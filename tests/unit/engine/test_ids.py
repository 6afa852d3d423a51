"""ULIDs: shape, time, and order whatever the clock does (contract 9)."""

from __future__ import annotations

import re
import time

import pytest

from windlass.ids import UlidSource

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def milliseconds(ulid: str) -> int:
    number = 0
    for letter in ulid[:10]:
        number = number * 32 + CROCKFORD.index(letter)
    return number


def test_an_id_has_the_shape_and_the_time_of_a_ulid() -> None:
    before = time.time_ns() // 1_000_000
    ulid = UlidSource()()
    assert re.fullmatch(f"[{CROCKFORD}]{{26}}", ulid)
    assert before <= milliseconds(ulid) <= time.time_ns() // 1_000_000


def test_ids_of_one_source_are_strictly_increasing() -> None:
    source = UlidSource()
    ids = [source() for _ in range(50_000)]
    assert ids == sorted(set(ids))


def test_a_clock_that_steps_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([5_000_000_000, 5_000_000_000, 1_000_000_000, 6_000_000_000, 6_000_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    source = UlidSource()
    ids = [source() for _ in range(5)]
    assert ids == sorted(set(ids))
    assert [milliseconds(ulid) for ulid in ids] == [5000, 5000, 5000, 6000, 6000]


def test_two_sources_do_not_agree() -> None:
    first, second = UlidSource(), UlidSource()
    assert not {first() for _ in range(1_000)} & {second() for _ in range(1_000)}
