"""Finished instances go with all their rows, by index, beside the load; everything else stays as it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import asyncpg
import pytest
from nodes import CHAIN_TABLE, END, Boot, Running, raw, service

from windlass.errors import EngineError, NotFound
from windlass.store.database import Database
from windlass.store.ledger import migrations
from windlass.store.queries import load
from windlass.store.retention import TABLES, Page, Position, Retention
from windlass.sweep.retention import Removed, RetentionPass, RetentionSweep

pytestmark = pytest.mark.asyncio(loop_scope="session")

OLD_S = 3600.0
OWN_TABLES = tuple(table for table in TABLES if table != "workflow_chain")


def told(_removed: Removed, _rows: Mapping[str, int]) -> None:
    pass


async def prune(database: Database, *, dry_run: bool = False) -> Removed:
    return await RetentionPass(Retention(database), dry_run=dry_run, told=told).run(OLD_S)


async def everything(one: Running) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, by table."""
    return {table: await one.rows(f"SELECT * FROM {table} ORDER BY 1") for table in OWN_TABLES}


async def age(superuser: asyncpg.Connection, *instance_ids: str) -> None:
    """As if they had begun and ended two hours ago."""
    await superuser.execute(
        """UPDATE workflow_instance SET started_at = started_at - interval '2 h',
                                        completed_at = completed_at - interval '2 h' WHERE id = ANY ($1)""",
        list(instance_ids),
    )


