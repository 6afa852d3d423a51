"""The output of one service's container, kept in a file while it is written, over restarts and replacements."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from seatrial.cluster.compose.docker import Container, Docker, DockerFailed, inspected

_LOOK_INTERVAL_S = 0.2
_FOLLOWED_WITHIN_S = 86_400.0


class Follower:
    """`open` ... `close`; one run of the container after the other."""

    def __init__(self, docker: Docker, container: str, path: Path) -> None:
        self._docker = docker
        self._container = container
        self.path = path
        self.run_began_at = 0
        """Where in the file, in bytes, the output of the container's last run begins."""
        self.restarts = 0
        """How often its restart policy has started the container again."""
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self) -> None:
        before: Container | None = None
        while True:
            now = await self._look()
            if now is not None and now.is_running and (before is None or now.started_at != before.started_at):
                # Lines of a run that nobody saw, since it was short, are those since the end of the one before.
                is_same = before is not None and before.id == now.id
                await self._read(before.finished_at if is_same and before is not None else None)
                before = await self._look() or now
                if before.started_at != now.started_at:
                    before = now
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _look(self) -> Container | None:
        with suppress(DockerFailed):
            (found,) = await inspected(self._docker, self._container)
            self.restarts = found.restarts
            return found
        return None

    async def _read(self, since: str | None) -> None:
        """Until the container ends."""
        with suppress(DockerFailed), self.path.open("ab", buffering=0) as file:
            self.run_began_at = file.tell()
            await self._docker.run(
                *("logs", "--follow", *(("--since", since) if since else ()), self._container),
                within_s=_FOLLOWED_WITHIN_S,
                output=file,
            )
