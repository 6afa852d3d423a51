"""Which rows of the outbox go when: the rules of order and isolation, without a broker."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from windlass.dispatch.backoff import Backoff
from windlass.dispatch.plan import plan
from windlass.job_event import OutboxRow


def row(number: int, instance: str = "i", job_type: str = "a", *, due: bool = True) -> OutboxRow:
    return OutboxRow(f"r{number}", f"j{number}", instance, job_type, b"", due)


def ids(rows: Sequence[OutboxRow]) -> list[str]:
    return [each.id for each in rows]


def test_rows_of_different_lines_go_together() -> None:
    rows = [row(1, "i"), row(2, "k"), row(3, "i", "b")]
    assert [ids(wave) for wave in plan(rows, ()).waves] == [["r1", "r2", "r3"]]


def test_rows_of_one_line_go_one_after_the_other() -> None:
    rows = [row(1), row(2, "k"), row(3), row(4), row(5, "k")]
    assert [ids(wave) for wave in plan(rows, ()).waves] == [["r1", "r2"], ["r3", "r5"], ["r4"]]


def test_what_nobody_waits_for_is_stale_and_what_is_behind_a_failed_record_is_held() -> None:
    rows = [row(1, due=False), row(2), row(3, "k"), row(4, "k", due=False)]
    found = plan(rows, {("k", "a")})
    assert [ids(wave) for wave in found.waves] == [["r2"]]
    assert ids(found.stale) == ["r1", "r4"]
    assert ids(found.held) == ["r3"]


ROWS = st.lists(st.tuples(st.sampled_from("ikm"), st.sampled_from("ab"), st.booleans()), max_size=30).map(
    lambda found: [row(n, i, t, due=due) for n, (i, t, due) in enumerate(found)]
)
LINES = st.sets(st.tuples(st.sampled_from("ikm"), st.sampled_from("ab")))


@given(ROWS, LINES)
def test_every_row_has_one_fate_and_no_line_is_overtaken(
    rows: list[OutboxRow], held: set[tuple[str, str]]
) -> None:
    found = plan(rows, held)
    going = [each for wave in found.waves for each in wave]
    assert sorted(ids([*going, *found.stale, *found.held])) == sorted(ids(rows))
    assert all(found.waves)
    for wave in found.waves:
        assert len({each.line for each in wave}) == len(wave)
    for line in {each.line for each in going}:
        assert ids([e for e in going if e.line == line]) == ids(
            [r for r in rows if r.line == line and r.is_due]
        )
        assert line not in held


# -- backing off


def test_each_key_waits_twice_as_long_up_to_the_most_and_begins_anew_after_a_success() -> None:
    backoff: Backoff[str] = Backoff(0.5, 3.0)
    assert [backoff.failed("a", float(n)) for n in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.succeeded("a")
    assert not backoff.is_known("a")
    assert backoff.failed("a", 9.0) == 0.5


def test_keys_wait_apart_from_each_other() -> None:
    backoff: Backoff[str] = Backoff(1.0, 8.0)
    backoff.failed("a", 0.0)
    backoff.failed("a", 1.0)
    backoff.failed("b", 2.0)
    assert backoff.waiting(2.5) == ["a", "b"]
    assert backoff.next_s(2.5) == 0.5
    assert backoff.waiting(3.0) == []
    assert backoff.next_s(3.0) is None
    assert backoff.is_known("b")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100)), max_size=40))
def test_a_wait_is_never_longer_than_the_most(failures: list[tuple[str, float]]) -> None:
    backoff: Backoff[str] = Backoff(0.25, 2.0)
    for key, now_s in sorted(failures, key=lambda each: each[1]):
        assert 0.25 <= backoff.failed(key, now_s) <= 2.0
        assert backoff.waiting(now_s + 2.0) == []
