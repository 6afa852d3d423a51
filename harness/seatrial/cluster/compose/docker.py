"""The `docker` command, and what it says about containers.

Why the command, and not testcontainers' compose support: that also calls the command, but knows no project name, no
variables of its own for one call, no kill, pause or change of one service, and blocks meanwhile. The Engine's API over
its socket knows nothing of compose, and would have to find the daemon (contexts, DOCKER_HOST, TLS) as the command does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from seatrial.cluster import ClusterError

PROGRAM = "docker"
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
FILES_LABEL = "com.docker.compose.project.config_files"
WITHIN_S = 60.0
_SAID_LINES_MAX = 12
#: a container that a signal ended exits with its number above this
_BY_SIGNAL = 128


class DockerFailed(ClusterError):
    """The command did not exit 0: names it and what it said last."""


class Docker:
    """Runs the command without a shell, in a session of its own, so that Ctrl-C does not reach it before its caller.

    `secrets` are replaced in the texts of errors; callers add theirs.
    """

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    async def run(
        self,
        *words: str,
        within_s: float = WITHIN_S,
        variables: Mapping[str, str] | None = None,
        output: BinaryIO | None = None,
    ) -> str:
        """What it printed (with `output` all of it goes there, errors included). Raises DockerFailed."""
        process = await self._started(words, variables or {}, output)
        try:
            async with asyncio.timeout(within_s):
                printed, said = await process.communicate()
        except TimeoutError:
            raise DockerFailed(
                f"docker {_shown(words)} did not end in {within_s:g} s; look at the daemon's log, or give it more CPU"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            told = (said or b"").decode(errors="replace").strip().splitlines()[-_SAID_LINES_MAX:]
            text = "\n".join(told) or "it said nothing"
            raise DockerFailed(
                self.without_secret(f"docker {_shown(words)} exited with {process.returncode}: {text}")
            )
        return (printed or b"").decode(errors="replace")

    async def lines(self, *words: str) -> Sequence[str]:
        return (await self.run(*words)).split()

    def without_secret(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    async def _started(
        self, words: Sequence[str], variables: Mapping[str, str], output: BinaryIO | None
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                PROGRAM,
                *words,
                env={**_environment(), **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output or asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT if output else asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise ClusterError(
                "docker is not on PATH; install Docker with its compose plugin, and start its daemon"
            ) from None


@dataclass(frozen=True, slots=True)
class Container:
    """As it was when last looked at. `env` holds credentials, so it is never shown."""

    id: str
    name: str
    service: str
    image: str
    is_running: bool
    is_paused: bool
    exit_code: int
    """As of a process: minus the signal's number when one ended it."""
    pid: int
    """As the daemon's machine numbers it; 0 when it does not run."""
    started_at: str
    finished_at: str
    restarts: int
    addresses: Mapping[str, str]
    """By the name of its network."""
    ports: Mapping[int, str]
    """host:port by the container's port, of those that are published."""
    kept_ports: frozenset[int]
    """Of these, those whose place somebody has chosen; others get another one at each start."""
    command: Sequence[str]
    env: Mapping[str, str] = field(repr=False)

    @staticmethod
    def of(found: Mapping[str, Any]) -> Container:
        state, config, labels = found["State"], found["Config"], found["Config"].get("Labels") or {}
        networks = found["NetworkSettings"].get("Networks") or {}
        return Container(
            id=found["Id"],
            name=found["Name"].lstrip("/"),
            service=labels.get(SERVICE_LABEL, ""),
            image=config["Image"],
            is_running=bool(state["Running"]),
            is_paused=bool(state["Paused"]),
            exit_code=_exit_code(int(state["ExitCode"])),
            pid=int(state["Pid"]),
            started_at=state["StartedAt"],
            finished_at=state["FinishedAt"],
            restarts=int(found.get("RestartCount") or 0),
            addresses={name: each["IPAddress"] for name, each in networks.items() if each.get("IPAddress")},
            ports=_published(found["NetworkSettings"].get("Ports") or {}),
            kept_ports=_kept(found["HostConfig"].get("PortBindings") or {}),
            command=[*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())],
            env=dict(word.partition("=")[::2] for word in config.get("Env") or ()),
        )

    def endpoint(self, port: int) -> str | None:
        """host:port from this machine: where it stays over a restart, or where it will most likely be again."""
        if port not in self.kept_ports and self.addresses:
            return f"{next(iter(self.addresses.values()))}:{port}"
        return self.ports.get(port)


async def containers(docker: Docker, project: str) -> list[Container]:
    """Those of its services, by service; none of `docker compose run`."""
    found = await docker.lines("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={PROJECT_LABEL}={project}",
                               "--filter", f"label={ONE_OFF_LABEL}=False")  # fmt: skip
    return sorted(await inspected(docker, *found), key=lambda each: each.service)


async def inspected(docker: Docker, *names: str) -> list[Container]:
    """Raises DockerFailed when one of them does not exist."""
    if not names:
        return []
    return [
        Container.of(each) for each in json.loads(await docker.run("inspect", "--type", "container", *names))
    ]


def _environment() -> dict[str, str]:
    """Without what would choose other files, projects or profiles than those that are asked for."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}


def _exit_code(code: int) -> int:
    return code if code <= _BY_SIGNAL or code > _BY_SIGNAL + signal.NSIG else _BY_SIGNAL - code


def _published(ports: Mapping[str, Any]) -> dict[int, str]:
    """An address that stands for all of the machine's is reached by loopback."""
    found: dict[int, str] = {}
    for name, places in ports.items():
        for place in places or ():
            host = place.get("HostIp") or "0.0.0.0"
            at = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
            found.setdefault(int(name.partition("/")[0]), f"{at}:{place['HostPort']}")
    return found


def _kept(bindings: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(
        int(name.partition("/")[0])
        for name, places in bindings.items()
        if any(place.get("HostPort") not in {"", "0", None} for place in places or ())
    )


def _shown(words: Sequence[str]) -> str:
    """What is done, without the files that it is done with."""
    kept: list[str] = []
    skipped = False
    for word in words:
        if skipped or word in {"--file", "--project-name", "--profile", "--project-directory"}:
            skipped = not skipped
            continue
        kept.append(word.splitlines()[0][:80] if word else word)
    return " ".join(kept[:8])
