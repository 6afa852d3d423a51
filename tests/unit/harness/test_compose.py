"""The compose backend without Docker: what it reads from its words, its digests, and from chart values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seatrial.cluster import ClusterError, ClusterSpec
from seatrial.cluster.compose import images
from seatrial.cluster.compose.agent import Agent
from seatrial.cluster.compose.cluster import OwnProject
from seatrial.cluster.compose.docker import Container, Docker, DockerFailed
from seatrial.cluster.compose.engine_settings import engine_settings, usual_image
from seatrial.cluster.compose.services import ComposeServices
from seatrial.cluster.options import Misuse, Options
from seatrial.cluster.socket_table import connected, parsed
from seatrial.cluster.values import engine_variables, merge

DIGEST = "sha256:" + "ab" * 32
#: what `docker inspect` says of one container, shortened
INSPECTED: dict[str, Any] = {
    "Id": "c0ffee",
    "Name": "/p-server-a-1",
    "RestartCount": 2,
    "State": {
        "Running": True,
        "Paused": False,
        "ExitCode": 0,
        "Pid": 77,
        "StartedAt": "2026-01-01T00:00:00.5Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Config": {
        "Image": "windlass:1",
        "Entrypoint": ["windlass"],
        "Cmd": ["api"],
        "Env": ["A=b=c", "WINDLASS_SERVER_ID=server-a"],
        "Labels": {"com.docker.compose.service": "server-a"},
    },
    "HostConfig": {
        "PortBindings": {
            "8080/tcp": [{"HostIp": "", "HostPort": "12001"}],
            "9090/tcp": [{"HostIp": "172.17.0.1", "HostPort": "0"}],
        }
    },
    "NetworkSettings": {
        "Networks": {"p_data": {"IPAddress": "172.20.0.3"}, "p_front": {"IPAddress": ""}},
        "Ports": {
            "8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "12001"}, {"HostIp": "::", "HostPort": "12001"}],
            "9090/tcp": [{"HostIp": "172.17.0.1", "HostPort": "12002"}],
            "9091/tcp": None,
        },
    },
}


def inspected(**state: Any) -> Container:
    return Container.of({**INSPECTED, "State": {**INSPECTED["State"], **state}})


def test_a_container_is_read_from_what_docker_says() -> None:
    found = inspected()
    assert (found.name, found.service, found.image) == ("p-server-a-1", "server-a", "windlass:1")
    assert (found.is_running, found.is_paused, found.pid, found.restarts) == (True, False, 77, 2)
    assert found.env == {"A": "b=c", "WINDLASS_SERVER_ID": "server-a"}
    assert found.command == ["windlass", "api"]
    assert found.addresses == {"p_data": "172.20.0.3"}
    assert "b=c" not in repr(found)


def test_a_port_is_reached_where_it_stays_after_a_restart() -> None:
    """A place that Docker has chosen is another after the next start."""
    found = inspected()
    places = {port: found.endpoint(port) for port in (8080, 9090, 9091)}
    assert places == {8080: "127.0.0.1:12001", 9090: "172.20.0.3:9090", 9091: "172.20.0.3:9091"}
    ended = replace(found, addresses={})
    assert [ended.endpoint(port) for port in (9090, 9091)] == ["172.17.0.1:12002", None]


@pytest.mark.parametrize(("told", "code"), [(0, 0), (3, 3), (137, -9), (143, -15), (128, 128), (255, 255)])
def test_an_exit_code_is_that_of_a_process(told: int, code: int) -> None:
    assert inspected(Running=False, ExitCode=told).exit_code == code


def test_connections_with_an_address_are_counted() -> None:
    row = "  0: 0100007F:{:04X} 030014AC:1538 {} 00000000:00000000 00:00000000 00000000 0 0 {} 1"
    table = "\n".join(row.format(port, state, 7) for port, state in ((1, "01"), (2, "01"), (3, "06")))
    assert connected(parsed(table), {"172.20.0.3"}) == 2
    assert connected(parsed(table), {"172.20.0.4"}) == 0


async def test_a_machine_without_docker_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    services = ComposeServices(Options(1, tmp_path, backend="compose"), {}, lambda _line: None)
    with pytest.raises(ClusterError, match="docker is not on PATH; install Docker with its compose plugin"):
        await services.check()
    await services.close()


async def test_an_error_names_the_command_and_what_it_said_without_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\necho "no such thing: $COMPOSE_FILE$GIVEN hunter2hunter2" >&2\nexit 4\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COMPOSE_FILE", "another")
    docker = Docker()
    docker.secrets.add("hunter2hunter2")
    with pytest.raises(DockerFailed) as refused:
        await docker.run("compose", "--file", "/long/path", "up", variables={"GIVEN": "yes"})
    assert str(refused.value) == "docker compose up exited with 4: no such thing: yes ***"


async def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DockerFailed, match=r"docker pull x did not end in 0\.1 s"):
        await Docker().run("pull", "x", within_s=0.1)


def test_chart_values_become_what_differs_from_the_charts_defaults() -> None:
    assert engine_settings({}, None, str).env == {}
    found = engine_settings(
        merge(engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1), {"engine": {"logLevel": "debug"}}), None, str
    )
    assert found.env == {"WINDLASS_LEASE_SWEEP_SECONDS": "1", "WE_LOG_LEVEL": "debug"}
    assert found.image is None
    another = engine_settings({"image": {"tag": "other"}}, None, str).image
    assert another is not None
    assert another.rpartition(":")[0] == usual_image(None).rpartition(":")[0]
    assert another.endswith(":other")


def test_values_that_the_chart_refuses_are_refused() -> None:
    with pytest.raises(ClusterError, match="the chart cannot be rendered"):
        engine_settings({"engine": {"dispatchMode": "moon"}}, None, str)


def test_digests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "digests.json"
    told = {"windlass": f"h/windlass@{DIGEST}", "postgres": f"h/postgres@{DIGEST}"}
    path.write_text(json.dumps(told))
    assert images.read_digests(path) == told
    images.refuse_tags(told.values(), path)
    with pytest.raises(
        ClusterError, match="runs by digest only, and the compose file also uses nginx:1; add it"
    ):
        images.refuse_tags([*told.values(), "nginx:1"], path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "Expected `object`"),
        ('{"windlass": 1}', "Expected `str`"),
        (
            '{"windlass": "windlass:1"}',
            "windlass is 'windlass:1', and a tag may change; give REPOSITORY@sha256",
        ),
        (f'{{"windlass": "w@{DIGEST[:-1]}"}}', "a tag may change"),
        (
            f'{{"windlas": "w@{DIGEST}"}}',
            "'windlas' is no image of a small cluster; there are windlass, worker",
        ),
        (f'{{"postgres": "p@{DIGEST}"}}', "names no windlass; add the engine's image"),
    ],
)
def test_what_is_no_file_of_digests_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "digests.json"
    path.write_text(text)
    with pytest.raises(Misuse, match=message):
        images.read_digests(path)


@pytest.mark.parametrize("replicas", [0, 4])
def test_only_as_many_replicas_as_the_file_has_servers(replicas: int, tmp_path: Path) -> None:
    docker = Docker()
    with pytest.raises(ClusterError, match=f"from 1 to 3 on compose, got {replicas}"):
        OwnProject(
            ClusterSpec(replicas, folder=tmp_path), docker, Agent(docker, "x"), file=tmp_path / "f.yml",
            variables={}, chart=None, restart=False, say=lambda _line: None,
        )  # fmt: skip
