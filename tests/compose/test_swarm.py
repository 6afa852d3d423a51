"""docker-compose.production.yml as a swarm reads it. No swarm is made here: it would be the machine's own Docker."""

from __future__ import annotations

import pytest
import yaml
from project import PRODUCTION, missing_need, run

pytestmark = pytest.mark.slow


def test_a_stack_takes_all_of_the_file() -> None:
    if need := missing_need():
        pytest.skip(need)
    stack = yaml.safe_load(run("docker", "stack", "config", "--compose-file", PRODUCTION))
    assert set(stack["services"]) == {"server", "scheduler", "redis"}
    for name in ("server", "scheduler"):
        service = stack["services"][name]
        assert service["deploy"]["update_config"]["order"] == "start-first"
        assert service["deploy"]["rollback_config"]["failure_action"] == "pause"
        # A swarm fills in what is in braces for each task.
        assert service["environment"]["WINDLASS_SERVER_ID"] == "{{.Service.Name}}.{{.Task.Slot}}.{{.Task.ID}}"
        assert service["environment"]["DB_MAX_CONNS"] == "8"
        assert {each["source"] for each in service["secrets"]} == {"postgres_dsn", "redis_url"}
    assert stack["services"]["server"]["deploy"]["replicas"] == 3
    assert all(secret["external"] for secret in stack["secrets"].values())
