"""Lists among two million instances: every way to filter goes by index, whatever there is most of."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from nodes import Running
from test_queries import plan_nodes

from windlass.page_token import Place
from windlass.store import views
from windlass.store.queries import sql
from windlass.wire import INSTANCES_COUNTED_MAX

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ROWS = 2_000_000
#: For each filter: what most rows have, what a few of the oldest have, and what none has.
DEFINITIONS, STATUSES, KEYS = (
    ("d-1", "rare", "none"),
    ("COMPLETED", "FAILED", "CANCELLED"),
    ("k-1", "few", "none"),
)
PAGE_SIZE = 20
POPULATED = f"""
    INSERT INTO workflow_definition (id, version, name, raw_json, parsed_steps)
    SELECT 'd-' || n, 1, 'd', '{{}}'::jsonb, '[]'::jsonb FROM generate_series(1, 20) AS n
    UNION ALL SELECT 'rare', 1, 'd', '{{}}'::jsonb, '[]'::jsonb;
    INSERT INTO workflow_instance (id, definition_id, definition_version, status, progress, started_at, business_key)
    SELECT lpad(n::text, 26, '0'),
           CASE WHEN n <= 300 THEN 'rare' ELSE 'd-' || 1 + n % 2 END, 1,
           CASE WHEN n % 3 = 0 AND n <= 600 THEN 'FAILED' WHEN n % 1000 = 0 THEN 'ACTIVE' ELSE 'COMPLETED' END, '{{}}',
           now() - ({ROWS} - n) / 50 * interval '1 s',
           CASE WHEN n <= 90 THEN 'few' WHEN n % 4 = 0 THEN 'k-1' WHEN n % 4 = 1 THEN 'k-' || n END
    FROM generate_series(1, {ROWS}) AS n;
"""


def quoted(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


async def test_lists_go_by_index_whatever_they_are_filtered_by(one: Running, superuser: Any) -> None:
    indexes = await superuser.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'workflow_instance' AND indexname LIKE 'idx%'"
    )
    for index in indexes:
        await superuser.execute(f"DROP INDEX {index['indexname']}")
    await superuser.execute(POPULATED)
    for index in indexes:
        await superuser.execute(index["indexdef"])
    await superuser.execute("VACUUM ANALYZE workflow_instance, workflow_definition")
    middle = datetime.fromtimestamp(datetime.now(UTC).timestamp() - ROWS / 100, UTC)
    told = {}
    async with one.database.connection() as connection:
        for definition, status, key, place in itertools.product(
            (None, *DEFINITIONS), (None, *STATUSES), (None, *KEYS), (views.NEWEST, Place(middle, "x"))
        ):
            statement, filters = views._way(definition, status, key)
            asked = [quoted(each) for each in (place.started_at.isoformat(), place.id)]
            asked += [str(PAGE_SIZE + 1), "0", str(PAGE_SIZE + INSTANCES_COUNTED_MAX), *map(quoted, filters)]
            # Prepared, since only so the plan is the generic one, as the engine has it.
            types = ["timestamptz", "text", "bigint", "bigint", "bigint"] + ["text"] * len(filters)
            await connection.execute(f"PREPARE guarded ({', '.join(types)}) AS {statement}")
            text = await connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE guarded ({', '.join(asked)})"
            )
            await connection.execute("DEALLOCATE guarded")
            plan = json.loads(text)[0]["Plan"]
            scans = [node for node in plan_nodes(plan) if node.get("Relation Name") == "workflow_instance"]
            assert not [node for node in scans if node["Node Type"] == "Seq Scan"]
            told[definition, status, key, place is views.NEWEST] = sum(
                (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                for node in scans
            )
    most = 2 * (INSTANCES_COUNTED_MAX + PAGE_SIZE)
    assert {way: passed for way, passed in told.items() if passed > most} == {}
    await retention_goes_by_start(one)


async def retention_goes_by_start(one: Running) -> None:
    """Nothing of what it looks at is filtered or sorted, although other indexes know the status."""
    async with one.database.connection() as connection:
        await connection.execute(
            f"PREPARE guarded (timestamptz, timestamptz, text, bigint, bigint) AS {sql('retention_page')}"
        )
        text = await connection.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON) "
            "EXECUTE guarded (now() - interval '1 hour', '1970-01-01', '', 5000, 500)"
        )
        await connection.execute("DEALLOCATE guarded")
    nodes = plan_nodes(json.loads(text)[0]["Plan"])
    (scan,) = [node for node in nodes if node.get("Relation Name") == "workflow_instance"]
    assert scan["Index Name"] == "idx_instance_started_at"
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= 5001
