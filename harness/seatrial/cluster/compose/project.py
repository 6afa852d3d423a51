"""A compose project of the run's own: its file and what is laid over it, its secrets, its ports, its containers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from seatrial.cluster import ClusterError
from seatrial.cluster.compose.docker import Docker, DockerFailed
from seatrial.cluster.compose.engine_settings import EngineSettings
from seatrial.cluster.port import Ports
from seatrial.cluster.tokens import TOKENS_FILE, tokens_file
from seatrial.render import RenderError, default_chart

FILE = "docker-compose.small-cluster.yml"
SERVERS = ("server-a", "server-b", "server-c")
SCHEDULERS = ("scheduler", "scheduler-b", "scheduler-c")
BALANCER, DATABASE, WAKE_BUS, BOOTSTRAP = "balancer", "postgres", "redis", "bootstrap"
REST_PORT, GRPC_PORT, METRICS_PORT = 8080, 9090, 9091
UP_WITHIN_S = 180.0
DOWN_WITHIN_S = 120.0
#: at the end of a drill nobody waits for a graceful stop any longer than this
_DOWN_GRACE_S = "2"
_SERVER_PROFILES = {3: ("three",)}
"""By the number of servers."""
_SCHEDULER_PROFILES = {2: ("two-schedulers",), 3: ("three-schedulers",)}
"""By the number of schedulers; one runs always."""
#: options of docker compose, for every server and scheduler
ALL_NODES = tuple(
    word
    for profile in (*_SERVER_PROFILES[len(SERVERS)], *_SCHEDULER_PROFILES[len(SCHEDULERS)])
    for word in ("--profile", profile)
)
_PORT_VARIABLE = re.compile(r"\$\{(\w+_PORT)\b")
_SECRETS_SCRIPT = Path("compose/secrets.sh")


def default_file() -> Path:
    """The compose file at the top of the repository. Raises ClusterError outside one."""
    try:
        return default_chart().parents[1] / FILE
    except RenderError:
        raise ClusterError(f"there is no {FILE} above this package; give --file") from None


class Project:
    """`prepare` ... `remove`. `variables` are those of the compose file: images."""

    def __init__(
        self,
        docker: Docker,
        file: Path,
        folder: Path,
        *,
        servers: int,
        schedulers: int,
        variables: Mapping[str, str],
        token: str | None = None,
    ) -> None:
        self.docker = docker
        self.file = file.resolve()
        self.name = f"seatrial-{secrets.token_hex(4)}"
        self._folder = folder.resolve() / "compose"
        self._override = self._folder / "override.json"
        self._access = self._folder / "access.json"
        self._token = token
        self._profiles = (*_SERVER_PROFILES.get(servers, ()), *_SCHEDULER_PROFILES.get(schedulers, ()))
        self._left_out = SERVERS[servers:]
        self._ports = Ports()
        self._variables = {**variables, "WINDLASS_SECRETS": str(self._folder / "secrets")}
        self._services: dict[str, Any] = {}
        self._changes: dict[str, EngineSettings] = {}
        self._is_prepared = False

    async def prepare(self) -> None:
        """Secrets, ports and the file that is laid over: nothing is started, and nothing done twice."""
        if self._is_prepared:
            return
        self._is_prepared = True
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        await self._make_secrets()
        self._variables["WINDLASS_PUBLISH_ADDRESS"] = await _bind_address(self.docker)
        text = self.file.read_text(encoding="utf-8")
        for name in dict.fromkeys(_PORT_VARIABLE.findall(text)):
            self._variables[name] = str(self._ports.take())
        self._services = json.loads(await self.compose("config", "--format", "json"))["services"]
        if missing := {SERVERS[0], DATABASE} - self._services.keys():
            raise ClusterError(
                f"{self.file} has no service {', '.join(sorted(missing))}; there are {', '.join(self._services)}. "
                f"Servers are {', '.join(SERVERS)}, the database is {DATABASE}, the balancer {BALANCER}"
            )
        if self._token is not None:
            await self._ask_for(self._token)

    @property
    def services(self) -> Sequence[str]:
        """Those that run; one server needs no balancer."""
        left_out = {*self._left_out, *([BALANCER] if len(self._left_out) == len(SERVERS) - 1 else ())}
        return [name for name in self._services if name not in left_out]

    @property
    def servers(self) -> Sequence[str]:
        return [name for name in SERVERS if name in self.services]

    @property
    def schedulers(self) -> Sequence[str]:
        return [name for name in SCHEDULERS if name in self.services]

    @property
    def engine_services(self) -> Sequence[str]:
        """Those that run the engine's image and serve."""
        image = self._services[SERVERS[0]]["image"]
        return [
            name for name in self.services if self._services[name]["image"] == image and name != BOOTSTRAP
        ]

    def images(self) -> Mapping[str, str]:
        """By service."""
        return {name: self._services[name]["image"] for name in self.services}

    def change(self, services: Sequence[str], settings: EngineSettings) -> None:
        """From their next start by `up` on they have these settings, and none of earlier changes."""
        for name in services:
            self._changes[name] = settings
        overlay = {name: laid for name, each in self._changes.items() if (laid := _laid_over(each))}
        self._write(self._override, {"services": overlay})

    async def up(self, *services: str, alone: bool = False, within_s: float = UP_WITHIN_S) -> None:
        """Without `alone` also what they depend on; with it they are made anew, whatever has changed."""
        how = ["--no-deps", "--force-recreate"] if alone else []
        await self.compose("up", "--detach", "--quiet-pull", *how, *services, within_s=within_s)

    async def run(self, service: str, name: str, settings: EngineSettings, publish: str) -> None:
        """One more container of the service, with other settings."""
        path = self._folder / f"{name}.json"
        self._write(path, {"services": {service: _laid_over(settings)}})
        await self.compose(
            *("run", "--detach", "--no-deps", "--name", name, "--publish", publish, service),
            laid_over=[path],
        )

    async def compose(
        self, *words: str, laid_over: Sequence[Path] = (), within_s: float = DOWN_WITHIN_S
    ) -> str:
        """Raises DockerFailed."""
        own = [path for path in (self._access, self._override) if path.exists()]
        files = [self.file, *own, *laid_over]
        options = [word for path in files for word in ("--file", str(path))]
        options += [word for profile in self._profiles for word in ("--profile", profile)]
        return await self.docker.run(
            "compose",
            "--project-name",
            self.name,
            *options,
            *words,
            within_s=within_s,
            variables=self._variables,
        )

    def port(self) -> int:
        """A free one, until `remove`."""
        return self._ports.take()

    @property
    def bind_address(self) -> str:
        return self._variables["WINDLASS_PUBLISH_ADDRESS"]

    async def remove(self) -> None:
        """Containers, networks and volumes; safe to call twice. The folder keeps its files, but not the secrets."""
        if not self._is_prepared:
            return
        self._is_prepared = False
        try:
            # Those of `docker compose run`, which hold its networks.
            extra = await self.docker.lines("ps", "--all", "--quiet", "--filter", f"name=^{self.name}-boot-")
            if extra:
                await self.docker.run("rm", "--force", "--volumes", *extra)
            await self.compose("down", "--volumes", "--remove-orphans", "--timeout", _DOWN_GRACE_S)
        finally:
            self._ports.close()
            for path in (self._folder / "secrets").glob("*"):
                path.unlink()
            self._access.unlink(missing_ok=True)
            self._override.unlink(missing_ok=True)

    async def _ask_for(self, token: str) -> None:
        """Engines get the tokens file as a secret, and ask every caller for the token."""
        self.docker.secrets.add(token)
        path = self._folder / "secrets" / TOKENS_FILE
        path.write_text(tokens_file(token), encoding="utf-8")
        engine = {
            "environment": {"WINDLASS_TOKENS_FILE": f"/run/secrets/{TOKENS_FILE}"},
            "secrets": [TOKENS_FILE],
        }
        # Of all servers: one that is left out now may be added later.
        found = json.loads(await self.compose(*ALL_NODES, "config", "--format", "json"))["services"]
        services = {name: engine for name in (*SERVERS, *SCHEDULERS) if name in found}
        self._write(self._access, {"services": services, "secrets": {TOKENS_FILE: {"file": str(path)}}})

    async def _make_secrets(self) -> None:
        """By the script beside the compose file, as its operator does. Containers read them as users of their own, so
        the files are readable, and the folder above them is the owner's alone.
        """
        folder = self._folder / "secrets"
        script = self.file.parent / _SECRETS_SCRIPT
        if not script.is_file():
            raise ClusterError(
                f"{self.file} has no {_SECRETS_SCRIPT} beside it, which makes the secrets of a new project; add "
                "one, or start the project yourself and give --project"
            )
        await _run_script(script, folder)
        for path in folder.iterdir():
            with suppress(OSError):
                self.docker.secrets.update(
                    re.findall(r"[A-Za-z0-9_-]{16,}", path.read_text(encoding="utf-8"))
                )

    def _write(self, path: Path, overlay: Mapping[str, Any]) -> None:
        """JSON is YAML. It may hold a password of a drill's."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # In a compose file a dollar begins a variable.
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(overlay, indent=1).replace("$", "$$"))


def _laid_over(settings: EngineSettings) -> dict[str, Any]:
    """Empty when it changes nothing."""
    changes = {"environment": dict(settings.env), "image": settings.image}
    return {name: value for name, value in changes.items() if value}


async def _run_script(script: Path, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh",
        str(script),
        str(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise ClusterError(
            f"{script} exited with {process.returncode}: {said.decode(errors='replace').strip()[-500:]}"
        )


async def _bind_address(docker: Docker) -> str:
    """Where ports are published: the address of Docker's own bridge, if it is this machine's.

    It is as private as loopback, but connections go straight to the container: on loopback a process of Docker's takes
    them first, also while nobody in the container listens, and a call that was refused looks like one that was lost.
    """
    with suppress(DockerFailed):
        name = '{{index .Options "com.docker.network.bridge.name"}}'
        found = await docker.lines("network", "inspect", "bridge", "--format", name)
        for each in psutil.net_if_addrs().get(found[0] if found else "", ()):
            if each.family is socket.AF_INET:
                return each.address
    return "127.0.0.1"
