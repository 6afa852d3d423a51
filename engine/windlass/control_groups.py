"""The control groups around this process, from the tightest to the root, as the files of a kernel show them.

Formats: the Linux kernel's admin-guide/cgroup-v2 and admin-guide/cgroup-v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

Read = Callable[[str], str | None]
"""The text of a file, None if it cannot be read."""

_ROOT = "/sys/fs/cgroup"


def groups(read: Read, controller: str) -> Iterator[tuple[int, str]]:
    """(version, folder) of each group that may limit what `controller` counts."""
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield from ((2, folder) for folder in _up(_ROOT, path))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controller, controllers)):
                yield from ((1, folder) for folder in _up(f"{_ROOT}/{mount}", path))


def _up(mount: str, path: str) -> Iterator[str]:
    """A group and those around it. Where the container's own group is mounted as the root, only that one is there."""
    group = PurePosixPath("/") / path
    for each in (group, *group.parents):
        yield f"{mount}{each}".rstrip("/")


def read_file(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
