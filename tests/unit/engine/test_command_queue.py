"""How commands are taken for batches, and what the queue says of the time that one more would wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from windlass.commands import CancelInstance, Command, CompleteJob, FailJob, StartInstance
from windlass.store.batch import Answer
from windlass.store.command_queue import CommandQueue, Pending, work_of

COUNT_MAX = 10
BYTES_MAX = 100_000


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> CommandQueue:
    return CommandQueue(COUNT_MAX, BYTES_MAX, clock)


def command(name: str, size: int = 0) -> Command:
    return StartInstance(name, None, {}, None, sent_bytes=size)


def put(queue: CommandQueue, name: str, size: int = 0) -> asyncio.Future[Answer]:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    queue.put(command(name, size), future)
    return future


def names(taken: list[Pending]) -> list[str]:
    return [pending.command.definition_id for pending in taken if isinstance(pending.command, StartInstance)]


def serve(queue: CommandQueue, clock: Clock, took_s: float) -> list[Pending]:
    taken, began_s = queue.take(), clock.now_s
    clock.now_s += took_s
    queue.served(taken, began_s)
    return taken


async def test_a_batch_ends_at_a_number_of_commands(queue: CommandQueue) -> None:
    for number in range(COUNT_MAX + 3):
        put(queue, str(number))
    assert names(queue.take()) == [str(number) for number in range(COUNT_MAX)]
    assert len(queue) == 3


async def test_a_batch_ends_at_an_amount_of_work(queue: CommandQueue) -> None:
    size = 14_000
    assert 2 * work_of(size) < BYTES_MAX < 3 * work_of(size)
    for name in "abc":
        put(queue, name, size)
    assert names(queue.take()) == ["a", "b"]
    assert names(queue.take()) == ["c"]


async def test_a_command_of_more_work_than_a_batch_may_have_is_one_by_itself(queue: CommandQueue) -> None:
    put(queue, "small")
    put(queue, "large", BYTES_MAX)
    put(queue, "next")
    assert names(queue.take()) == ["small"]
    assert names(queue.take()) == ["large"]
    assert names(queue.take()) == ["next"]


@pytest.mark.parametrize(
    "large",
    [
        FailJob("j", "w", None, "x" * BYTES_MAX, retryable=False),
        CancelInstance("i", "x" * BYTES_MAX),
        CompleteJob("j", "w", None, {}, sent_bytes=BYTES_MAX),
    ],
)
async def test_a_long_text_is_work_like_variables(queue: CommandQueue, large: Command) -> None:
    put(queue, "small")
    queue.put(large, asyncio.get_running_loop().create_future())
    assert names(queue.take()) == ["small"]
    assert [pending.command for pending in queue.take()] == [large]


async def test_whose_caller_has_left_is_dropped(queue: CommandQueue) -> None:
    put(queue, "gone", BYTES_MAX).cancel()
    put(queue, "here")
    assert names(queue.take()) == ["here"]
    assert len(queue) == 0
    assert queue.wait_s() == 0


async def test_what_is_put_back_comes_first_in_its_order(queue: CommandQueue) -> None:
    for name in "abc":
        put(queue, name)
    taken = queue.take()
    put(queue, "d")
    queue.put_back(taken[1:])
    assert names(queue.take()) == ["b", "c", "d"]


async def test_nobody_waits_for_an_empty_queue(queue: CommandQueue, clock: Clock) -> None:
    for name in "abc":
        put(queue, name)
    serve(queue, clock, took_s=30)
    assert queue.wait_s() == 0


async def test_the_wait_is_what_those_before_need(queue: CommandQueue, clock: Clock) -> None:
    for number in range(5 * COUNT_MAX):
        put(queue, str(number))
    serve(queue, clock, took_s=0.5)
    # Four batches of half a second wait; the first command has waited for one.
    assert queue.wait_s() == pytest.approx(0.6)
    for _ in range(20):
        serve(queue, clock, took_s=0.5)
    for number in range(5 * COUNT_MAX):
        put(queue, str(number))
    assert queue.wait_s() == pytest.approx(2.5, rel=0.01)


async def test_the_wait_counts_the_work_of_large_commands(queue: CommandQueue, clock: Clock) -> None:
    size = (BYTES_MAX * 4) // 3
    for _ in range(40):
        put(queue, "large", size)
        serve(queue, clock, took_s=4.0)
    for _ in range(3):
        put(queue, "large", size)
    assert queue.wait_s() == pytest.approx(12, rel=0.01)
    put(queue, "large", size // 2)
    assert queue.wait_s() == pytest.approx(14, rel=0.05)


async def test_the_wait_grows_while_nothing_moves(queue: CommandQueue, clock: Clock) -> None:
    put(queue, "first")
    serve(queue, clock, took_s=0.01)
    put(queue, "stuck")
    assert queue.wait_s() < 0.1
    clock.now_s += 7
    put(queue, "another")
    assert queue.wait_s() == pytest.approx(7)


async def test_one_fast_batch_ends_the_fear_of_slow_ones(queue: CommandQueue, clock: Clock) -> None:
    for _ in range(10):
        put(queue, "slow")
        serve(queue, clock, took_s=20)
    for number in range(3 * COUNT_MAX):
        put(queue, str(number))
    assert queue.wait_s() > 20
    serve(queue, clock, took_s=0.02)
    assert queue.wait_s() < 0.1
