"""docker-compose.small-cluster.yml, started: what it is, who reaches what, and how it is changed while it runs."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from project import SMALL_CLUSTER, CommandFailed, Project, a_project, call, eventually, run

pytestmark = pytest.mark.slow

STARTED = {"bootstrap", "server-a", "server-b", "scheduler", "balancer", "postgres", "redis"}
PRIVATE = {"scheduler": 8080, "postgres": 5432, "redis": 6379}
DEFINITION = {
    "id": "greet",
    "name": "Greet somebody",
    "steps": [
        {
            "id": "hello",
            "name": "Say hello",
            "type": "SERVICE_TASK",
            "jobType": "say-hello",
            "nextStep": "done",
        },
        {"id": "done", "name": "Done", "type": "END"},
    ],
}


def _servers_used(cluster: Project, calls: int = 6) -> list[str]:
    url = cluster.url("balancer", "/api/cluster/info")
    return [call(url).body["server_id"] for _ in range(calls)]


def test_everything_is_up_and_nothing_more(cluster: Project) -> None:
    shown = [json.loads(line) for line in cluster.compose("ps", "--all", "--format", "json").splitlines()]
    assert {each["Service"] for each in shown} == STARTED
    for each in shown:
        expected = ("exited", 0) if each["Service"] == "bootstrap" else ("running", 0)
        assert (each["State"], each["ExitCode"]) == expected, each
        assert each["Health"] in {"healthy", ""}, each


@pytest.mark.parametrize("path", ["/api/health", "/api/ready", "/api/cluster/info"])
def test_the_balancer_answers_for_the_servers(cluster: Project, path: str) -> None:
    answer = call(cluster.url("balancer", path))
    assert answer.status == 200, answer
    if path == "/api/cluster/info":
        names = {node["id"] for node in answer.body["nodes"]}
        assert {"server-a", "server-b", "scheduler"} <= names


def test_no_server_is_preferred(cluster: Project) -> None:
    seen = _servers_used(cluster, 20)
    assert set(seen) == {"server-a", "server-b"}
    assert 6 <= seen.count("server-a") <= 14


def test_a_job_goes_through_two_servers(cluster: Project) -> None:
    assert call(cluster.url("balancer", "/v1/definitions"), DEFINITION).status == 201
    start = {"definitionId": "greet", "variables": {"who": "Ada"}}
    instance = call(cluster.url("balancer", "/v1/instances"), start)
    poll = {"workerId": "w", "jobTypes": ["say-hello"], "waitMs": 2000}
    (job,) = call(cluster.url("server-a", "/v1/jobs/poll"), poll).body["jobs"]
    done = {"workerId": "w", "leaseToken": job["leaseToken"], "variables": {"said": "Hello"}}
    assert call(cluster.url("server-b", f"/v1/jobs/{job['id']}/complete"), done).status == 204
    found = call(cluster.url("balancer", f"/v1/instances/{instance.body['id']}"))
    assert found.body["status"] == "COMPLETED"


def test_what_is_private_is_reached_from_its_own_network_alone(cluster: Project) -> None:
    for service, port in PRIVATE.items():
        container = cluster.container(service)
        assert not container["NetworkSettings"]["Ports"] or not any(
            container["NetworkSettings"]["Ports"].values()
        )
        (network,) = container["NetworkSettings"]["Networks"].values()
        # From the balancer's network nobody comes there: neither by name nor by address.
        for name in (service, network["IPAddress"]):
            with pytest.raises(CommandFailed):
                cluster.compose(
                    "exec",
                    "-T",
                    "balancer",
                    "curl",
                    "-s",
                    "-m",
                    "2",
                    "--connect-timeout",
                    "1",
                    f"telnet://{name}:{port}",
                )
    for service in ("server-a", "balancer"):
        for bindings in cluster.container(service)["NetworkSettings"]["Ports"].values():
            assert {each["HostIp"] for each in bindings or ()} <= {"127.0.0.1"}


def test_no_secret_shows_in_what_docker_tells(cluster: Project) -> None:
    folder = Path(cluster.env["WINDLASS_SECRETS"])
    passwords = {
        (folder / name).read_text().split()[-1]
        for name in ("postgres_password", "redis.conf", "kafka_password")
    }
    shown = cluster.compose("config") + cluster.compose("logs", "--no-color")
    shown += "".join(json.dumps(cluster.container(service)) for service in sorted(STARTED))
    for service in ("server-a", "redis", "postgres"):
        shown += cluster.compose("top", service)
    assert not any(password in shown for password in passwords)


def test_every_root_is_read_only_and_no_process_is_roots(cluster: Project) -> None:
    for service in sorted(STARTED - {"bootstrap"}):
        with pytest.raises(CommandFailed):
            cluster.compose("exec", "-T", service, "sh", "-c", "echo > /written")
        assert cluster.compose("exec", "-T", service, "sh", "-c", "id -u").strip() != "0", service
        assert cluster.container(service)["HostConfig"]["CapDrop"] == ["ALL"], service


def test_a_server_that_comes_back_elsewhere_is_found(cluster: Project) -> None:
    """A new container has a new address; nginx by itself would look it up once."""
    cluster.compose("stop", "server-a")
    try:
        # Somebody else takes the address that it had.
        network = f"{cluster.name}_front"
        squatter = run("docker", "run", "--detach", "--rm", "--network", network, "--entrypoint", "sleep",
                       cluster.env["WINDLASS_IMAGE"], "300").strip()  # fmt: skip
        try:
            cluster.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", "server-a")
        finally:
            run("docker", "rm", "--force", squatter)
    finally:
        cluster.compose("up", "--detach", "--wait", "--no-deps", "server-a")
    cluster.compose("stop", "server-b")
    try:
        eventually(
            lambda: call(cluster.url("balancer", "/api/cluster/info")).status == 200, 5.0, "server-a is found"
        )
    finally:
        cluster.compose("up", "--detach", "--wait", "--no-deps", "server-b")


def test_a_third_server_and_more_schedulers_join(cluster: Project) -> None:
    profiles = ("--profile", "three", "--profile", "three-schedulers")
    cluster.compose(*profiles, "up", "--detach", "--wait", "--no-recreate")
    try:
        eventually(lambda: "server-c" in _servers_used(cluster), 10.0, "server-c gets calls")
        names = {node["id"] for node in call(cluster.url("balancer", "/api/cluster/info")).body["nodes"]}
        assert {"server-c", "scheduler-b", "scheduler-c"} <= names
    finally:
        cluster.compose(*profiles, "rm", "--stop", "--force", "server-c", "scheduler-b", "scheduler-c")


def test_workers_are_scaled_apart(cluster: Project) -> None:
    with contextlib.suppress(CommandFailed):
        call(cluster.url("balancer", "/v1/definitions"), DEFINITION)
    cluster.compose(
        "--profile", "workers", "up", "--detach", "--no-recreate", "--scale", "worker=2", "worker"
    )
    try:
        started = call(
            cluster.url("balancer", "/v1/instances"), {"definitionId": "greet", "variables": {"who": "Ada"}}
        )
        path = f"/v1/instances/{started.body['id']}"
        eventually(
            lambda: call(cluster.url("balancer", path)).body["status"] == "COMPLETED", 30.0, "it completes"
        )
        assert call(cluster.url("balancer", path)).body["variables"]["said"] == "Hello, Ada"
        assert len(cluster.compose("--profile", "workers", "ps", "--quiet", "worker").split()) == 2
    finally:
        cluster.compose("--profile", "workers", "rm", "--stop", "--force", "worker")


def test_two_projects_run_beside_each_other(
    cluster: Project, images: Mapping[str, str], tmp_path: Path
) -> None:
    with a_project(SMALL_CLUSTER, tmp_path, **images) as other:
        other.compose("up", "--detach", "--wait")
        assert call(other.url("balancer", "/api/ready")).status == 200
        assert call(cluster.url("balancer", "/api/ready")).status == 200
        assert other.address("balancer") != cluster.address("balancer")


def test_a_name_that_no_engine_knows_ends_the_boot(cluster: Project) -> None:
    with pytest.raises(CommandFailed, match=r"WINDLASS_LEASE_SECOND .*did you mean WINDLASS_LEASE_SECONDS"):
        cluster.compose("run", "--rm", "--no-deps", "--env", "WINDLASS_LEASE_SECOND=8", "scheduler")


def test_jobs_travel_through_the_broker_of_the_profile(images: Mapping[str, str], tmp_path: Path) -> None:
    with a_project(SMALL_CLUSTER, tmp_path, WE_DISPATCH_MODE="kafka_outbox", **images) as project:
        project.compose("--profile", "kafka", "up", "--detach", "--wait")
        answer = call(project.url("balancer", "/v1/jobs/poll"), {"workerId": "w", "jobTypes": ["x"]})
        assert answer.status == 410
        assert "kafka" in call(project.url("server-a", "/api/ready")).body.get("mode", "kafka_outbox")


def test_the_ports_that_callers_know_are_open_on_this_machine(cluster: Project) -> None:
    for port in (8080, 9090):
        host, number = cluster.address("balancer", port).split(":")
        with socket.create_connection((host, int(number)), timeout=2):
            pass
