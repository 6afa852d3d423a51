"""What the relay and its sweeps ask stays cheap, whatever waits in the tables."""

from __future__ import annotations

from typing import Any

import pytest
from test_queries import explain, plan_nodes

from windlass.store.queries import sql

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]

BACKLOG = 100_000

FILLED = """
    INSERT INTO workflow_instance (id, definition_id, definition_version, status, progress)
    SELECT 'i-' || n, 'd', 1, 'ACTIVE', '{}' FROM generate_series(1, $1::int) AS n;
    INSERT INTO job (id, instance_id, step_execution_id, job_type, status, created_at)
    SELECT 'job-' || n, 'i-' || n, 's', 'type-' || n % 10, 'UNLOCKED', now() - n * interval '1 ms'
    FROM generate_series(1, $1::int) AS n;
"""
OUTBOX = """
    INSERT INTO dispatch_outbox (id, job_id, instance_id, job_type, payload)
    SELECT 'o-' || lpad(n::text, 8, '0'), 'job-' || n, 'i-' || n, 'type-' || n % 10, 'event'
    FROM generate_series(1, $1::int) AS n
"""
DISPATCHED = """
    INSERT INTO windlass_job_dispatch (job_id, deliveries, deadline)
    SELECT 'job-' || n, 1, now() - interval '1 hour' + n * interval '1 second' FROM generate_series(1, $1::int) AS n
"""


async def fill(superuser: Any, *texts: str, count: int = 20_000) -> None:
    await superuser.execute("SET session_replication_role = replica")
    for text in (*FILLED.split(";")[:2], *texts):
        await superuser.execute(text, count)
    await superuser.execute("ANALYZE")


def rows_read(plan: dict[str, Any]) -> float:
    return max(
        float(n["Actual Rows"] * n["Actual Loops"]) for n in plan_nodes(plan) if n.get("Relation Name")
    )


def goes_by_index(plan: dict[str, Any]) -> bool:
    return not [n for n in plan_nodes(plan) if n["Node Type"] == "Seq Scan"]


@pytest.mark.parametrize(
    ("blocked", "expected"),
    [("{}", 200), ("{type-1,type-2,type-3}", 200), ("{" + ",".join(f"type-{n}" for n in range(10)) + "}", 0)],
    ids=["none waits", "three topics wait", "all wait"],
)
async def test_the_relay_reads_its_batch_and_little_more_of_a_large_backlog(
    one: Any, superuser: Any, blocked: str, expected: int
) -> None:
    await fill(superuser, OUTBOX, count=BACKLOG)
    async with one.database.connection() as connection:
        plan = await explain(connection, "outbox_head", "int, text, text", f"200, '{blocked}', '{{}}'")
    assert plan["Actual Rows"] == expected
    assert goes_by_index(plan)
    assert rows_read(plan) <= 200 * 10 + 1, "a batch of each topic at most"
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 4_000, "of some 100,000 rows"


async def test_the_oldest_rows_come_first_over_all_topics(one: Any, superuser: Any) -> None:
    await fill(superuser, OUTBOX)
    rows = await one.database.fetch(sql("outbox_head"), 5, "{type-2}", '{"o-00000003"}')
    assert [row["job_id"] for row in rows] == ["job-1", "job-4", "job-5", "job-6", "job-7"]
    assert all(row["is_due"] for row in rows)


async def test_removing_a_batch_touches_its_rows(one: Any, superuser: Any) -> None:
    await fill(superuser, OUTBOX)
    await superuser.execute(
        "INSERT INTO windlass_leader VALUES ('relay', 'me', 1, now() + interval '1 hour', NULL)"
    )
    ids = "{" + ",".join(f"o-{n:08d}" for n in range(1, 201)) + "}"
    async with one.database.connection() as connection:
        arguments = f"1, '{ids}', '{{}}', 300, true"
        plan = await explain(connection, "outbox_settle", "bigint, text, text, float8, boolean", arguments)
    assert goes_by_index(plan)
    assert rows_read(plan) <= 400


async def test_overdue_jobs_are_found_by_their_deadline(one: Any, superuser: Any) -> None:
    await fill(superuser, DISPATCHED)
    async with one.database.connection() as connection:
        plan = await explain(connection, "outbox_overdue", "int, float8", "100, 5")
    assert goes_by_index(plan)
    assert rows_read(plan) <= 400


async def test_a_look_for_strays_reads_one_page(one: Any, superuser: Any) -> None:
    await fill(superuser, DISPATCHED)
    async with one.database.connection() as connection:
        plan = await explain(
            connection,
            "outbox_strays",
            "text, timestamptz, text, int, float8",
            "'type-3', '1970-01-01', '', 500, 0",
        )
    assert goes_by_index(plan)
    assert rows_read(plan) <= 1_500


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("outbox_take_back", "'{job-1,job-2}'"), ("outbox_adopt", "'{job-1,job-2}'")],
)
async def test_what_is_dispatched_again_goes_by_id(
    one: Any, superuser: Any, name: str, arguments: str
) -> None:
    await fill(superuser, OUTBOX, DISPATCHED)
    async with one.database.connection() as connection:
        plan = await explain(connection, name, "text", arguments)
    assert goes_by_index(plan)
    assert rows_read(plan) <= 10
