"""Every status that the document gives an operation is reached, and the answer is as the document says."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from engine_client import Answer, EngineClient
from jsonschema import Draft202012Validator, FormatChecker
from raw_call import raw_call
from situations import BODY_BYTES_MAX, METRICS_TOKEN, Situations
from workflow import END, document, service, user_task, wait

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("openapi")]

ROOT = Path(__file__).parents[3]
DOCUMENT = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
OPERATIONS: Mapping[str, tuple[str, str, Any]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
ROWS = [
    (name, int(status)) for name, (_, _, operation) in OPERATIONS.items() for status in operation["responses"]
]
HEAD_BYTES_MAX = 32 * 1024


class Call(NamedTuple):
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}


#: A call of each operation whose form is right; what it speaks of is not there.
FORMS: Mapping[str, Call] = {
    "uploadDefinition": Call("/v1/definitions", json.dumps(document("status", END)).encode()),
    "listDefinitions": Call("/v1/definitions?page=0&pageSize=20&keyword=x"),
    "getDefinition": Call("/v1/definitions/nowhere"),
    "getDefinitionVersion": Call("/v1/definitions/nowhere/versions/1"),
    "startInstance": Call("/v1/instances", b'{"definitionId": "nowhere"}'),
    "listInstances": Call("/v1/instances?status=ACTIVE&page=0&pageSize=20"),
    "getInstance": Call("/v1/instances/nowhere"),
    "getInstanceHistory": Call("/v1/instances/nowhere/history"),
    "cancelInstance": Call("/v1/instances/nowhere/cancel", b'{"reason": "enough"}'),
    "pollJobs": Call("/v1/jobs/poll", b'{"workerId": "w", "jobTypes": ["nothing"]}'),
    "completeJob": Call("/v1/jobs/nowhere/complete", b'{"workerId": "w"}'),
    "failJob": Call("/v1/jobs/nowhere/fail", b'{"workerId": "w"}'),
    "completeUserTask": Call("/v1/instances/nowhere/user-tasks/u/complete", b"{}"),
    "signalWait": Call("/v1/instances/nowhere/signals/w", b"{}"),
    "registerWorker": Call("/v1/workers", b'{"id": "w", "jobTypes": ["nothing"]}'),
    "listWorkers": Call("/v1/workers?page=0&pageSize=20"),
    "heartbeatWorker": Call("/v1/workers/nowhere/heartbeat", b""),
    "unregisterWorker": Call("/v1/workers/nowhere"),
    "getLiveness": Call("/healthz"),
    "getHealth": Call("/health"),
    "getReadiness": Call("/ready"),
    "getReadinessForProbes": Call("/readyz"),
    "getHealthDetails": Call("/health/detailed"),
    "getClusterInfo": Call("/cluster/info"),
    "getApiHealth": Call("/api/health"),
    "getApiReadiness": Call("/api/ready"),
    "getApiClusterInfo": Call("/api/cluster/info"),
    "getOpenapi": Call("/openapi.json"),
}

# -- what must be there for a success or a refusal of an operation's own

Reach = Callable[[EngineClient], Awaitable[Call]]


async def _stored(engine: EngineClient) -> Call:
    workflow = await engine.define(END)
    return Call(f"/v1/definitions/{workflow.id}")


async def _stored_version(engine: EngineClient) -> Call:
    return Call(f"{(await _stored(engine)).path}/versions/1")


async def _startable(engine: EngineClient) -> Call:
    workflow = await engine.define(wait("w"), END)
    return Call("/v1/instances", json.dumps({"definitionId": workflow.id, "businessKey": "k"}).encode())


def _of_instance(tail: str, *, ended: bool = False) -> Reach:
    async def reach(engine: EngineClient) -> Call:
        workflow = await engine.define(user_task("u", "w"), wait("w"), END)
        instance = await workflow.start()
        if tail.startswith("/signals"):
            assert (await engine.user_task(instance, "u")).status == 204
        if ended:
            await engine.cancel(instance)
        return Call(f"/v1/instances/{instance['id']}{tail}")

    return reach


def _of_job(tail: str, worker: str = "w") -> Reach:
    async def reach(engine: EngineClient) -> Call:
        workflow = await engine.define(service("a"), END)
        await workflow.start()
        job = await workflow.lease_one("a", leaseSeconds=60)
        return Call(f"/v1/jobs/{job['id']}{tail}", json.dumps({"workerId": worker}).encode())

    return reach


async def _waiting_job(engine: EngineClient) -> Call:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    body = {"workerId": "w", "jobTypes": [workflow.job_type("a")], "leaseSeconds": 60}
    return Call("/v1/jobs/poll", json.dumps(body).encode())


def _of_worker(tail: str) -> Reach:
    async def reach(engine: EngineClient) -> Call:
        call = _registration()
        assert (await engine.post(call.path, json.loads(call.body or b""))).status == 201
        return call if not tail else Call(f"/v1/workers/{json.loads(call.body or b'')['id']}{tail}")

    return reach


def _registration() -> Call:
    body = {"id": secrets.token_hex(6), "jobTypes": ["nothing"]}
    return Call("/v1/workers", json.dumps(body).encode())


def _as(call: Call) -> Reach:
    async def reach(_engine: EngineClient) -> Call:
        return call

    return reach


_FOREIGN_BYTE = "%FF"
_NOT_JSON = b"{"

ON_A_HEALTHY_NODE: Mapping[tuple[str, int], Reach] = {
    ("uploadDefinition", 400): _as(Call("/v1/definitions", b'{"id": "x", "steps": []}')),
    ("uploadDefinition", 415): _as(Call("/v1/definitions", b"<x/>", {"Content-Type": "text/xml"})),
    ("listDefinitions", 400): _as(Call("/v1/definitions?keyword=%00")),
    ("getDefinition", 200): _stored,
    ("getDefinition", 400): _as(Call(f"/v1/definitions/{_FOREIGN_BYTE}")),
    ("getDefinitionVersion", 200): _stored_version,
    ("getDefinitionVersion", 400): _as(Call("/v1/definitions/x/versions/latest")),
    ("startInstance", 201): _startable,
    ("startInstance", 400): _as(Call("/v1/instances", b"{}")),
    ("listInstances", 400): _as(Call("/v1/instances?businessKey=%00")),
    ("getInstance", 200): _of_instance(""),
    ("getInstance", 400): _as(Call(f"/v1/instances/{_FOREIGN_BYTE}")),
    ("getInstanceHistory", 200): _of_instance("/history"),
    ("getInstanceHistory", 400): _as(Call(f"/v1/instances/{_FOREIGN_BYTE}/history")),
    ("cancelInstance", 200): _of_instance("/cancel"),
    ("cancelInstance", 400): _as(Call("/v1/instances/x/cancel", _NOT_JSON)),
    ("cancelInstance", 409): _of_instance("/cancel", ended=True),
    ("pollJobs", 200): _waiting_job,
    ("pollJobs", 400): _as(Call("/v1/jobs/poll", b'{"workerId": "w", "jobTypes": []}')),
    ("completeJob", 204): _of_job("/complete"),
    ("completeJob", 400): _as(Call("/v1/jobs/x/complete", _NOT_JSON)),
    ("completeJob", 409): _of_job("/complete", "another"),
    ("failJob", 204): _of_job("/fail"),
    ("failJob", 400): _as(Call("/v1/jobs/x/fail", b'{"retryable": "yes"}')),
    ("completeUserTask", 204): _of_instance("/user-tasks/u/complete"),
    ("completeUserTask", 400): _of_instance("/user-tasks/w/complete"),
    ("completeUserTask", 409): _of_instance("/user-tasks/u/complete", ended=True),
    ("signalWait", 204): _of_instance("/signals/w"),
    ("signalWait", 400): _of_instance("/signals/u"),
    ("signalWait", 409): _of_instance("/signals/nowhere"),
    ("registerWorker", 201): _as(_registration()),
    ("registerWorker", 200): _of_worker(""),
    ("registerWorker", 400): _as(Call("/v1/workers", b'{"id": "w", "jobTypes": []}')),
    ("listWorkers", 400): _as(Call("/v1/workers?page=%FF")),
    ("heartbeatWorker", 204): _of_worker("/heartbeat"),
    ("heartbeatWorker", 400): _as(Call(f"/v1/workers/{_FOREIGN_BYTE}/heartbeat")),
    ("unregisterWorker", 204): _of_worker("?"),
    ("unregisterWorker", 400): _as(Call(f"/v1/workers/{_FOREIGN_BYTE}")),
}

READINESS = {"getReadiness", "getReadinessForProbes", "getApiReadiness"}


async def _ask(engine: EngineClient, name: str, call: Call) -> Answer:
    return await engine.call(OPERATIONS[name][0], call.path, call.body, call.headers)


async def _reach(situations: Situations, name: str, status: int) -> Answer:
    """The answer of the situation in which that status is to be had."""
    form = FORMS[name]
    method = OPERATIONS[name][0]
    if (name, status) in ON_A_HEALTHY_NODE:
        engine = await situations.well()
        return await _ask(engine, name, await ON_A_HEALTHY_NODE[name, status](engine))
    match status:
        case 200 | 201 | 204 | 404:
            return await _ask(await situations.well(), name, form)
        case 400:
            broken_head = f"{method} {form.path} HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n"
            return await raw_call((await situations.well()).rest_url, broken_head.encode())
        case 401:
            return await _ask(await situations.guarded(), name, form)
        case 403:
            foreign = form._replace(headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
            return await _ask(await situations.guarded(), name, foreign)
        case 410:
            return await _ask(await situations.by_broker(), name, form)
        case 413:
            large = form._replace(body=b" " * (BODY_BYTES_MAX + 1))
            return await _ask(await situations.well(), name, large)
        case 415:
            coded = form._replace(headers={"Content-Encoding": "gzip"})
            return await _ask(await situations.well(), name, coded)
        case 429:
            return await _ask(await situations.overloaded(), name, form)
        case 431:
            long = form._replace(headers={"X-Long": "x" * HEAD_BYTES_MAX})
            return await _ask(await situations.well(), name, long)
        case 500:
            return await _ask(await situations.broken(), name, form)
        case 503 if form.path.startswith("/v1/"):
            return await _ask(await situations.scheduler(), name, form)
        case 503 if name in READINESS:
            return await _ask(await situations.broken(), name, form)
        case 503:
            return await _ask(await situations.full(), name, form)
        case 504:
            return await _ask(await situations.stuck(), name, form)
    raise AssertionError(f"nobody has said how {name} comes to answer {status}")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        # A broker takes its time to come up.
        pytest.param(*row, marks=pytest.mark.slow) if row[1] == 410 else row
        for row in ROWS
        if row[1] != 408
    ],
    ids=str,
)
async def test_a_documented_status_is_given(situations: Situations, name: str, status: int) -> None:
    _conforms(await _reach(situations, name, status), name, status)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def half_sent(situations: Situations) -> Mapping[str, Answer]:
    """What each call is answered that stops in the middle; all at once, since each waits for the time to run out."""
    engine = await situations.hurried()

    async def half(name: str) -> Answer:
        method, form = OPERATIONS[name][0], FORMS[name]
        head = f"{method} {form.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{"
        return await raw_call(engine.rest_url, head.encode())

    answers = await asyncio.gather(*(half(name) for name in OPERATIONS))
    return dict(zip(OPERATIONS, answers, strict=True))


@pytest.mark.parametrize("name", [name for name, status in ROWS if status == 408])
async def test_a_call_that_does_not_arrive_is_given_up(half_sent: Mapping[str, Answer], name: str) -> None:
    _conforms(half_sent[name], name, 408)


def _conforms(answer: Answer, name: str, status: int) -> None:
    assert answer.status == status, answer
    response = OPERATIONS[name][2]["responses"][str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if "content" not in response:
        assert answer.body == b""
        return
    schema = response["content"][answer.headers["Content-Type"]]["schema"]
    validator = Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=FormatChecker()
    )
    validator.validate(answer.json)
    for header in response.get("headers", ()):
        assert header in answer.headers or name in READINESS, answer


async def test_every_row_is_a_test() -> None:
    assert set(FORMS) == set(OPERATIONS)
    assert set(ON_A_HEALTHY_NODE) <= set(ROWS)
    assert len(ROWS) > 150


# -- beside the document's operations


@pytest.mark.parametrize("path", DOCUMENT["paths"])
async def test_a_verb_without_an_operation_is_405_and_says_which_have_one(
    situations: Situations, path: str
) -> None:
    engine = await situations.well()
    there = {method.upper() for method in DOCUMENT["paths"][path]}
    there |= {"HEAD"} if "GET" in there else set()
    concrete = path.replace("{version}", "1").replace("{", "").replace("}", "")
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - there:
        answer = await engine.call(method, concrete)
        assert (answer.status, answer.body) == (405, b""), method
        assert set(answer.headers["Allow"].split(", ")) == there


@pytest.mark.parametrize("name", [name for name, (method, _, _) in OPERATIONS.items() if method == "GET"])
async def test_head_is_answered_as_get_without_the_body(situations: Situations, name: str) -> None:
    engine = await situations.well()
    reach = ON_A_HEALTHY_NODE.get((name, 200))
    call = await reach(engine) if reach else FORMS[name]
    got, headed = await engine.call("GET", call.path), await engine.call("HEAD", call.path)
    assert (headed.status, headed.body) == (200, b"")
    assert headed.headers.get("Content-Type") == got.headers.get("Content-Type")
    if name != "getHealthDetails":  # it counts seconds
        assert headed.headers["Content-Length"] == str(len(got.body))


@pytest.mark.parametrize("path", DOCUMENT["paths"])
async def test_a_preflight_is_answered_on_every_path(situations: Situations, path: str) -> None:
    engine = await situations.well()
    concrete = path.replace("{", "").replace("}", "")
    answer = await engine.call("OPTIONS", concrete, headers={"Access-Control-Request-Method": "POST"})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
