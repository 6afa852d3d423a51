"""Every statement there is: described, used, accepted by PostgreSQL, and going by index where it is hot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nodes import CHAIN_TABLE

import windlass
from windlass.store.queries import load, parse

pytestmark = pytest.mark.asyncio(loop_scope="session")

PACKAGE = Path(windlass.__file__).parent


async def test_every_query_is_used_and_every_use_is_a_query() -> None:
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r'\bsql\(\s*"(\w+)"\s*\)', code)) == set(load())


async def test_no_statement_hides_in_python() -> None:
    verbs = re.compile(r'"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH) [a-z_(*]')
    allowed = {'"SELECT 1'}
    for path in PACKAGE.rglob("*.py"):
        for line in path.read_text().splitlines():
            found = verbs.search(line)
            assert not found or any(text in line for text in allowed), f"{path.name}: {line.strip()}"


@pytest.mark.parametrize("source", ["-- name: a\nSELECT 1", "-- name: a\n-- Described, empty."])
async def test_a_query_without_description_or_statement_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="needs a description and a statement"):
        parse(source)


async def test_postgresql_accepts_every_query(one: Any) -> None:
    async with one.database.connection() as connection:
        await connection.execute(CHAIN_TABLE)
        for query in load().values():
            await connection.prepare(query.text)


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from plan_nodes(child)


async def explain(connection: Any, name: str, types: str, arguments: str) -> dict[str, Any]:
    """The generic plan, executed and rolled back, with the buffers it touched."""
    await connection.execute(f"PREPARE guarded ({types}) AS {load()[name].text}")
    try:
        await connection.execute("BEGIN")
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE guarded ({arguments})"
        )
        await connection.execute("ROLLBACK")
    finally:
        await connection.execute("DEALLOCATE guarded")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


CLAIM = (
    "job_claim",
    "text[], int[], text[], float8[], bigint, bigint",
    "'{busy,idle}', '{1,1,1,1,1}', '{w}', '{30}', 4000000, 4000000",
)


async def seed_jobs(connection: Any, count: int) -> None:
    """Waiting jobs straight into the tables; foreign keys are of no interest to the plan."""
    await connection.execute("ALTER TABLE job DISABLE TRIGGER ALL")
    await connection.execute(
        "INSERT INTO job (id, instance_id, step_execution_id, job_type, created_at) "
        "SELECT 'job-' || n, 'i', 's', CASE WHEN n % 10 = 0 THEN 'idle' ELSE 'busy' END, "
        "now() - n * interval '1 ms' FROM generate_series(1, $1::int) AS n",
        count,
    )


async def test_a_claim_touches_as_little_with_many_waiting_jobs_as_with_few(one: Any, superuser: Any) -> None:
    async with one.database.connection() as connection:
        touched = {}
        for count in (1_000, 60_000):
            await superuser.execute("TRUNCATE job CASCADE")
            await seed_jobs(superuser, count)
            plan = await explain(connection, *CLAIM)
            scans = [n for n in plan_nodes(plan) if n["Node Type"].startswith(("Index", "Seq", "Bitmap"))]
            assert {n.get("Index Name") for n in scans} == {"idx_job_claimable", "job_pkey"}
            sorted_rows = [n["Actual Rows"] for n in plan_nodes(plan) if n["Node Type"] == "Sort"]
            assert all(rows <= 10 for rows in sorted_rows), "only what was picked is sorted"
            touched[count] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert touched[60_000] <= touched[1_000] * 2, touched


async def test_a_queue_is_counted_by_its_index_and_no_further_than_asked(one: Any, superuser: Any) -> None:
    await seed_jobs(superuser, 60_000)
    async with one.database.connection() as connection:
        counted = await connection.fetchval(load()["job_queue_length"].text, "busy", 100)
        plan = await explain(connection, "job_queue_length", "text, bigint", "'busy', 100")
    assert counted == 100
    (scan,) = [node for node in plan_nodes(plan) if "Index Name" in node]
    assert (scan["Index Name"], scan["Actual Rows"]) == ("idx_job_claimable", 100)
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 250


async def test_a_claim_never_takes_more_than_its_slots_whatever_the_planner_does(
    superuser: Any, one: Any, dsn: str
) -> None:
    """Shayon's overshoot: a sub-select with LIMIT run twice. Tried under every join method and no statistics."""
    await seed_jobs(superuser, 500)
    for off in ("enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_indexscan", "enable_sort"):
        connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_generic_plan"})
        await connection.execute(f"SET {off} = off")
        rows = await connection.fetch(
            load()["job_claim"].text, ["busy", "idle"], "{1,1,1}", ["w"], [30.0], 4_000_000, None
        )
        await connection.close()
        assert len(rows) == 3, off


