"""Contract 9.3: a database is refused by name before anything is touched, or taken over whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import asyncpg
import pytest
from migrating import migrated, run

from rochallor_schema import made_by_rochallor
from seatrial.cluster.postgres import ENGINE_ROLE, PostgresServer
from windlass.errors import BootRefused
from windlass.store.ledger import migrations

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN = [migration for migration in migrations() if migration.is_own]
NUMBERED = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);"
JOBS = "CREATE TABLE job (id bigint PRIMARY KEY, name text NOT NULL);"
REMEDY = "WINDLASS_SCHEMA"
#: What the database holds; Rochallor's number under it, 0 for none; what the refusal says.
REFUSED: dict[str, tuple[str, int, list[str]]] = {
    "another application by golang-migrate": (
        f"{NUMBERED} INSERT INTO schema_migrations VALUES (20240105120000, false)",
        0,
        ["public.schema_migrations is at version 20240105120000", "another application's", REMEDY],
    ),
    "another application by golang-migrate, at a small number": (
        f"{NUMBERED} INSERT INTO schema_migrations VALUES (4, false)",
        0,
        ["public.schema_migrations is at version 4", "no table public.workflow_definition", REMEDY],
    ),
    "another tool's version table": (
        "CREATE TABLE schema_migrations (version varchar PRIMARY KEY)",
        0,
        ["public.schema_migrations is another application's", "version character varying", REMEDY],
    ),
    "two versions": (
        f"{NUMBERED} INSERT INTO schema_migrations VALUES (1, false), (2, false)",
        0,
        ["public.schema_migrations has 2 rows", REMEDY],
    ),
    "a table named job": (JOBS, 0, ["public.job", "has no column instance_id", "id of type bigint", REMEDY]),
    "a view named job": (
        "CREATE VIEW job AS SELECT 1 AS id",
        0,
        ["public.job", "is a view", REMEDY],
    ),
    "an index in the way": (
        "CREATE TABLE other (at timestamptz); CREATE INDEX idx_job_lock_expires ON other (at)",
        0,
        ["public.idx_job_lock_expires, an index on other", "0008_performance_indexes", REMEDY],
    ),
    "an index that IF NOT EXISTS would take for ours": (
        "CREATE TABLE other (at timestamptz); CREATE INDEX idx_job_claimable ON other (at)",
        9,
        ["public.idx_job_claimable", "an index on other", REMEDY],
    ),
    "a column of another type": (
        "ALTER TABLE workflow_instance ADD COLUMN progress integer",
        9,
        ["public.workflow_instance", "a column progress of type integer, not text"],
    ),
    "a column that our inserts do not know": (
        "ALTER TABLE job ADD COLUMN tenant text NOT NULL",
        9,
        ["public.job", "has a column tenant that every insert must give"],
    ),
    "a newer Rochallor": (
        "UPDATE schema_migrations SET version = 12",
        11,
        ["public.schema_migrations is at version 12", "up to 11", "newer release"],
    ),
    "a number without its table": (
        "DROP TABLE dispatch_outbox",
        9,
        ["public.schema_migrations is at version 9, but there is no table public.dispatch_outbox"],
    ),
    "a number without its index": (
        "UPDATE schema_migrations SET version = 11",
        9,
        ["public.schema_migrations is at version 11", "no index public.uniq_workflow_instance_bk_def_active"],
    ),
    "tables without a number": (
        "DROP TABLE schema_migrations",
        11,
        ["public.workflow_definition is there", "there is no table public.schema_migrations", "shows 11"],
    ),
    "a ledger of another application": (
        "CREATE TABLE windlass_migration (id uuid PRIMARY KEY)",
        9,
        ["public.windlass_migration is another application's", "id uuid", REMEDY],
    ),
    "no schema": (
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = nowhere', current_database()); END$$",
        0,
        ["the search path of this role names no schema", REMEDY],
    ),
}


async def everything(superuser: asyncpg.Connection) -> list[tuple[object, ...]]:
    """Relations, columns, constraints and numbers: all that a migration could have changed."""
    rows = await superuser.fetch(
        """SELECT c.oid::regclass::text AS name, c.relkind::text AS kind,
                  coalesce(pg_get_indexdef(i.indexrelid), string_agg(a.attname || ' ' || format_type(a.atttypid, NULL)
                           || a.attnotnull || a.attidentity::text, ', ' ORDER BY a.attnum)) AS is
           FROM pg_class AS c
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'second')
           LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
           LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           GROUP BY c.oid, i.indexrelid
           UNION ALL
           SELECT conrelid::regclass || ' ' || conname, 'constraint', pg_get_constraintdef(oid)
           FROM pg_constraint WHERE connamespace = 'public'::regnamespace
           ORDER BY 1, 2"""
    )
    return [tuple(row) for row in rows]


async def numbers(superuser: asyncpg.Connection) -> tuple[list[tuple[int, bool]], list[int]]:
    """Of schema_migrations, and of the ledger."""
    shared = await superuser.fetch("SELECT version, dirty FROM schema_migrations")
    own = await superuser.fetch("SELECT version FROM windlass_migration ORDER BY version")
    return [tuple(row) for row in shared], [row["version"] for row in own]


@pytest.mark.parametrize("found", REFUSED)
async def test_what_is_not_ours_is_refused_by_name_and_nothing_is_touched(
    superuser: asyncpg.Connection, dsn: str, found: str
) -> None:
    statements, number, said = REFUSED[found]
    if number:
        await made_by_rochallor(dsn, number)
    await run(dsn, statements)
    before = await everything(superuser)
    with pytest.raises(BootRefused) as refused:
        await migrated(dsn)
    text = str(refused.value)
    assert [part for part in said if part not in text] == [], text
    assert await everything(superuser) == before


# -- our own steps under the other engine's numbers


async def applied_as_before_the_ledger(dsn: str, numbers: Sequence[int]) -> None:
    for number in numbers:
        await run(dsn, OWN[number - 10].text)
        await run(dsn, f"UPDATE schema_migrations SET version = {number}")


@pytest.mark.parametrize("last", [10, 11, 12])
async def test_a_database_whose_numbers_10_to_12_are_ours_gets_a_ledger_and_its_9_back(
    superuser: asyncpg.Connection, dsn: str, last: int
) -> None:
    await migrated(dsn)
    whole = await everything(superuser)
    await run(dsn, "DROP OWNED BY CURRENT_USER")
    for migration in migrations():
        if not migration.is_own:
            await run(dsn, migration.text)
    await run(dsn, f"{NUMBERED} INSERT INTO schema_migrations VALUES (9, false)")
    await applied_as_before_the_ledger(dsn, range(10, last + 1))
    assert await migrated(dsn) == [
        f"schema_migrations set back from {last} to 9",
        *(migration.label for migration in OWN),
    ]
    assert await numbers(superuser) == ([(9, False)], [migration.version for migration in OWN])
    assert await everything(superuser) == whole
    # Once more, as an operator does who went back to that release in between.
    await run(dsn, "UPDATE schema_migrations SET version = 12")
    assert await migrated(dsn) == ["schema_migrations set back from 12 to 9"]


@pytest.mark.parametrize(("number", "ours"), [(9, 10), (10, 11), (11, 12)])
async def test_what_a_former_release_left_in_rochallor_s_database_is_mended(
    superuser: asyncpg.Connection, dsn: str, number: int, ours: int
) -> None:
    """At 9 our 0010 was applied and our 0011 refused; at 11 our 0012 was, and every call failed."""
    await made_by_rochallor(dsn, number)
    await applied_as_before_the_ledger(dsn, [ours])
    assert len(await migrated(dsn)) == len(OWN) + 1
    assert await numbers(superuser) == ([(number, False)], [migration.version for migration in OWN])
    assert await migrated(dsn) == []


async def test_a_database_of_rochallor_s_gets_the_indexes_of_a_fresh_one_whatever_their_names(
    superuser: asyncpg.Connection, dsn: str
) -> None:
    async def indexes() -> list[str]:
        rows = await superuser.fetch("SELECT indexdef AS d FROM pg_indexes WHERE schemaname = 'public'")
        return sorted(
            re.sub(r" idx_\w+", "", row["d"]) for row in rows if "schema_migrations" not in row["d"]
        )

    await migrated(dsn)
    fresh = await indexes()
    await run(dsn, "DROP OWNED BY CURRENT_USER")
    await made_by_rochallor(dsn, 9)
    await migrated(dsn)
    assert await indexes() == fresh


async def test_two_installations_share_a_database_in_two_schemas(
    server: PostgresServer, superuser: asyncpg.Connection, dsn: str
) -> None:
    """Each has its ledger and its lock; the second drops no index of the first, which is on its search path too."""
    await made_by_rochallor(dsn, 11)
    before = await everything(superuser)
    await run(dsn, "CREATE SCHEMA second")
    name = urlsplit(dsn).path.removeprefix("/")
    await superuser.execute(f"ALTER ROLE {ENGINE_ROLE} IN DATABASE {name} SET search_path = second, public")
    await superuser.execute("SELECT pg_advisory_lock(hashtextextended('public', 4893219751932018490))")
    assert len(await migrated(dsn)) == len(migrations())
    assert [row for row in await everything(superuser) if not str(row[0]).startswith("second.")] == before
    assert await superuser.fetchval("SELECT max(version) FROM second.windlass_migration") == len(OWN)
    assert await superuser.fetchval("SELECT version FROM second.schema_migrations") == 9
    assert await migrated(dsn) == []
