"""The life cycle of a cluster of containers, and the abilities that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from seatrial.cluster import Cluster, ClusterError, ClusterSpec, Replica
from seatrial.cluster.ability import (
    Aliases,
    Balancer,
    Boots,
    Commands,
    Database,
    Kill,
    Logs,
    Partition,
    Pause,
    Reconfigure,
    Restarts,
    RollingReconfigure,
    Scale,
    Schedulers,
    Sockets,
    WakeBus,
)
from seatrial.cluster.backend import Say
from seatrial.cluster.compose.agent import Agent
from seatrial.cluster.compose.backend import COMPOSE
from seatrial.cluster.compose.balancer import ComposeBalancer
from seatrial.cluster.compose.boots import ComposeBoots, ComposeCommands
from seatrial.cluster.compose.database import ComposeDatabase
from seatrial.cluster.compose.deployment import SERVICE, Deployment, keep_logs
from seatrial.cluster.compose.docker import Docker, DockerFailed, containers
from seatrial.cluster.compose.engine_settings import engine_settings
from seatrial.cluster.compose.logs import ComposeAliases, ComposeLogs
from seatrial.cluster.compose.network import ComposePartition, ComposeSockets, Network
from seatrial.cluster.compose.processes import ComposeKill, ComposePause, ComposeRestarts
from seatrial.cluster.compose.project import DATABASE, SCHEDULERS, SERVERS, Project
from seatrial.cluster.compose.reconfigure import ComposeReconfigure
from seatrial.cluster.compose.scale import ComposeScale
from seatrial.cluster.compose.schedulers import ComposeSchedulers
from seatrial.cluster.compose.wake_bus import ComposeWakeBus
from seatrial.cluster.values import schedulers_of


class _ComposeCluster(Cluster):
    """What a project can do, whoever made it."""

    def __init__(
        self, spec: ClusterSpec, docker: Docker, agent: Agent, project: str, *, restart: bool
    ) -> None:
        super().__init__(spec, COMPOSE.words)
        self._deployment = Deployment(
            docker,
            agent,
            spec.folder,
            project,
            behind_balancer=spec.entrance == "service",
            token=spec.token,
        )
        deployment = self._deployment
        self._database = ComposeDatabase(deployment)
        self._processes = ComposeKill(deployment, restart=restart)
        network = Network(deployment)
        self._offer(Kill, self._processes)
        self._offer(Pause, ComposePause(deployment))
        self._offer(Restarts, ComposeRestarts(deployment))
        self._offer(Partition, ComposePartition(deployment, network))
        self._offer(Sockets, ComposeSockets(deployment))
        self._offer(Database, self._database)
        self._offer(Logs, ComposeLogs(deployment))
        self._offer(Aliases, ComposeAliases(deployment))
        self._offer(Commands, ComposeCommands(deployment))
        self._offer(Balancer, ComposeBalancer(deployment))
        self._offer(Schedulers, ComposeSchedulers(deployment, self._processes))
        self._offer(WakeBus, ComposeWakeBus(deployment, network))

    def replicas(self) -> Sequence[Replica]:
        return list(self._deployment.replicas)

    async def _open(self, servers: Sequence[str], schedulers: Sequence[str]) -> None:
        """Returns when all of them are ready, and behind a balancer it as well."""
        deployment = self._deployment
        await deployment.open(servers, schedulers)
        await self._database.find()
        await deployment.until_ready(*deployment.nodes, *deployment.schedulers)
        if self._deployment.behind_balancer:
            await self._deployment.until_ready(SERVICE)


class OwnProject(_ComposeCluster):
    """A project that is made for one drill, with a name, ports, secrets, networks and volumes of its own."""

    def __init__(
        self,
        spec: ClusterSpec,
        docker: Docker,
        agent: Agent,
        *,
        file: Path,
        variables: Mapping[str, str],
        chart: Path | None,
        restart: bool,
        say: Say,
    ) -> None:
        if schedulers_of(spec.values) > len(SCHEDULERS):
            raise ClusterError(
                f"scheduler.replicas must be at most {len(SCHEDULERS)} on compose, got {schedulers_of(spec.values)}; "
                "run more on --backend local"
            )
        if not 1 <= spec.replicas <= len(SERVERS):
            raise ClusterError(
                f"replicas must be from 1 to {len(SERVERS)} on compose, got {spec.replicas}; "
                "run more on --backend local"
            )
        self._project = Project(
            docker,
            file,
            spec.folder,
            servers=spec.replicas,
            schedulers=schedulers_of(spec.values),
            variables=variables,
            token=spec.token,
        )
        super().__init__(spec, docker, agent, self._project.name, restart=restart)
        self._docker = docker
        self._say = say
        settle = partial(engine_settings, chart=chart, without_secret=docker.without_secret)
        self._settle = settle
        reconfigure = ComposeReconfigure(spec, self._deployment, self._project, settle)
        self._offer(Reconfigure, reconfigure)
        self._offer(RollingReconfigure, reconfigure)
        self._offer(Scale, ComposeScale(dict(spec.values), self._deployment, self._project, settle))
        self._offer(Boots, ComposeBoots(spec, self._project, settle, self._lay))

    async def up(self) -> None:
        """On an error everything is taken down again."""
        project = self._project
        if self.replicas():
            raise ClusterError("the cluster is already up; take it down first")
        try:
            await self._prepare()
            self._say(f"compose project {project.name} is started")
            try:
                await project.up(*project.services)
            except DockerFailed as err:
                raise ClusterError(f"the project does not start: {err}\n{await self._last_words()}") from None
            await self._open(project.servers, project.schedulers)
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        try:
            await self._deployment.close()
        finally:
            await self._project.remove()

    async def _prepare(self) -> None:
        project = self._project
        await project.prepare()
        project.change(project.engine_services, self._settle(dict(self.spec.values)))

    async def _lay(self) -> None:
        """A boot needs the database, and nothing else."""
        if not self.replicas():
            await self._prepare()
            await self._project.up(DATABASE, "--wait")

    async def _last_words(self) -> str:
        """Of the container that ended badly; all logs are kept first."""
        folder = self.spec.folder.resolve() / "logs"
        await keep_logs(self._docker, self._project.name, folder, without=set())
        ended = [each for each in await containers(self._docker, self._project.name) if each.exit_code]
        for each in ended:
            said = (folder / f"{each.service}.log").read_text(errors="replace").strip().splitlines()
            if said:
                return self._docker.without_secret(f"{each.service} exited with {each.exit_code}: {said[-1]}")
        return f"the logs are in {folder}"


class RunningProject(_ComposeCluster):
    """A project that runs already: taken as it is, and left so."""

    is_shared = True

    def __init__(
        self, spec: ClusterSpec, docker: Docker, agent: Agent, *, project: str, restart: bool
    ) -> None:
        super().__init__(spec, docker, agent, project, restart=restart)
        self._docker = docker
        self._name = project

    async def up(self) -> None:
        found = {each.service for each in await containers(self._docker, self._name) if each.is_running}
        try:
            await self._open(*([name for name in names if name in found] for names in (SERVERS, SCHEDULERS)))
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        """Faults are healed; nothing is removed."""
        await self._deployment.close()
