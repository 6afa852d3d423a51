"""Contract 9: the schema others look into, and every way a database may be found at a boot."""

from __future__ import annotations

import asyncio
import signal
from importlib import resources
from urllib.parse import urlsplit

import psycopg
import pytest
from engine_on_trial import EngineOnTrial, rows
from engine_process import RunWindlass
from psycopg.types.json import Jsonb
from workflow import END, Json, document, service

from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW = "now()"
COLUMNS: dict[str, dict[str, tuple[str, bool, str | None]]] = {
    # column: (type, may be null, default)
    "workflow_definition": {
        "pk": ("bigint", False, "nextval('workflow_definition_pk_seq'::regclass)"),
        "id": ("text", False, None),
        "version": ("integer", False, None),
        "name": ("text", False, None),
        "description": ("text", True, None),
        "raw_json": ("jsonb", False, None),
        "parsed_steps": ("jsonb", False, None),
        "auto_start_next_workflow_id": ("text", True, None),
        "uploaded_at": ("timestamp with time zone", False, NOW),
        "uploaded_by": ("text", True, None),
    },
    "workflow_instance": {
        "id": ("text", False, None),
        "definition_id": ("text", False, None),
        "definition_version": ("integer", False, None),
        "status": ("text", False, None),
        "current_step_ids": ("ARRAY", False, "'{}'::text[]"),
        "variables": ("jsonb", False, "'{}'::jsonb"),
        "started_at": ("timestamp with time zone", False, NOW),
        "completed_at": ("timestamp with time zone", True, None),
        "failure_reason": ("text", True, None),
        "business_key": ("text", True, None),
    },
    "step_execution": {
        "id": ("text", False, None),
        "instance_id": ("text", False, None),
        "step_id": ("text", False, None),
        "step_type": ("text", False, None),
        "attempt_number": ("integer", False, "1"),
        "status": ("text", False, None),
        "started_at": ("timestamp with time zone", False, NOW),
        "ended_at": ("timestamp with time zone", True, None),
        "input_snapshot": ("jsonb", True, None),
        "output_snapshot": ("jsonb", True, None),
        "failure_reason": ("text", True, None),
    },
    "job": {
        "id": ("text", False, None),
        "instance_id": ("text", False, None),
        "step_execution_id": ("text", False, None),
        "job_type": ("text", False, None),
        "status": ("text", False, "'UNLOCKED'::text"),
        "worker_id": ("text", True, None),
        "locked_at": ("timestamp with time zone", True, None),
        "lock_expires_at": ("timestamp with time zone", True, None),
        "retries_remaining": ("integer", False, "0"),
        "payload": ("jsonb", False, "'{}'::jsonb"),
        "created_at": ("timestamp with time zone", False, NOW),
    },
    "user_task": {
        "id": ("text", False, None),
        "instance_id": ("text", False, None),
        "step_execution_id": ("text", False, None),
        "step_id": ("text", False, None),
        "status": ("text", False, "'OPEN'::text"),
        "assignee": ("text", True, None),
        "assignee_group": ("text", True, None),
        "payload": ("jsonb", True, None),
        "result": ("jsonb", True, None),
        "created_at": ("timestamp with time zone", False, NOW),
        "completed_at": ("timestamp with time zone", True, None),
    },
    "boundary_event_schedule": {
        "id": ("text", False, None),
        "instance_id": ("text", False, None),
        "step_execution_id": ("text", False, None),
        "target_step_id": ("text", False, None),
        "fire_at": ("timestamp with time zone", False, None),
        "interrupting": ("boolean", False, "false"),
        "fired": ("boolean", False, "false"),
    },
    "audit_log": {
        "id": ("bigint", False, "nextval('audit_log_id_seq'::regclass)"),
        "at": ("timestamp with time zone", False, NOW),
        "actor": ("text", False, None),
        "kind": ("text", False, None),
        "instance_id": ("text", True, None),
        "detail": ("jsonb", True, None),
    },
    "dispatch_outbox": {
        "id": ("text", False, None),
        "job_id": ("text", False, None),
        "instance_id": ("text", False, None),
        "job_type": ("text", False, None),
        "payload": ("bytea", False, None),
        "created_at": ("timestamp with time zone", False, NOW),
    },
    "schema_migrations": {"version": ("bigint", False, None), "dirty": ("boolean", False, None)},
}
REFERENCES = {
    ("step_execution", "instance_id", "workflow_instance"),
    ("job", "step_execution_id", "step_execution"),
    ("user_task", "instance_id", "workflow_instance"),
    ("user_task", "step_execution_id", "step_execution"),
    ("boundary_event_schedule", "instance_id", "workflow_instance"),
    ("boundary_event_schedule", "step_execution_id", "step_execution"),
    ("dispatch_outbox", "job_id", "job"),
}
KEYS = {
    "workflow_definition": "pk",
    **{name: "id" for name in COLUMNS if name != "workflow_definition"},
}


