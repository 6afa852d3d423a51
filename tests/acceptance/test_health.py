"""Contract 1.8 and the issue's promise: alive is not ready, and not ready says why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from engine_client import EngineClient
from engine_on_trial import REPLICA, StartEngine
from engine_process import RunWindlass
from workflow import END, service

from patience import eventually
from seatrial.cluster.ability import Partition

pytestmark = pytest.mark.asyncio(loop_scope="session")


def answers(engine: EngineClient, status: int, gist: str) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        answer = await engine.get("/ready")
        assert answer.json["ready"] is (answer.status == 200)
        return answer.status == status and gist in " ".join(answer.json["reasons"])

    return so


async def is_alive(engine: EngineClient) -> bool:
    return all([(await engine.get(path)).status == 200 for path in ("/health", "/healthz")])


async def test_without_its_database_it_is_alive_but_not_ready(start_engine: StartEngine) -> None:
    on_trial = await start_engine(WINDLASS_DATABASE_TIMEOUT_SECONDS="1")
    engine, cluster = on_trial.client, on_trial.cluster
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    await cluster.ability(Partition).cut(REPLICA, "refuse")
    await eventually(answers(engine, 503, "the database is unreachable"))
    assert (await engine.get("/readyz")).status == 503
    assert await is_alive(engine)
    detailed = (await engine.get("/health/detailed")).json
    assert detailed["status"] == "not-ready"
    assert "the database is unreachable" in " ".join(detailed["reasons"])
    assert (await engine.metrics()).count("# TYPE") > 10
    for answer in (
        await engine.get(f"/v1/instances/{instance['id']}"),
        await engine.post("/v1/instances", {"definitionId": workflow.id}),
        await engine.post("/v1/jobs/poll", {"workerId": "w", "jobTypes": [workflow.job_type("a")]}),
    ):
        answer.refused(503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1

    await cluster.ability(Partition).mend(REPLICA)
    await eventually(answers(engine, 200, ""))
    assert await engine.instance(instance) == instance
    await workflow.work_off("a")
    assert await engine.status(instance) == "COMPLETED"
    await eventually(lambda: on_trial.log(msg="database: reachable again", level="INFO"))
    await eventually(lambda: on_trial.log(msg="database: unreachable", level="WARN"))


async def test_a_database_that_does_not_answer_is_a_reason_too(start_engine: StartEngine) -> None:
    on_trial = await start_engine(WINDLASS_DATABASE_TIMEOUT_SECONDS="1")
    await on_trial.cluster.ability(Partition).cut(REPLICA, "blackhole")
    await eventually(answers(on_trial.client, 503, ""))
    assert await is_alive(on_trial.client)
    await on_trial.cluster.ability(Partition).mend(REPLICA)
    await eventually(answers(on_trial.client, 200, ""))


async def test_pending_migrations_are_a_reason_until_they_are_applied(
    windlass: RunWindlass, dsn: str
) -> None:
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn, WINDLASS_MIGRATE_ON_START="false")
    answer = await engine.get("/ready")
    assert answer.status == 503
    (reason,) = answer.json["reasons"]
    assert "migrations pending: the schema is at 0" in reason
    assert "windlass migrate" in reason
    assert await is_alive(engine)
    migration = await windlass("migrate", WE_POSTGRES_DSN=dsn)
    assert await migration.ended() == 0
    await eventually(answers(engine, 200, ""))
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    await workflow.work_off("a")
    assert await engine.status(instance) == "COMPLETED"
