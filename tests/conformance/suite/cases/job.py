"""Contract 1.6 poll, complete and fail, 5.1 to 5.5, 6.1: a job's whole life as its worker sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from workflow import END, Json, service, timer, wait

from patience import eventually
from suite.case import GRPC, REST, Need, holds, same, shows
from suite.cases.timer import INTERRUPTED
from suite.context import CaseContext
from suite.doors import LEASE_WITHIN_S, Door

SHORT_LEASE_S = 1
"""The shortest that can be asked for; how it is swept is waited for."""


def _lease_s(job: Json) -> float:
    return (
        datetime.fromisoformat(job["lockExpiresAt"]) - datetime.fromisoformat(job["lockedAt"])
    ).total_seconds()


async def _polled(context: CaseContext, definition_id: str, **more: object) -> list[Json]:
    """The body has what is told and no more."""
    body = {"workerId": "w", "jobTypes": [f"{definition_id}.a"], **more}
    found: list[Json] = (await context.door.poll(body)).ok("poll")
    return found


async def _lost(door: Door, instance: Json) -> Json:
    """The job of a worker that does not come back before its lease has lapsed."""
    return await door.lease(instance, "a", "crashed", leaseSeconds=SHORT_LEASE_S)


# -- poll


@shows("1.6 poll-max-default", over=REST)
async def default_number(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    for more in ({}, {"maxJobs": 0}, {"maxJobs": -1}):
        for _ in range(11):
            await context.door.begin(id)
        same(f"jobs with {more}", len(await _polled(context, id, **more)), 10)
        await _polled(context, id, maxJobs=100)


@shows("1.6 poll-max", "6.1 oldest-first")
async def as_many_as_asked(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    started = [(await context.door.begin(id))["id"] for _ in range(5)]
    for wanted in (started[:3], started[3:]):
        same(
            "instances of the jobs",
            [job["instanceId"] for job in await _polled(context, id, maxJobs=3)],
            wanted,
        )


@shows("1.6 poll-max-clamp")
async def far_too_many(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    started = [(await context.door.begin(id))["id"] for _ in range(2)]
    got = [job["instanceId"] for job in await _polled(context, id, maxJobs=2_000_000)]
    same("instances of the jobs", got, started)


@shows("1.6 poll-lease-default", "7.3 lease", over=REST)
async def default_lease(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    await context.door.begin(id)
    (job,) = await _polled(context, id)
    same("seconds", _lease_s(job), 30.0)


@shows("1.6 poll-lease-seconds", over=REST)
async def lease_as_asked(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    for asked in (5, 120, 3600):
        await context.door.begin(id)
        (job,) = await _polled(context, id, leaseSeconds=asked)
        same("seconds", _lease_s(job), float(asked))


@shows("1.6 poll-lease-seconds", "1.6 poll-lease-default", over=GRPC)
async def lease_over_grpc(context: CaseContext) -> None:
    """A message does not say since when: the instance's start is a little before."""
    for more, wanted_s in (({}, 30), ({"leaseSeconds": 0}, 30), ({"leaseSeconds": 3600}, 3600)):
        instance = await context.door.run(service("a"), END)
        (job,) = await _polled(context, instance["definitionId"], **more)
        ends, started = (
            datetime.fromisoformat(text) for text in (job["lockExpiresAt"], instance["startedAt"])
        )
        lasted_s = (ends - started).total_seconds()
        holds(f"a lease of {wanted_s} s with {more}", wanted_s <= lasted_s < wanted_s + 25, lasted_s)


@shows("1.6 poll-empty", over=REST)
async def nothing_there(context: CaseContext) -> None:
    answer = await context.rest.raw("POST", "/v1/jobs/poll", {"workerId": "w", "jobTypes": ["nobody's"]})
    same("status and jobs", (answer.status, answer.json), (200, {"jobs": []}))


