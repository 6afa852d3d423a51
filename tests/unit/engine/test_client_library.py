"""The client against both doors with a service behind them that fails on demand: which error each becomes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from door import Memory
from door import opened as rest_opened
from grpc_door import opened as grpc_opened

from windlass import errors as engine_errors
from windlass import states
from windlass.api import faults, protobuf
from windlass.api.gen import workflow_pb2 as engine_pb
from windlass.definition.model import StepType
from windlass_client import (
    Client,
    Conflict,
    EngineFault,
    Job,
    NotFound,
    Overdue,
    Overloaded,
    PollDisabled,
    TooLarge,
    Unavailable,
    WindlassError,
    Worker,
    message,
    model,
)
from windlass_client import grpc as grpc_transport
from windlass_client.backoff import FIRST_S, JITTER, Backoff
from windlass_client.errors import BY_GRPC_STATUS, BY_HTTP_STATUS

JOB = Job("j", "i", "s", "e", "t", 0, {}, datetime(2026, 1, 1, tzinfo=UTC), "1", "w")


@contextlib.asynccontextmanager
async def client_of(transport: str, **settings: Any) -> AsyncIterator[Client]:
    async with contextlib.AsyncExitStack() as stack:
        if transport == "rest":
            rest = await stack.enter_async_context(rest_opened(**settings))
            address = f"http://127.0.0.1:{rest.rest.port}"
        else:
            grpc = await stack.enter_async_context(grpc_opened(**settings))
            address = f"grpc://127.0.0.1:{grpc.app.port}"
        yield await stack.enter_async_context(Client(address, retry_for_s=0))


both = pytest.mark.parametrize("transport", ["rest", "grpc"])


@both
@pytest.mark.parametrize(
    ("id", "kind", "reason"),
    [
        ("missing", NotFound, "it is not there"),
        ("held", Conflict, "another worker holds it"),
        ("away", Unavailable, "the database is away"),
        ("bug", EngineFault, faults.INTERNAL_REASON),
        ("crash", EngineFault, faults.INTERNAL_REASON),
    ],
)
async def test_each_error_has_its_class(
    transport: str, id: str, kind: type[WindlassError], reason: str
) -> None:
    async with client_of(transport) as client:
        for call in (client.get(id), client.history(id), client.start(id), client.signal(id, "s")):
            with pytest.raises(kind) as error:
                await call
            assert (type(error.value), error.value.reason) == (kind, reason)


@both
async def test_a_poll_where_jobs_travel_by_broker(transport: str) -> None:
    async with client_of(transport, dispatch_mode="kafka_outbox") as client:
        with pytest.raises(PollDisabled, match="kafka_outbox") as error:
            await client.poll("w", ["t"])
        assert error.value.code == "poll path disabled"
        await client.complete(JOB)


@both
async def test_a_call_that_the_engine_gives_up(transport: str) -> None:
    async with client_of(transport, request_timeout_s=0.3) as client:
        with pytest.raises(Overdue) as error:
            await client.poll("w", ["t"], wait_s=10)
        assert error.value.code == "overdue"
        assert error.value.reason


@both
async def test_a_body_past_the_cap(transport: str) -> None:
    async with client_of(transport, body_bytes_max=2048) as client:
        with pytest.raises(TooLarge):
            await client.start("d", {"x": "y" * 4096})


@both
@pytest.mark.parametrize("failure", ["away", "bug", "missing"])
async def test_a_worker_tries_again_whatever_a_poll_ends_in(
    transport: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing(_job: Job) -> None: ...

    async with client_of(transport) as client, Worker(client, {"t": nothing}, worker_id=failure):
        async with asyncio.timeout(20):
            while caplog.text.count("a poll failed, trying again") < 3:
                await asyncio.sleep(0.02)


def test_every_error_of_the_engine_becomes_one_of_the_client_with_the_same_code() -> None:
    for kind, (http, grpc) in faults.STATUSES.items():
        if http == 500 or kind is engine_errors.UnsupportedFormat:
            continue  # a fault is whatever has no class of its own; the client always says JSON
        over_rest = BY_HTTP_STATUS[http]
        assert over_rest.code == kind.code
        # Overloaded is told from a message that is too large by its trailer.
        if kind not in {engine_errors.PollDisabled, engine_errors.Overloaded}:
            assert BY_GRPC_STATUS[grpc] is over_rest
    assert BY_HTTP_STATUS[faults.OVERDUE[0]] is BY_GRPC_STATUS[faults.OVERDUE[1]] is Overdue
    assert set(faults.EARLY_CODES) <= set(BY_HTTP_STATUS)


@both
async def test_what_is_refused_for_load_is_sent_again_after_the_time_that_it_tells(transport: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        memory: Memory
        if transport == "rest":
            rest = await stack.enter_async_context(rest_opened())
            memory, address = rest.service, f"http://127.0.0.1:{rest.rest.port}"
        else:
            grpc = await stack.enter_async_context(grpc_opened())
            memory, address = grpc.service, f"grpc://127.0.0.1:{grpc.app.port}"
        once = await stack.enter_async_context(Client(address, retry_for_s=0))
        patient = await stack.enter_async_context(Client(address, retry_for_s=30))

        memory.wait_s = 7
        for call in (once.start("d"), once.signal("i", "s"), once.complete_user_task("i", "s")):
            with pytest.raises(Overloaded) as error:
                await call
            assert (error.value.code, error.value.retry_after_s) == ("overloaded", 7)
        await once.complete(JOB)
        await once.fail(JOB, "no")
        assert {name for name, _ in memory.asked} == {"complete", "fail"}

        memory.wait_s = 1
        asyncio.get_running_loop().call_later(0.5, setattr, memory, "wait_s", 0)
        began_s = time.monotonic()
        await asyncio.gather(
            patient.start("d"), patient.signal("i", "s"), patient.complete_user_task("i", "s")
        )
        assert time.monotonic() - began_s >= 1
        assert len(memory.asked) == 5


def test_the_client_knows_the_trailer_of_a_refusal_for_load() -> None:
    assert grpc_transport.PUSHBACK == faults.PUSHBACK


def test_the_client_knows_every_word_that_the_engine_answers() -> None:
    for mine, engines in (
        (model.InstanceStatus, states.InstanceStatus),
        (model.StepStatus, states.StepStatus),
        (model.StepType, StepType),
    ):
        assert [each.value for each in mine] == [each.value for each in engines]
    assert {each.value for each in model.FINAL_INSTANCE_STATUSES} == {
        each.value for each in states.FINAL_INSTANCE_STATUSES
    }


def test_the_engine_reads_a_definition_over_grpc_as_the_client_was_given_it() -> None:
    step = {
        "id": "a",
        "name": "A",
        "type": "SERVICE_TASK",
        "description": "the first",
        "nextStep": "b",
        "parallelNextSteps": ["b", "c"],
        "joinStep": "j",
        "conditionalNextSteps": {"x > 1": "b", "y": "c"},
        "transformations": {"all": {"n": 1, "none": None, "list": [True, "two", {}]}, "null": None},
        "jobType": "charge",
        "delegateClass": "Charge",
        "retryCount": 3,
        "boundaryEvents": [
            {"type": "TIMER", "duration": "PT5M", "interrupting": True, "targetStepId": "b"},
            {"type": "TIMER", "duration": "PT1H", "interrupting": False, "targetStepId": "c"},
        ],
    }
    definition = {
        "id": "d",
        "name": "D",
        "description": "all there is",
        "autoStartNextWorkflow": True,
        "nextWorkflowId": "e",
        "metadata": {"owner": {"team": "billing", "since": 2020.5}},
        "steps": [step, *({**step, "id": id, "type": each.value} for id, each in enumerate_types())],
    }
    sent = message.definition_message(definition).SerializeToString()
    read = protobuf.document_of(engine_pb.WorkflowDefinition.FromString(sent))
    assert json.loads(read) == definition


def enumerate_types() -> Iterator[tuple[str, StepType]]:
    return ((f"step-{number}", each) for number, each in enumerate(StepType))


def test_pauses_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(longest_s=1.0)
    wanted_s = [FIRST_S, 0.2, 0.4, 0.8, 1.0, 1.0]
    for each_s in wanted_s:
        assert each_s * (1 - JITTER) <= backoff.pause_s() <= each_s * (1 + JITTER)
    backoff.reset()
    assert backoff.pause_s() <= FIRST_S * (1 + JITTER)
