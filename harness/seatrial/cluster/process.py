"""One supervised operating-system process: its own session, one log file, never a zombie, never an orphan."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from seatrial.cluster import ClusterError
from seatrial.cluster.log_pipe import LogPipe
from seatrial.cluster.memory_limit import MemoryLimit
from seatrial.cluster.reaper import Reaper
from seatrial.deadline import until

#: a signal shows in /proc within this time, also on a very busy machine
SIGNAL_WITHIN_S = 10.0
_LOOK_INTERVAL_S = 0.005
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOPPED_STATES = frozenset("Tt")


def tail(path: Path, lines_max: int = 15) -> str:
    """The last lines of a log, or a sentence saying that there are none."""
    try:
        lines = path.read_text(errors="replace").splitlines()[-lines_max:]
    except OSError as err:
        return f"(no log: {err.strerror})"
    return "\n".join(lines) or "(the log is empty)"


def children(pid: int) -> list[psutil.Process]:
    """All that descend from it; none when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def runs(process: psutil.Process) -> bool:
    """False also for a process that has ended and was not yet waited for: its new parent may take long to do so."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Process:
    """`start` may be called again after an exit; the log file then grows.

    `user` is a (uid, gid) to become, which only root may ask for. `death_signal` is what the kernel sends to
    the process when the harness ends, so that nothing outlives a SIGKILL of the harness.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        reaper: Reaper,
        user: tuple[int, int] | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
        memory: MemoryLimit | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log_path = log_path
        self._env = dict(env)
        self._reaper = reaper
        self._user = user
        self._death_signal = death_signal
        self._memory = memory
        self.pipe: LogPipe | None = None
        """What the output of later runs goes through, instead of into the log itself."""
        self._popen: subprocess.Popen[bytes] | None = None
        self._exited: asyncio.Future[int] | None = None
        self._is_asked_to_end = False
        self.run_began_at = 0
        """Where in the log, in bytes, the output of the last run begins."""
        self.unasked_exits: list[int] = []
        """Exit codes of runs that ended although nobody here had asked them to."""

    def start(self) -> None:
        """Raises ClusterError when it runs already, or the command cannot be executed."""
        if self.running:
            raise ClusterError(
                f"{self.name} is already running as process {self.pid}; stop it before starting it"
            )
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        # Orphans become ours to wait for: not every container's first process does that.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        uid, gid = self._user or (None, None)
        try:
            with self._output() as output:
                self._popen = subprocess.Popen(
                    self.command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=uid,
                    group=gid,
                    extra_groups=[] if self._user else None,
                    preexec_fn=_die_with_parent(self._death_signal),  # noqa: PLW1509  one prctl, no Python locks taken
                )
        except OSError as err:
            raise ClusterError(f"{self.name} cannot be started: {self.command[0]}: {err.strerror}") from err
        if self._memory is not None:
            self._memory.contain(self._popen.pid)
        self._is_asked_to_end = False
        self._reaper.watch_group(self._popen.pid)
        self._watch_exit(self._popen)

    @property
    def running(self) -> bool:
        return self._exited is not None and not self._exited.done()

    @property
    def pid(self) -> int:
        """Raises ClusterError when it was never started."""
        if self._popen is None:
            raise ClusterError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Of the last run; minus the signal's number when a signal ended it; None while it runs."""
        if self._exited is None or not self._exited.done():
            return None
        return self._exited.result()

    async def wait(self) -> int:
        """The exit code, as in `exit_code`."""
        if self._exited is None:
            raise ClusterError(f"{self.name} was never started")
        return await asyncio.shield(self._exited)

    async def kill(self) -> None:
        """SIGKILL to the whole group; returns when the process is gone. Nothing happens when it does not run."""
        if self.running:
            self._is_asked_to_end = True
            # The group may be gone already while the last of its children is still to be waited for.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.wait()

    async def stop(self, grace_s: float, *, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """The signal to the process alone, as a container's runtime does; SIGKILL when grace_s is over."""
        if self.running:
            self._is_asked_to_end = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, with_signal)
            try:
                await asyncio.wait_for(self.wait(), grace_s)
            except TimeoutError:
                await self.kill()
        return await self.wait()

    async def pause(self) -> None:
        """SIGSTOP to the group; returns when the kernel shows the process stopped."""
        await self._signal_until(signal.SIGSTOP, stopped=True)

    async def resume(self) -> None:
        """SIGCONT to the group; returns when the kernel shows the process going on."""
        await self._signal_until(signal.SIGCONT, stopped=False)

    @property
    def paused(self) -> bool:
        return self.running and _state(self.pid) in _STOPPED_STATES

    async def _signal_until(self, number: signal.Signals, *, stopped: bool) -> None:
        if not self.running:
            raise ClusterError(f"{self.name} is not running; start it before sending {number.name}")
        os.killpg(self.pid, number)
        await until(
            lambda: not self.running or self.paused is stopped,
            within_s=SIGNAL_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: ClusterError(
                f"{self.name} (process {self.pid}) is in state {_state(self.pid)} "
                f"{SIGNAL_WITHIN_S:g} s after {number.name}"
            ),
        )

    def _output(self) -> BinaryIO:
        """What the process is to write to; notes where in the log it begins."""
        log = self.log_path.open("ab")
        self.run_began_at = log.tell()
        if self.pipe is None:
            return log
        log.close()
        return os.fdopen(self.pipe.open(), "wb")

    def _watch_exit(self, popen: subprocess.Popen[bytes]) -> None:
        """A pidfd reports the exit without threads, and before the process id can be used again."""
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()
        descriptor = os.pidfd_open(popen.pid)

        def on_exit() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            # As in a container, the end of the first process ends its children. The group still bears its id,
            # since the process is not yet waited for.
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            reap()

        def reap() -> None:
            if _has_orphans(popen.pid):
                loop.call_later(_LOOK_INTERVAL_S, reap)
                return
            self._reaper.forget_group(popen.pid)
            if not self._is_asked_to_end:
                self.unasked_exits.append(popen.wait())
            exited.set_result(popen.wait())

        loop.add_reader(descriptor, on_exit)
        self._exited = exited


def _die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Runs in the child, after any change of user (which clears the setting) and before exec."""
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child


def _has_orphans(group: int) -> bool:
    """Waits for those of the group's processes that became ours and have ended; whether any still lives."""
    while True:
        try:
            pid, _ = os.waitpid(-group, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _state(pid: int) -> str:
    """The state letter of proc(5); X when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
