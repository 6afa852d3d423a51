"""Each call of the client over both transports: the same answers and the same errors."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from doors import Doors
from workflow import END, Json, document, service, step, user_task, wait

from windlass_client import (
    BadRequest,
    Client,
    Conflict,
    InstanceStatus,
    Job,
    NotFound,
    StepStatus,
    TooLarge,
    Unanswered,
    Uploaded,
    WindlassError,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("client")]

NESTED_TOO_DEEP_FOR_GRPC = 40


async def stored(client: Client, *steps: Json) -> Uploaded:
    return await client.upload(document(f"c-{secrets.token_hex(6)}", *steps))


async def one_job(client: Client, definition: Uploaded, name: str = "a", worker: str = "me") -> Job:
    (job,) = await client.poll(worker, [f"{definition.id}.{name}"], max_jobs=1, wait_s=10)
    return job


async def test_the_whole_way(client: Client) -> None:
    definition = await stored(client, service("a", "u"), user_task("u", "w"), wait("w"), END)
    assert definition.version == 1
    begun = await client.start(
        definition.id, {"who": "Ada", "n": 3, "deep": [{"x": None}]}, business_key="k-1"
    )
    assert (begun.definition_id, begun.definition_version, begun.business_key) == (definition.id, 1, "k-1")
    assert (begun.status, begun.is_final, begun.current_step_ids) == (InstanceStatus.ACTIVE, False, ("a",))
    assert begun.variables == {"who": "Ada", "n": 3, "deep": [{"x": None}]}
    assert begun.started_at.tzinfo is UTC
    assert (begun.completed_at, begun.failure_reason) == (None, None)

    job = await one_job(client, definition)
    assert (job.instance_id, job.step_id, job.worker_id) == (begun.id, "a", "me")
    assert (job.job_type, job.retries_remaining, job.lease_token) == (f"{definition.id}.a", 0, "1")
    assert job.variables == begun.variables
    assert timedelta(0) < job.lock_expires_at - begun.started_at < timedelta(minutes=1)
    await client.complete(job, {"said": "Hello"})
    await client.complete_user_task(begun.id, "u", {"approved": True}, completed_by="bob")
    await client.signal(begun.id, "w", {"amount": 1.5})

    ended = await client.wait_for_end(begun.id, timeout_s=20)
    assert (ended.status, ended.is_final) == (InstanceStatus.COMPLETED, True)
    assert ended.variables == {**begun.variables, "said": "Hello", "approved": True, "amount": 1.5}
    assert ended.completed_at is not None
    assert ended.completed_at >= ended.started_at

    history = await client.history(begun.id)
    assert [(each.step_id, each.step_type) for each in history] == [
        ("a", "SERVICE_TASK"), ("u", "USER_TASK"), ("w", "WAIT"), ("end", "END"),
    ]  # fmt: skip
    assert {each.status for each in history} == {StepStatus.COMPLETED}
    assert all(each.attempt_number == 1 and each.instance_id == begun.id for each in history)
    assert all(each.ended_at and each.ended_at >= each.started_at for each in history)


async def test_an_equal_definition_is_the_same_version(client: Client) -> None:
    first = await stored(client, END)
    again = await client.upload(document(first.id, END))
    assert again == first
    other = await client.upload(document(first.id, service("a"), END))
    assert (other.version, other.uploaded_at > first.uploaded_at) == (2, True)
    assert (await client.start(first.id)).definition_version == 2
    assert (await client.start(first.id, version=1)).status is InstanceStatus.COMPLETED


async def test_failures(client: Client) -> None:
    definition = await stored(client, service("a", retryCount=1), END)
    begun = await client.start(definition.id)
    first = await one_job(client, definition)
    await client.fail(first, "the mail server is away", retryable=True)
    second = await one_job(client, definition)
    assert (second.id, second.lease_token, second.retries_remaining) == (first.id, "2", 0)
    await client.fail(second, "no such address")
    ended = await client.wait_for_end(begun.id, timeout_s=20)
    assert (ended.status, ended.failure_reason) == (InstanceStatus.FAILED, "no such address")
    # Repeats, also under the older lease, are taken and change nothing.
    await client.fail(first, "again", retryable=True)
    await client.complete(second)
    assert await client.get(begun.id) == ended


async def test_a_cancelled_instance_says_why(client: Client) -> None:
    definition = await stored(client, wait("w"), END)
    begun = await client.start(definition.id)
    cancelled = await client.cancel(begun.id, "the customer withdrew")
    assert (cancelled.status, cancelled.failure_reason) == (InstanceStatus.CANCELLED, "the customer withdrew")
    with pytest.raises(Conflict):
        await client.cancel(begun.id)
    with pytest.raises(Conflict):
        await client.signal(begun.id, "w")


async def test_a_poll_waits_and_comes_back_with_nothing(client: Client) -> None:
    assert await client.poll("me", ["nobody's"], wait_s=0.2) == []


async def test_a_lease_that_another_has_by_now_is_refused(client: Client) -> None:
    definition = await stored(client, service("a"), END)
    begun = await client.start(definition.id)
    (first,) = await client.poll("slow", [f"{definition.id}.a"], lease_s=1, wait_s=10)
    second = await one_job(client, definition, worker="quick")
    with pytest.raises(Conflict, match="lease"):
        await client.complete(first, {"who": "slow"})
    await client.complete(second, {"who": "quick"})
    assert (await client.get(begun.id)).variables == {"who": "quick"}


async def test_what_is_refused_is_typed_and_named(client: Client) -> None:
    definition = await stored(client, wait("w"), END)
    refused: list[tuple[Any, type[WindlassError], str, str]] = [
        (client.start("nowhere"), NotFound, "not-found", "nowhere"),
        (client.start(definition.id, version=9), NotFound, "not-found", "version 9"),
        (client.get("nowhere"), NotFound, "not-found", "nowhere"),
        (client.history("no/where"), NotFound, "not-found", "no/where"),
        (client.cancel("nowhere"), NotFound, "not-found", "nowhere"),
        (client.start(""), BadRequest, "bad-request", "required"),
        (client.upload({"id": "x", "name": "x", "steps": []}), BadRequest, "bad-request", "steps"),
        (client.upload(document("x", step("a", "WAIT", "z"))), BadRequest, "bad-request", "unknown step"),
        (client.poll("", ["t"]), BadRequest, "bad-request", "required"),
        (client.start(definition.id, {"x": object()}), BadRequest, "bad-request", "not JSON"),
    ]
    for call, kind, code, words in refused:
        with pytest.raises(kind, match=words) as error:
            await call
        assert (error.value.code, error.value.reason) == (code, str(error.value))


async def test_a_wrong_step_type_is_refused(client: Client) -> None:
    definition = await stored(client, wait("w", "u"), user_task("u"), END)
    begun = await client.start(definition.id)
    with pytest.raises(BadRequest, match="USER_TASK"):
        await client.signal(begun.id, "u")
    with pytest.raises(NotFound):
        await client.complete_user_task(begun.id, "u")


async def test_a_body_past_the_cap_is_too_large(client: Client) -> None:
    definition = await stored(client, wait("w"), END)
    large = await client.start(definition.id, {"x": "y" * (1024 * 1024)})
    assert len(large.variables["x"]) == 1024 * 1024
    with pytest.raises((TooLarge, Unanswered)):
        # Over REST the engine may hang up while it is still being sent.
        await client.start(definition.id, {"x": "y" * (17 * 1024 * 1024)})


async def test_nesting_that_no_protobuf_can_carry_is_refused_before_it_is_sent(doors: Doors) -> None:
    deep: Any = {}
    for _ in range(NESTED_TOO_DEEP_FOR_GRPC):
        deep = {"deeper": deep}
    async with Client(doors.rest) as rest, Client(doors.grpc) as grpc:
        definition = await stored(rest, wait("w"), END)
        assert (await rest.start(definition.id, deep)).variables == deep
        with pytest.raises(BadRequest, match="use REST"):
            await grpc.start(definition.id, deep)
        with pytest.raises(BadRequest, match="use REST"):
            await grpc.upload({**document("deep", END), "metadata": deep})


async def test_waiting_for_an_end_gives_up_in_time(client: Client) -> None:
    definition = await stored(client, wait("w"), END)
    begun = await client.start(definition.id)
    with pytest.raises(TimeoutError):
        await client.wait_for_end(begun.id, timeout_s=0.3)


async def test_times_are_the_engines(client: Client) -> None:
    begun = await client.start((await stored(client, END)).id)
    assert begun.completed_at is not None
    assert abs(datetime.now(UTC) - begun.completed_at) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "address", ["localhost:8080", "ftp://x", "grpc://x", "grpc://x:1/path", "http://", "http://x:1?y", ""]
)
async def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match=r"write|use"):
        Client(address)
