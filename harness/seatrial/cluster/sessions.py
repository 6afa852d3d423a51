"""The engine's sessions on the database, ended by the superuser."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from seatrial.cluster import ClusterError

_TERMINATED_WITHIN_MS = 5_000
_TERMINATE = sql.SQL(
    "SELECT count(pg_terminate_backend(pid, %s)) FROM pg_stat_activity WHERE datname = current_database() AND {}"
)


async def terminate_sessions(dsn: str, replica: str, condition: sql.SQL, *values: Any) -> int:
    """Ends those on the DSN's database that fulfil the SQL condition on `pg_stat_activity`; returns how many they were,
    when they are gone. Raises ClusterError naming the replica.
    """
    try:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            found = await connection.execute(
                _TERMINATE.format(condition),
                (_TERMINATED_WITHIN_MS, *values),
            )
            row = await found.fetchone()
    except psycopg.Error as err:
        raise ClusterError(f"the sessions of {replica} cannot be terminated: {err}") from err
    return int(row[0]) if row else 0
