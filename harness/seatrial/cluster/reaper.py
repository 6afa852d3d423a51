"""Cleans up after a harness that ended without cleaning up (SIGKILL, a lost terminal, a crash).

A second, tiny process holds one end of a pipe. While the harness runs it only records process groups and
folders; when the pipe closes it kills the groups and removes the folders that were not released. The
kernel's parent-death signal ends the harness's own children at once; this process also ends their children.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

#: given this long, a PostgreSQL that shuts down removes its backends and its shared memory itself
GRACE_S = 2.0


class Reaper:
    """One per owner; `close` after everything was released."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={"LC_ALL": "C.UTF-8"},
        )

    def watch_group(self, group: int) -> None:
        self._say("+group", group)

    def forget_group(self, group: int) -> None:
        self._say("-group", group)

    def watch_folder(self, folder: Path) -> None:
        self._say("+folder", folder)

    def watch_mount(self, folder: Path) -> None:
        """Nothing is done for one that is no longer mounted."""
        self._say("+mount", folder)

    def watch_cgroup(self, folder: Path) -> None:
        """It is removed when it is empty, which it is once its groups are gone."""
        self._say("+cgroup", folder)

    def forget_cgroup(self, folder: Path) -> None:
        self._say("-cgroup", folder)

    def close(self) -> None:
        """Kills and removes what was not released; returns when that is done."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self._popen.wait()

    def _say(self, verb: str, thing: object) -> None:
        pipe = self._popen.stdin
        if pipe is None or pipe.closed:
            return
        # Someone may have killed the reaper; the kernel's parent-death signal still guards the processes.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(f"{verb} {thing}\n".encode())
            pipe.flush()


def _reap(groups: set[int], mounts: set[str], folders: set[str], cgroups: set[str]) -> None:
    give_up_at_s = time.monotonic() + GRACE_S
    while any(map(_alive, groups)) and time.monotonic() < give_up_at_s:
        time.sleep(0.01)
    for group in filter(_alive, groups):
        os.killpg(group, signal.SIGKILL)
    for mount in filter(os.path.ismount, mounts):
        subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    give_up_at_s = time.monotonic() + GRACE_S
    while cgroups := set(filter(_stays, cgroups)):
        if time.monotonic() > give_up_at_s:
            return
        time.sleep(0.01)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _stays(cgroup: str) -> bool:
    """Removes it; a process that was just killed may keep it for a moment."""
    with contextlib.suppress(OSError):
        Path(cgroup).rmdir()
    return Path(cgroup).is_dir()


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    things: dict[str, set[str]] = {"group": set(), "mount": set(), "folder": set(), "cgroup": set()}
    for line in sys.stdin:
        verb, _, thing = line.rstrip("\n").partition(" ")
        if verb.startswith("+"):
            things[verb[1:]].add(thing)
        else:
            things[verb[1:]].discard(thing)
    _reap({int(group) for group in things["group"]}, things["mount"], things["folder"], things["cgroup"])


if __name__ == "__main__":
    _main()
