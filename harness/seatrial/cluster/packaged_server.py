"""A server program that this machine has, as one process of the harness's own, with a folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import short_folder
from seatrial.cluster.port import Ports
from seatrial.cluster.process import Process, tail
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.startable import Startable
from seatrial.deadline import until_passes

READY_WITHIN_S = 15.0
STOP_WITHIN_S = 10.0
_LOOK_INTERVAL_S = 0.02


class PackagedServer(Startable):
    """`start` ... `close`. Usable again after `stop` and `kill`; the port stays the same. `title` is for errors."""

    def __init__(self, title: str, log_path: Path, *, program: str | None, need: str) -> None:
        """`program` None: it is not installed, and `need` says what to do about that."""
        self.log_path = log_path
        self.port = 0
        self._title = title
        self._program = program
        self._need = need
        self._ports = Ports()
        self._reaper: Reaper | None = None
        self._folder: Path | None = None
        self._process: Process | None = None

    @abstractmethod
    def _configured(self, folder: Path) -> Sequence[str]:
        """Writes its files, which may hold passwords, with `write_secret`; the program's arguments, which may not."""

    @abstractmethod
    async def _look(self) -> None:
        """Raises ClusterError when it does not answer."""

    async def _user(self) -> tuple[int, int] | None:
        """The ids of the user that it runs as; None for the harness's own."""
        return None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ClusterError(f"{self._title} was never started, or is closed; start it first")
        return self._process.pid

    async def start(self) -> None:
        """Returns when it answers. Nothing happens when it runs. Raises ClusterError when it is not installed."""
        if self.running:
            return
        process = self._process or await self._prepare()
        process.start()
        await self._answer(process)

    async def stop(self) -> None:
        """SIGTERM: it closes all its connections at once. Nothing happens when it does not run."""
        if self._process is not None and self._process.running:
            await self._process.stop(STOP_WITHIN_S)

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._process is not None:
            await self._process.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """The process and its folder are gone afterwards; safe to call twice and half-way."""
        await self.kill()
        self._process = None
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
        self._ports.close()

    async def _prepare(self) -> Process:
        if self._program is None:
            raise ClusterError(f"{self._title} cannot be started: {self._need}")
        user = await self._user()
        self._reaper = self._reaper or Reaper()
        self._folder = Path(tempfile.mkdtemp(prefix="sr-", dir=short_folder()))
        self._reaper.watch_folder(self._folder)
        self.port = self._ports.take()
        arguments = self._configured(self._folder)
        if user:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, *user)
        self._process = Process(
            self._title.lower(),
            [self._program, *arguments],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            log_path=self.log_path,
            reaper=self._reaper,
            user=user,
        )
        return self._process

    async def _answer(self, process: Process) -> None:
        def failure(cause: str) -> ClusterError:
            return ClusterError(
                f"{self._title} did not start: {cause}; the end of {self.log_path}:\n{tail(self.log_path)}"
            )

        async def looked() -> str | None:
            if not process.running:
                raise failure(f"it exited with {process.exit_code}")
            try:
                await self._look()
            except ClusterError as err:
                return str(err)
            return None

        await until_passes(looked, within_s=READY_WITHIN_S, every_s=_LOOK_INTERVAL_S, otherwise=failure)


def write_secret(path: Path, text: str) -> Path:
    """Readable by its owner alone."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path
