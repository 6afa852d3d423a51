"""Group commit: one bad command never fails its neighbours, and a lost connection is never answered with a guess."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import msgspec
import pytest
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.errors import BadRequest, Conflict, EngineError, NotFound, Unavailable
from windlass.store import apply
from windlass.store.batch import Batch
from windlass.store.lease import Lease
from windlass.wire import InstanceView

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_commands_that_arrive_together_share_commits(boot: Boot) -> None:
    one = await boot(WINDLASS_LANES="1")
    await one.define(service("a", "end"), END)
    await asyncio.gather(*(one.start(n=n) for n in range(200)))
    text = one.node.metrics.exposition().decode()
    batches = next(line for line in text.splitlines() if line.startswith("windlass_lane_batch_size_count"))
    assert float(batches.split()[-1]) < 40


async def test_a_refused_command_leaves_its_neighbours_alone(boot: Boot) -> None:
    one = await boot(WINDLASS_LANES="1")
    await one.define(service("a", "end"), END)
    good = [one.start(n=n) for n in range(5)]
    bad = [one.start("ghost"), one.complete("ghost"), one.engine.cancel_instance("ghost", reason="")]
    answers = await asyncio.gather(*good, *bad, *(one.start(n=n) for n in range(5)), return_exceptions=True)
    assert [isinstance(answer, InstanceView) for answer in answers] == [True] * 5 + [False] * 3 + [True] * 5
    assert all(isinstance(answer, NotFound) for answer in answers[5:8])


async def test_a_value_the_database_cannot_store_spoils_only_its_own_command(boot: Boot) -> None:
    one = await boot(WINDLASS_LANES="1")
    await one.define(service("a", "end"), END)
    poison = msgspec.Raw(b'{"x": "\\u0000"}')
    calls: list[Any] = [one.start(n=n) for n in range(4)]
    calls.insert(
        2,
        one.engine.start_instance(definition_id="d", version=None, variables=poison, business_key=None),
    )
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[2], BadRequest)
    assert "cannot take this value" in answers[2].reason
    assert sum(isinstance(answer, InstanceView) for answer in answers) == 4
    (row,) = await one.rows("SELECT count(*) FROM workflow_instance")
    assert row["count"] == 4


async def test_commands_on_one_instance_in_one_batch_see_each_other(boot: Boot) -> None:
    one = await boot(WINDLASS_LANES="1")
    await one.define(
        {
            "id": "g",
            "type": "PARALLEL_GATEWAY",
            "parallelNextSteps": [f"b{n}" for n in range(12)],
            "joinStep": "j",
        },
        *(service(f"b{n}", "j") for n in range(12)),
        {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )
    instance = await one.start()
    jobs = await one.poll(*(f"do-b{n}" for n in range(12)), most=12)
    await asyncio.gather(*(one.complete(job, "w", None, **{job.job_type: True}) for job in jobs))
    assert await one.status(instance.id) == "COMPLETED"
    assert len(await one.variables(instance.id)) == 12


async def test_a_cancel_and_a_completion_in_one_batch_end_in_one_of_the_two(boot: Boot) -> None:
    one = await boot(WINDLASS_LANES="1")
    await one.define(service("a", "b"), service("b", "end"), END)
    for _ in range(10):
        instance = await one.start()
        (job,) = await one.poll("do-a")
        await asyncio.gather(one.complete(job), one.engine.cancel_instance(instance.id, reason="race"))
        assert await one.status(instance.id) == "CANCELLED"
    left = await one.rows(
        "SELECT (SELECT count(*) FROM job WHERE status IN ('LOCKED', 'UNLOCKED')) AS jobs, "
        "(SELECT count(*) FROM step_execution WHERE status = 'RUNNING') AS steps"
    )
    assert left == [{"jobs": 0, "steps": 0}]


async def test_a_completion_that_ends_the_instance_closes_jobs_leased_more_often(one: Running) -> None:
    """The token of the completed job guards that job, not its neighbours (found by drill X1)."""
    await one.define(
        {"id": "g", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["a", "b"], "joinStep": "j"},
        service("a", "end", retryCount=1),
        service("b", "j"),
        {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )
    instance = await one.start()
    (first,) = await one.poll("do-a")
    await one.fail(first)
    (again,) = await one.poll("do-a", wait_s=5)
    await one.poll("do-b")
    await one.complete(again, token=again.lease_token)
    assert await one.status(instance.id) == "COMPLETED"
    assert {r["job_type"]: r["status"] for r in await one.rows("SELECT job_type, status FROM job")} == {
        "do-a": "COMPLETED",
        "do-b": "CANCELLED",
    }


async def test_what_is_cancelled_cannot_be_cancelled_again(one: Running) -> None:
    await one.define(service("a", "end"), END)
    instance = await one.start()
    await one.engine.cancel_instance(instance.id, reason="once")
    with pytest.raises(Conflict, match="is CANCELLED"):
        await one.engine.cancel_instance(instance.id, reason="twice")


async def test_two_nodes_hammering_the_same_instances_never_deadlock(boot: Boot) -> None:
    nodes = [await boot(WINDLASS_LANES="3") for _ in range(2)]
    loop = {"id": "w", "type": "WAIT", "conditionalNextSteps": {"stop": "end", "!stop": "w"}, "nextStep": "w"}
    await nodes[0].define(loop, END)
    instances = [await nodes[0].start(stop=False) for _ in range(8)]
    rng = random.Random(3)

    async def hammer(node: Running) -> None:
        for _ in range(60):
            target = rng.choice(instances)
            await node.engine.signal_wait(target.id, "w", variables=msgspec.Raw(b'{"stop": false}'))

    await asyncio.wait_for(asyncio.gather(*(hammer(nodes[n % 2]) for n in range(12))), 60)
    (row,) = await nodes[0].rows("SELECT max(attempt_number), count(*) FROM step_execution")
    assert row["count"] == 8 + 12 * 60


async def test_a_connection_lost_before_the_commit_is_tried_again_unseen(
    one: Running, superuser: Any
) -> None:
    await one.define(service("a", "end"), END)
    instance = await one.start()
    blocker = await asyncpg.connect(one.node.settings.postgres_dsn)
    await blocker.execute("BEGIN")
    await blocker.execute("SELECT 1 FROM workflow_instance WHERE id = $1 FOR UPDATE", instance.id)
    cancelling = asyncio.create_task(one.engine.cancel_instance(instance.id, reason="tried twice"))

    async def killed() -> bool:
        return bool(
            await superuser.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND application_name LIKE 'windlass/%' AND datname = current_database()"
            )
        )

    await eventually(killed)
    await blocker.execute("ROLLBACK")
    await blocker.close()
    assert (await cancelling).failure_reason == "tried twice"


async def test_a_connection_lost_in_the_commit_is_reported_as_unknown(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment when nobody can tell: the engine must not, and must not try again."""
    await one.define(service("a", "end"), END)
    instance = await one.start()
    attempts = []
    original = apply.Transactor.run

    async def loses_the_answer(self: apply.Transactor, connection: Any, batch: Batch) -> None:
        attempts.append(len(batch.commands))
        await original(self, connection, batch)
        raise ConnectionResetError("the answer to COMMIT was lost")

    monkeypatch.setattr(apply.Transactor, "run", loses_the_answer)
    with pytest.raises(Unavailable, match="may have happened"):
        await one.engine.cancel_instance(instance.id, reason="done all the same")
    assert attempts == [1]
    assert await one.status(instance.id) == "CANCELLED"


