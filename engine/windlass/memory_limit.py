"""How much memory this process may have: the limit of its control groups, else a part of the machine's.

A process beyond the limit of its group is killed by the kernel. Files: the Linux kernel's admin-guide/cgroup-v2
(memory.max) and cgroup-v1/memory (memory.limit_in_bytes).
"""

from __future__ import annotations

import os

from windlass.control_groups import Read, groups, read_file

WITHOUT_LIMIT = 0.5
"""Of the machine's memory, where no group has a limit: the rest is for its other processes."""


def allowed_bytes() -> int:
    return usable_bytes(
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), group_limit_bytes(read_file)
    )


def usable_bytes(physical_bytes: int, group_bytes: int | None) -> int:
    """A group that allows more than there is has no limit: version 1 writes that as a number near 2^63."""
    if group_bytes is None or group_bytes >= physical_bytes:
        return int(physical_bytes * WITHOUT_LIMIT)
    return group_bytes


def group_limit_bytes(read: Read) -> int | None:
    """Of the tightest group around this process; None if none has a limit."""
    limits = (
        _number(read(f"{folder}/{'memory.max' if version == 2 else 'memory.limit_in_bytes'}"))
        for version, folder in groups(read, "memory")
    )
    return min((limit for limit in limits if limit), default=None)


def _number(text: str | None) -> int | None:
    """None for "max" and whatever is no positive number."""
    try:
        return max(0, int(text or "")) or None
    except ValueError:
        return None
