"""Workers that register (contract 1.9): who is listed where, until when, and that it is optional."""

from __future__ import annotations

import pytest
from engine_process import RunWindlass
from workflow import END, service

from patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKER = {"id": "worker-1", "jobTypes": ["pack", "send"], "version": "1.4.0", "capacity": 10}


async def test_a_worker_that_registers_at_one_node_is_listed_at_every_node(
    windlass: RunWindlass, dsn: str
) -> None:
    _, here = await windlass.serving("api", WE_POSTGRES_DSN=dsn, WINDLASS_SERVER_ID="server-a")
    _, there = await windlass.serving("scheduler", WE_POSTGRES_DSN=dsn, WINDLASS_SERVER_ID="scheduler-1")
    first = await here.post("/v1/workers", WORKER)
    assert first.status == 201
    worker = first.json
    assert worker == {
        **WORKER,
        "heartbeatSeconds": 15,
        "state": "ALIVE",
        "registeredAt": worker["registeredAt"],
        "lastSeenAt": worker["registeredAt"],
    }
    again = await here.post("/v1/workers", {**WORKER, "version": "1.5.0", "heartbeatSeconds": 1.5})
    assert (again.status, again.json["version"], again.json["heartbeatSeconds"]) == (200, "1.5.0", 1.5)
    assert again.json["registeredAt"] > worker["registeredAt"]
    page = (await here.get("/v1/workers")).json
    assert page == {"items": [again.json], "total": 1, "page": 0, "pageSize": 20}

    # A scheduler takes no calls below /v1, and says who is there all the same.
    (await there.get("/v1/workers")).refused(503, "unavailable")
    info = (await there.get("/api/cluster/info")).json
    assert info["workers"] == [again.json]
    assert info["workersAlive"] == 1
    assert (info["server_id"], info["node"], info["roles"]) == ("scheduler-1", "scheduler-1", ["scheduler"])
    assert (info["peers"], info["wakeMode"], info["wakeBus"]) == (["server-a"], "hybrid", "postgres")
    assert info["version"] == info["nodes"][0]["version"]
    assert (await here.get("/cluster/info")).json["roles"] == ["api"]
    assert (await there.get("/api/ready")).json == {"status": "ready"}
    assert (await there.get("/api/health")).json == {"status": "serving"}

    assert (await here.call("DELETE", "/v1/workers/worker-1")).status == 204
    (await here.call("DELETE", "/v1/workers/worker-1")).refused(404, "not-found")
    assert (await there.get("/cluster/info")).json["workers"] == []


async def test_a_silent_worker_is_late_and_then_gone_and_a_heartbeat_brings_it_back(
    windlass: RunWindlass, dsn: str
) -> None:
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    (await engine.post("/v1/workers/worker-1/heartbeat", {})).refused(404, "not-found")
    await engine.post("/v1/workers", {**WORKER, "heartbeatSeconds": 1})
    await engine.post("/v1/workers", {**WORKER, "id": "worker-2", "heartbeatSeconds": 60})

    async def shows(**states: str) -> bool:
        items = (await engine.get("/v1/workers")).json["items"]
        return {worker["id"]: worker["state"] for worker in items} == states

    assert await shows(**{"worker-1": "ALIVE", "worker-2": "ALIVE"})
    await eventually(lambda: shows(**{"worker-1": "LATE", "worker-2": "ALIVE"}))
    await eventually(lambda: shows(**{"worker-2": "ALIVE"}))
    assert (await engine.get("/api/cluster/info")).json["workersAlive"] == 1
    assert (await engine.call("POST", "/v1/workers/worker-1/heartbeat")).status == 204
    assert await shows(**{"worker-1": "ALIVE", "worker-2": "ALIVE"})


async def test_the_list_has_pages(windlass: RunWindlass, dsn: str) -> None:
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    answers = [
        await engine.post("/v1/workers", {**WORKER, "id": f"worker-{number:02}"}) for number in range(23)
    ]
    assert {answer.status for answer in answers} == {201}
    page = (await engine.get("/v1/workers?page=1&pageSize=20")).json
    assert [worker["id"] for worker in page["items"]] == ["worker-20", "worker-21", "worker-22"]
    assert (page["total"], page["page"], page["pageSize"]) == (23, 1, 20)
    page = (await engine.get("/v1/workers?page=9")).json
    assert (page["items"], page["total"]) == ([], 23)


async def test_an_unregistered_worker_is_given_jobs_and_a_registered_one_gets_no_more(
    windlass: RunWindlass, dsn: str
) -> None:
    _, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(service("a"), END)
    await engine.post("/v1/workers", {**WORKER, "jobTypes": [workflow.job_type("a")], "capacity": 1})
    for _ in range(3):
        await workflow.start()
    jobs = await workflow.lease("a", jobs_max=3)
    assert len(jobs) == 3
