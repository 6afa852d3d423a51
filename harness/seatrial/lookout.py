"""Looks at a cluster whose jobs travel through Kafka while a drill goes on: who says to lead, and what waits.

What changed is recorded, so a quiet run stays a short history. A node or a database that does not answer is no error
here: faults do that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import aiohttp
import psycopg

from seatrial.cluster import Replica
from seatrial.history import Recorder

_OBSERVER = "observer"
_LEADER_GAUGE = re.compile(r"^workflow_engine_dispatch_relay_leader(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_EVERY_S = 0.2
_ANSWER_WITHIN_S = 1.0
_DATABASE_WITHIN_S = 2.0
_DEPTH = """
SELECT (SELECT count(*) FROM dispatch_outbox),
       coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.usename <> current_user AND a.backend_type = 'client backend'
"""


class Lookout:
    """`run` until cancelled. Use within one event loop."""

    def __init__(self, replicas: Sequence[Replica], dsn: str | None, recorder: Recorder) -> None:
        self._replicas = [replica for replica in replicas if replica.metrics_url is not None]
        self._dsn = dsn
        self._recorder = recorder
        self._told: dict[str, object] = {}

    async def run(self) -> None:
        """Records `leads` and `outbox_depth` as they change."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_leads())
            if self._dsn is not None:
                group.create_task(self._watch_depth(self._dsn))

    async def leaders(self) -> list[str]:
        """Who says so just now."""
        async with aiohttp.ClientSession() as session:
            said = await asyncio.gather(*(_leads(session, replica) for replica in self._replicas))
        return [replica.name for replica, leads in zip(self._replicas, said, strict=True) if leads]

    async def _watch_leads(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                said = await asyncio.gather(*(_leads(session, replica) for replica in self._replicas))
                for replica, leads in zip(self._replicas, said, strict=True):
                    self._tell("leads", replica.name, {"node": replica.name, "leads": leads})
                await asyncio.sleep(_EVERY_S)

    async def _watch_depth(self, dsn: str) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    dsn, autocommit=True, connect_timeout=2, application_name="seatrial lookout"
                ) as connection:
                    while True:
                        async with asyncio.timeout(_DATABASE_WITHIN_S):
                            row = await (await connection.execute(_DEPTH)).fetchone()
                        if row is not None:
                            value = {"rows": row[0], "transaction_age_s": round(row[1], 2)}
                            self._tell("outbox_depth", "", value)
                        await asyncio.sleep(_EVERY_S)
            except (psycopg.Error, TimeoutError):
                await asyncio.sleep(_EVERY_S)

    def _tell(self, f: str, about: str, value: dict[str, object]) -> None:
        if self._told.get(f + about) != value:
            self._told[f + about] = value
            self._recorder.info(_OBSERVER, f, value)


async def _leads(session: aiohttp.ClientSession, replica: Replica) -> bool | None:
    """None when it does not answer, or has no such gauge."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
    try:
        async with session.get(str(replica.metrics_url), timeout=timeout) as response:
            found = _LEADER_GAUGE.search(await response.text())
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    return None if found is None else float(found[1]) == 1.0