def arguments_of(count: int, given: dict[int, str]) -> str:
    """An EXECUTE's arguments, empty arrays where nothing is given; numbers are from 1."""
    return ", ".join(given.get(number, "'{}'") for number in range(1, count + 1))


BY_ID = [
    ("instance_read_for_commands", "'{i-1,i-2}', '{job-1,job-2,job-3}', '{d}', 100000"),
    ("job_release", "'{job-1,job-2}', '{1,1}'"),
    (
        "apply_rows",
        arguments_of(
            47,
            {10: "'{i-1}'", 11: "'{ACTIVE}'", 12: "'{\"{}\"}'", 15: "'{\"{}\"}'", 25: "'{s-1}'"}
            | {26: "'{COMPLETED}'", 39: "'{job-1,job-2}'", 40: "'{COMPLETED,COMPLETED}'"},
        ),
    ),
    (
        "apply_tasks_and_timers",
        arguments_of(
            21,
            {1: "now()", 8: "'{k-1,k-2}'", 9: "'{COMPLETED,COMPLETED}'", 18: "'{b-1,b-2}'"}
            | {19: "'{job-1}'", 20: "'{1}'", 21: "'{1}'"},
        ),
    ),
]


@pytest.mark.parametrize(("name", "arguments"), BY_ID, ids=[each[0] for each in BY_ID])
async def test_what_goes_by_id_touches_a_few_pages_of_large_tables(
    one: Any, superuser: Any, name: str, arguments: str
) -> None:
    async with one.database.connection() as connection:
        # Planned while the tables are empty, as after a fresh install; executed when they are not.
        await connection.execute(f"PREPARE guarded AS {load()[name].text}")
        await connection.execute(f"EXPLAIN EXECUTE guarded ({arguments})")
        await superuser.execute("SET session_replication_role = replica")
        await superuser.execute(POPULATED)
        await connection.execute("BEGIN")
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE guarded ({arguments})"
        )
        await connection.execute("ROLLBACK")
        await connection.execute("DEALLOCATE guarded")
    plan = json.loads(text)[0]["Plan"]
    nodes = list(plan_nodes(plan))
    assert not [n for n in nodes if n["Node Type"] == "Seq Scan"]
    read = [n["Actual Rows"] * n["Actual Loops"] for n in nodes if n.get("Relation Name")]
    assert max(read) <= 10, text
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 250


#: 20,000 rows of each kind, all in the state that a partial index holds
POPULATED = """
    INSERT INTO workflow_instance (id, definition_id, definition_version, status, progress)
    SELECT 'i-' || n, 'd', 1, 'ACTIVE', '{}' FROM generate_series(1, 20000) AS n;
    INSERT INTO step_execution (id, instance_id, step_id, step_type, status)
    SELECT 's-' || n, 'i-' || n, 'a', 'SERVICE_TASK', 'RUNNING' FROM generate_series(1, 20000) AS n;
    INSERT INTO job (id, instance_id, step_execution_id, job_type, status, lease_token, lock_expires_at)
    SELECT 'job-' || n, 'i-' || n, 's-' || n, 'a', 'LOCKED', 1, now() FROM generate_series(1, 20000) AS n;
    INSERT INTO user_task (id, instance_id, step_execution_id, step_id)
    SELECT 'k-' || n, 'i-' || n, 's-' || n, 'a' FROM generate_series(1, 20000) AS n;
    INSERT INTO boundary_event_schedule (id, instance_id, step_execution_id, target_step_id, fire_at)
    SELECT 'b-' || n, 'i-' || n, 's-' || n, 'a', now() FROM generate_series(1, 20000) AS n;
"""
