"""Who may complete or fail a job: the tables of contract 1.6, against the database's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.errors import Conflict, EngineError, NotFound
from windlass.wire import JobView

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def leased(one: Running, worker: str = "w", lease_s: float = 30.0) -> JobView:
    await one.define(service("a", "end", retryCount=3), END)
    await one.start()
    (job,) = await one.poll("do-a", worker=worker, lease_s=lease_s)
    return job


async def job_row(one: Running, job: JobView) -> tuple[str, str | None, int]:
    (row,) = await one.rows("SELECT status, worker_id, retries_remaining FROM job WHERE id = $1", job.id)
    return row["status"], row["worker_id"], row["retries_remaining"]


async def lapsed(one: Running, job: JobView) -> None:
    """The job's lease is over on the database's clock; no sweep has seen it yet."""
    await one.rows("UPDATE job SET lock_expires_at = now() - interval '1 s' WHERE id = $1", job.id)


async def swept(one: Running, job: JobView) -> None:
    await one.rows("UPDATE job SET status = 'UNLOCKED', worker_id = NULL WHERE id = $1", job.id)


async def ended(one: Running, job: JobView, status: str) -> None:
    await one.rows("UPDATE job SET status = $2 WHERE id = $1", job.id, status)


async def test_an_unknown_job_is_not_found(one: Running) -> None:
    with pytest.raises(NotFound, match="job nothing not found"):
        await one.complete("nothing")


async def test_the_holder_completes_and_a_repeat_changes_nothing(one: Running) -> None:
    job = await leased(one)
    await one.complete(job, "w", x=1)
    await one.complete(job, "w", x=2)
    assert await one.variables(job.instance_id) == {"x": 1}
    assert await one.status(job.instance_id) == "COMPLETED"


async def test_another_worker_is_refused_while_the_lease_lives(one: Running) -> None:
    job = await leased(one)
    with pytest.raises(Conflict, match="leased to worker 'w'"):
        await one.complete(job, "thief", x=1)
    assert await job_row(one, job) == ("LOCKED", "w", 3)
    assert await one.variables(job.instance_id) == {}


async def test_the_first_completion_wins_when_nobody_holds_the_job(one: Running) -> None:
    for free in (lapsed, swept):
        job = await leased(one)
        await free(one, job)
        await one.complete(job, "late", x=1)
        assert await one.status(job.instance_id) == "COMPLETED"


async def test_an_older_token_is_refused_even_from_the_worker_that_holds_the_job_again(one: Running) -> None:
    job = await leased(one)
    await swept(one, job)
    (again,) = await one.poll("do-a", worker="w", wait_s=5)
    assert (job.lease_token, again.lease_token) == ("1", "2")
    with pytest.raises(Conflict):
        await one.complete(job, "w", token="1", x="old")
    await one.fail(job, "w", token="1", retryable=False)
    assert await job_row(one, job) == ("LOCKED", "w", 3)
    await one.complete(again, "w", token="2", x="new")
    assert await one.variables(job.instance_id) == {"x": "new"}


async def test_a_swept_job_takes_its_last_token_but_no_older_one(one: Running) -> None:
    job = await leased(one)
    await swept(one, job)
    with pytest.raises(Conflict, match="waiting to be leased again"):
        await one.complete(job, "w", token="0")
    await one.complete(job, "w", token="1")
    assert await one.status(job.instance_id) == "COMPLETED"


async def test_a_failure_gives_the_job_back_with_one_retry_less(one: Running) -> None:
    job = await leased(one)
    await one.fail(job, "w")
    assert await job_row(one, job) == ("UNLOCKED", None, 2)
    (again,) = await one.poll("do-a", worker="other")
    assert (again.id, again.retries_remaining) == (job.id, 2)


Situation = Callable[[Running, JobView], Awaitable[None]]


async def nothing(_one: Running, _job: JobView) -> None: ...


@pytest.mark.parametrize(
    ("situation", "worker"),
    [(nothing, "thief"), (swept, "w"), (lapsed, "thief")],
    ids=["held by another", "swept", "lapsed, never held"],
)
async def test_a_stale_failure_changes_nothing_and_is_no_error(
    one: Running, situation: Situation, worker: str
) -> None:
    """An error would end a Node worker (contract 10.3)."""
    job = await leased(one)
    await situation(one, job)
    before = await job_row(one, job)
    await one.fail(job, worker, retryable=False)
    assert await job_row(one, job) == before
    assert await one.status(job.instance_id) == "ACTIVE"
    assert [line for line in one.log_lines() if line["msg"] == "job: stale fail ignored"]


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_a_closed_job_stays_as_it_is(one: Running, status: str) -> None:
    job = await leased(one)
    await ended(one, job, status)
    await one.complete(job, "w", x=1)
    await one.fail(job, "w")
    assert (await job_row(one, job))[0] == status
    assert await one.variables(job.instance_id) == {}


async def test_a_job_of_an_instance_that_another_engine_began_is_refused_not_swallowed(one: Running) -> None:
    job = await leased(one)
    await one.rows("UPDATE workflow_instance SET progress = NULL WHERE id = $1", job.instance_id)
    with pytest.raises(Conflict, match="another engine started"):
        await one.complete(job, "w", x=1)
    assert await job_row(one, job) == ("LOCKED", "w", 3)


async def test_of_many_completions_at_once_through_two_nodes_one_counts(boot: Boot) -> None:
    nodes = [await boot(), await boot()]
    job = await leased(nodes[0])
    answers = await asyncio.gather(
        *(nodes[n % 2].complete(job, "w", None, **{f"n{n}": n}) for n in range(24)), return_exceptions=True
    )
    assert not [answer for answer in answers if isinstance(answer, EngineError)]
    assert len(await nodes[0].variables(job.instance_id)) == 1
    steps = await nodes[0].rows("SELECT step_id FROM step_execution WHERE instance_id = $1", job.instance_id)
    assert sorted(row["step_id"] for row in steps) == ["a", "end"]


async def test_the_sweep_frees_a_lapsed_lease_and_keeps_the_retries(boot: Boot) -> None:
    one = await boot(WINDLASS_LEASE_SWEEP_SECONDS="0.1")
    job = await leased(one, lease_s=0.2)

    async def is_free() -> bool:
        return await job_row(one, job) == ("UNLOCKED", None, 3)

    await eventually(is_free)
    (again,) = await one.poll("do-a", worker="next", wait_s=2)
    assert again.lease_token == "2"
    kinds = await one.rows("SELECT kind FROM audit_log WHERE kind = 'job-lease-expired'")
    assert len(kinds) == 1
    assert "engine_job_timeout_total 1.0" in one.node.metrics.exposition().decode()


async def test_a_job_that_never_answers_fails_after_so_many_leases(boot: Boot) -> None:
    one = await boot(WINDLASS_LEASE_SWEEP_SECONDS="0.1", WINDLASS_LEASE_EXPIRIES_MAX="2")
    job = await leased(one, lease_s=0.15)

    async def has_failed() -> bool:
        await one.poll("do-a", worker="victim", lease_s=0.15)
        return await one.status(job.instance_id) == "FAILED"

    await eventually(has_failed)
    reason = (await one.engine.get_instance(job.instance_id)).failure_reason
    assert reason is not None
    assert "expired 2 times" in reason
    assert (await job_row(one, job))[0] == "FAILED"
