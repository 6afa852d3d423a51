"""The state of the system after the drill, written into the history for the checks. Read from the database if the
backend has one (the tables of contract 9.1), else over REST; then each node's
metrics, and the log lines that match the drill's patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any, LiteralString

import aiohttp
import psycopg
from psycopg.rows import dict_row

from seatrial.client import RecordingClient
from seatrial.cluster import Cluster, Replica
from seatrial.cluster.ability import Aliases, Database, Exits, Logs
from seatrial.cluster.broker import Broker
from seatrial.cluster.resources import Resources
from seatrial.history import OBSERVER, Recorder
from seatrial.observe.metrics import scrape
from seatrial.observe.nodes import nodes
from seatrial.observe.outbox_audit import observe_outbox_audit

MATCHES_MAX = 20
_SCRAPE_TIMEOUT_S = 5.0
_BATCH_ROWS = 1000

_ROWS: Mapping[str, LiteralString] = {
    "instance": """SELECT id, definition_id, definition_version, status, current_step_ids, variables,
        failure_reason, business_key, started_at, completed_at FROM workflow_instance ORDER BY id""",
    "step": """SELECT id, instance_id, step_id, step_type, attempt_number, status, started_at, ended_at,
        failure_reason FROM step_execution ORDER BY id""",
    "job": """SELECT id, instance_id, step_execution_id, job_type, status, worker_id, lock_expires_at,
        retries_remaining, created_at FROM job ORDER BY id""",
    "user_task": "SELECT id, instance_id, step_id, status FROM user_task ORDER BY id",
    "timer": """SELECT id, instance_id, step_execution_id, target_step_id, fire_at, interrupting, fired
        FROM boundary_event_schedule ORDER BY id""",
    "audit": "SELECT actor, kind, instance_id, detail, at FROM audit_log ORDER BY id",
}
_COUNTED = (
    "workflow_definition",
    "workflow_instance",
    "step_execution",
    "job",
    "user_task",
    "boundary_event_schedule",
    "audit_log",
    "dispatch_outbox",
)


async def observe(
    cluster: Cluster,
    recorder: Recorder,
    client: RecordingClient,
    *,
    key_prefix: str,
    log_patterns: Sequence[str],
    broker: Broker | None = None,
) -> None:
    """Raises psycopg.Error, ObservationFailed or UnreadableMetrics when the final state cannot be read."""
    if cluster.has(Database):
        dsn = cluster.ability(Database).dsn()
        await observe_database(dsn, recorder, key_prefix if cluster.is_shared else "")
        if broker is not None:
            aliases = cluster.ability(Aliases).aliases() if cluster.has(Aliases) else {}
            await observe_outbox_audit(dsn, recorder, aliases)
            await observe_records(broker, recorder)
    else:
        await observe_rest(client, recorder, key_prefix)
    all_nodes = nodes(cluster)
    await observe_metrics(all_nodes, recorder)
    if cluster.has(Resources):
        observe_memory(cluster.ability(Resources), recorder)
    if cluster.has(Exits):
        exits = cluster.ability(Exits)
        for node in all_nodes:
            for code in exits.unasked_exits(node.name):
                recorder.info(OBSERVER, "exit", {"node": node.name, "exit_code": code})
    if cluster.has(Logs):
        logs = cluster.ability(Logs)
        for node in all_nodes:
            scan_log(logs, node.name, log_patterns, recorder)


class ObservationFailed(Exception):
    """The final state cannot be read, so nothing can be judged."""


async def observe_database(dsn: str, recorder: Recorder, key_prefix: str = "") -> None:
    """One consistent snapshot of every table, streamed; with a prefix only what belongs to instances whose variable
    `key` begins so. The counts are of all rows.
    """
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        for f, query in _ROWS.items():
            async with connection.cursor(name=f"observe_{f}") as cursor:
                cursor.itersize = _BATCH_ROWS
                await cursor.execute(*_of_run(f, query, key_prefix))
                async for row in cursor:
                    recorder.info(OBSERVER, f, {name: _plain(value) for name, value in row.items()})
        for table in _COUNTED:
            cursor_ = await connection.execute(
                psycopg.sql.SQL("SELECT count(*) AS rows FROM {}").format(psycopg.sql.Identifier(table))
            )
            counted = await cursor_.fetchone()
            recorder.info(OBSERVER, "table_count", {"table": table, **(counted or {})})


def _of_run(f: str, query: LiteralString, key_prefix: str) -> tuple[LiteralString, tuple[str, ...]]:
    """The statement and its parameters."""
    if not key_prefix:
        return query, ()
    column: LiteralString = "id" if f == "instance" else "instance_id"
    table, _, order = query.partition(" ORDER BY ")
    ours: LiteralString = "SELECT id FROM workflow_instance WHERE starts_with(variables->>'key', %s)"
    return f"{table} WHERE {column} IN ({ours}) ORDER BY {order}", (key_prefix,)


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


async def observe_rest(client: RecordingClient, recorder: Recorder, key_prefix: str) -> None:
    """Writes this run's instances (by their variable `key`) and their steps; jobs do not show over REST."""
    page = 0
    while True:
        answer = await client.list_instances(page=page)
        if not answer.ok:
            raise ObservationFailed(f"the instance list cannot be read at {answer.node}: {answer.message}")
        items = answer.body["items"] or []
        for item in items:
            if str(item["variables"].get("key", "")).startswith(key_prefix):
                recorder.info(OBSERVER, "instance", _instance_row(item))
                await _observe_steps(client, recorder, item["id"])
        if not items:
            return
        page += 1


