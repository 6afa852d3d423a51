"""Rows of the Limits table in engine/README.md that are about fields: at each limit, and one beyond it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from google.protobuf.json_format import ParseDict
from grpc_client import GrpcClient, dialled, struct
from workflow import END, Json, Workflow, document, fork, join, service, step, timer, user_task

from windlass.api import bounds, payload, protobuf
from windlass.api.gen import workflow_pb2 as pb
from windlass.definition import document as documents
from windlass.definition import validation
from windlass.dispatch.polling import CLAIM_JOBS_MAX

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTED = bounds.PAGE_SIZE_MAX + 1
AT_ONCE = 20


@pytest_asyncio.fixture(loop_scope="session")
async def dial(on_trial: EngineOnTrial) -> AsyncIterator[GrpcClient]:
    async with dialled(on_trial) as client:
        yield client


async def defined(engine: EngineClient, *steps: Json, id: str) -> str:
    """Empty when it was stored, else the reason why not."""
    answer = await engine.post("/v1/definitions", document(id, *steps))
    return "" if answer.status == 201 else answer.refused(400, answer.json["error"])


async def uploaded(dial: GrpcClient, *steps: Json, id: str) -> str:
    """The same over gRPC: the status of a refusal."""
    text = re.sub(
        r'"type": "(\w+)"',
        lambda found: f'"type": "{"BOUNDARY_EVENT" if found[1] == "TIMER" else "STEP"}_TYPE_{found[1]}"',
        json.dumps(document(id, *steps)),
    )
    definition = ParseDict(json.loads(text), pb.WorkflowDefinition())
    try:
        await dial.call("UploadDefinition", definition=definition)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return ""


async def started(workflow: Workflow, variables: str) -> int:
    body = b'{"definitionId":"%b","variables":%b}' % (workflow.id.encode(), variables.encode())
    return (await workflow.engine.call("POST", "/v1/instances", body)).status


# -- polls and lists


@pytest.mark.limit("`maxJobs` of a poll")
async def test_jobs_of_a_poll(engine: EngineClient, dial: GrpcClient) -> None:
    asked, told = bounds.JOBS_MAX, CLAIM_JOBS_MAX
    names = [f"b{number}" for number in range(600)]
    branches = [service(name, "j", jobType="many") for name in names]
    workflow = await engine.define(fork("f", names, "j"), *branches, join("j"), END)
    for _ in range(3):
        await workflow.start()
    assert len(await workflow.lease("many", jobs_max=told - 1)) == told - 1
    assert len(await workflow.lease("many", jobs_max=asked)) == told
    assert len(await workflow.lease("many", jobs_max=asked + 1)) == told
    poll = {"worker_id": "w", "job_types": [workflow.job_type("many")]}
    assert len((await dial.call("PollJobs", **poll, max_jobs=asked)).jobs) == told
    assert len((await dial.call("PollJobs", **poll, max_jobs=5_000)).jobs) == told


@pytest.mark.limit("job types of a poll")
async def test_types_of_a_poll(engine: EngineClient, dial: GrpcClient) -> None:
    types = [f"nobody-s-{number}" for number in range(bounds.JOB_TYPES_MAX)]
    assert await engine.poll(types) == []
    more = {"workerId": "w", "jobTypes": [*types, "one-more"]}
    (await engine.post("/v1/jobs/poll", more)).refused(400, "bad-request")
    await dial.call("PollJobs", worker_id="w", job_types=types)
    assert await dial.refusal("PollJobs", worker_id="w", job_types=more["jobTypes"]) == "INVALID_ARGUMENT"


@pytest.mark.limit("`leaseSeconds` of a poll")
async def test_seconds_of_a_lease(engine: EngineClient, dial: GrpcClient) -> None:
    workflow = await engine.define(service("a"), END)

    async def rest_lease_s(seconds: float) -> float:
        await workflow.start()
        job = await workflow.lease_one("a", leaseSeconds=seconds)
        ends, began = (dt.datetime.fromisoformat(job[name]) for name in ("lockExpiresAt", "lockedAt"))
        await engine.complete(job)
        return (ends - began).total_seconds()

    async def grpc_lease_s(seconds: int) -> float:
        await workflow.start()
        told = {"worker_id": "w", "job_types": [workflow.job_type("a")], "wait_ms": 10_000}
        (job,) = (await dial.call("PollJobs", **told, lease_seconds=seconds)).jobs
        await dial.call("CompleteJob", job_id=job.id, worker_id="w")
        return float((job.lock_expires_at.ToDatetime() - job.locked_at.ToDatetime()).total_seconds())

    least, most = bounds.LEASE_S_MIN, bounds.LEASE_S_MAX
    assert [await rest_lease_s(each) for each in (0.2, least, most, most + 1, 1e12)] == [
        pytest.approx(each, abs=0.01) for each in (least, least, most, most, most)
    ]
    assert [await grpc_lease_s(each) for each in (int(most), int(most) + 1, 2**31 - 1)] == [
        pytest.approx(most, abs=0.01)
    ] * 3


@pytest.mark.limit("`pageSize` of a list")
async def test_size_of_a_page(engine: EngineClient, dial: GrpcClient) -> None:
    most = bounds.PAGE_SIZE_MAX
    workflow = await engine.define(END)
    for _ in range(0, LISTED, AT_ONCE):
        await asyncio.gather(*(workflow.start() for _ in range(AT_ONCE)))

    async def listed(size: int) -> int:
        answer = await engine.get(f"/v1/instances?definitionId={workflow.id}&pageSize={size}")
        return len(answer.json["items"])

    assert [await listed(size) for size in (most - 1, most, most + 1, 10**9)] == [most - 1, most, most, most]
    for size in (most, most + 1):
        page = await dial.call("ListInstances", definition_id=workflow.id, page_size=size)
        assert len(page.instances) == most


# -- an instance


@pytest.mark.limit("business key")
async def test_a_business_key(engine: EngineClient, dial: GrpcClient) -> None:
    most = bounds.BUSINESS_KEY_BYTES_MAX
    workflow = await engine.define(END)
    await workflow.start(business_key="k" * most)
    await workflow.start(business_key="é" * (most // 2))
    told = {"definitionId": workflow.id, "businessKey": "k" * (most + 1)}
    (await engine.post("/v1/instances", told)).refused(400, "bad-request")
    await dial.call("StartInstance", definition_id=workflow.id, business_key="l" * most)
    long = {"definition_id": workflow.id, "business_key": "l" * (most + 1)}
    assert await dial.refusal("StartInstance", **long) == "INVALID_ARGUMENT"


def nested(depth: int) -> str:
    """Variables so deep, of which the outermost object is one."""
    return '{"x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.limit("variables: nested objects and arrays")
async def test_nesting_of_variables(engine: EngineClient) -> None:
    workflow = await engine.define(END)
    assert await started(workflow, nested(payload.NESTING_MAX)) == 201
    assert await started(workflow, nested(payload.NESTING_MAX + 1)) == 400


@pytest.mark.limit("the same, read over gRPC")
async def test_nesting_that_protobuf_reads(engine: EngineClient, dial: GrpcClient) -> None:
    workflow = await engine.define(END)

    async def id_of(depth: int) -> str:
        body = json.dumps({"definitionId": workflow.id, "variables": json.loads(nested(depth))}).encode()
        return str((await engine.call("POST", "/v1/instances", body)).json["id"])

    await dial.call("GetInstance", id=await id_of(protobuf.NESTING_MAX))
    deep = await id_of(protobuf.NESTING_MAX + 1)
    assert await dial.refusal("GetInstance", id=deep) == "FAILED_PRECONDITION"
    assert (await engine.get(f"/v1/instances/{deep}")).status == 200


@pytest.mark.limit("variables: members")
async def test_members_of_variables(engine: EngineClient, dial: GrpcClient) -> None:
    workflow = await engine.define(END)

    def members(count: int) -> dict[str, int]:
        return {f"v{number}": 0 for number in range(count)}

    assert await started(workflow, json.dumps(members(payload.VARIABLES_MAX))) == 201
    assert await started(workflow, json.dumps(members(payload.VARIABLES_MAX + 1))) == 400
    told = {"definition_id": workflow.id, "variables": struct(**members(payload.VARIABLES_MAX + 1))}
    assert await dial.refusal("StartInstance", **told) == "INVALID_ARGUMENT"


@pytest.mark.limit("variables: numbers")
async def test_range_of_numbers(engine: EngineClient, dial: GrpcClient) -> None:
    workflow = await engine.define(END)
    largest = "17976931348623157" + "0" * 292
    for number in (largest, f"-{largest}", "1.7976931348623157e308", "5e-324"):
        assert await started(workflow, f'{{"x":{number}}}') == 201
    for number in ("9" * 309, "1" + "0" * 309, "-" + "9" * 309, "1.8e308", "1e999"):
        assert await started(workflow, f'{{"x":{number}}}') == 400
        assert await started(workflow, f'{{"x":[{{"y":{number}}}]}}') == 400
    listed = await dial.call("ListInstances", definition_id=workflow.id)
    assert listed.total == 4
    await dial.call("StartInstance", definition_id=workflow.id, variables=struct(x=1.7976931348623157e308))
    for beyond in (float("inf"), float("-inf"), float("nan")):
        told = {"definition_id": workflow.id, "variables": struct(x=beyond)}
        assert await dial.refusal("StartInstance", **told) == "INVALID_ARGUMENT"


@pytest.mark.limit("variables: digits that exponents stand for")
async def test_digits_of_exponents(engine: EngineClient, dial: GrpcClient) -> None:
    workflow = await engine.define(END)
    most = payload.EXPONENT_DIGITS_MAX // 300
    for number in ("1e300", "-2.5e-300"):
        assert await started(workflow, f'{{"x":[{",".join([number] * most)}]}}') == 201
        assert await started(workflow, f'{{"x":[{",".join([number] * (most + 50))}]}}') == 400
    assert await started(workflow, f'{{"x":"{"1e300," * (most + 50)}"}}') == 201, "a text"
    told = {"definition_id": workflow.id, "variables": struct(x=[1e300] * (most + 50))}
    assert await dial.refusal("StartInstance", **told) == "INVALID_ARGUMENT"


@pytest.mark.limit("any text")
async def test_texts(engine: EngineClient, dial: GrpcClient) -> None:
    workflow = await engine.define(service("a"), END)
    assert await started(workflow, '{"x":"€\U0001f600"}') == 201
    for text in (r"\u0000", r"a\u0000b", r"\ud800", r"\udc00x"):
        assert await started(workflow, f'{{"x":"{text}"}}') == 400
        body = b'{"definitionId":"%b","businessKey":"%b"}' % (workflow.id.encode(), text.encode())
        (await engine.call("POST", "/v1/instances", body)).refused(400, "bad-request")
    (await engine.call("POST", "/v1/instances", b'{"definitionId":"\xff"}')).refused(400, "bad-request")
    told = {"definition_id": workflow.id, "business_key": "a\0b"}
    assert await dial.refusal("StartInstance", **told) == "INVALID_ARGUMENT"
    job = await workflow.lease_one("a")
    await engine.fail(job, errorMessage="a\0b", retryable=False)
    (failed,) = (await engine.get(f"/v1/instances?definitionId={workflow.id}&status=FAILED")).json["items"]
    assert "a\ufffdb" in failed["failureReason"]


# -- a definition


@pytest.mark.limit("definition: nesting")
async def test_nesting_of_a_definition(engine: EngineClient) -> None:
    def with_metadata(depth: int) -> bytes:
        told = json.dumps(document("d-deep", END))
        return (told[:-1] + ',"metadata":' + nested(depth) + "}").encode()

    most = documents.NESTING_MAX - 1
    assert (await engine.call("POST", "/v1/definitions", with_metadata(most))).status == 201
    answer = await engine.call("POST", "/v1/definitions", with_metadata(most + 1))
    assert "deeper than" in answer.refused(400, answer.json["error"])


@pytest.mark.limit("definition id")
async def test_an_id(engine: EngineClient, dial: GrpcClient) -> None:
    most = validation.ID_CHARS_MAX
    assert await defined(engine, END, id="aZ09_:-" + "d" * (most - 7)) == ""
    assert "too long" in await defined(engine, END, id="d" * (most + 1))
    assert await uploaded(dial, END, id="d" * most) == ""
    assert await uploaded(dial, END, id="d" * (most + 1)) == "INVALID_ARGUMENT"
    for id in ("a b", "a/b", "é", "a.b"):
        assert await defined(engine, END, id=id)


@pytest.mark.limit("job type")
async def test_a_job_type(engine: EngineClient, dial: GrpcClient) -> None:
    id, most = "d-type", validation.JOB_TYPE_BYTES_MAX
    fits, beyond = service("a", jobType="t" * (most - len("d-type."))), service("a", jobType="t" * most)
    assert await defined(engine, fits, END, id=id) == ""
    assert "at most" in await defined(engine, beyond, END, id=id)
    assert await uploaded(dial, fits, END, id=id) == ""
    assert await uploaded(dial, beyond, END, id=id) == "INVALID_ARGUMENT"


@pytest.mark.limit("retry count")
async def test_a_retry_count(engine: EngineClient) -> None:
    most = validation.RETRY_COUNT_MAX
    assert await defined(engine, service("a", retryCount=most), END, id="d-retries") == ""
    assert "retryCount" in await defined(engine, service("a", retryCount=most + 1), END, id="d-retries")


@pytest.mark.limit("duration of a timer")
async def test_a_duration(engine: EngineClient, dial: GrpcClient) -> None:
    def timed(text: str) -> Json:
        return user_task("a", boundaryEvents=[timer(text, "end", interrupting=True)])

    for text in ("PT0.000001S", "P36600D"):
        assert await defined(engine, timed(text), END, id="d-timer") == ""
        assert await uploaded(dial, timed(text), END, id="d-timer") == ""
    for text in ("PT0.0000001S", "PT0S", "P36601D"):
        assert await defined(engine, timed(text), END, id="d-timer")
        assert await uploaded(dial, timed(text), END, id="d-timer") == "INVALID_ARGUMENT"


@pytest.mark.limit("errors of a definition that are listed")
async def test_errors_of_a_definition(engine: EngineClient) -> None:
    most = validation.VIOLATIONS_SHOWN_MAX

    def wrong(count: int) -> list[Json]:
        return [*(step(f"s{number}", "WAIT", "nowhere") for number in range(count)), END]

    few = await defined(engine, *wrong(most // 4), id="d-errors")
    many = await defined(engine, *wrong(most + 500), id="d-errors")
    assert "and more" not in few
    assert f"and more; these are the first {most} violations" in many
