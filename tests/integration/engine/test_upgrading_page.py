"""UPGRADING.md, each command of it run as it stands there: from Rochallor to Windlass, and back."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest
from nodes import END, Boot, Running, raw, service

from rochallor_schema import INDEXES, LATER, in_flight, made_by_rochallor
from seatrial.cluster.installation import install

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[3] / "UPGRADING.md").read_text(encoding="utf-8")
FENCED = re.compile(r"```(sh|sql)\n(.*?)```", re.DOTALL)
#: Contract-2 14.2: what their monitor reads, and starts only if it finds.
MONITORED = {
    "workflow_instance": "id, definition_id, status, failure_reason, business_key text; definition_version integer;"
    " current_step_ids text[]; variables jsonb; started_at, completed_at timestamp with time zone",
    "workflow_definition": "id, name text; version integer; raw_json jsonb",
    "step_execution": "id, instance_id, step_id, step_type, status, failure_reason text; attempt_number integer;"
    " started_at, ended_at timestamp with time zone; input_snapshot, output_snapshot jsonb",
    "job": "id, instance_id, worker_id, step_execution_id, job_type, status text;"
    " locked_at, lock_expires_at, created_at timestamp with time zone; retries_remaining integer",
    "user_task": "id, instance_id, step_execution_id, status, assignee, assignee_group text;"
    " created_at timestamp with time zone",
    "boundary_event_schedule": "id, instance_id, step_execution_id, target_step_id text;"
    " fire_at timestamp with time zone; interrupting, fired boolean",
}


def commands(heading: str, kind: str) -> list[str]:
    """The blocks of one section, in its order."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return [text for each, text in FENCED.findall(found[1]) if each == kind]


PROCESSES, CANCEL = commands("From Rochallor to Windlass", "sql")
BACK_UP, MIGRATE = commands("From Rochallor to Windlass", "sh")
FORKED, DUPLICATES, FORGET, CLEAN = commands("Back to Rochallor", "sql")


async def typed(command: str, dsn: str, folder: Path) -> str:
    """Run by a shell; what it wrote, and the code it ended with in front."""
    path = f"{Path(sys.executable).parent}:{install().bin}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "sh", "-ec", command, cwd=folder, env={"PATH": path, "WE_POSTGRES_DSN": dsn},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    written, _ = await process.communicate()
    return f"{process.returncode}\n{written.decode()}"