def of(instance_ids: set[str], state: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of these instances; a dispatch marker belongs to its job's."""
    jobs = {row["id"] for row in state["job"] if row["instance_id"] in instance_ids}
    found = {}
    for table, rows in state.items():
        key = {"workflow_instance": "id", "windlass_job_dispatch": "job_id"}.get(table, "instance_id")
        wanted = jobs if table == "windlass_job_dispatch" else instance_ids
        found[table] = [row for row in rows if row[key] in wanted]
    return found


async def lives(one: Running) -> dict[str, str]:
    """One instance of each kind of life, with rows in every table."""
    await one.define(
        {"id": "g", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["a", "u"], "joinStep": "j"},
        service("a", "j"),
        {"id": "u", "type": "USER_TASK", "nextStep": "j",
         "boundaryEvents": [{"type": "TIMER", "duration": "PT1H", "targetStepId": "j", "interrupting": True}]},
        {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )  # fmt: skip
    found = {
        name: (await one.start()).id for name in ("completed", "failed", "cancelled", "recent", "running")
    }
    jobs = {job.instance_id: job for job in await one.poll("do-a")}
    for name in ("completed", "recent"):
        await one.complete(jobs[found[name]])
        await one.engine.complete_user_task(found[name], "u", worker_id="ann", variables=raw())
    await one.fail(jobs[found["failed"]], retryable=False)
    await one.engine.cancel_instance(found["cancelled"], reason="enough")
    # What a broker's relay leaves behind.
    for name in ("completed", "cancelled", "running"):
        await one.rows(
            "INSERT INTO dispatch_outbox (id, job_id, instance_id, job_type, payload) VALUES ($1, $2, $3, 'a', '')",
            f"event-{name}", jobs[found[name]].id, found[name],
        )  # fmt: skip
        await one.rows("INSERT INTO windlass_job_dispatch VALUES ($1, 1, now())", jobs[found[name]].id)
    return found


async def test_what_finished_long_ago_goes_whole_and_all_else_stays_as_it_is(
    one: Running, superuser: asyncpg.Connection
) -> None:
    found = await lives(one)
    await age(superuser, *(found[name] for name in ("completed", "failed", "cancelled", "running")))
    gone = {found[name] for name in ("completed", "failed", "cancelled")}
    before = await everything(one)
    counted = await prune(one.database, dry_run=True)
    assert await everything(one) == before, "a dry run changes nothing"
    removed = await prune(one.database)
    expected = {table: len(rows) for table, rows in of(gone, before).items()}
    assert all(expected.values()), "every table is put to the test"
    assert dict(+removed.rows) == dict(+counted.rows) == expected
    assert (removed.in_use, removed.held, removed.complete) == (0, 0, True)
    assert 7200 <= removed.oldest_s < 7300
    after = await everything(one)
    assert not any(of(gone, after).values())
    kept = {found["recent"], found["running"]}
    assert of(kept, after) == of(kept, before)
    assert sum(map(len, after.values())) == sum(map(len, before.values())) - sum(expected.values())
    for instance_id in gone:
        with pytest.raises(NotFound):
            await one.engine.get_instance(instance_id)
    assert dict(+(await prune(one.database)).rows) == {}


async def test_old_audit_rows_without_an_instance_go_and_those_with_one_stay(one: Running) -> None:
    await one.define(service("a", "end"), END)
    kept = (await one.start()).id
    await one.rows("UPDATE audit_log SET at = at - interval '2 h'")
    await one.rows("INSERT INTO audit_log (actor, kind, instance_id) VALUES ('x', 'recent', NULL)")
    await one.rows(
        "INSERT INTO audit_log (at, actor, kind, instance_id) VALUES (now() - interval '2 h', 'x', 'lost', 'no')"
    )
    assert (await prune(one.database, dry_run=True)).rows["audit_log"] == 2
    assert (await prune(one.database)).rows["audit_log"] == 2
    left = await one.rows("SELECT kind, instance_id FROM audit_log ORDER BY id")
    assert [(row["kind"], row["instance_id"]) for row in left] == [
        ("instance-started", kept), ("job-dispatched", kept), ("recent", None),
    ]  # fmt: skip


#: straight into the tables: instances that finished two hours ago, with rows of every kind but chains
FINISHED = """
    INSERT INTO workflow_instance (id, definition_id, definition_version, status, progress, started_at, completed_at)
    SELECT 'i-' || n, 'd', 1, 'COMPLETED', '{}', now() - interval '3 h' + n * interval '1 ms',
           now() - interval '2 h'
    FROM generate_series(1, COUNT) AS n;
    INSERT INTO step_execution (id, instance_id, step_id, step_type, status)
    SELECT 's-' || n || '-' || m, 'i-' || n, 'a', 'SERVICE_TASK', 'COMPLETED'
    FROM generate_series(1, COUNT) AS n, generate_series(1, 3) AS m;
    INSERT INTO job (id, instance_id, step_execution_id, job_type, status)
    SELECT 'j-' || n, 'i-' || n, 's-' || n || '-1', 'a', 'COMPLETED' FROM generate_series(1, COUNT) AS n;
    INSERT INTO user_task (id, instance_id, step_execution_id, step_id, status)
    SELECT 'u-' || n, 'i-' || n, 's-' || n || '-2', 'b', 'COMPLETED' FROM generate_series(1, COUNT) AS n;
    INSERT INTO boundary_event_schedule (id, instance_id, step_execution_id, target_step_id, fire_at, fired)
    SELECT 'b-' || n, 'i-' || n, 's-' || n || '-2', 'c', now(), true FROM generate_series(1, COUNT) AS n;
    INSERT INTO dispatch_outbox (id, job_id, instance_id, job_type, payload)
    SELECT 'o-' || n, 'j-' || n, 'i-' || n, 'a', '' FROM generate_series(1, COUNT) AS n;
    INSERT INTO windlass_job_dispatch SELECT 'j-' || n, 1, now() FROM generate_series(1, COUNT) AS n;
    INSERT INTO audit_log (at, actor, kind, instance_id)
    SELECT now() - interval '2 h', 'x', 'k', 'i-' || n FROM generate_series(1, COUNT) AS n, generate_series(1, 4);
"""


async def finished(superuser: asyncpg.Connection, count: int) -> None:
    await superuser.execute(FINISHED.replace("COUNT", str(count)))


async def test_two_nodes_at_once_share_the_work_and_remove_each_row_once(
    boot: Boot, superuser: asyncpg.Connection
) -> None:
    nodes = [await boot(), await boot()]
    await finished(superuser, 800)
    removed = await asyncio.gather(*(prune(node.database) for node in nodes))
    total = sum((each.rows for each in removed), Counter[str]())
    assert (total["workflow_instance"], total["step_execution"], total["audit_log"]) == (800, 2400, 3200)
    assert all(each.rows["workflow_instance"] > 0 for each in removed), "both had a part in it"
    assert not any((await everything(nodes[0])).values())


async def test_an_instance_in_use_is_left_without_a_wait(one: Running, superuser: asyncpg.Connection) -> None:
    await finished(superuser, 3)
    async with superuser.transaction():
        await superuser.execute("SELECT FROM workflow_instance WHERE id = 'i-2' FOR UPDATE")
        removed = await asyncio.wait_for(prune(one.database), 5)
    assert (removed.rows["workflow_instance"], removed.in_use) == (2, 1)
    assert (await prune(one.database)).rows["step_execution"] == 3


async def test_what_is_no_longer_finished_when_it_is_locked_stays(
    one: Running, superuser: asyncpg.Connection
) -> None:
    """Another engine on this schema may retry a failed instance."""
    await finished(superuser, 2)
    retention = Retention(one.database)
    cutoff = await retention.cutoff(OLD_S)
    page = await retention.page(cutoff, Position(), looked_at_max=10, ids_max=10)
    await superuser.execute(
        "UPDATE workflow_instance SET status = 'ACTIVE', completed_at = NULL WHERE id = 'i-1'"
    )
    batch = await retention.remove(page.ids, cutoff)
    assert (batch.rows["workflow_instance"], batch.rows["job"], batch.in_use) == (1, 1, 1)


async def test_a_chain_goes_with_its_instances_unless_its_child_still_runs(
    one: Running, superuser: asyncpg.Connection
) -> None:
    await finished(superuser, 6)
    await one.rows(CHAIN_TABLE)
    await superuser.execute(
        "UPDATE workflow_instance SET status = 'WAITING', completed_at = NULL WHERE id = 'i-2'"
    )
    await superuser.execute(
        "INSERT INTO workflow_chain (source_instance_id, target_definition_id, variables, child_instance_id)"
        " VALUES ('i-1', 'd', '{}', 'i-2'), ('i-3', 'd', '{}', NULL), ('i-4', 'd', '{}', 'i-5')"
    )
    counted = await prune(one.database, dry_run=True)
    removed = await prune(one.database)
    assert (removed.rows, removed.held) == (counted.rows, counted.held)
    assert (removed.held, removed.rows["workflow_instance"], removed.rows["workflow_chain"]) == (2, 3, 1)
    left = await one.rows("SELECT id FROM workflow_instance ORDER BY id")
    assert [row["id"] for row in left] == ["i-1", "i-2", "i-3"]
    assert len(await one.rows("SELECT FROM step_execution")) == 9


class Touched:
    """What one transaction of this session does to each table; the counters may hold more from before."""

    TEXT = "SELECT relname, seq_scan, coalesce(idx_tup_fetch, 0) AS fetched, n_tup_del FROM pg_stat_xact_user_tables"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def __aenter__(self) -> Self:
        await self._connection.execute("BEGIN")
        self._before = await self._read()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.execute("ROLLBACK")

    async def since(self) -> dict[str, tuple[int, int, int]]:
        """(sequential scans, rows fetched by index, rows removed) of each table that was touched."""
        found = {
            name: tuple(now - then for now, then in zip(counts, self._before[name], strict=True))
            for name, counts in (await self._read()).items()
        }
        return {name: counts for name, counts in found.items() if any(counts)}  # type: ignore[misc]

    async def _read(self) -> dict[str, tuple[int, ...]]:
        return {row[0]: tuple(row[1:]) for row in await self._connection.fetch(self.TEXT)}


async def test_every_lookup_of_a_batch_goes_by_index_in_large_tables(
    one: Running, superuser: asyncpg.Connection
) -> None:
    """The checks of foreign keys too, which no plan shows: the database's own counters do."""
    await superuser.execute("SET session_replication_role = replica")
    await finished(superuser, 10_000)
    ids = "{" + ",".join(f"i-{number}" for number in range(5_000, 5_050)) + "}"
    cutoff = await Retention(one.database).cutoff(OLD_S)
    async with one.database.connection() as connection, Touched(connection) as touched:
        await connection.fetch(load()["retention_lock"].text, ids, cutoff)
        gone = await connection.fetchrow(load()["retention_remove"].text, ids)
        found = await touched.since()
    assert (gone["workflow_instance"], gone["step_execution"]) == (50, 150)
    assert found.keys() == set(OWN_TABLES)
    for name, (scans, fetched, removed) in found.items():
        assert (scans, removed) == (0, gone[name]), name
        # each is found, removed, and looked for by the keys that refer to it
        assert fetched <= 6 * removed, (name, fetched)


async def test_a_page_costs_the_same_wherever_it_is_in_a_large_table(
    one: Running, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("SET session_replication_role = replica")
    await finished(superuser, 10_000)
    cutoff = await Retention(one.database).cutoff(OLD_S)
    near_end = await superuser.fetchval("SELECT started_at FROM workflow_instance WHERE id = 'i-9000'")
    for name, arguments in (
        ("retention_page", (cutoff, near_end, "i-9000", 500, 100)),
        ("retention_audit_remove", (35_000, cutoff, 500)),
        ("retention_audit_count", (35_000, cutoff, 500)),
    ):
        async with one.database.connection() as connection, Touched(connection) as touched:
            await connection.fetch(load()[name].text, *arguments)
            found = await touched.since()
        assert found, name
        assert all(scans == 0 and fetched <= 510 for scans, fetched, _ in found.values()), (name, found)


async def test_one_instance_that_cannot_be_removed_does_not_keep_the_others(
    one: Running, superuser: asyncpg.Connection
) -> None:
    await finished(superuser, 100)
    await superuser.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON workflow_instance
        FOR EACH ROW WHEN (OLD.id = 'i-50') EXECUTE FUNCTION refuse()"""
    )
    rows: Counter[str] = Counter()
    ages: list[float] = []
    sweep = RetentionSweep(Retention(one.database), OLD_S, removed=rows.update, oldest=ages.append)
    with pytest.raises(EngineError, match="kept"):
        await sweep.sweep()
    assert rows["workflow_instance"] == 99
    assert [row["id"] for row in await one.rows("SELECT id FROM workflow_instance")] == ["i-50"]
    with pytest.raises(EngineError, match="kept"):
        await sweep.sweep()
    assert [age > OLD_S for age in ages] == [True, True], "what stays is told, or no alert could know of it"
    assert len(await one.rows("SELECT FROM audit_log")) == 4


class Slow(Retention):
    """Every page takes its time, as on a machine that is busy otherwise."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.pages = 0

    async def page(self, *arguments: Any, **named: Any) -> Page:
        self.pages += 1
        await asyncio.sleep(0.3)
        return await super().page(*arguments, **named)


async def test_on_a_busy_machine_batches_do_not_shrink_to_nothing(
    one: Running, superuser: asyncpg.Connection
) -> None:
    """A wait that is the same for any size would make them smaller and smaller, and removing never keep up."""
    await finished(superuser, 200)
    retention = Slow(one.database)
    removed = await RetentionPass(retention, told=told).run(OLD_S)
    assert (removed.rows["workflow_instance"], retention.pages) == (200, 5)


async def test_autovacuum_is_told_when_to_come_unless_somebody_has_said_so(one: Running) -> None:
    (text,) = [each.text for each in migrations() if each.name.endswith("pre_autovacuum")]
    options = "SELECT relname, reloptions FROM pg_class WHERE relname = ANY ($1)"

    async def told() -> dict[str, list[str]]:
        return {row["relname"]: row["reloptions"] for row in await one.rows(options, list(OWN_TABLES))}

    first = await told()
    assert "autovacuum_vacuum_scale_factor=0.02" in first["job"]
    assert {"fillfactor=75", "autovacuum_vacuum_scale_factor=0.05"} <= set(first["workflow_instance"])
    assert {"autovacuum_vacuum_threshold=1000", "vacuum_truncate=off"} <= set(first["dispatch_outbox"])
    await one.rows("ALTER TABLE audit_log SET (autovacuum_vacuum_scale_factor = 0.5)")
    await one.rows("ALTER TABLE job RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)")
    await one.rows(text)
    assert await told() == first | {"audit_log": ["autovacuum_vacuum_scale_factor=0.5"]}


async def test_a_chain_is_found_by_its_child_where_another_engine_has_made_its_table(one: Running) -> None:
    (text,) = [each.text for each in migrations() if each.name.endswith("pre_retention")]
    await one.rows(CHAIN_TABLE)
    async with one.database.connection() as connection:
        await connection.execute(text)
        await connection.execute(text)
    found = await one.rows(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'workflow_chain' ORDER BY indexname"
    )
    assert ["(child_instance_id)" in row["indexdef"] for row in found] == [True, False]
