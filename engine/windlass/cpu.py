"""How many CPUs this process may use: its affinity mask, and the quota of its control groups.

A container's CPU limit is a quota: the mask shows all CPUs of the node. Files and formats: the Linux kernel's
admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc (cpu.cfs_quota_us, cpu.cfs_period_us).
"""

from __future__ import annotations

import math
import os

from windlass.control_groups import Read, groups, read_file


def cpu_count() -> int:
    """Rounded up, at least 1."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable(mask, quota(read_file))


def usable(mask: int, quota_cpus: float | None) -> int:
    """Rounded up, at least 1; `mask` are the CPUs that the scheduler may choose from."""
    return max(1, mask if quota_cpus is None else min(mask, math.ceil(quota_cpus)))


def quota(read: Read) -> float | None:
    """CPUs that the tightest control group around this process allows; None if none has a quota."""
    limits = (
        _limit_v2(read, folder) if version == 2 else _limit_v1(read, folder)
        for version, folder in groups(read, "cpu")
    )
    return min((cpus for cpus in limits if cpus), default=None)


def _limit_v2(read: Read, group: str) -> float | None:
    quota_us, _, period_us = (read(f"{group}/cpu.max") or "").partition(" ")
    return _ratio(quota_us, period_us)


def _limit_v1(read: Read, group: str) -> float | None:
    return _ratio(read(f"{group}/cpu.cfs_quota_us") or "", read(f"{group}/cpu.cfs_period_us") or "")


def _ratio(quota_us: str, period_us: str) -> float | None:
    """None for "max", -1 and whatever is not two positive numbers."""
    try:
        quota_number, period_number = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota_number / period_number if quota_number > 0 and period_number > 0 else None
