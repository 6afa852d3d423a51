"""What a finished workflow takes in the database: bytes of each table and index, with audit and without."""

from __future__ import annotations

from pathlib import Path

import psycopg
from rig import running
from steady import SteadyLoad

from seatrial.cluster.postgres import PostgresServer
from seatrial.deadline import Deadline

WORKERS = 4
DONE_WITHIN_S = 60.0
_SIZES = """
    SELECT t.relname AS of, NULL AS index, pg_table_size(t.oid) AS bytes
    FROM pg_class AS t WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT t.relname, i.relname, pg_relation_size(i.oid)
    FROM pg_class AS t JOIN pg_index AS x ON x.indrelid = t.oid JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE t.relnamespace = 'public'::regnamespace"""

Sizes = dict[tuple[str, str], int]


async def measure(server: PostgresServer, folder: Path, instances: int) -> dict[tuple[str, str], list[float]]:
    """By table and index ('' for the table itself): bytes for each finished workflow, with audit and without."""
    found: dict[tuple[str, str], list[float]] = {}
    for column, audit in enumerate(("true", "false")):
        database = f"size_{audit}"
        await server.create_database(database)
        values = {"engine": {"auditLogEnabled": audit}}
        async with (
            running(server, folder / f"{database}.log", database=database, values=values) as engine,
            SteadyLoad([engine.url], workers=WORKERS) as load,
        ):
            before = await sizes(server.dsn(database))
            await load.start(instances)
            async for _ in Deadline(DONE_WITHIN_S).attempts(0.1):
                if load.completed == instances:
                    break
            if load.completed != instances or load.failed:
                raise SystemExit(
                    f"soak: {load.completed} of {instances} jobs completed, {load.failed} calls failed; run it again"
                )
            after = await sizes(server.dsn(database))
        for key, count in after.items():
            found.setdefault(key, [0.0, 0.0])[column] = (count - before.get(key, 0)) / instances
    return {key: each for key, each in found.items() if max(each) >= 1}


async def sizes(dsn: str) -> Sizes:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(_SIZES)
        return {(row[0], row[1] or ""): row[2] for row in await cursor.fetchall()}


def table(found: dict[tuple[str, str], list[float]]) -> str:
    """Markdown, the largest first; indexes below their table."""
    totals: dict[str, list[float]] = {}
    for (name, _), (with_audit, without) in found.items():
        total = totals.setdefault(name, [0.0, 0.0])
        total[0] += with_audit
        total[1] += without
    lines = ["| bytes a finished workflow | with audit | without |", "| --- | --- | --- |"]
    for name in sorted(totals, key=lambda each: -totals[each][0]):
        lines.append(f"| **{name}** | **{totals[name][0]:,.0f}** | **{totals[name][1]:,.0f}** |")
        parts = sorted((key, each) for key, each in found.items() if key[0] == name)
        lines += [f"| {index or 'table'} | {one:,.0f} | {two:,.0f} |" for (_, index), (one, two) in parts]
    with_audit, without = (sum(each[column] for each in totals.values()) for column in (0, 1))
    lines.append(f"| **together** | **{with_audit:,.0f}** | **{without:,.0f}** |")
    return "\n".join(lines)
