"""The worker on a real engine: what becomes of jobs whose handlers return, raise, are slow, or are told to stop."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from workflow import END, document, service

from patience import eventually
from seatrial.cluster.port import Ports
from seatrial.cluster.proxy import Proxy
from windlass_client import BadRequest, Client, InstanceStatus, Job, NonRetryableError, Worker

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("client")]

END_WITHIN_S = 30.0


async def stored(client: Client, **step: Any) -> tuple[str, str]:
    """The id of a definition with one job, and its job type."""
    id = f"w-{secrets.token_hex(6)}"
    await client.upload(document(id, service("a", **step), END))
    return id, f"{id}.a"


async def nothing(_job: Job) -> None:
    return None


async def test_jobs_are_done_side_by_side_but_not_more_than_allowed(client: Client) -> None:
    id, job_type = await stored(client)
    now, most = 0, 0

    async def work(job: Job) -> Mapping[str, Any]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.05)
        now -= 1
        return {"double": job.variables["n"] * 2}

    async with Worker(client, {job_type: work}, concurrency=3):
        begun = await asyncio.gather(*(client.start(id, {"n": n}) for n in range(12)))
        ended = await asyncio.gather(
            *(client.wait_for_end(each.id, timeout_s=END_WITHIN_S) for each in begun)
        )
    assert [each.variables["double"] for each in ended] == [n * 2 for n in range(12)]
    assert most == 3


async def test_a_worker_has_handlers_of_several_types(client: Client) -> None:
    (one, first), (two, second) = await stored(client), await stored(client)

    async def work(job: Job) -> Mapping[str, Any]:
        return {"did": job.job_type}

    async with Worker(client, {first: nothing, second: work}):
        quiet, told = await client.start(one), await client.start(two)
        assert (await client.wait_for_end(quiet.id, timeout_s=END_WITHIN_S)).variables == {}
        assert (await client.wait_for_end(told.id, timeout_s=END_WITHIN_S)).variables == {"did": second}


async def test_what_raises_is_tried_again_while_retries_remain(client: Client) -> None:
    id, job_type = await stored(client, retryCount=2)
    left: list[int] = []

    async def work(job: Job) -> None:
        left.append(job.retries_remaining)
        raise ZeroDivisionError("nothing to divide by")

    async with Worker(client, {job_type: work}):
        begun = await client.start(id)
        ended = await client.wait_for_end(begun.id, timeout_s=END_WITHIN_S)
    assert (ended.status, ended.failure_reason) == (
        InstanceStatus.FAILED, "ZeroDivisionError: nothing to divide by",
    )  # fmt: skip
    assert left == [2, 1, 0]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (NonRetryableError("no such account"), "no such account"),
        ([1, 2], "the result of the handler was refused:"),
        ({"x": object()}, "the result of the handler was refused: the request is not JSON"),
        ({"x": "\x00"}, "the result of the handler was refused: invalid request body"),
        ({"x": "y" * (17 * 1024 * 1024)}, "the result of the handler was refused"),
    ],
    ids=["raised", "no object", "no JSON", "not storable", "too large"],
)
async def test_what_cannot_get_better_fails_at_once(client: Client, result: Any, reason: str) -> None:
    id, job_type = await stored(client, retryCount=5)
    runs = 0

    async def work(_job: Job) -> Any:
        nonlocal runs
        runs += 1
        if isinstance(result, Exception):
            raise result
        return result

    async with Worker(client, {job_type: work}):
        begun = await client.start(id)
        ended = await client.wait_for_end(begun.id, timeout_s=END_WITHIN_S)
    assert ended.status is InstanceStatus.FAILED
    assert str(ended.failure_reason).startswith(reason)
    assert runs == 1


async def test_leaving_finishes_what_is_in_hand_and_takes_nothing_more(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, job_type = await stored(client)
    taken, go_on, given_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
    poll = client.poll

    async def watched(*args: Any, **kwargs: Any) -> Sequence[Job]:
        try:
            return await poll(*args, **kwargs)
        except asyncio.CancelledError:
            given_up.set()
            raise

    monkeypatch.setattr(client, "poll", watched)

    async def work(_job: Job) -> Mapping[str, Any]:
        taken.set()
        await go_on.wait()
        return {"done": True}

    worker = Worker(client, {job_type: work}, concurrency=5)
    running = asyncio.create_task(worker.run())
    first = await client.start(id)
    await taken.wait()
    worker.stop()
    # Only then: a poll that is given up while a job is made for it leaves the job to its lease.
    await asyncio.wait_for(given_up.wait(), END_WITHIN_S)
    second = await client.start(id)
    go_on.set()
    await asyncio.wait_for(running, END_WITHIN_S)
    assert (await client.get(first.id)).variables == {"done": True}
    assert (await client.get(second.id)).status is InstanceStatus.ACTIVE
    # Its held poll was given up, so the next worker gets the second at once.
    async with Worker(client, {job_type: nothing}):
        assert (
            await client.wait_for_end(second.id, timeout_s=END_WITHIN_S)
        ).status is InstanceStatus.COMPLETED


async def test_what_does_not_finish_in_time_is_left_to_its_lease(client: Client) -> None:
    id, job_type = await stored(client)
    taken, cut = asyncio.Event(), asyncio.Event()

    async def work(_job: Job) -> None:
        taken.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    async with Worker(client, {job_type: work}, lease_s=1, grace_s=0.1):
        begun = await client.start(id)
        await taken.wait()
    assert cut.is_set()
    assert (await client.get(begun.id)).status is InstanceStatus.ACTIVE
    async with Worker(client, {job_type: nothing}):
        ended = await client.wait_for_end(begun.id, timeout_s=END_WITHIN_S)
    assert ended.status is InstanceStatus.COMPLETED


async def test_an_answer_after_the_lease_is_refused_and_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    id, job_type = await stored(client)
    begun = await client.start(id)
    first_run, released = asyncio.Event(), asyncio.Event()

    async def slow(_job: Job) -> Mapping[str, Any]:
        first_run.set()
        await released.wait()
        return {"by": "slow"}

    caplog.set_level(logging.WARNING, "windlass_client")
    async with Worker(client, {job_type: slow}, worker_id="slow", lease_s=1, concurrency=1):
        await first_run.wait()
        (job,) = await client.poll("quick", [job_type], lease_s=60, wait_s=END_WITHIN_S / 2)
        released.set()
        await eventually(lambda: "not completed" in caplog.text)
        await client.complete(job, {"by": "quick"})
    assert (await client.get(begun.id)).variables == {"by": "quick"}


async def test_a_worker_outlives_an_engine_that_is_away(address: str, client: Client) -> None:
    id, job_type = await stored(client)
    url = urlsplit(address)
    assert url.port is not None
    ports = Ports()
    proxy = Proxy(ports.take(), url.port)
    await proxy.open()
    async with Client(f"{url.scheme}://127.0.0.1:{proxy.port}") as far, Worker(far, {job_type: nothing}):
        first = await client.start(id)
        await client.wait_for_end(first.id, timeout_s=END_WITHIN_S)
        await proxy.cut("refuse")
        second = await client.start(id)
        await asyncio.sleep(0.3)
        assert not (await client.get(second.id)).is_final
        await proxy.mend()
        await client.wait_for_end(second.id, timeout_s=END_WITHIN_S)
    await proxy.close()
    ports.close()


async def test_a_worker_that_is_refused_ends_and_says_so(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(client, {"t": nothing}, worker_id="\x00")
    with pytest.raises(BadRequest, match=r"U\+0000"):
        await worker.run()
    caplog.clear()
    with pytest.raises(BadRequest, match=r"U\+0000"):
        async with Worker(client, {"\x00": nothing}):
            await eventually(lambda: "gets no jobs" in caplog.text)


async def test_a_worker_that_could_do_nothing_is_not_made(client: Client) -> None:
    with pytest.raises(ValueError, match="handlers is empty"):
        Worker(client, {})
    with pytest.raises(ValueError, match="at least 1"):
        Worker(client, {"t": nothing}, concurrency=0)
