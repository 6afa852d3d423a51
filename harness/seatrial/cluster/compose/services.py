"""What the clusters of a run on compose share: the docker command, the images, and the agent that makes faults."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.cluster import Cluster, ClusterError, ClusterSpec
from seatrial.cluster.backend import Say, Services
from seatrial.cluster.broker import BrokerKind
from seatrial.cluster.compose import images
from seatrial.cluster.compose.agent import Agent
from seatrial.cluster.compose.cluster import OwnProject, RunningProject
from seatrial.cluster.compose.docker import FILES_LABEL, PROJECT_LABEL, Docker, DockerFailed, containers
from seatrial.cluster.compose.engine_settings import usual_image
from seatrial.cluster.compose.project import ALL_NODES, DATABASE, SERVERS, default_file
from seatrial.cluster.options import Options

ENGINE_VARIABLE = images.VARIABLES["windlass"]


class ComposeServices(Services):
    def __init__(self, options: Options, values: Mapping[str, Any], say: Say) -> None:
        self._options = options
        self._values = values
        self._say = say
        self._docker = Docker()
        self._agent: Agent | None = None
        self._used: Mapping[str, str] = {}
        self._is_checked = False

    async def check(self) -> None:
        """Docker, its daemon and its compose plugin answer, and every image is there; nothing happens twice."""
        if self._is_checked:
            return
        await self._check_docker()
        if self._options.compose_project is not None:
            self._used = await self._check_project(self._options.compose_project)
        else:
            self._used = await self._images()
            if self._options.digests is not None:
                images.refuse_tags(self._used.values(), self._options.digests)
            self._say(f"{len(set(self._used.values()))} images are looked for")
            await images.ensure(self._docker, self._used.values(), self._say)
        self._is_checked = True

    async def cluster(self, spec: ClusterSpec, *, restart: bool, broker: BrokerKind | None) -> Cluster:
        if broker is not None:
            raise ClusterError(f"no {broker.name} runs on compose; run this drill on --backend local")
        await self.check()
        if self._agent is None:
            self._agent = Agent(self._docker, self._engine_image())
        options = self._options
        if options.compose_project is not None:
            return RunningProject(
                spec, self._docker, self._agent, project=options.compose_project, restart=restart
            )
        return OwnProject(
            spec,
            self._docker,
            self._agent,
            file=self._file(),
            variables=self._variables(),
            chart=options.chart,
            restart=restart,
            say=self._say,
        )

    async def close(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            await agent.close()

    def images(self) -> Mapping[str, str]:
        """By service; of servers it is also told which replica they are."""
        return {
            f"{name} (replica-{SERVERS.index(name)})" if name in SERVERS else name: image
            for name, image in self._used.items()
        }

    def _file(self) -> Path:
        return self._options.compose_file or default_file()

    def _variables(self) -> dict[str, str]:
        """Those of the images. The engine's is the chart's unless somebody names another: scripts/image builds it."""
        found = {name: os.environ[name] for name in images.VARIABLES.values() if os.environ.get(name)}
        found.setdefault(ENGINE_VARIABLE, usual_image(self._options.chart))
        if self._options.digests is not None:
            digests = images.read_digests(self._options.digests)
            found |= {images.VARIABLES[name]: image for name, image in digests.items()}
        return found

    def _engine_image(self) -> str:
        return self._used.get(SERVERS[0]) or self._variables()[ENGINE_VARIABLE]

    async def _check_docker(self) -> None:
        docker = self._docker
        try:
            await docker.run("version", "--format", "{{.Server.Version}}")
        except DockerFailed as err:
            raise ClusterError(f"Docker's daemon does not answer; start it: {err}") from None
        try:
            await docker.run("compose", "version", "--short")
        except DockerFailed as err:
            raise ClusterError(
                f"docker has no compose plugin; install docker-compose-plugin: {err}"
            ) from None

    async def _images(self) -> Mapping[str, str]:
        """Of all that a drill may start, by service."""
        file = self._file()
        if not file.is_file():
            raise ClusterError(f"there is no {file}; give --file")
        told = await self._docker.run(
            *("compose", "--file", str(file), *ALL_NODES, "config", "--no-consistency", "--format", "json"),
            variables=self._variables(),
        )
        return {name: each["image"] for name, each in json.loads(told)["services"].items()}

    async def _check_project(self, project: str) -> Mapping[str, str]:
        found = {each.service: each for each in await containers(self._docker, project) if each.is_running}
        if not found:
            projects = await self._docker.lines("ps", "--format", f'{{{{.Label "{PROJECT_LABEL}"}}}}')
            there = ", ".join(sorted(set(projects))) or "none"
            raise ClusterError(f"no compose project {project!r} runs; there are: {there}")
        missing = [name for name in (SERVERS[0], DATABASE) if name not in found]
        if missing:
            raise ClusterError(
                f"project {project} runs no {', '.join(missing)}, only {', '.join(found)}; servers are called "
                f"{', '.join(SERVERS)}, the database {DATABASE}"
            )
        if (file := self._options.compose_file) is not None:
            label = f'{{{{index .Config.Labels "{FILES_LABEL}"}}}}'
            made_of = (await self._docker.run("inspect", "--format", label, found[SERVERS[0]].id)).strip()
            if str(file.resolve()) not in made_of.split(","):
                raise ClusterError(
                    f"project {project} was not made of {file} but of {made_of}; correct --file"
                )
        return {name: each.image for name, each in found.items()}
