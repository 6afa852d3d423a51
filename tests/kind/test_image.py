"""The image as an operator runs it: nothing but its variables, a read-only root, its own user."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from sbom import bom_of

from seatrial.deadline import until_blocking

pytestmark = pytest.mark.slow

SIZE_MAX_MB = 280
READY_WITHIN_S = 60.0
UNKNOWN_USER = "1000660000:0"
"""As OpenShift starts a container: an id of the namespace's own, in group 0."""
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def database(image: str, postgres_image: str) -> Iterator[str]:
    """The name of a container with PostgreSQL, on a network of the same name."""
    network = docker("network", "create", f"windlass-test-{time.monotonic_ns()}")
    name = docker("network", "inspect", "--format", "{{.Name}}", network)
    docker("run", "--detach", "--rm", "--name", name, "--network", name, "--env", "POSTGRES_PASSWORD=trial",
           postgres_image)  # fmt: skip
    yield name
    docker("rm", "--force", name)
    docker("network", "rm", name)


@pytest.mark.parametrize("user", ["10001:10001", UNKNOWN_USER])
def test_it_serves_with_a_read_only_root_and_no_arguments_and_answers_wget(
    image: str, database: str, user: str
) -> None:
    dsn = f"postgresql://postgres:trial@{database}/postgres"
    # The database may not listen yet; as in a cluster, the engine is then started again.
    engine = docker("run", "--detach", "--network", database, "--restart", "on-failure", "--user", user,
                    "--env", f"WE_POSTGRES_DSN={dsn}", *HARDENED, image)  # fmt: skip
    try:
        health = ["docker", "exec", engine, "wget", "-qO-", "http://localhost:8080/healthz"]
        until_blocking(
            lambda: not subprocess.run(health, capture_output=True, check=False).returncode,
            within_s=READY_WITHIN_S,
            every_s=0.1,
            otherwise=lambda: AssertionError(docker("logs", engine)),
        )
        assert docker("exec", engine, "sh", "-c", "id -u") == user.partition(":")[0]
        assert subprocess.run(
            ["docker", "exec", engine, "sh", "-c", "echo > /opt/windlass/x"], capture_output=True, check=False
        ).returncode
        docker("stop", "--time", "30", engine)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", engine) == "0"
    finally:
        docker("rm", "--force", engine)


def test_it_is_small_and_holds_nothing_that_builds(image: str) -> None:
    size_mb = int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6
    assert size_mb < SIZE_MAX_MB
    shown = docker("run", "--rm", "--entrypoint", "ls", image, "/opt/windlass/bin")
    assert "windlass" in shown.split()
    assert not {"pip", "uv", "hatchling"} & set(shown.split())
    for tool in ("gcc", "make", "git"):
        missing = ["docker", "run", "--rm", "--entrypoint", "sh", image, "-c", f"command -v {tool}"]
        assert subprocess.run(missing, capture_output=True, check=False).returncode


def test_it_runs_the_version_that_it_is_tagged_with(image: str) -> None:
    assert docker("run", "--rm", image, "version") == f"windlass {image.rpartition(':')[2]}"


def test_its_bill_of_materials_is_valid_the_same_twice_and_names_what_runs(image: str) -> None:
    document = bom_of(image)
    assert document == bom_of(image)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    names = {component["name"] for component in json.loads(document)["components"]}
    assert {"windlass", "asyncpg", "uvloop", "libc6", "busybox"} <= names
