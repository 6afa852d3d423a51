"""CPUs that a process may use, from the files that a kernel shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from windlass.cpu import cpu_count, quota, usable

V2 = {"/proc/self/cgroup": "0::/\n"}
V1 = {"/proc/self/cgroup": "5:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"}
NESTED = {"/proc/self/cgroup": "0::/kubepods.slice/pod1/engine\n"}
CFS = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def v1(folder: str, quota_us: str, period_us: str = "100000\n") -> dict[str, str]:
    return {f"{folder}/{CFS[0]}": quota_us, f"{folder}/{CFS[1]}": period_us}


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        pytest.param({}, None, id="no files at all"),
        pytest.param(V2, None, id="v2, a root without limits"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "max 100000\n"}, None, id="v2, no quota"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5, id="v2, a container"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": ""}, None, id="v2, an empty file"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "1 0\n"}, None, id="v2, nonsense"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "x y z\n"}, None, id="v2, no numbers"),
        pytest.param(
            NESTED
            | {
                "/sys/fs/cgroup/kubepods.slice/pod1/engine/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/kubepods.slice/pod1/cpu.max": "50000 100000\n",
                "/sys/fs/cgroup/kubepods.slice/cpu.max": "800000 100000\n",
            },
            0.5,
            id="v2, the group around it is the tightest",
        ),
        pytest.param(V1 | v1("/sys/fs/cgroup/cpu/docker/ab", "-1\n"), None, id="v1, no quota"),
        pytest.param(V1 | v1("/sys/fs/cgroup/cpu/docker/ab", "250000\n"), 2.5, id="v1, on the host"),
        pytest.param(V1 | v1("/sys/fs/cgroup/cpu,cpuacct", "100000\n", "50000\n"), 2.0, id="v1, a container"),
        pytest.param(
            {"/proc/self/cgroup": "1:cpu:/\n0::/\n"}
            | v1("/sys/fs/cgroup/cpu", "300000\n")
            | {"/sys/fs/cgroup/cpu.max": "max 100000"},
            3.0,
            id="both versions",
        ),
        pytest.param(
            {"/proc/self/cgroup": "3:cpuset:/\n"} | v1("/sys/fs/cgroup/cpuset", "100000\n"),
            None,
            id="v1, another controller",
        ),
    ],
)
def test_the_quota_is_the_tightest_around_the_process(files: Mapping[str, str], cpus: float | None) -> None:
    assert quota(files.get) == cpus


@pytest.mark.parametrize(
    ("mask", "quota_cpus", "count"),
    [(8, None, 8), (8, 1.5, 2), (8, 0.05, 1), (2, 6.0, 2), (64, 2.0, 2), (0, None, 1)],
)
def test_the_tighter_of_mask_and_quota_counts_rounded_up(
    mask: int, quota_cpus: float | None, count: int
) -> None:
    assert usable(mask, quota_cpus) == count


def test_this_machine_has_between_one_cpu_and_its_mask() -> None:
    assert 1 <= cpu_count() <= len(os.sched_getaffinity(0))
