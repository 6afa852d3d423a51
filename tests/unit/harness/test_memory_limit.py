"""The limit of a process's memory, by real processes; and what is left of it when the harness is gone."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial.cluster.memory_limit import CgroupLimit, DataLimit, MemoryLimit, controller, limited
from seatrial.cluster.process import Process
from seatrial.cluster.reaper import Reaper
from seatrial.deadline import until

MIB = 1024 * 1024
LIMIT_BYTES = 96 * MIB
#: waits for the file that tells it to begin, since it has to be contained before it takes anything
EATS = """import pathlib, time
while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
held = bytearray({size})
held[::4096] = b'x' * len(held[::4096])
print('full')
"""


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    made = Reaper()
    yield made
    made.close()


async def eaten(limit: MemoryLimit, size_bytes: int, reaper: Reaper, folder: Path) -> tuple[int, str]:
    """The exit code of a process that takes so much, and what it said."""
    go = folder / "go"
    process = Process(
        "eater",
        [sys.executable, "-c", EATS.format(go=str(go), size=size_bytes)],
        env={},
        log_path=folder / "eater.log",
        reaper=reaper,
        memory=limit,
    )
    process.start()
    go.touch()
    return await process.wait(), process.log_path.read_text()


@pytest.fixture
def cgroup(reaper: Reaper) -> CgroupLimit:
    limit = limited(LIMIT_BYTES, reaper)
    if not isinstance(limit, CgroupLimit):
        pytest.skip("needs a memory cgroup that this user can make")
    return limit


async def test_the_kernel_ends_what_passes_its_cgroup_and_counts_it(
    cgroup: CgroupLimit, reaper: Reaper, tmp_path: Path
) -> None:
    assert await eaten(cgroup, LIMIT_BYTES // 2, reaper, tmp_path / "little") == (0, "full\n")
    assert cgroup.kills() == 0
    assert await eaten(cgroup, LIMIT_BYTES * 2, reaper, tmp_path / "much") == (-9, "")
    assert cgroup.kills() == 1
    cgroup.change(LIMIT_BYTES * 4)
    assert await eaten(cgroup, LIMIT_BYTES * 2, reaper, tmp_path / "changed") == (0, "full\n")
    await cgroup.remove()
    assert not cgroup.folder.exists()
    await cgroup.remove()


async def test_without_a_cgroup_an_allocation_fails(reaper: Reaper, tmp_path: Path) -> None:
    limit = DataLimit(LIMIT_BYTES)
    code, said = await eaten(limit, LIMIT_BYTES * 2, reaper, tmp_path)
    assert code == 1
    assert "MemoryError" in said
    assert limit.kills() == 0
    await limit.remove()


async def test_a_process_that_has_ended_is_not_missed() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    DataLimit(LIMIT_BYTES).contain(process.pid)
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] != LIMIT_BYTES


async def test_the_reaper_removes_the_cgroup_with_its_processes(
    cgroup: CgroupLimit, reaper: Reaper, tmp_path: Path
) -> None:
    process = Process(
        "sleeper",
        [sys.executable, "-c", "import signal; signal.pause()"],
        env={},
        log_path=tmp_path / "sleeper.log",
        reaper=reaper,
        memory=cgroup,
    )
    process.start()
    await asyncio.to_thread(reaper.close)
    assert await process.wait() == -9
    await until(
        lambda: not cgroup.folder.exists(),
        within_s=5,
        every_s=0.05,
        otherwise=lambda: AssertionError(f"{cgroup.folder} is left"),
    )


def test_the_controller_is_found_in_either_version(tmp_path: Path) -> None:
    v1, v2, read_only = (tmp_path / name for name in ("v1", "v2", "ro"))
    for folder in (v1, v2, read_only):
        folder.mkdir()
    first = f"cgroup {v1} cgroup rw,relatime,memory 0 0\n"
    second = f"cgroup2 {v2} cgroup2 rw,relatime 0 0\n"
    assert controller(f"proc /proc proc rw 0 0\n{first}") == (v1, 1)
    assert controller(f"cgroup {v1} cgroup rw,relatime,cpu 0 0\n") is None
    assert controller(f"cgroup {read_only} cgroup ro,memory 0 0\n") is None
    assert controller(second) is None, "its root hands nothing on"
    (v2 / "cgroup.subtree_control").write_text("cpu memory\n")
    assert controller(second) == (v2, 2)
