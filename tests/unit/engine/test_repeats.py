"""What is said again and again is told now and then, with its number; memory is bounded."""

from __future__ import annotations

from windlass.telemetry.repeats import PAUSE_S, TEXTS_MAX, Repeats


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_first_is_told_and_then_one_in_each_pause_with_the_number_of_the_others() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert repeats.count("away") == 0
    assert [repeats.count("away") for _ in range(7)] == [None] * 7
    assert repeats.count("another") == 0
    clock.now_s += PAUSE_S
    assert repeats.count("away") == 7
    assert repeats.count("away") is None


def test_what_was_not_told_is_known_at_the_end() -> None:
    repeats = Repeats(Clock())
    for text in ("a", "a", "b", "a"):
        repeats.count(text)
    assert list(repeats.untold()) == [("a", 2)]
    assert list(repeats.untold()) == []
    assert repeats.count("a") == 0


def test_few_texts_are_remembered() -> None:
    repeats = Repeats(Clock())
    for number in range(3 * TEXTS_MAX):
        assert repeats.count(str(number)) == 0
    assert repeats.count("0") == 0
    assert repeats.count(str(3 * TEXTS_MAX - 1)) is None
