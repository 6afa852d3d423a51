"""What finished long ago goes: by `windlass prune`, and by itself with WINDLASS_RETENTION_DAYS."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import RunWindlass
from workflow import END, Json, Workflow, service

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[2] / "docs/size-and-care.md").read_text(encoding="utf-8")
SECOND_IN_DAYS = "0.0000116"
TABLES = ("workflow_instance", "step_execution", "job", "audit_log")


async def life(engine: EngineClient) -> tuple[Workflow, Json, Json]:
    """A finished instance and a running one."""
    workflow = await engine.define(service("a"), END)
    finished = await workflow.start()
    await workflow.work_off("a")
    return workflow, finished, await workflow.start()


async def counts(database: str) -> dict[str, int]:
    (row,) = await rows(
        database, "SELECT " + ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in TABLES)
    )
    return row


async def test_prune_counts_then_removes_what_is_old_enough(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    database = server.dsn(urlsplit(dsn).path.removeprefix("/"))
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    _, finished, running = await life(engine)
    before = await counts(database)

    early = await windlass("prune", "--older-than", "1h", WE_POSTGRES_DSN=dsn)
    assert (await early.ended(), early.stderr) == (0, "")
    assert early.stdout.splitlines()[0] == "removed 0 instances that finished more than 1h ago:"
    await rows(database, "UPDATE workflow_instance SET started_at = started_at - interval '2 h',"
                         " completed_at = completed_at - interval '2 h' RETURNING 1")  # fmt: skip
    told = [
        "  workflow_instance                  1 rows",
        "  step_execution                     2 rows",
        "  job                                1 rows",
        "  audit_log                          4 rows",
    ]
    dry = await windlass("prune", "--older-than", "1h", "--dry-run", WE_POSTGRES_DSN=dsn)
    assert (await dry.ended(), dry.stderr) == (0, "")
    assert dry.stdout.splitlines() == ["would remove 1 instances that finished more than 1h ago:", *told]
    assert await counts(database) == before
    done = await windlass("prune", "--older-than", "1h", WE_POSTGRES_DSN=dsn)
    assert (await done.ended(), done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["removed 1 instances that finished more than 1h ago:", *told]
    after = await counts(database)
    assert {table: before[table] - after[table] for table in TABLES} == {
        "workflow_instance": 1,
        "step_execution": 2,
        "job": 1,
        "audit_log": 4,
    }
    never = (await engine.get("/v1/instances/01NEVERWAS")).refused(404, "not-found")
    gone = (await engine.get(f"/v1/instances/{finished['id']}")).refused(404, "not-found")
    assert gone.replace(finished["id"], "01NEVERWAS") == never
    (await engine.get(f"/v1/instances/{finished['id']}/history")).refused(404, "not-found")
    assert await engine.status(running) == "ACTIVE"


async def test_a_signal_ends_it_after_the_batch_at_hand(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    """A lock keeps the first batch until the signal has come."""
    database = server.dsn(urlsplit(dsn).path.removeprefix("/"))
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0
    await rows(
        database,
        "INSERT INTO workflow_instance (id, definition_id, definition_version, status, started_at, completed_at)"
        " SELECT n::text, 'd', 1, 'FAILED', now() - interval '2 d', now() - interval '2 d'"
        " FROM generate_series(1, 500) AS n RETURNING 1",
    )
    holder = await psycopg.AsyncConnection.connect(database)
    await holder.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
    process = await windlass("prune", "--older-than", "1d", WE_POSTGRES_DSN=dsn)

    async def waits() -> bool:
        return bool(await rows(database, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    await eventually(waits)
    process.send(signal.SIGINT)
    await holder.close()
    assert await process.ended() == 1
    assert "stopped by a signal" in process.stderr
    (left,) = await rows(database, "SELECT count(*) AS left FROM workflow_instance")
    assert f"removed {500 - left['left']} instances" in process.stdout
    assert 0 < left["left"] < 500


async def test_the_commands_of_the_page_are_accepted(windlass: RunWindlass, dsn: str) -> None:
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0
    commands = re.findall(r"^windlass (prune .+)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        process = await windlass(*command.split(), WE_POSTGRES_DSN=dsn)
        assert (await process.ended(), process.stderr) == (0, "")


async def test_prune_refuses_a_schema_that_is_behind(windlass: RunWindlass, dsn: str) -> None:
    process = await windlass("prune", "--older-than", "30d", WE_POSTGRES_DSN=dsn)
    assert await process.ended() == 1
    assert "run windlass migrate first" in process.stderr
    assert "Traceback" not in process.stdout + process.stderr


async def test_a_node_with_a_retention_says_so_and_prunes_and_counts(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    api, engine = await windlass.serving("api", WE_POSTGRES_DSN=dsn, WINDLASS_RETENTION_DAYS=SECOND_IN_DAYS)
    assert api.log(msg="retention: finished instances are removed") == []
    _, finished, running = await life(engine)
    process, scheduler = await windlass.serving(
        "scheduler", WE_POSTGRES_DSN=dsn, WINDLASS_RETENTION_DAYS=SECOND_IN_DAYS
    )
    (line,) = process.log(msg="retention: finished instances are removed")
    assert line["older_than_days"] == float(SECOND_IN_DAYS)

    async def is_gone() -> bool:
        return (await engine.get(f"/v1/instances/{finished['id']}")).status == 404

    await eventually(is_gone)

    async def counted() -> bool:
        text = await scheduler.metrics()
        return (
            'windlass_retention_removed_rows_total{table="workflow_instance"} 1.0' in text
            and 'windlass_retention_removed_rows_total{table="job"} 1.0' in text
        )

    await eventually(counted)
    assert await engine.status(running) == "ACTIVE"


async def test_without_a_retention_everything_stays(windlass: RunWindlass, dsn: str) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    assert process.log(msg="retention: finished instances are removed") == []
    assert "windlass_retention_oldest_seconds 0.0" in await engine.metrics()
