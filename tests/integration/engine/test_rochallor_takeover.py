"""Contract 9.3: what Rochallor has in flight is continued, or refused by name before anything is touched."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from kafka_case import KafkaCase
from migrating import migrated, run
from nodes import END, Boot, Running, raw, service

from patience import eventually
from rochallor_schema import in_flight, made_by_rochallor
from windlass.api.gen import workflow_pb2 as pb
from windlass.errors import BootRefused, BusinessKeyInUse
from windlass.instance import Progress, decode_progress

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def done(node: Running, *instance_ids: str) -> None:
    async def all_completed() -> bool:
        return {await node.status(instance_id) for instance_id in instance_ids} == {"COMPLETED"}

    await eventually(all_completed)


@pytest.mark.parametrize("number", [9, 10, 11])
async def test_what_is_in_flight_is_continued(boot: Boot, dsn: str, number: int) -> None:
    """Waiting and held jobs, a lapsed lease, a user task, a due timer, a signal, a join that one branch has reached."""
    await made_by_rochallor(dsn, number)
    await in_flight(dsn)
    one = await boot(WINDLASS_LEASE_SWEEP_INTERVAL_SECONDS="0.1", WINDLASS_TIMER_SWEEP_INTERVAL_SECONDS="0.1")
    await one.complete("J-LOCKED", worker="w1", by="its holder")
    # An answer of an earlier delivery changes nothing.
    await one.complete("J-UNLOCKED-1", worker="w1", stale=True)
    polled: dict[str, Any] = {}

    async def work_is_handed_out() -> bool:
        for job in await one.poll("work", "late", "right", worker="w2"):
            polled[job.id] = job
            await one.complete(job, worker="w2")
        return len(polled) == 4

    await eventually(work_is_handed_out)
    assert {job.step_id for job in polled.values()} == {"work", "late", "right"}
    assert {"J-UNLOCKED-3", "J-EXPIRED", "J-JOIN-2"} < set(polled), "the fourth is of the timer's target"
    await done(one, "I-DUE", "I-JOIN")
    for instance_id in ("I-UNLOCKED", "I-LOCKED", "I-EXPIRED", "I-TASK"):
        await one.engine.complete_user_task(instance_id, "check", worker_id=None, variables=raw(ok=True))
    for instance_id in ("I-UNLOCKED", "I-LOCKED", "I-EXPIRED", "I-TASK", "I-WAIT"):
        await one.engine.signal_wait(instance_id, "wait", variables=raw(signal=1))
    await done(one, "I-UNLOCKED", "I-LOCKED", "I-EXPIRED", "I-TASK", "I-WAIT")
    assert await one.variables("I-LOCKED") == {"way": "work", "by": "its holder", "ok": True, "signal": 1}
    assert await one.variables("I-UNLOCKED") == {"way": "work", "ok": True, "signal": 1}
    history = await one.rows(
        "SELECT step_id, attempt_number FROM step_execution WHERE instance_id = 'I-JOIN' ORDER BY 1, 2"
    )
    assert [(row["step_id"], row["attempt_number"]) for row in history] == [
        ("end", 1), ("fork", 1), ("join", 1), ("join", 2), ("left", 1), ("right", 1),
    ]  # fmt: skip
    left = await one.rows(
        "SELECT id FROM job WHERE status IN ('UNLOCKED', 'LOCKED') UNION SELECT id FROM user_task WHERE status = 'OPEN'"
        " UNION SELECT id FROM boundary_event_schedule WHERE NOT fired"
    )
    assert left == []
    assert await one.status("I-CANCELLED") == "CANCELLED"


async def test_what_the_rows_tell_is_what_windlass_had_remembered(
    boot: Boot, superuser: asyncpg.Connection, dsn: str
) -> None:
    """Its own instances, stripped of all that Rochallor does not write, are read back as they were."""
    one = await boot()
    await one.define(
        {"id": "f", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["a", "g"], "joinStep": "j"},
        service("a", "j"),
        {"id": "g", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["b", "c"], "joinStep": "k"},
        {"id": "b", "type": "WAIT", "nextStep": "k"},
        service("c", "k", boundaryEvents=[{"type": "TIMER", "duration": "PT1H", "targetStepId": "n"}]),
        service("n", "k"),
        {"id": "k", "type": "JOIN_GATEWAY", "nextStep": "j"},
        {"id": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )
    for _ in range(5):
        await one.start()
    jobs = await one.poll("do-a", "do-c", most=10)
    for job in sorted(jobs, key=lambda job: job.id)[:7]:
        await one.complete(job)

    async def remembered() -> dict[str, Progress]:
        rows = await superuser.fetch("SELECT id, progress FROM workflow_instance ORDER BY id")
        return {row["id"]: decode_progress(row["progress"]) for row in rows}

    before = await remembered()
    assert len({len(progress.activations) for progress in before.values()}) > 0
    await run(
        dsn,
        "DROP TABLE windlass_migration; ALTER TABLE workflow_instance DROP COLUMN progress;"
        "ALTER TABLE job DROP COLUMN step_id",
    )
    await migrated(dsn)
    assert await remembered() == before
    assert (
        await superuser.fetchval(
            "SELECT count(*) FROM job WHERE step_id IS NULL AND status IN ('UNLOCKED', 'LOCKED')"
        )
        == 0
    )


REFUSED = {
    "an unknown definition": (
        "UPDATE workflow_instance SET definition_version = 7 WHERE id = 'I-TASK'",
        "cannot be continued: 1, and nothing was changed: I-TASK (its definition order version 7 is not stored)",
    ),
    "a definition of a later engine": (
        "UPDATE workflow_definition SET raw_json = jsonb_set(raw_json, '{steps,0,type}', '\"DECISION_TABLE\"')",
        "cannot be continued: 7, and nothing was changed: I-DUE (this release cannot run its definition",
    ),
    "no job": ("DELETE FROM job WHERE id = 'J-LOCKED'", "I-LOCKED (step work has 0 open jobs"),
    "a join that fired too early": (
        "UPDATE workflow_instance SET current_step_ids = '{right}' WHERE id = 'I-JOIN'",
        "I-JOIN (join join has 1 arrivals, and is not a current step)",
    ),
    "a chained start that is still owed": (
        "INSERT INTO workflow_chain VALUES ('I-CANCELLED', 'next', '{}', NULL, NULL)",
        "in workflow_chain: 1, and nothing was changed: they follow I-CANCELLED;",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_continued_is_refused_by_name_and_nothing_is_touched(
    superuser: asyncpg.Connection, dsn: str, case: str
) -> None:
    statement, said = REFUSED[case]
    await made_by_rochallor(dsn, 11)
    await in_flight(dsn)
    await run(dsn, statement)

    async def everything() -> list[tuple[object, ...]]:
        columns = await superuser.fetch(
            "SELECT attrelid::regclass::text, attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid"
            " WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2"
        )
        jobs = await superuser.fetch("SELECT job::text, NULL FROM job ORDER BY 1")
        return [tuple(row) for row in (*columns, *jobs)]

    before = await everything()
    with pytest.raises(BootRefused) as refused:
        await migrated(dsn)
    assert said in str(refused.value)
    assert "UPGRADING.md" in str(refused.value)
    assert await everything() == before


async def test_a_business_key_that_is_in_flight_is_a_conflict_for_that_start_alone(
    boot: Boot, dsn: str
) -> None:
    await made_by_rochallor(dsn, 10)
    one = await boot()
    await one.define(service("a", "end"), END)

    async def start(key: str) -> str:
        started = await one.engine.start_instance(
            definition_id="d", version=None, variables=raw(), business_key=key
        )
        return started.id

    # In batches together with others, which must not notice.
    answers = await asyncio.gather(
        *(start("k" if number % 2 else f"k{number}") for number in range(8)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [(type(answer), str(answer)) for answer in refused] == [
        (BusinessKeyInUse, "business key already in use by an in-flight instance of this definition")
    ] * 3
    (job,) = [job for job in await one.poll("do-a") if job.instance_id in answers[1::2]]
    await one.complete(job)
    assert await start("k"), "free again once it has ended"


async def test_events_that_rochallor_left_are_relayed_in_their_order(
    case: KafkaCase, superuser: asyncpg.Connection, dsn: str
) -> None:
    await made_by_rochallor(dsn, 9)
    await in_flight(dsn)
    await case.topics("a", partitions=1)
    await run(dsn, "UPDATE workflow_definition SET parsed_steps = '[]'")
    await run(dsn, f"UPDATE job SET job_type = '{case.job_type('a')}' WHERE status = 'UNLOCKED'")
    sent = []
    for number, (job_id, instance_id) in enumerate([("J-UNLOCKED-3", "I-UNLOCKED"), ("J-JOIN-2", "I-JOIN")]):
        event = pb.JobDispatchEvent(
            schema_version=1,
            dedup_id=f"E-{9 - number}",
            job_id=job_id,
            instance_id=instance_id,
            job_type=case.job_type("a"),
        )
        sent.append(event)
        # The younger row is written first, as after a row in between was removed.
        await superuser.execute(
            "INSERT INTO dispatch_outbox VALUES ($1, $2, $3, $4, $5, now() - $6 * interval '1 second')",
            event.dedup_id, job_id, instance_id, event.job_type, event.SerializeToString(), number,
        )  # fmt: skip
    node = await case.boot()
    await case.drained(node)
    assert list(await case.events("a")) == sent[::-1]