async def test_a_guarded_write_that_misses_rolls_the_batch_back(
    one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the read saw and what the write finds differ only through a defect; nothing of it may stay."""
    await one.define(service("a", "end"), END)
    instance = await one.start()
    (job,) = await one.poll("do-a")
    monkeypatch.setattr(apply, "judge_completion", lambda *_: Lease.HELD)
    original = apply.Transactor._keep

    def with_a_wrong_token(
        self: Any, command: Any, batch: Any, before: Any, decision: Any, row: Any = None
    ) -> None:
        row.lease_token = 99
        original(self, command, batch, before, decision, row)

    monkeypatch.setattr(apply.Transactor, "_keep", with_a_wrong_token)
    with pytest.raises(EngineError, match="guarded write"):
        await one.complete(job, x=1)
    assert await one.variables(instance.id) == {}
    assert await one.rows("SELECT status FROM job") == [{"status": "LOCKED"}]


async def test_commands_wait_out_a_short_absence_of_the_database(boot: Boot, superuser: Any) -> None:
    one = await boot()
    await one.define(service("a", "end"), END)
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'windlass/%' "
        "AND datname = current_database()"
    )
    assert (await one.start()).status == "ACTIVE"


async def test_a_chained_definition_starts_in_the_same_transaction(one: Running) -> None:
    await one.define(service("b", "end"), END, id_="child")
    await one.define(service("a", "end"), END, autoStartNextWorkflow=True, nextWorkflowId="child")
    await one.define(
        service("a", "end"), END, id_="orphan", autoStartNextWorkflow=True, nextWorkflowId="ghost"
    )
    await one.start(x=1)
    await one.start("orphan")
    for job in await one.poll("do-a"):
        await one.complete(job, y=2)
    rows = await one.rows(
        "SELECT c.variables::text, c.business_key, c.xmin::text = p.xmin::text AS together "
        "FROM workflow_instance c, workflow_instance p WHERE c.definition_id = 'child' AND p.definition_id = 'd'"
    )
    assert [(msgspec.json.decode(r["variables"]), r["business_key"], r["together"]) for r in rows] == [
        ({"x": 1, "y": 2}, None, True)
    ]
    assert len(await one.rows("SELECT 1 FROM audit_log WHERE kind = 'chain-failed'")) == 1
    assert [line for line in one.log_lines() if line["msg"] == "chain: not started"]


async def test_definitions_that_chain_without_end_are_stopped(one: Running) -> None:
    await one.define(END, autoStartNextWorkflow=True, nextWorkflowId="d")
    assert (await one.start()).status == "COMPLETED"
    (row,) = await one.rows("SELECT count(*) FROM workflow_instance")
    assert row["count"] == 1 + apply.CHAINED_STARTS_MAX


async def test_the_audit_switch_silences_every_kind(boot: Boot) -> None:
    one = await boot(WE_AUDIT_LOG_ENABLED="false", WINDLASS_LEASE_SWEEP_SECONDS="0.1")
    await one.define(service("a", "end"), END)
    await one.start()
    await one.poll("do-a", lease_s=0.1)

    async def swept() -> bool:
        return bool(await one.rows("SELECT 1 FROM job WHERE status = 'UNLOCKED' AND lease_expiries = 1"))

    await eventually(swept)
    assert await one.rows("SELECT 1 FROM audit_log") == []
