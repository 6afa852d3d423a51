"""docker-compose.yml as its head says: database, engine and workers from this tree, and Redis or Kafka if wanted."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from page import Shell, head
from project import DEVELOPMENT, ROOT, call, missing_need, run

from seatrial.cluster.port import Ports

pytestmark = pytest.mark.slow

UP, WORKERS, PSQL, REDIS, KAFKA = head(DEVELOPMENT)


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with a_shell() as made:
        yield made


@contextmanager
def a_shell() -> Iterator[Shell]:
    if need := missing_need():
        pytest.skip(need)
    ports = Ports()
    port = str(ports.take())
    env = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"windlass-development-{secrets.token_hex(4)}",
        "WINDLASS_PORT": port,
        "WINDLASS_GRPC_PORT": str(ports.take()),
        "WINDLASS_METRICS_PORT": str(ports.take()),
        "HEALTH_INTERVAL": "1s",
    }
    made = Shell(env, {"psql -U windlass": "psql -U windlass -c 'SELECT count(*) FROM workflow_instance'"})
    try:
        yield made
    finally:
        made.type("docker compose --profile '*' down --volumes --timeout 5")
        ports.close()


def test_the_engine_is_up_and_its_metrics_are_there(shell: Shell) -> None:
    shell.type(UP)
    assert call(_url(shell, "/api/ready")).body == {"status": "ready"}
    assert "windlass_" in call(f"http://127.0.0.1:{shell.env['WINDLASS_METRICS_PORT']}/metrics").body


def test_a_worker_does_the_job_of_the_example(shell: Shell) -> None:
    shell.type(WORKERS)
    said = run(sys.executable, "examples/start_and_wait.py", _url(shell, ""), "Ada", within_s=90)
    assert said.strip() == "Hello, Ada"
    assert "1" in shell.type(PSQL.replace("exec ", "exec -T "))


def test_it_comes_up_with_redis(shell: Shell) -> None:
    shell.type(REDIS)
    _is_up_without_a_warning(shell)


def test_it_comes_up_with_kafka() -> None:
    """On a database of its own: what is stored in the other has no topics."""
    with a_shell() as shell:
        shell.type(KAFKA)
        _is_up_without_a_warning(shell)
        assert call(_url(shell, "/v1/jobs/poll"), {"workerId": "w", "jobTypes": ["x"]}).status == 410


def _is_up_without_a_warning(shell: Shell) -> None:
    assert call(_url(shell, "/api/ready")).body == {"status": "ready"}
    assert "warning" not in shell.type("docker compose logs --no-log-prefix --tail 20 engine")


def test_the_head_is_all_there_is_to_type() -> None:
    assert (ROOT / DEVELOPMENT).read_text().count("docker compose ") == 5


def _url(shell: Shell, path: str) -> str:
    return f"http://127.0.0.1:{shell.env['WINDLASS_PORT']}{path}"
