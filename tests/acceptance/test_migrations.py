"""Contract 9: the schema others look into, and every way a database may be found at a boot."""

from __future__ import annotations

import asyncio
import re
import signal
from importlib import resources
from urllib.parse import urlsplit

import psycopg
import pytest
from engine_on_trial import EngineOnTrial, rows
from engine_process import RunWindlass
from psycopg.types.json import Jsonb
from workflow import END, Json, document, service

from patience import eventually
from rochallor_schema import made_by_rochallor
from seatrial.cluster.postgres import PostgresServer
from windlass.store.shape import LEDGER, SCHEMA_MIGRATIONS
from windlass.store.shape import OWN as OWN_SHAPES
from windlass.store.shape import SHARED as SHARED_SHAPES

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


async def ledger(database: str) -> list[str]:
    return [
        f"own/{row['name']}"
        for row in await rows(database, "SELECT name FROM windlass_migration ORDER BY version")
    ]


async def version(database: str) -> list[tuple[int, bool]]:
    return [(row["version"], row["dirty"]) for row in await rows(database, "SELECT * FROM schema_migrations")]


def migrations() -> list[tuple[str, str]]:
    """Label and text of each file the program carries, in the order in which they are applied."""
    folder = resources.files("windlass.store").joinpath("migrations")
    found = [(file.name, file) for file in folder.iterdir()]
    found += [(f"own/{file.name}", file) for file in folder.joinpath("own").iterdir()]
    return sorted(
        (name.removesuffix(".sql"), file.read_text()) for name, file in found if name.endswith(".sql")
    )


SHARED = [name for name, _ in migrations() if not name.startswith("own/")]
OWN = [name for name, _ in migrations() if name.startswith("own/")]


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


async def test_the_shared_number_is_one_clean_row_and_ours_are_in_the_ledger(on_trial: EngineOnTrial) -> None:
    """As golang-migrate has it, so that Rochallor boots on it."""
    assert await on_trial.rows("SELECT version, dirty FROM schema_migrations") == [
        {"version": 9, "dirty": False}
    ]
    applied = await on_trial.rows("SELECT version, name, applied_at <= now() AS told FROM windlass_migration")
    assert applied == [
        {"version": number, "name": name.removeprefix("own/"), "told": True}
        for number, name in enumerate(OWN, 1)
    ]


async def test_the_catalog_is_what_the_engine_compares_databases_with(on_trial: EngineOnTrial) -> None:
    """A table, a column or an index that a migration makes is known by the number that makes it."""
    known: dict[str, dict[str, str]] = {
        "schema_migrations": {**SCHEMA_MIGRATIONS},
        "windlass_migration": {**LEDGER},
    }
    indexes: set[str] = set()
    for shape in (*(SHARED_SHAPES[number] for number in range(1, 10)), *OWN_SHAPES.values()):
        known |= {table: {**columns} for table, columns in shape.tables.items()}
        indexes |= {*shape.indexes}
        for table, columns in shape.columns.items():
            known[table] |= columns
    found: dict[str, dict[str, str]] = {}
    for row in await on_trial.rows(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS kind FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
    ):
        found.setdefault(row["relname"], {})[row["attname"]] = row["kind"]
    assert found == known
    assert set(OWN_SHAPES) == set(range(1, len(OWN) + 1))
    made = {
        name
        for label, text in migrations()
        if label in OWN
        for name in re.findall(r"INDEX IF NOT EXISTS (\w+)", text)
    }
    assert made == indexes


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
    assert sorted(applied) == [*SHARED, *OWN]
    assert await version(database) == [(len(SHARED), False)]
    assert await ledger(database) == OWN
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
    await rows(database, "INSERT INTO windlass_migration (version, name) VALUES (99, '0099_pre_future')")
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
    assert await version(database) == [(9, False)]
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


async def test_a_node_that_does_not_migrate_says_so_by_its_readiness(
    windlass: RunWindlass, database: str, dsn: str
) -> None:
    """Also when another application's table comes later."""
    await rows(database, "CREATE TABLE job (id bigint)")
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_MIGRATE_ON_START="false")
    answer = await engine.get("/ready")
    assert (answer.status, len(answer.json["reasons"])) == (503, 1)
    assert "public.job is not this engine's table" in answer.json["reasons"][0]
    await rows(database, "DROP TABLE job")
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0

    async def is_ready() -> bool:
        return (await engine.get("/ready")).status == 200

    await eventually(is_ready)
    await rows(database, "UPDATE schema_migrations SET version = 20240105120000")

    async def is_refused() -> bool:
        answer = await engine.get("/ready")
        return answer.status == 503 and "20240105120000" in answer.json["reasons"][0]

    await eventually(is_refused)


async def test_a_migration_that_fails_is_rolled_back_and_named(
    windlass: RunWindlass, database: str, dsn: str
) -> None:
    """Its second half fails: the first half must be gone, the migrations before it must stay."""
    await rows(database, "CREATE DOMAIN audit_log AS text")
    text = await (await windlass("serve", WE_POSTGRES_DSN=dsn)).refused_to_boot()
    assert "migration 0007_audit_log failed and was rolled back" in text
    assert 'type "audit_log" already exists' in text
    assert await version(database) == [(6, False)]
    names = {row["name"] for row in await shape(database)}
    assert "boundary_event_schedule.fired" in names
    await rows(database, "DROP DOMAIN audit_log")
    mended = await windlass("migrate", WE_POSTGRES_DSN=dsn)
    assert await mended.ended() == 0
    assert mended.log(msg="migrate: applied")[0]["migration"] == "0007_audit_log"
    assert (await version(database), await ledger(database)) == ([(9, False)], OWN)


async def test_a_migration_of_ours_that_fails_leaves_no_half(
    windlass: RunWindlass, database: str, dsn: str
) -> None:
    """Its last statement fails: neither its columns nor its row in the ledger stay."""
    await rows(database, "CREATE DOMAIN windlass_node AS text")
    text = await (await windlass("serve", WE_POSTGRES_DSN=dsn)).refused_to_boot()
    assert f"migration {OWN[0]} failed and was rolled back" in text
    names = {row["name"] for row in await shape(database)}
    assert names.isdisjoint({"workflow_instance.progress", "idx_job_claimable", "windlass_migration.version"})
    assert await version(database) == [(9, False)]
    await rows(database, "DROP DOMAIN windlass_node")
    assert await (await windlass("migrate", WE_POSTGRES_DSN=dsn)).ended() == 0
    assert await ledger(database) == OWN


# -- a database of the other engine ---------------------------------------------------------------


async def stored_by_rochallor(dsn: str) -> None:
    """One definition as that engine stores it: no source text, keys in jsonb's order."""
    stored = document("stored", service("a"), END)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(
            "INSERT INTO workflow_definition (id, version, name, raw_json, parsed_steps) VALUES (%s, 3, %s, %s, %s)",
            ["stored", "stored", Jsonb(stored), Jsonb(stored["steps"])],
        )


@pytest.mark.parametrize("number", [9, 10, 11])
async def test_rochallor_s_database_is_brought_up_to_date(
    windlass: RunWindlass, database: str, dsn: str, number: int
) -> None:
    await made_by_rochallor(dsn, number)
    await stored_by_rochallor(dsn)
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    applied = [line["migration"] for line in process.log(msg="migrate: applied")]
    assert applied == OWN
    assert await version(database) == [(number, False)]
    assert (await engine.get("/ready")).json == {"ready": True, "reasons": []}
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
