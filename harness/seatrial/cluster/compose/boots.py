"""Boots and Commands: one start of an engine in a container of its own, and its program with other arguments."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import aiohttp

from seatrial.cluster import ClusterError, ClusterSpec, Replica
from seatrial.cluster.ability import BootReport, Boots, Commands
from seatrial.cluster.compose.deployment import Deployment
from seatrial.cluster.compose.docker import Container, Docker, DockerFailed, inspected
from seatrial.cluster.compose.project import REST_PORT, SERVERS, Project
from seatrial.cluster.compose.reconfigure import Settle
from seatrial.cluster.probe import unready
from seatrial.cluster.values import merge
from seatrial.deadline import Deadline

_LOOK_INTERVAL_S = 0.1
_ANSWER_WITHIN_S = 2.0


class ComposeBoots(Boots):
    """`lay` makes the database that a cluster which is not up needs."""

    def __init__(
        self, spec: ClusterSpec, project: Project, settle: Settle, lay: Callable[[], Awaitable[None]]
    ) -> None:
        self._spec = spec
        self._project = project
        self._settle = settle
        self._lay = lay
        self._count = 0

    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        """Its time is the container's own, from its start."""
        await self._lay()
        self._count += 1
        project, name = self._project, f"{self._project.name}-boot-{self._count}"
        settings = self._settle(merge(self._spec.values, values))
        # Names are unique among nodes; and where the file lets another service migrate, that has not run.
        own = {"WINDLASS_SERVER_ID": f"boot-{self._count}", "WINDLASS_MIGRATE_ON_START": "true"}
        settings = dataclasses.replace(settings, env={**own, **settings.env})
        address = f"{project.bind_address}:{project.port()}"
        try:
            await project.run(SERVERS[0], name, settings, f"{address}:{REST_PORT}")
            return await _observed(project.docker, name, Replica(name, f"http://{address}", None), bound_s)
        finally:
            await _removed(project.docker, name)


async def _observed(docker: Docker, name: str, replica: Replica, bound_s: float) -> BootReport:
    """Until it exits, is ready, or the bound is over."""
    deadline, ready = Deadline(bound_s), False
    async with aiohttp.ClientSession() as session:
        async for _ in deadline.attempts(_LOOK_INTERVAL_S):
            (found,) = await inspected(docker, name)
            ready = found.is_running and await unready(session, replica, within_s=_ANSWER_WITHIN_S) is None
            if ready or not found.is_running:
                break
    said = await _said(docker, name)
    output = docker.without_secret(said)
    took_s = _ran_s(found) if not found.is_running else bound_s - deadline.remaining_s
    # A container takes all its processes along.
    return BootReport(
        None if found.is_running else found.exit_code, ready, output, output != said, round(took_s, 3), 0
    )


async def _said(docker: Docker, name: str) -> str:
    """Both of its outputs."""
    with tempfile.TemporaryFile() as file:
        await docker.run("logs", name, output=file)
        file.seek(0)
        return file.read().decode(errors="replace")


async def _removed(docker: Docker, name: str) -> None:
    try:
        await docker.run("rm", "--force", "--volumes", name)
    except DockerFailed as err:
        if "No such container" not in str(err):
            raise


def _ran_s(found: Container) -> float:
    began, ended = (_moment(each) for each in (found.started_at, found.finished_at))
    return (ended - began).total_seconds()


def _moment(text: str) -> datetime:
    """Docker tells nanoseconds, and leaves out zeros at their end."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")


class ComposeCommands(Commands):
    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def run_command(self, replica: str, *words: str) -> None:
        """In the replica's container, with its environment."""
        found = await self._deployment.container(replica)
        if not found.command:
            raise ClusterError(f"{found.name} names no program to run")
        await self._deployment.docker.run("exec", found.id, found.command[0], *words)
