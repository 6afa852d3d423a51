"""A limit of the memory of one node's process, as a container has one: by a cgroup where this machine lets us make one,
else by RLIMIT_DATA.

Past a cgroup's limit the kernel ends a process (the kernel's documents, cgroup-v1/memory and cgroup-v2). RLIMIT_DATA
(getrlimit(2)) is of what is reserved rather than of what is used, and past it an allocation fails.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Literal

from seatrial.cluster.reaper import Reaper
from seatrial.deadline import Deadline

EnforcedBy = Literal["cgroup", "rlimit"]

_PREFIX = "seatrial-"
_MOUNTS = Path("/proc/self/mounts")
_EMPTY_WITHIN_S = 5.0
_LOOK_INTERVAL_S = 0.02


class MemoryLimit(ABC):
    """`contain` each process of the node as soon as it was started; `remove` when none is left."""

    enforced_by: EnforcedBy

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes

    def change(self, limit_bytes: int) -> None:
        """For processes that are started from now on."""
        self.limit_bytes = limit_bytes

    @abstractmethod
    def contain(self, pid: int) -> None:
        """Nothing happens when the process has ended already."""

    @abstractmethod
    def kills(self) -> int:
        """How many processes the kernel has ended because of the limit."""

    @abstractmethod
    async def remove(self) -> None:
        """Gives back what the limit needed on this machine."""


class DataLimit(MemoryLimit):
    """RLIMIT_DATA, which ends nothing."""

    enforced_by = "rlimit"

    def contain(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (self.limit_bytes, self.limit_bytes))

    def kills(self) -> int:
        return 0

    async def remove(self) -> None:
        """It ended with its processes."""


class CgroupLimit(MemoryLimit):
    """A cgroup of its own below `root`, of either version; the reaper removes it if the harness cannot.

    Raises OSError when it cannot be made.
    """

    enforced_by = "cgroup"

    def __init__(self, limit_bytes: int, root: Path, *, version: int, reaper: Reaper) -> None:
        super().__init__(limit_bytes)
        self._version = version
        self._reaper = reaper
        self.folder = root / f"{_PREFIX}{secrets.token_hex(6)}"
        self.folder.mkdir()
        reaper.watch_cgroup(self.folder)
        self.change(limit_bytes)

    def change(self, limit_bytes: int) -> None:
        super().change(limit_bytes)
        limit, swap = _LIMITS[self._version]
        # In v1 the limit with swap is never below the one without, so a higher one must be first and a lower one last.
        self._limit_swap(swap)
        (self.folder / limit).write_text(str(limit_bytes))
        self._limit_swap(swap)

    def _limit_swap(self, name: str) -> None:
        """A kernel may count no swap; then there is no such file."""
        with contextlib.suppress(OSError):
            (self.folder / name).write_text(str(self.limit_bytes) if self._version == 1 else "0")

    def contain(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            (self.folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        text = (self.folder / _EVENTS[self._version]).read_text()
        counts = dict(line.split() for line in text.splitlines())
        return int(counts.get("oom_kill", 0))

    async def remove(self) -> None:
        """Waits for processes that are about to end; raises OSError when some go on."""
        async for _ in Deadline(_EMPTY_WITHIN_S).attempts(_LOOK_INTERVAL_S):
            with contextlib.suppress(OSError):
                self._rmdir()
                break
        else:
            self._rmdir()
        self._reaper.forget_cgroup(self.folder)

    def _rmdir(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()


_LIMITS = {
    1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    2: ("memory.max", "memory.swap.max"),
}
_EVENTS = {1: "memory.oom_control", 2: "memory.events"}


def limited(limit_bytes: int, reaper: Reaper) -> MemoryLimit:
    """By a cgroup if this machine gives one."""
    found = _controller()
    if found is not None:
        root, version = found
        with contextlib.suppress(OSError):
            return CgroupLimit(limit_bytes, root, version=version, reaper=reaper)
    return DataLimit(limit_bytes)


@cache
def _controller() -> tuple[Path, int] | None:
    return controller(_MOUNTS.read_text())


def controller(mounts: str) -> tuple[Path, int] | None:
    """Where cgroups with the memory controller can be made, and their version, from the text of /proc/self/mounts; None
    where this process may not.
    """
    for line in mounts.splitlines():
        _, folder, kind, options, *_ = line.split()
        root = Path(folder)
        if not os.access(root, os.W_OK) or "ro" in options.split(","):
            continue
        if kind == "cgroup" and "memory" in options.split(","):
            return root, 1
        if kind == "cgroup2" and _hands_on_memory(root):
            return root, 2
    return None


def _hands_on_memory(root: Path) -> bool:
    """Whether cgroups below have the controller; if not, it is asked for."""
    handed_on = root / "cgroup.subtree_control"
    try:
        if "memory" not in handed_on.read_text().split():
            handed_on.write_text("+memory")
        return "memory" in handed_on.read_text().split()
    except OSError:
        return False
