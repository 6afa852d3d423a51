"""Contract 1 rows 10 to 12, 1.6, 5.3 to 5.5, 6.1 and 10.3: a job's whole life as a worker sees it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from workflow import END, Json, Workflow, decision, service, timer

from patience import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def lease_of(job: Json) -> timedelta:
    return datetime.fromisoformat(job["lockExpiresAt"]) - datetime.fromisoformat(job["lockedAt"])


async def job_status(on_trial: EngineOnTrial, job: Json) -> str:
    (row,) = await on_trial.rows("SELECT status FROM job WHERE id = %s", job["id"])
    return str(row["status"])


async def swept(on_trial: EngineOnTrial, job: Json) -> None:
    """Its lease has lapsed and the sweeper has seen it."""

    async def is_free() -> bool:
        return await job_status(on_trial, job) == "UNLOCKED"

    await eventually(is_free)


# -- poll -----------------------------------------------------------------------------------------


async def test_a_polled_job_tells_all_a_worker_needs(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", retryCount=3), END)
    instance = await workflow.start(x={"y": [1]})
    (job,) = await workflow.lease("a", worker="worker 1")
    (step,) = await engine.history(instance)
    assert job == {
        "id": job["id"],
        "instanceId": instance["id"],
        "stepId": "a",
        "stepExecutionId": step["id"],
        "jobType": workflow.job_type("a"),
        "status": "LOCKED",
        "workerId": "worker 1",
        "lockedAt": job["lockedAt"],
        "lockExpiresAt": job["lockExpiresAt"],
        "retriesRemaining": 3,
        "variables": {"x": {"y": [1]}},
        "createdAt": job["createdAt"],
        "leaseToken": job["leaseToken"],
    }
    assert job["createdAt"] <= job["lockedAt"]
    assert lease_of(job) == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("asked", "got_s"), [(120, 120), (1, 1), (0, 30), (-1, 30), (7200, 3600), (None, 30)]
)
async def test_the_lease_is_as_long_as_asked(engine: EngineClient, asked: int | None, got_s: int) -> None:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    (job,) = await workflow.lease("a", leaseSeconds=asked)
    assert lease_of(job) == timedelta(seconds=got_s)


@pytest.mark.parametrize(("asked", "got"), [(None, 10), (0, 10), (-3, 10), (1, 1), (12, 12), (5000, 13)])
async def test_as_many_jobs_as_asked_oldest_first(engine: EngineClient, asked: int | None, got: int) -> None:
    workflow = await engine.define(service("a"), END)
    started = [await workflow.start() for _ in range(13)]
    answer = await engine.post(
        "/v1/jobs/poll", {"workerId": "w", "jobTypes": [workflow.job_type("a")], "maxJobs": asked}
    )
    jobs = answer.json["jobs"]
    assert [job["instanceId"] for job in jobs] == [each["id"] for each in started[:got]]
    assert [job["createdAt"] for job in jobs] == sorted(job["createdAt"] for job in jobs)


async def test_several_types_at_once(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "b"), service("b", "c"), service("c"), END)
    await workflow.start()
    await workflow.work_off("a")
    await workflow.start()
    jobs = await workflow.lease("a", "b", "c")
    assert sorted(job["stepId"] for job in jobs) == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "gist"),
    [
        ({"jobTypes": ["a"]}, "workerId is required"),
        ({"workerId": "", "jobTypes": ["a"]}, "workerId is required"),
        ({"workerId": "w"}, "jobTypes must not be empty"),
        ({"workerId": "w", "jobTypes": []}, "jobTypes must not be empty"),
        ({"workerId": "w", "jobTypes": "a"}, "invalid request body:"),
        ({"workerId": "w", "jobTypes": ["a"], "maxJobs": "5"}, "invalid request body:"),
        ({"WorkerId": "w", "jobTypes": ["a"]}, "workerId is required"),
        ("w", "invalid request body:"),
    ],
)
async def test_a_bad_poll_is_refused(engine: EngineClient, body: object, gist: str) -> None:
    assert gist in (await engine.post("/v1/jobs/poll", body)).refused(400, "bad-request")


async def test_nothing_there_is_an_empty_array_at_once(engine: EngineClient) -> None:
    began_s = time.monotonic()
    answer = await engine.post("/v1/jobs/poll", {"workerId": "w", "jobTypes": ["nobody's"]})
    assert (answer.status, answer.json) == (200, {"jobs": []})
    assert time.monotonic() - began_s < 5


async def test_pollers_at_once_never_share_a_job(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    started = await asyncio.gather(*(workflow.start() for _ in range(60)))
    got = await asyncio.gather(*(workflow.lease("a", worker=f"w{n}", jobs_max=7) for n in range(12)))
    ids = [job["instanceId"] for jobs in got for job in jobs]
    assert sorted(ids) == sorted(each["id"] for each in started)


async def is_waited(engine: EngineClient) -> bool:
    waiting: int = (await engine.get("/health/detailed")).json["polls"]["waiting"]
    return waiting > 0


async def test_a_long_poll_is_woken_by_a_start(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    polling = asyncio.create_task(workflow.lease("a", waitMs=20_000))
    await eventually(lambda: is_waited(engine))
    instance = await workflow.start()
    began_s = time.monotonic()
    (job,) = await polling
    assert job["instanceId"] == instance["id"]
    assert time.monotonic() - began_s < 10
    await engine.complete(job)
    assert await engine.status(instance) == "COMPLETED"


async def test_a_long_poll_ends_empty_when_its_time_is_over(engine: EngineClient) -> None:
    began_s = time.monotonic()
    assert await engine.poll(["nobody's either"], waitMs=400) == []
    assert 0.35 < time.monotonic() - began_s < 10


# -- complete -------------------------------------------------------------------------------------


async def test_a_completion_merges_at_the_top_level_only(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "b"), service("b"), END)
    instance = await workflow.start(kept=1, deep={"old": 1}, gone=2)
    await workflow.work_off("a", deep={"new": 2}, gone=None, added=[3])
    merged = {"kept": 1, "deep": {"new": 2}, "gone": None, "added": [3]}
    assert await engine.variables(instance) == merged
    (job,) = await workflow.lease("b")
    assert job["variables"] == merged


async def test_variables_are_optional(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    for body in ({"workerId": "w"}, {"workerId": "w", "variables": None}):
        instance = await workflow.start(x=1)
        job = await workflow.lease_one("a")
        assert (await engine.post(f"/v1/jobs/{job['id']}/complete", body)).status == 204
        assert (await engine.instance(instance))["status"] == "COMPLETED"
        assert await engine.variables(instance) == {"x": 1}


async def test_a_job_nobody_knows_is_not_found(engine: EngineClient) -> None:
    for verb in ("complete", "fail"):
        (await engine.post(f"/v1/jobs/ghost/{verb}", {"workerId": "w"})).refused(404, "not-found")
        text = (await engine.post(f"/v1/jobs/ghost/{verb}", "no object")).refused(400, "bad-request")
        assert text.startswith("invalid request body:")


async def test_the_leases_of_others_are_respected(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(service("a", retryCount=1), END)
    instance = await workflow.start()
    job = await workflow.lease_one("a", "holder")
    answer = await engine.post(f"/v1/jobs/{job['id']}/complete", {"workerId": "thief", "variables": {"x": 1}})
    assert "holder" in answer.refused(409, "conflict")
    await engine.fail(job, "thief", retryable=True, errorMessage="not mine")
    (row,) = await on_trial.rows(
        "SELECT status, worker_id, retries_remaining FROM job WHERE id = %s", job["id"]
    )
    assert row == {"status": "LOCKED", "worker_id": "holder", "retries_remaining": 1}
    assert await engine.variables(instance) == {}
    await engine.complete(job, "holder")
    assert await engine.status(instance) == "COMPLETED"


async def test_a_repeat_changes_nothing(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "b"), service("b"), END)
    instance = await workflow.start()
    job = await workflow.work_off("a", x=1)
    await engine.complete(job, x=2)
    await engine.complete(job, "another", y=3)
    assert await engine.variables(instance) == {"x": 1}
    assert (await engine.instance(instance))["currentStepIds"] == ["b"]


async def test_nobody_s_job_goes_to_the_first_completion(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    job = await workflow.lease_one("a", "slow", leaseSeconds=1)
    await swept(on_trial, job)
    await engine.complete(job, "slow", by="slow")
    await engine.complete(job, "late", by="late")
    assert await engine.variables(instance) == {"by": "slow"}


async def test_a_closed_job_is_a_quiet_no_op_for_both_verbs(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    """COMPLETED, FAILED and CANCELLED: a stale call must neither change anything nor be an error (10.3)."""
    workflow = await engine.define(service("a"), END)

    async def completed(job: Json, _: Json) -> None:
        await engine.complete(job)

    async def failed(job: Json, _: Json) -> None:
        await engine.fail(job, errorMessage="broke")

    async def cancelled(_: Json, instance: Json) -> None:
        await engine.cancel(instance)

    for end, status in ((completed, "COMPLETED"), (failed, "FAILED"), (cancelled, "CANCELLED")):
        instance = await workflow.start()
        job = await workflow.lease_one("a")
        await end(job, instance)
        before, trail = await engine.instance(instance), await engine.history(instance)
        assert before["status"] == status
        await engine.complete(job, x=1)
        await engine.fail(job, retryable=True)
        await engine.fail(job, retryable=False, errorMessage="again")
        assert await engine.instance(instance) == before
        assert await engine.history(instance) == trail
        assert await job_status(on_trial, job) == status


async def test_a_token_of_an_older_lease_is_refused(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    """Also from the worker that holds the job again: that is what the optional token is for."""
    workflow = await engine.define(service("a", retryCount=2), END)
    instance = await workflow.start()
    old = await workflow.lease_one("a", "w", leaseSeconds=1)
    await swept(on_trial, old)
    new = await workflow.lease_one("a", "w")
    assert new["id"] == old["id"]
    assert new["leaseToken"] != old["leaseToken"]
    path, body = f"/v1/jobs/{old['id']}", {"workerId": "w", "leaseToken": old["leaseToken"]}
    (await engine.post(f"{path}/complete", {**body, "variables": {"x": "old"}})).refused(409, "conflict")
    assert (await engine.post(f"{path}/fail", {**body, "retryable": False})).status == 204
    assert await engine.status(instance) == "ACTIVE"
    good = {"workerId": "w", "leaseToken": new["leaseToken"], "variables": {"x": "new"}}
    assert (await engine.post(f"{path}/complete", good)).status == 204
    assert await engine.variables(instance) == {"x": "new"}


# -- fail and retry -------------------------------------------------------------------------------


async def test_a_retry_count_of_n_gives_n_plus_one_attempts(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", retryCount=2), END)
    instance = await workflow.start()
    seen = []
    for attempt in range(3):
        job = await workflow.lease_one("a", f"w{attempt}")
        seen.append((job["retriesRemaining"], job["workerId"]))
        await engine.fail(job, f"w{attempt}", retryable=True, errorMessage=f"attempt {attempt}")
    assert seen == [(2, "w0"), (1, "w1"), (0, "w2")]
    assert await workflow.lease("a") == []
    found = await engine.instance(instance)
    assert (found["status"], found["failureReason"]) == ("FAILED", "attempt 2")
    assert found["completedAt"]
    assert found["currentStepIds"] == []
    (step,) = await engine.history(instance)
    assert (step["status"], step["failureReason"], step["attemptNumber"]) == ("FAILED", "attempt 2", 1)


async def test_a_retried_job_may_still_succeed(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", retryCount=1), END)
    instance = await workflow.start(x=1)
    job = await workflow.lease_one("a")
    await engine.fail(job, retryable=True)
    again = await workflow.lease_one("a")
    assert (again["id"], again["variables"]) == (job["id"], {"x": 1})
    await engine.complete(again)
    assert await engine.status(instance) == "COMPLETED"


@pytest.mark.parametrize(
    "body", [{}, {"retryable": False}, {"errorMessage": ""}, {"errorMessage": None, "retryable": None}]
)
async def test_not_retryable_is_the_default_and_a_reason_is_always_given(
    engine: EngineClient, body: dict[str, Any]
) -> None:
    workflow = await engine.define(service("a", retryCount=5), END)
    instance = await workflow.start()
    await engine.fail(await workflow.lease_one("a"), **body)
    found = await engine.instance(instance)
    assert found["status"] == "FAILED"
    assert found["failureReason"]


async def test_a_retried_job_goes_to_the_end_of_its_queue(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", retryCount=9), END)
    poison, healthy = await workflow.start(), await workflow.start()
    job = await workflow.lease_one("a")
    assert job["instanceId"] == poison["id"]
    await engine.fail(job, retryable=True)
    assert [(await workflow.lease_one("a"))["instanceId"] for _ in range(2)] == [healthy["id"], poison["id"]]


# -- leases ---------------------------------------------------------------------------------------


async def test_a_lapsed_lease_is_another_worker_s_chance(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", retryCount=4), END)
    instance = await workflow.start()
    lost = await workflow.lease_one("a", "crashed", leaseSeconds=2)
    assert await workflow.lease("a", worker="next") == []
    again = await workflow.lease_one("a", "next")
    assert (again["id"], again["retriesRemaining"]) == (lost["id"], 4)
    assert again["lockedAt"] >= lost["lockExpiresAt"]
    body = {"workerId": "crashed", "variables": {"by": "crashed"}}
    (await engine.post(f"/v1/jobs/{lost['id']}/complete", body)).refused(409, "conflict")
    await engine.complete(again, "next", by="next")
    await engine.complete(lost, "crashed", by="crashed")
    assert await engine.variables(instance) == {"by": "next"}


# -- what comes after -----------------------------------------------------------------------------


async def test_conditions_of_a_task_go_before_its_next_step(engine: EngineClient) -> None:
    workflow = await engine.define(
        service("a", "end", conditionalNextSteps={"x > 1": "b"}), service("b"), END
    )
    chosen = await workflow.start()
    await workflow.work_off("a", x=2)
    assert (await engine.instance(chosen))["currentStepIds"] == ["b"]
    unmatched = await workflow.start()
    await workflow.work_off("a", x=1)
    found = await engine.instance(unmatched)
    assert found["status"] == "FAILED"
    assert "DecisionNoBranchMatched" in found["failureReason"]


async def test_a_task_without_a_next_step_ends_its_branch(engine: EngineClient) -> None:
    workflow = await engine.define(
        service("a", None, boundaryEvents=[timer("PT1H", "end", interrupting=True)]), END
    )
    instance = await workflow.start()
    await workflow.work_off("a")
    found = await engine.instance(instance)
    assert (found["status"], found["currentStepIds"]) == ("ACTIVE", [])


async def test_an_engine_error_after_a_completion_fails_the_instance_not_the_call(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    workflow = await engine.define(service("a", "d"), decision("d", {"ghost > 1": "end"}), END)
    instance = await workflow.start()
    job = await workflow.work_off("a", x=1)
    found = await engine.instance(instance)
    assert (found["status"], found["variables"]) == ("FAILED", {"x": 1})
    assert "ghost" in found["failureReason"]
    assert await job_status(on_trial, job) == "COMPLETED"
    assert await engine.trail(instance) == [("a", "COMPLETED"), ("d", "FAILED")]


async def test_jobs_of_one_engine_are_worked_off_by_many(engine: EngineClient) -> None:
    """Twenty instances of three steps, four workers: every step is done once."""
    workflow = await engine.define(service("a", "b"), service("b", "c"), service("c"), END)
    started = await asyncio.gather(*(workflow.start(done=[]) for _ in range(20)))
    done: list[str] = []

    async def work(workflow: Workflow, worker: str) -> None:
        while len(done) < 60:
            for job in await workflow.lease("a", "b", "c", worker=worker, waitMs=200):
                await engine.complete(job, worker, **{job["stepId"]: worker})
                done.append(job["id"])

    await asyncio.wait_for(asyncio.gather(*(work(workflow, f"w{n}") for n in range(4))), 30)
    assert len(set(done)) == len(done) == 60
    for each in started:
        assert await engine.status(each) == "COMPLETED"
