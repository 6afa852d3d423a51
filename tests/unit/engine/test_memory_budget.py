"""The memory budget: what is drawn, by whom first, and what the process may have at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from windlass.config import ConfigError, Settings, settings_from_env, variables
from windlass.memory import LIMIT_BYTES_MIN, MIB, SMALL_BYTES, Budget, Use
from windlass.memory_limit import group_limit_bytes, usable_bytes
from windlass.sweep.memory import MemoryWatch, resident_bytes

GIB = 1024 * MIB
V2 = {"/proc/self/cgroup": "0::/\n"}
NESTED = {"/proc/self/cgroup": "0::/kubepods.slice/pod1/engine\n"}
V1 = {"/proc/self/cgroup": "5:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n"}


def budget() -> Budget:
    """Of 800 MiB: each use has a hundred for itself, and four hundred are for all."""
    made = Budget(1000 * MIB, idle_bytes=100 * MIB)
    assert made.capacity_bytes == 800 * MIB
    return made


# -- the limit


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        pytest.param({}, None, id="no files at all"),
        pytest.param(V2, None, id="v2, a root without limits"),
        pytest.param(V2 | {"/sys/fs/cgroup/memory.max": "max\n"}, None, id="v2, no limit"),
        pytest.param(V2 | {"/sys/fs/cgroup/memory.max": "536870912\n"}, 512 * MIB, id="v2, a container"),
        pytest.param(V2 | {"/sys/fs/cgroup/memory.max": "many\n"}, None, id="v2, nonsense"),
        pytest.param(
            NESTED
            | {
                "/sys/fs/cgroup/kubepods.slice/pod1/engine/memory.max": "max\n",
                "/sys/fs/cgroup/kubepods.slice/pod1/memory.max": "268435456\n",
                "/sys/fs/cgroup/kubepods.slice/memory.max": "8589934592\n",
            },
            256 * MIB,
            id="v2, the group around it is the tightest",
        ),
        pytest.param(
            V1 | {"/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": "536870912\n"},
            512 * MIB,
            id="v1, on the host",
        ),
        pytest.param(
            V1 | {"/sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"},
            256 * MIB,
            id="v1, a container",
        ),
    ],
)
def test_the_limit_is_the_tightest_around_the_process(files: Mapping[str, str], limit: int | None) -> None:
    assert group_limit_bytes(files.get) == limit


def test_without_a_limit_half_of_the_machine_is_taken() -> None:
    assert usable_bytes(8 * GIB, None) == 4 * GIB
    assert usable_bytes(8 * GIB, 2**63 - 4096) == 4 * GIB
    assert usable_bytes(8 * GIB, 7 * GIB) == 7 * GIB


def test_a_limit_that_is_too_small_is_refused_with_the_least_one() -> None:
    env = {"WE_POSTGRES_DSN": "postgresql://u@db/w", "WINDLASS_MEMORY_BYTES_MAX": str(LIMIT_BYTES_MIN - 1)}
    with pytest.raises(ConfigError, match=f"WINDLASS_MEMORY_BYTES_MAX must be >= {LIMIT_BYTES_MIN}"):
        settings_from_env(env)
    default = next(each for each in variables() if each.name == "WINDLASS_MEMORY_BYTES_MAX").default
    assert isinstance(default, int)
    assert default >= LIMIT_BYTES_MIN
    assert Settings(postgres_dsn="postgresql:///d").memory_bytes_max == default


def test_of_the_limit_the_idle_process_and_a_tenth_are_set_aside() -> None:
    assert Budget(512 * MIB).capacity_bytes == 512 * MIB - 512 * MIB // 10 - 96 * MIB
    assert Budget(LIMIT_BYTES_MIN).capacity_bytes > 0


# -- drawing


def test_what_is_drawn_is_there_again_when_it_is_given_back() -> None:
    memory = budget()
    before = [memory.room(use) for use in Use]
    for use in Use:
        assert memory.draw(use, 90 * MIB)
        assert memory.used(use) == 90 * MIB
    for use in Use:
        memory.give_back(use, 90 * MIB)
    assert [memory.room(use) for use in Use] == before


def test_no_use_takes_what_another_has_for_itself() -> None:
    memory = budget()
    for use in Use:
        while memory.draw(use, MIB):
            pass
    assert sum(memory.used(use) for use in Use) <= 800 * MIB
    assert all(memory.used(use) >= 100 * MIB for use in Use)
    assert memory.used(Use.BODY) <= 200 * MIB


def test_large_draws_leave_a_part_to_small_ones() -> None:
    memory = budget()
    while memory.draw(Use.BODY, SMALL_BYTES + 1):
        pass
    assert all(memory.draw(Use.BODY, SMALL_BYTES) for _ in range(25 * MIB // SMALL_BYTES))
    while memory.draw(Use.BODY, SMALL_BYTES):
        pass
    assert 200 * MIB - SMALL_BYTES < memory.used(Use.BODY) <= 200 * MIB


async def test_who_waits_is_served_in_order() -> None:
    memory = budget()
    assert memory.draw(Use.PARSED, 350 * MIB)
    first = memory.ask(Use.PARSED, 200 * MIB)
    second = memory.ask(Use.PARSED, 20 * MIB)
    assert not memory.draw(Use.PARSED, 10 * MIB), "a large draw does not overtake"
    assert memory.draw(Use.PARSED, SMALL_BYTES), "a small one does"
    assert memory.draw(Use.ANSWER, 50 * MIB), "and other uses have their own"
    memory.give_back(Use.PARSED, 200 * MIB)
    assert first.done()
    assert second.done()


async def test_one_that_waits_for_the_common_half_gets_it_in_the_end() -> None:
    memory = budget()
    assert memory.draw(Use.ANSWER, 370 * MIB)
    assert memory.draw(Use.BATCH, 90 * MIB)
    large = memory.ask(Use.PARSED, 370 * MIB)
    assert not large.done()
    assert not memory.draw(Use.BATCH, 50 * MIB), "the common half is left to who waits for it"
    memory.give_back(Use.ANSWER, memory.used(Use.ANSWER))
    assert large.done()


async def test_a_wait_ends_with_its_time_or_its_caller() -> None:
    memory = budget()
    refused: list[Use] = []
    memory.refused = refused.append
    assert memory.draw(Use.PARSED, 370 * MIB)
    assert not await memory.wait(Use.PARSED, 100 * MIB, within_s=0.01)
    assert not await memory.wait(Use.PARSED, 500 * MIB, within_s=10), "that never fits"
    assert refused == [Use.PARSED] * 2
    gone = asyncio.ensure_future(memory.wait(Use.PARSED, 100 * MIB, within_s=10))
    behind = asyncio.ensure_future(memory.wait(Use.PARSED, 5 * MIB, within_s=10))
    await asyncio.sleep(0)
    assert memory.waits(Use.PARSED)
    gone.cancel()
    assert await behind, "nobody waits behind one that has left"
    assert not memory.waits(Use.PARSED)
    memory.give_back(Use.PARSED, 375 * MIB)
    assert memory.used(Use.PARSED) == 0


async def test_one_that_leaves_gives_back_what_it_got() -> None:
    memory = budget()
    assert memory.draw(Use.PARSED, 370 * MIB)
    asked = memory.ask(Use.PARSED, 100 * MIB)
    memory.give_back(Use.PARSED, 370 * MIB)
    assert asked.done()
    memory.leave(Use.PARSED, 100 * MIB, asked)
    assert memory.used(Use.PARSED) == 0


async def test_a_process_that_is_nearly_full_takes_nothing_large() -> None:
    memory = budget()
    memory.is_pressed = True
    assert memory.draw(Use.BODY, MIB), "with nothing drawn there is nothing to wait for"
    assert not memory.draw(Use.BODY, MIB)
    assert memory.draw(Use.BODY, SMALL_BYTES)
    asked = memory.ask(Use.BODY, MIB)
    memory.is_pressed = False
    memory.serve()
    assert asked.done()


async def test_the_watch_sees_what_nobody_counted() -> None:
    memory = budget()
    resident, shown = [950 * MIB], list[int]()
    watch = MemoryWatch(memory, lambda seen: shown.append(seen.used(Use.BODY)), lambda: resident[0])
    assert memory.draw(Use.BODY, MIB)
    await watch.look()
    asked = memory.ask(Use.BODY, MIB)
    assert not asked.done()
    resident[0] = 800 * MIB
    await watch.look()
    assert asked.done()
    assert shown == [MIB, 2 * MIB]
    assert resident_bytes() > MIB


async def test_what_is_there_and_was_not_drawn_leaves_less_to_large_draws() -> None:
    resident = [890 * MIB]
    memory = budget()
    watch = MemoryWatch(memory, lambda _: None, lambda: resident[0])
    assert memory.draw(Use.BODY, MIB)
    await watch.look()
    assert not memory.draw(Use.BODY, 120 * MIB)
    assert memory.draw(Use.BODY, MIB // 32), "small ones are taken"
    assert memory.draw(Use.BODY, 100 * MIB)
    asked = memory.ask(Use.BODY, 60 * MIB)
    resident[0] = 300 * MIB
    await watch.look()
    assert asked.done()


def test_with_nothing_drawn_there_is_nothing_to_wait_for() -> None:
    memory = budget()
    memory.uncounted_bytes = 1000 * MIB
    assert memory.draw(Use.BODY, 120 * MIB)
    assert not memory.draw(Use.BODY, 2 * MIB)