@pytest.fixture
def database(server: PostgresServer, dsn: str) -> str:
    """The superuser's way into the test's database."""
    return server.dsn(urlsplit(dsn).path.removeprefix("/"))


async def version(database: str) -> list[tuple[int, bool]]:
    return [(row["version"], row["dirty"]) for row in await rows(database, "SELECT * FROM schema_migrations")]


def migrations() -> list[tuple[str, str]]:
    """Name and text of each file the program carries."""
    files = resources.files("windlass.store").joinpath("migrations").iterdir()
    return sorted(
        (file.name.removesuffix(".sql"), file.read_text()) for file in files if file.name[:1].isdigit()
    )


async def shape(database: str) -> list[Json]:
    """Everything a migration could have changed: columns, indexes, constraints."""
    return await rows(
        database,
        """SELECT table_name || '.' || column_name AS name,
                  data_type || is_nullable || coalesce(column_default, '') AS is
           FROM information_schema.columns WHERE table_schema = 'public'
           UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
           UNION ALL SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
                     WHERE connamespace = 'public'::regnamespace
           ORDER BY 1, 2""",
    )


# -- the schema -----------------------------------------------------------------------------------


async def test_the_tables_are_those_others_know(on_trial: EngineOnTrial) -> None:
    """Ours are more columns, which may be null or fill themselves; and more tables."""
    found: dict[str, dict[str, tuple[str, bool, str | None]]] = {}
    for row in await on_trial.rows("SELECT * FROM information_schema.columns WHERE table_schema = 'public'"):
        may_be_left_out = row["is_nullable"] == "YES" or row["is_identity"] == "YES"
        shown = (row["data_type"], may_be_left_out, row["column_default"])
        found.setdefault(row["table_name"], {})[row["column_name"]] = shown
    for table, columns in COLUMNS.items():
        assert {name: found[table].get(name) for name in columns} == columns, table
        ours = {name: shown for name, shown in found[table].items() if name not in columns}
        assert all(may_be_left_out for _, may_be_left_out, _ in ours.values()), (table, ours)
    assert all(name.startswith("windlass_") for name in found.keys() - COLUMNS.keys())


async def test_keys_and_references_are_those_others_know(on_trial: EngineOnTrial) -> None:
    constraints = await on_trial.rows(
        "SELECT conrelid::regclass::text AS on, contype::text AS kind, pg_get_constraintdef(oid) AS text"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f', 'u')"
    )
    primary = {row["on"]: row["text"] for row in constraints if row["kind"] == "p"}
    for table, column in KEYS.items():
        wanted = "version" if table == "schema_migrations" else column
        assert primary[table] == f"PRIMARY KEY ({wanted})"
    texts = {(row["on"], row["text"]) for row in constraints if row["kind"] == "f"}
    wanted_texts = {(on, f"FOREIGN KEY ({column}) REFERENCES {to}(id)") for on, column, to in REFERENCES}
    assert texts == wanted_texts
    assert ("workflow_definition", "UNIQUE (id, version)") in {(r["on"], r["text"]) for r in constraints}


async def test_the_version_is_one_clean_row(on_trial: EngineOnTrial) -> None:
    newest = int(migrations()[-1][0][:4])
    assert newest >= 10
    assert await on_trial.rows("SELECT version, dirty FROM schema_migrations") == [
        {"version": newest, "dirty": False}
    ]


# -- how a database may be found ------------------------------------------------------------------


async def test_three_processes_at_once_migrate_once(windlass: RunWindlass, database: str, dsn: str) -> None:
    started = await asyncio.gather(
        windlass("migrate", WE_POSTGRES_DSN=dsn),
        windlass("serve", WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="one"),
        windlass("api", WE_POSTGRES_DSN=dsn, WINDLASS_NODE_NAME="two"),
    )
    assert await started[0].ended() == 0
    for process in started[1:]:
        await process.until_logged("engine: REST listening")
    applied = [line["migration"] for process in started for line in process.log(msg="migrate: applied")]
    assert sorted(applied) == [name for name, _ in migrations()]
    assert await version(database) == [(len(applied), False)]
    for process in started[1:]:
        process.send(signal.SIGTERM)
        assert await process.ended() == 0


async def test_a_second_run_changes_nothing(windlass: RunWindlass, database: str, dsn: str) -> None:
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0
    before = await shape(database)
    assert len(before) > 80
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0
    assert await shape(database) == before


async def test_a_database_that_is_ahead_is_served_and_left_alone(
    windlass: RunWindlass, database: str, dsn: str
) -> None:
    """What helm rollback needs: the previous release runs on the newer schema."""
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0
    await rows(database, "UPDATE schema_migrations SET version = 99")
    await rows(database, "ALTER TABLE job ADD COLUMN of_the_future text")
    before = await shape(database)
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    assert (await engine.get("/ready")).json == {"ready": True, "reasons": []}
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    await workflow.work_off("a")
    assert await engine.status(instance) == "COMPLETED"
    assert process.log(msg="migrate: applied") == []
    assert process.log(msg="migrate: schema is current")[0]["version"] == 99
    assert await version(database) == [(99, False)]
    assert await shape(database) == before


