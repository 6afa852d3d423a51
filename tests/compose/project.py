"""A compose project of a test's own, typed to docker as an operator does; nothing of it is left."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seatrial.deadline import until_blocking

ROOT = Path(__file__).parents[2]
SMALL_CLUSTER, DEVELOPMENT = "docker-compose.small-cluster.yml", "docker-compose.yml"
PRODUCTION = "docker-compose.production.yml"
COMMAND_WITHIN_S = 300
CALL_WITHIN_S = 10.0


def missing_need() -> str | None:
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        return "docker has no compose plugin"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "no Docker daemon answers"
    return None


class CommandFailed(AssertionError):
    """With what it said."""


def run(*words: str, env: Mapping[str, str] | None = None, within_s: float = COMMAND_WITHIN_S) -> str:
    """What it printed. Raises CommandFailed."""
    done = subprocess.run(
        words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=within_s
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(words)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


def call(url: str, body: Any = None, *, method: str | None = None) -> Answer:
    """A connection of its own. Status 0: nobody answered. JSON is read where it is JSON."""
    parts = urlsplit(url)
    data = None if body is None else json.dumps(body)
    with closing(HTTPConnection(parts.netloc, timeout=CALL_WITHIN_S)) as connection:
        try:
            connection.request(method or ("GET" if data is None else "POST"), parts.path, data)
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, HTTPException) as err:
            return Answer(0, str(err))
    try:
        return Answer(answer.status, json.loads(raw) if raw.strip() else None)
    except ValueError:
        return Answer(answer.status, raw.decode(errors="replace"))


def eventually(holds: Callable[[], bool], within_s: float, what: str) -> None:
    until_blocking(
        holds,
        within_s=within_s,
        every_s=0.1,
        otherwise=lambda: AssertionError(f"not within {within_s:g} s: {what}"),
    )


@dataclass(frozen=True, slots=True)
class Project:
    name: str
    file: Path
    env: Mapping[str, str] = field(repr=False)

    def compose(self, *words: str, **variables: str) -> str:
        """`docker compose` with these words; `variables` are those of the file."""
        options = ("--project-name", self.name, "--file", str(self.file))
        return run("docker", "compose", *options, *words, env={**self.env, **variables})

    def container(self, service: str) -> Any:
        """As `docker inspect` shows it."""
        found = self.compose("ps", "--all", "--quiet", service).split()
        assert len(found) == 1, f"{service} has {len(found)} containers"
        return json.loads(run("docker", "inspect", found[0]))[0]

    def address(self, service: str, port: int = 8080) -> str:
        """host:port on this machine."""
        return self.compose("port", service, str(port)).strip()

    def url(self, service: str, path: str) -> str:
        return f"http://{self.address(service)}{path}"


@contextmanager
def a_project(file: str, folder: Path, **variables: str) -> Iterator[Project]:
    """Of a name of its own, on free ports, with new secrets; not started. Its logs are in `folder` afterwards."""
    name = f"windlass-test-{secrets.token_hex(4)}"
    run("compose/secrets.sh", str(folder / "secrets"))
    ports = {"WINDLASS_PORT": "0", "WINDLASS_GRPC_PORT": "0", "WINDLASS_METRICS_PORT": "0"}
    env = {
        **os.environ,
        **ports,
        "WINDLASS_SECRETS": str(folder / "secrets"),
        "HEALTH_INTERVAL": "1s",
        **variables,
    }
    project = Project(name, ROOT / file, env)
    try:
        yield project
    finally:
        (folder / "logs.txt").write_text(project.compose("--profile", "*", "logs", "--no-color"))
        project.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
