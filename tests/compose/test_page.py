"""docs/small-cluster.md, each command of it run as it stands there, on a cluster that the page itself starts."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from page import Shell, blocks, commands
from project import ROOT, call, missing_need, run

from seatrial.cluster.port import Ports

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "small-cluster.md").read_text()
START, JOIN = blocks(PAGE, "Start")
ONE_BY_ONE, ALL_AT_ONCE = blocks(PAGE, "Upgrade")
(LAST,) = blocks(PAGE, "Back up, remove")
(SMOKE,) = blocks(PAGE, "Try it")
(STACK,) = blocks(PAGE, "Several machines")
NEXT = "windlass:next"
SERVICES = ("server-a", "server-b", "scheduler")
DEFINITION = {"id": "ends", "name": "ends", "steps": [{"id": "end", "name": "End", "type": "END"}]}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A project, ports and secrets of its own; the rest is the page's."""
    if need := missing_need():
        pytest.skip(need)
    folder = tmp_path_factory.mktemp("page")
    ports = Ports()
    port = str(ports.take())
    env = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"windlass-page-{secrets.token_hex(4)}",
        "WINDLASS_PORT": port,
        "WINDLASS_GRPC_PORT": str(ports.take()),
        "WINDLASS_SECRETS": str(folder / "secrets"),
        "HEALTH_INTERVAL": "1s",
    }
    made = Shell(env, {"127.0.0.1:8080": f"127.0.0.1:{port}", "windlass.dump": str(folder / "windlass.dump")})
    try:
        yield made
    finally:
        made.type("docker compose --profile '*' down --volumes --timeout 5")
        ports.close()


def test_it_starts_as_the_page_says(shell: Shell) -> None:
    assert json.loads(shell.type(*commands(START))) == {"status": "ready"}


def test_workers_a_server_and_a_scheduler_join(shell: Shell) -> None:
    told = json.loads(shell.type(*commands(JOIN)))
    assert {"server-a", "server-b", "server-c", "scheduler", "scheduler-b"} <= {
        node["id"] for node in told["nodes"]
    }
    shell.type(
        "docker compose --profile three --profile two-schedulers rm --stop --force server-c scheduler-b"
    )


def test_one_by_one_no_call_fails(shell: Shell) -> None:
    shell.type("IMAGE_TAG=dev scripts/image --drills", f"docker tag windlass:dev-next {NEXT}")
    assert call(_url(shell, "/v1/definitions"), DEFINITION).status == 201
    with _callers(shell) as statuses:
        shell.type_all(ONE_BY_ONE)
    assert statuses[201] > 20
    assert set(statuses) == {200, 201}, statuses
    assert _images(shell) == dict.fromkeys(SERVICES, NEXT)


def test_all_at_once_ends_with_everything_back(shell: Shell) -> None:
    shell.type_all(ALL_AT_ONCE)
    assert _images(shell) == dict.fromkeys(SERVICES, NEXT)
    assert call(_url(shell, "/api/ready")).status == 200
    assert call(_url(shell, "/v1/instances"), {"definitionId": "ends"}).status == 201


def test_what_was_stored_is_in_the_dump_and_the_volume_stays(shell: Shell) -> None:
    shell.type(*commands(LAST))
    assert Path(shell.own["windlass.dump"]).stat().st_size > 1000
    assert not shell.type("docker compose --profile '*' ps --all --quiet")
    assert shell.type(f"docker volume ls --quiet --filter name={shell.env['COMPOSE_PROJECT_NAME']}")


def test_the_smoke_runs_in_ci() -> None:
    assert all(command in (ROOT / ".ci" / "compose").read_text() for command in commands(SMOKE))


def test_every_command_of_the_page_is_typed_by_a_test() -> None:
    """But those of a swarm, which would be made of the machine's own Docker; test_swarm.py reads its file."""
    typed = [START, JOIN, ONE_BY_ONE, ALL_AT_ONCE, LAST, SMOKE, STACK]
    assert PAGE.count("```sh\n") == len(typed)


def _url(shell: Shell, path: str) -> str:
    return f"http://{shell.own['127.0.0.1:8080']}{path}"


def _images(shell: Shell) -> Mapping[str, str]:
    found = {}
    for service in SERVICES:
        container = shell.type(f"docker compose ps --quiet {service}").strip()
        found[service] = run("docker", "inspect", "--format", "{{.Config.Image}}", container).strip()
    return found


@contextmanager
def _callers(shell: Shell) -> Iterator[Counter[int]]:
    """Start instances and read, with a new connection each time, until the block ends; how often each status came."""
    statuses: Counter[int] = Counter()
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.05):
            statuses[call(_url(shell, "/v1/instances"), {"definitionId": "ends"}).status] += 1
            statuses[call(_url(shell, "/api/ready")).status] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield statuses
    finally:
        stopping.set()
        thread.join()