@pytest.mark.parametrize("word", ["serve", "migrate"])
async def test_a_dirty_schema_is_refused(windlass: RunWindlass, database: str, dsn: str, word: str) -> None:
    await rows(
        database, "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)"
    )
    await rows(database, "INSERT INTO schema_migrations VALUES (5, true)")
    await rows(database, "ALTER TABLE schema_migrations OWNER TO windlass")
    text = await (await windlass(word, WE_POSTGRES_DSN=dsn)).refused_to_boot()
    assert "schema_migrations: version 5 is marked dirty" in text
    assert "dirty = false" in text
    assert await version(database) == [(5, True)]
    assert {row["name"].split(".")[0] for row in await shape(database) if "." in row["name"]} == {
        "schema_migrations"
    }


async def test_a_migration_that_fails_is_rolled_back_and_named(
    windlass: RunWindlass, database: str, dsn: str
) -> None:
    """Its second half fails: the first half must be gone, the migrations before it must stay."""
    await rows(database, "CREATE TABLE in_the_way (at timestamptz)")
    await rows(database, "CREATE INDEX idx_job_lock_expires ON in_the_way (at)")
    text = await (await windlass("serve", WE_POSTGRES_DSN=dsn)).refused_to_boot()
    assert "migration 0008_performance_indexes failed and was rolled back" in text
    assert 'relation "idx_job_lock_expires" already exists' in text
    assert await version(database) == [(7, False)]
    names = {row["name"] for row in await shape(database)}
    assert "audit_log.kind" in names
    assert "idx_instance_business_key" not in names, "made before the failure, in the same migration"
    await rows(database, "DROP TABLE in_the_way")
    mended = await windlass("migrate", WE_POSTGRES_DSN=dsn)
    assert await mended.ended() == 0
    assert mended.log(msg="migrate: applied")[0]["migration"] == "0008_performance_indexes"
    assert await version(database) == [(len(migrations()), False)]


# -- a database of the other engine ---------------------------------------------------------------


async def made_by_the_other_engine(owner_dsn: str) -> None:
    """At version 9, with one definition stored as that engine stores it: no source text, keys in jsonb's order."""
    steps = [service("a"), END]
    stored = document("stored", *steps)
    async with await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True) as connection:
        for _, text in migrations()[:9]:
            await connection.execute(text)
        await connection.execute(
            "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)"
        )
        await connection.execute("INSERT INTO schema_migrations VALUES (9, false)")
        await connection.execute(
            "INSERT INTO workflow_definition (id, version, name, raw_json, parsed_steps) VALUES (%s, 3, %s, %s, %s)",
            ["stored", "stored", Jsonb(stored), Jsonb(stored["steps"])],
        )


async def test_the_other_engine_s_database_is_brought_up_to_date(windlass: RunWindlass, dsn: str) -> None:
    await made_by_the_other_engine(dsn)
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    applied = [line["migration"] for line in process.log(msg="migrate: applied")]
    assert applied == [name for name, _ in migrations()[9:]]
    found = (await engine.get("/v1/definitions/stored")).json
    assert (found["version"], [each["id"] for each in found["steps"]]) == (3, ["a", "end"])
    started = await engine.post("/v1/instances", {"definitionId": "stored", "variables": {"x": 1}})
    assert (started.status, started.json["definitionVersion"]) == (201, 3)
    (job,) = await engine.poll(["stored.a"])
    await engine.complete(job, y=2)
    assert await engine.variables(started.json) == {"x": 1, "y": 2}
    assert await engine.status(started.json) == "COMPLETED"
    again = await engine.post("/v1/definitions", document("stored", service("a"), END))
    assert (again.status, again.json["version"]) == (201, 3)


async def test_what_the_previous_release_writes_still_fits(on_trial: EngineOnTrial) -> None:
    """Additions may be null: statements that name only the columns of version 9 go on working."""
    await on_trial.rows(
        """WITH i AS (INSERT INTO workflow_instance (id, definition_id, definition_version, status)
                      VALUES ('old-i', 'gone', 1, 'CANCELLED') RETURNING id),
                s AS (INSERT INTO step_execution (id, instance_id, step_id, step_type, status)
                      SELECT 'old-s', id, 'a', 'SERVICE_TASK', 'FAILED' FROM i RETURNING id),
                j AS (INSERT INTO job (id, instance_id, step_execution_id, job_type, status)
                      SELECT 'old-j', 'old-i', id, 'a', 'CANCELLED' FROM s RETURNING id),
                t AS (INSERT INTO boundary_event_schedule (id, instance_id, step_execution_id, target_step_id, fire_at,
                                                           fired)
                      SELECT 'old-t', 'old-i', id, 'a', now(), true FROM s)
           SELECT id FROM j"""
    )
    for table in ("dispatch_outbox", "boundary_event_schedule", "job", "step_execution", "workflow_instance"):
        await on_trial.rows(f"DELETE FROM {table} WHERE id LIKE 'old-%'")
