"""What the abilities of one cluster act on: its containers, by the names of replicas, and what is to be healed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.compose.agent import Agent
from seatrial.cluster.compose.docker import Container, Docker, containers
from seatrial.cluster.compose.follower import Follower
from seatrial.cluster.compose.project import BALANCER, GRPC_PORT, METRICS_PORT, REST_PORT
from seatrial.cluster.probe import unready
from seatrial.cluster.process import tail
from seatrial.deadline import until_passes

READY_WITHIN_S = 60.0
#: the one replica when clients call through the balancer
SERVICE = "service"
_LOOK_INTERVAL_S = 0.05
_CALL_TIMEOUT_S = 2.0
_NAMES = ("WINDLASS_SERVER_ID", "WINDLASS_NODE_NAME")


class Deployment:
    """`open` ... `close`, while the containers are there."""

    def __init__(
        self,
        docker: Docker,
        agent: Agent,
        folder: Path,
        project: str,
        *,
        behind_balancer: bool,
        token: str | None,
    ) -> None:
        self.docker = docker
        self.agent = agent
        self.project = project
        self.behind_balancer = behind_balancer
        self._token = token
        self.replicas: Sequence[Replica] = []
        self.aliases: Mapping[str, str] = {}
        """The replica's name by the name that its engine has for itself."""
        self.session: aiohttp.ClientSession
        self._logs = folder.resolve() / "logs"
        self._services: dict[str, str] = {}
        self._nodes: dict[str, Replica] = {}
        self._schedulers: list[str] = []
        self._followers: dict[str, Follower] = {}
        self._heals: list[Callable[[], Awaitable[None]]] = []
        self._stack = AsyncExitStack()

    def heal_with(self, heal: Callable[[], Awaitable[None]]) -> None:
        """Called by `close`, whether something was broken or not."""
        self._heals.append(heal)

    async def open(self, servers: Sequence[str], schedulers: Sequence[str]) -> None:
        """Both are services; the first ones are replica-0 and scheduler-0. Returns when the addresses are known. Raises
        ClusterError.
        """
        self._stack.push_async_callback(self._keep_logs)
        self.session = await self._stack.enter_async_context(aiohttp.ClientSession())
        found = {each.service: each for each in await containers(self.docker, self.project)}
        named = {f"replica-{number}": service for number, service in enumerate(servers)}
        self._schedulers = [f"scheduler-{number}" for number in range(len(schedulers))]
        named |= dict(zip(self._schedulers, schedulers, strict=True))
        for name, service in named.items():
            if service not in found:
                raise ClusterError(f"project {self.project} has no container of {service}; start it")
            self._services[name] = service
            self._nodes[name] = self._replica(name, found[service])
            self._follow(service, found[service])
        self.aliases = {
            next((found[service].env[each] for each in _NAMES if found[service].env.get(each)), service): name
            for name, service in self._services.items()
        }
        self.replicas = [self._nodes[name] for name in self.nodes]
        if self.behind_balancer:
            self.replicas = [self._replica(SERVICE, await self.of_service(BALANCER))]
        for heal in self._heals:
            self._stack.push_async_callback(heal)

    async def close(self) -> None:
        """Heals, and keeps the logs of all services; safe to call twice."""
        await self._stack.aclose()
        self.replicas = []

    @property
    def nodes(self) -> Sequence[str]:
        """The names of the servers as replicas, also where clients call through the balancer."""
        return [name for name in self._nodes if name not in self._schedulers]

    @property
    def schedulers(self) -> Sequence[str]:
        return list(self._schedulers)

    @property
    def engine_services(self) -> Sequence[str]:
        """Of the servers and the schedulers."""
        return list(self._services.values())

    def node(self, replica: str) -> Replica:
        """Of a scheduler as well, at the address that it had when it was last looked for."""
        self.service(replica)
        return self._nodes[replica]

    def service(self, replica: str) -> str:
        """Raises ClusterError."""
        if replica not in self._services:
            names = ", ".join(self._services) or "none: the cluster is not up"
            raise ClusterError(f"no replica {replica!r}; there are {names}")
        return self._services[replica]

    async def container(self, replica: str) -> Container:
        return await self.of_service(self.service(replica))

    async def of_service(self, service: str) -> Container:
        """As it is now. Raises ClusterError when there is none."""
        found = [each for each in await containers(self.docker, self.project) if each.service == service]
        if not found:
            raise ClusterError(f"project {self.project} has no container of the service {service}")
        return found[0]

    async def addresses(self, *services: str) -> frozenset[str]:
        """Those that these services have now; none of one that is not there."""
        found = await containers(self.docker, self.project)
        return frozenset(
            address for each in found if each.service in services for address in each.addresses.values()
        )

    def follower(self, replica: str) -> Follower:
        return self._followers[self.service(replica)]

    async def until_ready(self, *replicas: str, within_s: float = READY_WITHIN_S) -> None:
        """Raises ClusterError with the end of the log of one that is not ready in time."""
        for name in replicas:
            if name in self._schedulers:
                # It publishes no port, and its own address changes with its container.
                self._nodes[name] = self._replica(name, await self.container(name))
            replica = self._nodes[name] if name in self._nodes else self.replicas[0]
            await until_passes(
                lambda replica=replica: unready(self.session, replica, within_s=_CALL_TIMEOUT_S),  # type: ignore[misc]
                within_s=within_s,
                every_s=_LOOK_INTERVAL_S,
                otherwise=lambda cause, name=name: ClusterError(self._not_ready(name, cause, within_s)),  # type: ignore[misc]
            )

    async def until_serves(self, service: str, within_s: float = READY_WITHIN_S) -> None:
        """For a server that is no replica from the start. Raises ClusterError."""
        replica = self._replica(service, await self.of_service(service))
        await until_passes(
            lambda: unready(self.session, replica, within_s=_CALL_TIMEOUT_S),
            within_s=within_s,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda cause: ClusterError(f"{service} is not ready after {within_s:g} s: {cause}"),
        )

    def service_log(self) -> Path:
        """The output of all servers so far, one after the other."""
        path = self._logs / f"{SERVICE}.log"
        path.write_bytes(b"".join(self.follower(name).path.read_bytes() for name in self.nodes))
        return path

    def _not_ready(self, name: str, cause: str, within_s: float) -> str:
        text = f"{name} is not ready after {within_s:g} s: {cause}"
        if name in self._services:
            path = self.follower(name).path
            text += f"; the end of {path}:\n{self.docker.without_secret(tail(path))}"
        return text

    def _follow(self, service: str, container: Container) -> None:
        follower = Follower(self.docker, container.name, self._logs / f"{service}.log")
        self._followers[service] = follower
        follower.open()
        self._stack.push_async_callback(follower.close)

    def _replica(self, name: str, container: Container) -> Replica:
        rest, metrics = container.endpoint(REST_PORT), container.endpoint(METRICS_PORT)
        if rest is None:
            raise ClusterError(
                f"{container.name} publishes no port {REST_PORT} and has no address; publish it for this machine"
            )
        return Replica(
            name,
            f"http://{rest}",
            f"http://{metrics}" if metrics else None,
            container.endpoint(GRPC_PORT),
            self._token,
        )

    async def _keep_logs(self) -> None:
        """Those of the services that nobody followed; the followed ones are there already."""
        self._services.clear()
        await keep_logs(self.docker, self.project, self._logs, without=set(self._followers))


async def keep_logs(docker: Docker, project: str, folder: Path, *, without: set[str]) -> None:
    """A file for each service."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for container in await containers(docker, project):
        if container.service not in without:
            with (folder / f"{container.service}.log").open("wb") as file:
                await docker.run("logs", container.id, output=file)
