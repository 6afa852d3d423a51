"""Contract 7.3: one program, and what each of its commands does and does not do."""

from __future__ import annotations

import re
import signal
from importlib.metadata import version
from urllib.parse import urlsplit

import pytest
from engine_on_trial import rows
from engine_process import RunWindlass
from workflow import END, service, wait

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = {"WINDLASS_LEASE_SWEEP_SECONDS": "0.1", "WINDLASS_TIMER_SWEEP_SECONDS": "0.1"}


async def test_no_word_serves(windlass: RunWindlass, dsn: str) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    assert process.log(msg="engine: starting")[0]["role"] == "serve"
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    await workflow.work_off("a")


async def test_api_takes_calls_and_scheduler_repairs(windlass: RunWindlass, dsn: str) -> None:
    """What lapses on an api node stays as it is until some scheduler comes."""
    timed = wait("w", boundaryEvents=[
        {"type": "TIMER", "duration": "PT0.2S", "targetStepId": "late", "interrupting": True}
    ])  # fmt: skip
    _, api = await windlass.serving("api", WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="api-1", **QUICK)
    workflow = await api.define(service("a", "w"), timed, service("late"), END)
    leased, parked = await workflow.start(), await workflow.start()
    job = await workflow.lease_one("a", "crashed", leaseSeconds=1)
    assert job["instanceId"] == leased["id"]
    await workflow.work_off("a")
    assert (await api.instance(parked))["currentStepIds"] == ["w"]
    process, scheduler = await windlass.serving(
        "scheduler", WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="scheduler-1", **QUICK
    )

    async def fired() -> bool:
        return bool((await api.instance(parked))["currentStepIds"] == ["late"])

    assert not process.log(msg="engine: gRPC listening")
    await eventually(fired)
    again = await workflow.lease_one("a")
    assert again["id"] == job["id"]
    await process.until_logged("timer sweeper: fired boundary event")
    await process.until_logged("lease sweeper: reclaimed expired jobs")

    refused = await scheduler.post("/v1/instances", {"definitionId": workflow.id})
    assert "scheduler" in refused.refused(503, "unavailable")
    for path in ("/health", "/healthz", "/ready", "/cluster/info"):
        assert (await scheduler.get(path)).status == 200
    assert "workflow_steps_executed_total" in await scheduler.metrics()

    async def both_listed() -> bool:
        nodes = (await api.get("/cluster/info")).json["nodes"]
        return {node["id"]: node["role"] for node in nodes if node["alive"]} == {
            "api-1": "api",
            "scheduler-1": "scheduler",
        }

    await eventually(both_listed)


async def test_an_api_node_sweeps_nothing(windlass: RunWindlass, server: PostgresServer, dsn: str) -> None:
    process, api = await windlass.serving("api", WE_POSTGRES_DSN=dsn, **QUICK)
    workflow = await api.define(service("a"), END)
    await workflow.start()
    await workflow.lease_one("a", leaseSeconds=1)
    database = server.dsn(urlsplit(dsn).path.removeprefix("/"))

    async def lapsed_long_ago() -> bool:
        found = await rows(
            database, "SELECT status FROM job WHERE lock_expires_at < clock_timestamp() - interval '0.5 s'"
        )
        return bool(found)

    await eventually(lapsed_long_ago)
    assert (await rows(database, "SELECT status FROM job")) == [{"status": "LOCKED"}]
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    assert process.log(msg="lease sweeper: reclaimed expired jobs") == []


async def test_migrate_does_its_work_and_ends(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    first = await windlass("migrate", WE_POSTGRES_DSN=dsn)
    assert await first.ended() == 0
    assert first.stderr == ""
    applied = [line["migration"] for line in first.log(msg="migrate: applied")]
    assert applied[:9] == [
        "0001_workflow_definition", "0002_workflow_instance", "0003_step_execution", "0004_job", "0005_user_task",
        "0006_boundary_event_schedule", "0007_audit_log", "0008_performance_indexes", "0009_dispatch_outbox",
    ]  # fmt: skip
    again = await windlass("migrate", WE_POSTGRES_DSN=dsn)
    assert await again.ended() == 0
    assert [line["msg"] for line in again.log()] == ["migrate: schema is current"]
    assert again.log()[0]["version"] == len(applied) - 9


async def test_check_config_shows_what_is_in_force_and_touches_nothing(windlass: RunWindlass) -> None:
    secret = "nobody-may-see"
    process = await windlass(
        "check-config",
        WE_POSTGRES_DSN=f"postgresql://w:{secret}@db.invalid/d",
        DB_MAX_CONNS="7",
        WE_NO_SUCH="1",
    )
    assert await process.ended() == 0
    assert secret not in process.stdout + process.stderr
    shown = dict(line.split("=", 1) for line in process.stdout.splitlines())
    assert shown["WE_POSTGRES_DSN"] == "postgresql://w:***@db.invalid/d"
    assert shown["DB_MAX_CONNS"] == "7"
    assert shown["WINDLASS_LEASE_SECONDS"] == "30  (default)"
    assert "WE_NO_SUCH" in process.stderr


async def test_check_config_names_everything_that_is_wrong(windlass: RunWindlass) -> None:
    process = await windlass("check-config", WE_DISPATCH_MODE="rabbit", WINDLASS_LANES="none")
    assert await process.ended() == 1
    assert process.stdout == ""
    problems = process.stderr.splitlines()
    assert [problem.split()[1] for problem in problems] == [
        "WE_POSTGRES_DSN", "WE_DISPATCH_MODE", "WINDLASS_LANES",
    ]  # fmt: skip


async def test_version_and_help_need_no_environment(windlass: RunWindlass) -> None:
    for word in ("version", "--version"):
        process = await windlass(word)
        assert await process.ended() == 0
        assert process.stdout == f"windlass {version('windlass')}\n"
    for words in (["--help"], ["help"], ["serve", "-h"]):
        process = await windlass(*words)
        assert await process.ended() == 0
        for word in ("serve", "api", "scheduler", "migrate", "check-config", "version"):
            assert re.search(rf"^  {word} ", process.stdout, re.MULTILINE)
