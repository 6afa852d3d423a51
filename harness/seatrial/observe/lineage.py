"""What each of two servers held when the second took over from the first: the new primary right after its promotion,
and the old one as its own recovery leaves it.

Only names of variables are kept: which operations have had their effect shows by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, LiteralString

import psycopg
from psycopg.rows import dict_row

from seatrial.cluster.ability import Promotion
from seatrial.history import OBSERVER, Recorder

_QUERIES: Mapping[str, LiteralString] = {
    "held_instance": """SELECT id, status, ARRAY(SELECT jsonb_object_keys(variables)) AS keys
        FROM workflow_instance ORDER BY id""",
    "held_job": "SELECT id, instance_id, status FROM job ORDER BY id",
}


async def observe_new_primary(dsn: str, promotion: Promotion, recorder: Recorder) -> None:
    """Before any engine writes there. Raises psycopg.Error."""
    await _observe(dsn, "new", recorder)
    row = {"timeline": promotion.timeline, "parted_at": promotion.parted_at}
    recorder.info(OBSERVER, "promotion", row)


async def observe_old_primary(dsn: str, recorder: Recorder) -> None:
    """Once nothing reaches it any more. Raises psycopg.Error."""
    await _observe(dsn, "old", recorder)


async def _observe(dsn: str, server: Literal["old", "new"], recorder: Recorder) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        for f, query in _QUERIES.items():
            for row in await (await connection.execute(query)).fetchall():
                recorder.info(OBSERVER, f, {"server": server, **row})
        found = await (await connection.execute("SELECT pg_current_wal_lsn()::text AS at")).fetchone()
        recorder.info(OBSERVER, "held_wal", {"server": server, **(found or {})})
