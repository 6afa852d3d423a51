"""Samples a cluster during a drill: who claims to lead and how much waits if jobs travel through a broker, and who is
connected if the drill asks for it.

What changed is recorded, so a quiet run stays a short history. A node or a database that does not answer is no error
here: faults do that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, LiteralString

import aiohttp
import psycopg

from seatrial.cluster import ClusterError, Replica
from seatrial.history import OBSERVER, Recorder
from seatrial.observe.metrics import scrape

_LEADER_GAUGE = "workflow_engine_dispatch_relay_leader"
_GRPC_CALLS = "grpc_requests_duration_seconds_count"
_EVERY_S = 0.2
_ANSWER_WITHIN_S = 1.0
_DATABASE_WITHIN_S = 2.0
_DEPTH = """
SELECT (SELECT count(*) FROM dispatch_outbox),
       coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.usename <> current_user AND a.backend_type = 'client backend'
"""

#: engines name themselves in their connections; those that do not count only in the total
_SESSIONS = """
SELECT split_part(a.application_name, '/', 2) AS node, count(*)
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.usename <> current_user AND a.backend_type = 'client backend'
GROUP BY node
"""


class Sampler:
    """`run` until cancelled. Use within one event loop. `dsn` says where the database is now."""

    def __init__(
        self, replicas: Sequence[Replica], dsn: Callable[[], str] | None, recorder: Recorder
    ) -> None:
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
        """The nodes that claim to lead at this moment."""
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

    async def watch_sessions(self) -> None:
        """Records `sessions` as they change, until cancelled."""
        if self._dsn is None:
            raise ClusterError("this cluster shows no database; add Database to the drill's needs")
        await self._ask_again(self._dsn, _SESSIONS, self._tell_sessions)

    async def watch_calls(self) -> None:
        """Records `calls`: how many gRPC calls each node that answers has answered so far, until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                asked = (
                    scrape(session, each, within_s=_ANSWER_WITHIN_S, of=_GRPC_CALLS)
                    for each in self._replicas
                )
                said = zip(self._replicas, await asyncio.gather(*asked), strict=True)
                counts = {each.name: round(sum(found.values())) for each, found in said if found is not None}
                self._tell("calls", "", {"nodes": counts})
                await asyncio.sleep(_EVERY_S)

    async def _watch_depth(self, dsn: Callable[[], str]) -> None:
        await self._ask_again(dsn, _DEPTH, self._tell_depth)

    async def _ask_again(
        self,
        dsn: Callable[[], str],
        question: LiteralString,
        tell: Callable[[Sequence[tuple[Any, ...]]], None],
    ) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    dsn(), autocommit=True, connect_timeout=2, application_name="seatrial sampler"
                ) as connection:
                    while True:
                        async with asyncio.timeout(_DATABASE_WITHIN_S):
                            tell(await (await connection.execute(question)).fetchall())
                        await asyncio.sleep(_EVERY_S)
            except (psycopg.Error, TimeoutError):
                await asyncio.sleep(_EVERY_S)

    def _tell_depth(self, rows: Sequence[tuple[Any, ...]]) -> None:
        ((waiting, age_s),) = rows
        self._tell("outbox_depth", "", {"rows": waiting, "transaction_age_s": round(age_s, 2)})

    def _tell_sessions(self, rows: Sequence[tuple[Any, ...]]) -> None:
        counts = dict(rows)
        nodes = {node: counts[node] for node in sorted(counts) if node}
        self._tell("sessions", "", {"total": sum(counts.values()), "nodes": nodes})

    def _tell(self, f: str, about: str, value: dict[str, object]) -> None:
        if self._told.get(f + about) != value:
            self._told[f + about] = value
            self._recorder.info(OBSERVER, f, value)


async def _leads(session: aiohttp.ClientSession, replica: Replica) -> bool | None:
    """None when it does not answer, or has no such gauge."""
    series = await scrape(session, replica, within_s=_ANSWER_WITHIN_S, of=_LEADER_GAUGE)
    return any(value == 1.0 for value in series.values()) if series else None