async def _observe_steps(client: RecordingClient, recorder: Recorder, instance_id: str) -> None:
    answer = await client.history(instance_id)
    if not answer.ok:
        raise ObservationFailed(
            f"the history of {instance_id} cannot be read at {answer.node}: {answer.message}"
        )
    for item in answer.body["items"] or []:
        recorder.info(OBSERVER, "step", _step_row(item))


def _instance_row(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": item["id"],
        "definition_id": item["definitionId"],
        "definition_version": item["definitionVersion"],
        "status": item["status"],
        "current_step_ids": item.get("currentStepIds") or [],
        "variables": item.get("variables") or {},
        "failure_reason": item.get("failureReason"),
        "business_key": item.get("businessKey"),
        "started_at": item["startedAt"],
        "completed_at": item.get("completedAt"),
    }


def _step_row(item: Mapping[str, Any]) -> dict[str, Any]:
    """Reads either spelling of the keys (contract 1.4)."""
    either = {name.lower(): value for name, value in item.items()}
    wire = {
        "id": "id",
        "instance_id": "instanceid",
        "step_id": "stepid",
        "step_type": "steptype",
        "attempt_number": "attemptnumber",
        "status": "status",
        "started_at": "startedat",
        "ended_at": "endedat",
        "failure_reason": "failurereason",
    }
    return {name: either.get(spelling) for name, spelling in wire.items()}


async def observe_records(broker: Broker, recorder: Recorder) -> None:
    """The destinations of this run and every record in them; one that is not an event has a `cause` instead of
    ids.
    """
    for job_type, name in broker.destinations().items():
        recorder.info(OBSERVER, "destination", {"job_type": job_type, "name": name})
    for record in await broker.records():
        told: dict[str, Any] = {
            **record.place(),
            "at": datetime.fromtimestamp(record.at_ms / 1000, UTC).isoformat(),
            "ordering_key": record.ordering_key,
            "epoch": record.epoch,
            "envelope_dedup_id": record.envelope_dedup_id,
        }
        event = record.event
        if event is None:
            recorder.info(OBSERVER, "record", {**told, "cause": record.cause})
            continue
        ids = {"dedup_id": event.dedup_id, "job_id": event.job_id, "instance_id": event.instance_id}
        recorder.info(OBSERVER, "record", {**told, **ids, "job_type": event.job_type})


async def observe_metrics(replicas: Iterable[Replica], recorder: Recorder) -> None:
    """A node that does not answer leaves no row: the checks decide whether that is wrong."""
    async with aiohttp.ClientSession() as session:
        for replica in replicas:
            if replica.metrics_url is None:
                continue
            series = await scrape(session, replica, within_s=_SCRAPE_TIMEOUT_S)
            if series is not None:
                recorder.info(OBSERVER, "metrics", {"node": replica.name, "series": series})


def observe_memory(resources: Resources, recorder: Recorder) -> None:
    """A row for each node whose memory is limited."""
    for node in resources.nodes():
        bound, use = resources.memory_bound(node), resources.use(node)
        if bound is not None:
            peak = {"rss_peak_bytes": use.rss_peak_bytes if use else None}
            recorder.info(OBSERVER, "memory", {"node": node, **asdict(bound), **peak})


def scan_log(logs: Logs, node: str, patterns: Sequence[str], recorder: Recorder) -> None:
    """Records the first lines that match each pattern, also if there are none."""
    for pattern in patterns:
        expression = re.compile(pattern)
        with logs.log_path(node).open(errors="replace") as lines:
            matches = list(
                islice((line.rstrip("\n") for line in lines if expression.search(line)), MATCHES_MAX)
            )
        recorder.info(OBSERVER, "log_scan", {"node": node, "pattern": pattern, "matches": matches})