@shows("6.1 never-shared")
async def pollers_at_once(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    started = [(await context.door.begin(id))["id"] for _ in range(20)]
    got = await asyncio.gather(*(context.door.jobs(id, "a", worker=f"w{n}", maxJobs=4) for n in range(8)))
    same("instances of all jobs", sorted(job["instanceId"] for jobs in got for job in jobs), sorted(started))


# -- complete


@shows("1.6 complete-unknown")
async def complete_of_nothing(context: CaseContext) -> None:
    (await context.door.complete("no-such", {"workerId": "w"})).refused("complete", "not-found")


@shows("1.6 complete-locked")
async def complete_by_the_holder(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    job = await context.door.lease(instance, "a", "holder")
    (await context.door.complete(job["id"], {"workerId": "holder", "variables": {"x": 1}})).ok("complete")
    same("variables", (await context.door.status_is(instance, "COMPLETED", []))["variables"], {"x": 1})


@shows("5.3 merge")
async def shallow_merge(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        service("a", "b"), service("b"), END, variables={"kept": 1, "deep": {"old": 1}, "x": 2}
    )
    await door.work_off(instance, "a", {"deep": {"new": 2}, "x": None, "added": [3]})
    merged = {"kept": 1, "deep": {"new": 2}, "x": None, "added": [3]}
    same("variables", (await door.status_is(instance, "ACTIVE", ["b"]))["variables"], merged)
    same("variables of the next job", (await door.lease(instance, "b"))["variables"], merged)


@shows("1.6 complete-no-variables")
async def complete_without_variables(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END, variables={"x": 1})
    job = await context.door.lease(instance, "a")
    (await context.door.complete(job["id"], {"workerId": "w"})).ok("complete")
    same("variables", (await context.door.status_is(instance, "COMPLETED"))["variables"], {"x": 1})


@shows("1.6 complete-other")
async def complete_by_another(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    job = await context.door.lease(instance, "a", "holder")
    body = {"workerId": "thief", "variables": {"by": "thief"}}
    (await context.door.complete(job["id"], body)).refused("complete by another worker", "conflict")
    same("variables", (await context.door.status_is(instance, "ACTIVE", ["a"]))["variables"], {})
    (await context.door.complete(job["id"], {"workerId": "holder", "variables": {"by": "holder"}})).ok(
        "complete"
    )
    same("variables", (await context.door.status_is(instance, "COMPLETED"))["variables"], {"by": "holder"})


@shows("1.6 complete-twice")
async def complete_again(context: CaseContext) -> None:
    instance = await context.door.run(service("a", "b"), service("b"), END)
    job = await context.door.work_off(instance, "a", {"x": 1})
    for worker in ("w", "another"):
        (await context.door.complete(job["id"], {"workerId": worker, "variables": {"x": 2, "y": 3}})).ok(
            "repeat"
        )
    same("variables", (await context.door.status_is(instance, "ACTIVE", ["b"]))["variables"], {"x": 1})


@shows("1.6 complete-unlocked", "5.1 job-expired", "5.1 job-completed", needs=[Need.DATABASE])
async def complete_of_a_swept_job(context: CaseContext) -> None:
    instance = await context.door.run(service("a", retryCount=2), END)
    job = await context.door.lease(instance, "a", "slow", leaseSeconds=SHORT_LEASE_S)
    query = "SELECT status, worker_id, retries_remaining FROM job WHERE id = %s"

    async def is_swept() -> bool:
        return [*(await context.rows(query, job["id"]))[0].values()] == ["UNLOCKED", None, 2]

    await eventually(is_swept, within_s=LEASE_WITHIN_S)
    for worker in ("slow", "later"):
        (await context.door.complete(job["id"], {"workerId": worker, "variables": {"by": worker}})).ok(
            "complete"
        )
    same("variables", (await context.door.status_is(instance, "COMPLETED"))["variables"], {"by": "slow"})
    same("job", [row["status"] for row in await context.rows(query, job["id"])], ["COMPLETED"])


async def _no_effect(context: CaseContext, job: Json, instance: Json) -> None:
    """Neither verb changes anything, and neither is an error."""
    before, trail = await context.door.read(instance), await context.door.trail(instance)
    (await context.door.complete(job["id"], {"workerId": "w", "variables": {"late": 1}})).ok(
        "complete of a closed job"
    )
    for retryable in (True, False):
        body = {"workerId": "w", "retryable": retryable, "errorMessage": "late"}
        (await context.door.fail(job["id"], body)).ok("fail of a closed job")
    same("the instance", await context.door.read(instance), before)
    same("its history", await context.door.trail(instance), trail)
    same("jobs", await context.door.jobs(instance["definitionId"], "a"), [])


async def _completed(context: CaseContext, job: Json, _: Json) -> None:
    (await context.door.complete(job["id"], {"workerId": "w"})).ok("complete")


async def _failed(context: CaseContext, job: Json, _: Json) -> None:
    (await context.door.fail(job["id"], {"workerId": "w", "errorMessage": "broke"})).ok("fail")


async def _cancelled(context: CaseContext, _: Json, instance: Json) -> None:
    (await context.door.cancel(instance["id"], "x")).ok("cancel")


async def _after(context: CaseContext, end: Callable[[CaseContext, Json, Json], Awaitable[None]]) -> None:
    instance = await context.door.run(service("a", retryCount=5), END)
    job = await context.door.lease(instance, "a")
    await end(context, job, instance)
    await _no_effect(context, job, instance)


@shows("1.6 complete-failed")
async def closed_by_failure(context: CaseContext) -> None:
    await _after(context, _failed)


@shows("1.6 complete-terminal")
async def closed_by_cancel(context: CaseContext) -> None:
    await _after(context, _cancelled)


@shows("1.6 fail-closed")
async def closed_in_each_way(context: CaseContext) -> None:
    for end in (_completed, _failed, _cancelled):
        await _after(context, end)


@shows("1.6 complete-cancelled", "5.6 interrupting-job")
async def closed_by_a_timer(context: CaseContext) -> None:
    door = context.door
    alarm = [timer("PT0.3S", "late", interrupting=True)]
    instance = await door.run(service("a", boundaryEvents=alarm), wait("late"), END)
    job = await door.lease(instance, "a")
    await door.until_entered(instance, "late")
    await _no_effect(context, job, instance)
    first = (await door.trail(instance))[0]
    same("the parent", (first["status"], first["failureReason"]), ("FAILED", INTERRUPTED))
    await door.status_is(instance, "WAITING", ["late"])


# -- fail


@shows("1.6 fail-unknown")
async def fail_of_nothing(context: CaseContext) -> None:
    (await context.door.fail("no-such", {"workerId": "w"})).refused("fail", "not-found")


@shows("1.6 fail-retry", "5.4 attempts", "5.4 no-delay")
async def retries(context: CaseContext) -> None:
    instance = await context.door.run(service("a", retryCount=2), END, variables={"x": 1})
    seen = []
    for attempt in range(3):
        (job,) = await context.door.jobs(instance["definitionId"], "a") or [
            {"retriesRemaining": "no job at once"}
        ]
        seen.append(job["retriesRemaining"])
        same("variables", job.get("variables"), {"x": 1})
        body = {"workerId": "w", "retryable": True, "errorMessage": f"attempt {attempt}"}
        (await context.door.fail(job["id"], body)).ok("fail")
    same("retriesRemaining of each attempt", seen, [2, 1, 0])
    same("jobs", await context.door.jobs(instance["definitionId"], "a"), [])
    same("reason", (await context.door.status_is(instance, "FAILED", []))["failureReason"], "attempt 2")


@shows("1.6 fail-final", "5.4 terminal")
async def the_last_failure(context: CaseContext) -> None:
    instance = await context.door.run(service("a", retryCount=5), END)
    job = await context.door.lease(instance, "a")
    body = {"workerId": "w", "retryable": False, "errorMessage": "broke"}
    (await context.door.fail(job["id"], body)).ok("fail")
    found = await context.door.status_is(instance, "FAILED", [])
    same("failureReason", found.get("failureReason"), "broke")
    holds("completedAt", "completedAt" in found, found)
    (step,) = await context.door.trail(instance)
    same("step", (step["status"], step["failureReason"]), ("FAILED", "broke"))
    holds("endedAt", step["endedAt"], step)


@shows("1.6 fail-empty-message", "1.6 fail-default")
async def nothing_said(context: CaseContext) -> None:
    for body in ({}, {"errorMessage": ""}):
        instance = await context.door.run(service("a", retryCount=5), END)
        job = await context.door.lease(instance, "a")
        (await context.door.fail(job["id"], {"workerId": "w", **body})).ok("fail")
        found = await context.door.status_is(instance, "FAILED")
        holds("a reason all the same", found.get("failureReason"), found)


@shows("5.1 job-failed", "5.1 job-unlocked-locked", needs=[Need.DATABASE])
async def rows_of_a_failing_job(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)

    async def row() -> tuple[object, ...]:
        query = (
            "SELECT status, worker_id, lock_expires_at IS NOT NULL AS leased FROM job WHERE instance_id = %s"
        )
        (found,) = await context.rows(query, instance["id"])
        return tuple(found.values())

    same("a new job", await row(), ("UNLOCKED", None, False))
    job = await context.door.lease(instance, "a", "holder")
    same("polled", await row(), ("LOCKED", "holder", True))
    (await context.door.fail(job["id"], {"workerId": "holder", "errorMessage": "broke"})).ok("fail")
    same("failed", (await row())[0], "FAILED")


@shows("1.6 fail-other", "10.3 node-no-4xx")
async def fail_by_another(context: CaseContext) -> None:
    instance = await context.door.run(service("a", retryCount=1), END)
    job = await context.door.lease(instance, "a", "holder")
    for retryable in (True, False):
        body = {"workerId": "thief", "retryable": retryable, "errorMessage": "not mine"}
        (await context.door.fail(job["id"], body)).ok("fail by another worker")
    same("jobs", await context.door.jobs(instance["definitionId"], "a", worker="thief"), [])
    await context.door.status_is(instance, "ACTIVE", ["a"])
    (await context.door.complete(job["id"], {"workerId": "holder"})).ok("complete by the holder")
    await context.door.status_is(instance, "COMPLETED")


@shows("1.6 fail-other-warns", over=REST, needs=[Need.LOG])
async def a_stale_fail_is_told(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    job = await context.door.lease(instance, "a", "holder")
    (await context.door.fail(job["id"], {"workerId": "thief"})).ok("fail")
    line = await context.logged(job_id=job["id"], level="WARN")
    holds("it names the caller", "thief" in line.values(), line)
    same("warnings about this job", len(context.log(job_id=job["id"], level="WARN")), 1)


# -- leading on


@shows("5.2 service-payload", needs=[Need.DATABASE])
async def row_of_a_job(context: CaseContext) -> None:
    instance = await context.door.run(service("a", retryCount=3), END, variables={"x": {"y": [1]}, "n": None})
    found = await context.rows(
        "SELECT payload, retries_remaining FROM job WHERE instance_id = %s", instance["id"]
    )
    same("row", found, [{"payload": {"x": {"y": [1]}, "n": None}, "retries_remaining": 3}])


@shows("5.3 conditional-first", "3.2 conditional-precedence")
async def conditions_before_next_step(context: CaseContext) -> None:
    ways = {"way == 1": "w"}
    instance = await context.door.run(
        service("a", "b", conditionalNextSteps=ways), service("b"), wait("w"), END
    )
    await context.door.work_off(instance, "a", {"way": 1})
    await context.door.status_is(instance, "WAITING", ["w"])


@shows("5.3 dead-end", "3.2 next-step")
async def no_way_on(context: CaseContext) -> None:
    instance = await context.door.run(
        service("a", None, boundaryEvents=[timer("PT1H", "end", interrupting=True)]), END
    )
    await context.door.work_off(instance, "a", {"x": 1})
    found = await context.door.status_is(instance, "ACTIVE", [])
    same("variables", found["variables"], {"x": 1})


# -- leases


@shows("5.5 reclaimed")
async def a_lapsed_lease(context: CaseContext) -> None:
    instance = await context.door.run(service("a", retryCount=4), END)
    lost = await _lost(context.door, instance)
    again = await context.door.lease(instance, "a", "next", leaseSeconds=60)
    since = datetime.fromisoformat(again["lockExpiresAt"]) - timedelta(seconds=60)
    holds(
        "leased anew after the old lease's end", since >= datetime.fromisoformat(lost["lockExpiresAt"]), since
    )
    same("job and retries", (again["id"], again["retriesRemaining"]), (lost["id"], 4))


@shows("5.5 late-refused")
async def a_late_complete(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(service("a"), END)
    lost = await _lost(door, instance)
    again = await door.lease(instance, "a", "next")
    late = {"workerId": "crashed", "variables": {"by": "crashed"}}
    (await door.complete(lost["id"], late)).refused("late complete while re-leased", "conflict")
    (await door.complete(again["id"], {"workerId": "next", "variables": {"by": "next"}})).ok("complete")
    (await door.complete(lost["id"], late)).ok("late complete afterwards")
    same("variables", (await door.status_is(instance, "COMPLETED"))["variables"], {"by": "next"})


@shows("5.5 counted", "8.1 engine_job_timeout_total", over=REST, needs=[Need.METRICS])
async def expired_leases_are_counted(context: CaseContext) -> None:
    name = "engine_job_timeout_total"
    before = (await context.scrape()).total(name)
    instance = await context.door.run(service("a"), END)
    await _lost(context.door, instance)
    await context.door.lease(instance, "a", "next")

    async def is_counted() -> bool:
        return (await context.scrape()).total(name) > before

    await eventually(is_counted)


@shows("7.3 sweeps", over=REST, needs=[Need.BOOT], slow=True)
async def default_sweeps(context: CaseContext) -> None:
    """With no variable set: a timer within 5 s, a lapsed lease within 15 s, and room for a busy machine."""
    door = (await context.boots.serving()).rest
    alarm = [timer("PT0.1S", "w", interrupting=False)]
    instance = await door.run(service("a", boundaryEvents=alarm), wait("w"), END)
    began_s = time.monotonic()
    await door.lease(instance, "a", leaseSeconds=SHORT_LEASE_S)
    await door.until_entered(instance, "w")
    fired_s = time.monotonic() - began_s
    await door.lease(instance, "a", "next")
    reclaimed_s = time.monotonic() - began_s
    holds("a timer within a sweep of 5 s", fired_s < 5 + 5, fired_s)
    holds(
        "a lease within a sweep of 15 s", SHORT_LEASE_S <= reclaimed_s < SHORT_LEASE_S + 15 + 5, reclaimed_s
    )
