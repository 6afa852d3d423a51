"""The one loop that waits with an end, in its three forms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from seatrial.deadline import Deadline, until, until_blocking, until_passes

T = TypeVar("T")
BOUNDS = {"within_s": 3.0, "every_s": 1.0}


class TooLate(Exception):
    """What a caller has made of it."""


class Clock:
    """Moves when somebody sleeps, and by what each look takes."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, for_s: float) -> None:
        self.now_s += for_s
        if for_s:
            self.sleeps.append(for_s)

    async def sleep_async(self, for_s: float) -> None:
        self.sleep(for_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("seatrial.deadline.time.monotonic", clock.monotonic)
    monkeypatch.setattr("seatrial.deadline.time.sleep", clock.sleep)
    monkeypatch.setattr("seatrial.deadline.asyncio.sleep", clock.sleep_async)
    return clock


class Look:
    """Answers in turn, the last answer for ever."""

    def __init__(self, *answers: Any, takes_s: float = 0.0, clock: Clock | None = None) -> None:
        self.answers = list(answers)
        self.takes_s = takes_s
        self.clock = clock
        self.count = 0

    def __call__(self) -> Any:
        self.count += 1
        if self.clock is not None:
            self.clock.now_s += self.takes_s
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def wait(self) -> Any:
        return self()


async def in_coroutine(look: Look) -> Any:
    return await until(look.wait, **BOUNDS, otherwise=TooLate)


async def in_coroutine_without_waiting(look: Look) -> Any:
    return await until(look, **BOUNDS, otherwise=TooLate)


async def in_thread(look: Look) -> Any:
    return until_blocking(look, **BOUNDS, otherwise=TooLate)


@pytest.fixture(params=[in_coroutine, in_coroutine_without_waiting, in_thread])
def waits(request: pytest.FixtureRequest) -> Callable[[Look], Awaitable[Any]]:
    found: Callable[[Look], Awaitable[Any]] = request.param
    return found


async def test_what_holds_at_once_is_returned_without_a_pause(clock: Clock, waits: Any) -> None:
    assert await waits(Look("here")) == "here"
    assert clock.sleeps == []


async def test_what_holds_later_is_returned_after_as_many_pauses(clock: Clock, waits: Any) -> None:
    assert await waits(Look(None, "", 7)) == 7
    assert clock.sleeps == [1.0, 1.0]


async def test_what_never_holds_is_looked_at_until_the_time_is_over(clock: Clock, waits: Any) -> None:
    look = Look(0)
    with pytest.raises(TooLate):
        await waits(look)
    assert look.count == 4
    assert clock.now_s == 103.0


async def test_the_last_pause_ends_with_the_time(clock: Clock, waits: Any) -> None:
    look = Look(None, takes_s=0.75, clock=clock)
    with pytest.raises(TooLate):
        await waits(look)
    assert clock.sleeps == [1.0, 0.5]
    assert look.count == 3


async def test_what_a_look_raises_goes_through(clock: Clock, waits: Any) -> None:
    look = Look(None, KeyError("broken"), "never asked")
    with pytest.raises(KeyError, match="broken"):
        await waits(look)
    assert look.count == 2


async def test_a_check_passes_when_it_has_nothing_to_say(clock: Clock) -> None:
    await until_passes(Look("503", "", None).wait, **BOUNDS, otherwise=TooLate)
    assert clock.sleeps == [1.0, 1.0]


async def test_the_error_is_made_of_the_last_cause(clock: Clock) -> None:
    with pytest.raises(TooLate, match=r"^no answer$"):
        await until_passes(Look("503", "refused", "no answer").wait, **BOUNDS, otherwise=TooLate)


async def test_what_a_check_raises_goes_through(clock: Clock) -> None:
    with pytest.raises(OSError, match="broken"):
        await until_passes(Look("503", OSError("broken")).wait, **BOUNDS, otherwise=TooLate)


async def test_a_cancellation_between_two_looks_goes_through() -> None:
    look = Look(None)
    task = asyncio.create_task(until(look.wait, within_s=3600, every_s=3600, otherwise=TooLate))
    while not look.count:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_a_cancellation_within_a_look_goes_through() -> None:
    entered = asyncio.Event()

    async def hang() -> bool:
        entered.set()
        await asyncio.Event().wait()
        return True

    task: asyncio.Task[bool] = asyncio.create_task(until(hang, within_s=3600, every_s=1, otherwise=TooLate))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_the_loop_of_a_thread_does_not_hold_up_an_event_loop() -> None:
    """And the real clock is the one that is looked at."""
    began_s = time.monotonic()
    with pytest.raises(TooLate):
        await asyncio.to_thread(until_blocking, lambda: False, within_s=0.05, every_s=0.01, otherwise=TooLate)
    assert time.monotonic() - began_s >= 0.05


def test_a_deadline_tells_what_is_left_of_it(clock: Clock) -> None:
    deadline = Deadline(2.0)
    clock.now_s += 0.5
    assert (deadline.remaining_s, deadline.is_over) == (1.5, False)
    clock.now_s += 9
    assert (deadline.remaining_s, deadline.is_over) == (0.0, True)


def test_a_deadline_that_is_over_still_has_one_attempt(clock: Clock) -> None:
    assert sum(1 for _ in Deadline(0).attempts(1.0)) == 1
