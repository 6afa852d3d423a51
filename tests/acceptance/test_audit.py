"""Contract 8.3: what happened, who did it, to which instance; and the switch that turns it off."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial, StartEngine
from workflow import END, Json, decision, fork, join, service, timer, user_task, wait

from patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def audit(on_trial: EngineOnTrial, instance: Json) -> list[tuple[str, str, Json]]:
    rows = await on_trial.rows(
        "SELECT kind, actor, detail FROM audit_log WHERE instance_id = %s ORDER BY id", instance["id"]
    )
    return [(row["kind"], row["actor"], row["detail"]) for row in rows]


async def kinds(on_trial: EngineOnTrial, instance: Json) -> list[str]:
    return [kind for kind, _, _ in await audit(on_trial, instance)]


async def test_a_whole_life_is_written_down(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(service("a", "u", retryCount=1), user_task("u", "w"), wait("w"), END)
    instance = await workflow.start()
    job = await workflow.lease_one("a", "worker 1")
    await engine.fail(job, "worker 1", retryable=True, errorMessage="not yet")
    await workflow.work_off("a", "worker 2")
    await engine.user_task(instance, "u", {"workerId": "ann"})
    await engine.signal(instance, "w")
    assert [(kind, actor) for kind, actor, _ in await audit(on_trial, instance)] == [
        ("instance-started", "engine"),
        ("job-dispatched", "engine"),
        ("job-retried", "worker 1"),
        ("job-completed", "worker 2"),
        ("user-task-completed", "ann"),
        ("wait-signalled", "engine"),
        ("instance-completed", "engine"),
    ]
    details = {kind: detail for kind, _, detail in await audit(on_trial, instance)}
    assert details["instance-started"] == {"definition_id": workflow.id, "definition_version": 1}
    assert details["job-dispatched"] == {"job_id": job["id"], "job_type": workflow.job_type("a")}
    assert details["job-retried"] == {"job_id": job["id"], "retries_remaining": 0}
    assert details["job-completed"] == {"job_id": job["id"]}
    assert details["wait-signalled"] == {"step_id": "w"}


async def test_every_way_to_end_is_written_down(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(service("a"), END)
    failed, cancelled = await workflow.start(), await workflow.start()
    job = await workflow.lease_one("a", "w")
    await engine.fail(job, "w", errorMessage="broke")
    await engine.cancel(cancelled, "enough")
    assert (await audit(on_trial, failed))[-2:] == [
        ("job-failed", "w", {"job_id": job["id"], "reason": "broke"}),
        ("instance-failed", "engine", {"reason": "broke"}),
    ]
    assert (await audit(on_trial, cancelled))[-1] == ("instance-cancelled", "engine", {"reason": "enough"})
    wrong = await (await engine.define(decision("d", {"false": "end"}), END)).start()
    assert await kinds(on_trial, wrong) == ["instance-started", "instance-failed"]


async def test_what_the_sweepers_do_is_written_down(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(
        fork("g", ["a", "p"], "j"),
        service("a", "j"),
        wait("p", "j", boundaryEvents=[timer("PT0.2S", "j", interrupting=True)]),
        join("j"),
        END,
    )
    instance = await workflow.start()
    job = await workflow.lease_one("a", leaseSeconds=1)

    async def both() -> bool:
        return {"job-lease-expired", "timer-fired"} <= set(await kinds(on_trial, instance))

    await eventually(both)
    found = {kind: (actor, detail) for kind, actor, detail in await audit(on_trial, instance)}
    assert found["job-lease-expired"] == ("engine", {"job_id": job["id"]})
    actor, detail = found["timer-fired"]
    assert (actor, detail["target_step_id"]) == ("engine", "j")
    assert (await kinds(on_trial, instance)).count("timer-fired") == 1


async def test_a_new_version_is_written_down_once(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(END)
    await engine.define(END, id=workflow.id)
    rows = await on_trial.rows(
        "SELECT actor, instance_id, detail, at FROM audit_log WHERE kind = 'definition-uploaded'"
        " AND detail ->> 'definition_id' = %s",
        workflow.id,
    )
    (row,) = rows
    assert abs((datetime.now(UTC) - row.pop("at")).total_seconds()) < 60
    assert row == {
        "actor": "engine",
        "instance_id": None,
        "detail": {"definition_id": workflow.id, "version": 1},
    }


async def test_calls_that_change_nothing_leave_no_trace(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    job = await workflow.work_off("a")
    before = await audit(on_trial, instance)
    await engine.complete(job, x=1)
    await engine.fail(job)
    await engine.post(f"/v1/instances/{instance['id']}/cancel")
    assert await audit(on_trial, instance) == before


async def test_polling_writes_neither_outbox_nor_broker_rows(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    await workflow.work_off("a")
    (row,) = await on_trial.rows(
        """SELECT (SELECT count(*) FROM dispatch_outbox) AS outbox,
                  (SELECT count(*) FROM audit_log WHERE kind = 'DISPATCHED_VIA_BROKER') AS dispatched"""
    )
    assert row == {"outbox": 0, "dispatched": 0}


async def test_the_switch_turns_all_of_it_off(start_engine: StartEngine) -> None:
    """As the chart sets it; leases, timers and definitions too, which are written by other statements."""
    silent = await start_engine(values={"engine": {"auditLogEnabled": "false"}})
    workflow = await silent.client.define(
        service("a", "p"), wait("p", boundaryEvents=[timer("PT0.1S", "end", interrupting=True)]), END
    )
    instance = await workflow.start()
    await workflow.lease_one("a", "lost", leaseSeconds=1)
    await workflow.work_off("a", "w")

    async def ended() -> bool:
        return await silent.client.status(instance) == "COMPLETED"

    await eventually(ended)
    assert await silent.rows("SELECT kind FROM audit_log") == []