async def as_owner(dsn: str, statements: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        if statements.startswith("SELECT"):
            rows: list[asyncpg.Record] = await connection.fetch(statements)
            return rows
        await connection.execute(statements)
        return []
    finally:
        await connection.close()


async def columns(superuser: asyncpg.Connection) -> Mapping[str, list[tuple[str, ...]]]:
    """With their order, types and defaults, and the settings, by table."""
    rows = await superuser.fetch(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS kind, a.attnotnull::text,"
        " coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS text"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY c.relname, a.attnum"
    )
    found: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        found.setdefault(row["relname"], []).append(tuple(row)[1:])
    for row in await superuser.fetch(
        "SELECT relname, unnest(reloptions) AS setting FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ):
        found[row["relname"]].append(("setting", row["setting"]))
    return found


async def indexes(superuser: asyncpg.Connection) -> set[str]:
    """Without their names, which are not all known of Rochallor."""
    rows = await superuser.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
    return {re.sub(r"INDEX \w+ ON", "INDEX ON", row["indexdef"]) for row in rows}


async def monitor_is_content(superuser: asyncpg.Connection) -> None:
    found = await columns(superuser)
    for table, told in MONITORED.items():
        kinds = {row[0]: row[1] for row in found[table]}
        for group in told.split("; "):
            *names, last = re.split(r", ", group)
            last, _, kind = last.partition(" ")
            assert {name: kinds.get(name) for name in (*names, last)} == dict.fromkeys((*names, last), kind)
    live = await superuser.fetch(
        """SELECT i.id, c.step_id, count(s.id) AS running, count(j.id) + count(k.id) AS work, min(s.step_type) AS kind
           FROM workflow_instance AS i CROSS JOIN unnest(i.current_step_ids) AS c (step_id)
           LEFT JOIN step_execution AS s ON s.instance_id = i.id AND s.step_id = c.step_id AND s.status = 'RUNNING'
           LEFT JOIN job AS j ON j.step_execution_id = s.id AND j.status IN ('UNLOCKED', 'LOCKED')
           LEFT JOIN user_task AS k ON k.step_execution_id = s.id AND k.status = 'OPEN'
           WHERE i.status IN ('ACTIVE', 'WAITING') AND c.step_id NOT IN ('join', 'j')
           GROUP BY 1, 2"""
    )
    assert live
    assert {(row["running"], row["work"]) for row in live if row["kind"] != "WAIT"} == {(1, 1)}
    assert {(row["running"], row["work"]) for row in live if row["kind"] == "WAIT"} <= {(1, 0)}


async def half_done(one: Running) -> None:
    """Instances of Windlass's own: one in a gateway whose join one branch has reached, two with one business key."""
    await one.define(
        {"id": "f", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["a", "b"], "joinStep": "j"},
        service("a", "j"),
        service("b", "j"),
        {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )
    forked = await one.start()
    (job,) = await one.poll("do-a")
    await one.complete(job)
    assert forked.id in [row["id"] for row in await one.rows(FORKED)]


@pytest.mark.parametrize("number", [9, 10, 11])
async def test_there_and_back(
    superuser: asyncpg.Connection, boot: Boot, dsn: str, number: int, tmp_path: Path
) -> None:
    await made_by_rochallor(dsn, number)
    await in_flight(dsn)
    made = await columns(superuser), await indexes(superuser)
    # 1 to 3, with one instance in the way.
    await as_owner(dsn, "UPDATE workflow_instance SET current_step_ids = '{wait,check}' WHERE id = 'I-WAIT'")
    sessions = await as_owner(dsn, PROCESSES)
    assert [row["usename"] for row in sessions] == ["postgres"], "this test's own"
    assert (await typed(BACK_UP, dsn, tmp_path)).startswith("0\n")
    assert (tmp_path / "before-windlass.dump").stat().st_size > 10_000
    refused = await typed(MIGRATE, dsn, tmp_path)
    assert refused.startswith("1\n")
    assert "I-WAIT (step check is current and nothing is open there)" in refused
    assert (await columns(superuser), await indexes(superuser)) == made
    await as_owner(dsn, CANCEL.replace("INSTANCE_ID", "I-WAIT"))
    assert (await typed(MIGRATE, dsn, tmp_path)).startswith("0\n")
    # 4.
    one = await boot()
    await monitor_is_content(superuser)
    await one.complete("J-LOCKED", worker="w1")
    await half_done(one)
    # Back.
    assert (await one.rows(DUPLICATES)) == []
    await one.node._shut_down()
    await as_owner(dsn, FORGET)
    assert await superuser.fetch("SELECT version, dirty FROM schema_migrations") == [(number, False)]
    await monitor_is_content(superuser)
    assert made[1] <= await indexes(superuser)
    now = await columns(superuser)
    for table, there in made[0].items():
        assert now[table][: len(there)] == there
    # And forth again: what is in flight is read anew from the rows.
    two = await boot()
    (job,) = await two.poll("do-b")
    await two.complete(job)
    assert await two.status(job.instance_id) == "COMPLETED"
    await two.engine.complete_user_task("I-LOCKED", "check", worker_id=None, variables=raw())
    # Back for good.
    await two.node._shut_down()
    await as_owner(dsn, FORGET)
    await as_owner(dsn, CLEAN)
    assert (await columns(superuser), await indexes(superuser)) == made
    await monitor_is_content(superuser)


async def test_back_from_a_database_that_windlass_made(
    superuser: asyncpg.Connection, boot: Boot, dsn: str
) -> None:
    """It is Rochallor's at 9, to the last index."""
    one = await boot()
    await one.define(service("a", "end"), END)
    for key in ("k", "k", "other"):
        await one.engine.start_instance(definition_id="d", version=None, variables=raw(), business_key=key)
    assert [row["business_key"] for row in await one.rows(DUPLICATES)] == ["k"]
    with pytest.raises(asyncpg.UniqueViolationError):
        await superuser.execute(LATER[10])
    await one.node._shut_down()
    await as_owner(dsn, FORGET)
    await as_owner(dsn, CLEAN)
    found = await columns(superuser), await indexes(superuser)
    await monitor_is_content(superuser)
    await as_owner(dsn, "DROP OWNED BY CURRENT_USER")
    await made_by_rochallor(dsn, 9)
    assert found == (await columns(superuser), await indexes(superuser))
    assert len(found[1]) == len(INDEXES) + len(found[0]) + 1, "the keys' own"


async def test_every_error_that_the_page_explains_is_said_somewhere() -> None:
    source = "".join(
        path.read_text() for path in (Path(__file__).parents[3] / "engine/windlass/store").glob("*.py")
    )
    told = re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE)
    assert len(told) == 5
    assert [text for text in told if text not in re.sub(r'"\s+f?"', "", source)] == []
