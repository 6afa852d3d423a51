"""Every route of contract 1.1 over real sockets; behind the `wire.Service` seam stands a small in-memory one."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from caller import Caller, eventually, get, post
from hypothesis import given
from hypothesis import strategies as st

from windlass import errors, wire
from windlass.api import faults
from windlass.api.metrics import MetricsApp
from windlass.api.payload import variables_of
from windlass.api.rest import RestApp
from windlass.config import Settings
from windlass.metrics import Metrics
from windlass.observe import Log

NOW = "2026-01-02T03:04:05.6Z"
FAULTS: dict[str, Exception] = {
    "missing": errors.NotFound("it is not there"),
    "held": errors.Conflict("another worker holds it"),
    "wrong": errors.BadRequest("it is of another type"),
    "away": errors.Unavailable("the database is away"),
    "bug": errors.Defect("edge 7 of the plan; host=db password=hunter2"),
    "crash": ZeroDivisionError("division by zero"),
}


class Memory:
    """A `wire.Service` that keeps what it was asked; an id out of `FAULTS` raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.jobs: list[wire.JobView] = []
        self.ready = wire.Readiness(ready=True, reasons=())
        self.gate = asyncio.Event()
        self.held_polls = 0

    def _note(self, method: str, **arguments: Any) -> None:
        plain = {key: _plain(value) for key, value in arguments.items()}
        self.asked.append((method, plain))
        for value in plain.values():
            if isinstance(value, str) and value in FAULTS:
                raise FAULTS[value]

    async def upload_definition(self, document: bytes) -> wire.DefinitionSummary:
        self._note("upload", document=document)
        if document == b"bad":
            raise errors.InvalidDefinition(["steps: one", "steps: two"])
        return wire.DefinitionSummary("d", 3, "D", NOW)

    async def list_definitions(self, *, keyword: str, page: int, page_size: int) -> wire.DefinitionPage:
        self._note("definitions", keyword=keyword, page=page, page_size=page_size)
        return wire.DefinitionPage([wire.DefinitionSummary("d", 3, "D", NOW)], 1, page, page_size)

    async def get_definition(self, definition_id: str, version: int | None) -> bytes:
        self._note("definition", id=definition_id, version=version)
        return b'{"id":"d","version":3}'

    async def start_instance(
        self, *, definition_id: str, version: int | None, variables: wire.RawJson, business_key: str | None
    ) -> wire.InstanceView:
        self._note("start", id=definition_id, version=version, variables=variables, business_key=business_key)
        return _instance(variables=variables, business_key=business_key)

    async def get_instance(self, instance_id: str) -> wire.InstanceView:
        self._note("instance", id=instance_id)
        return _instance(status="FAILED", completed_at=NOW, failure_reason="because")

    async def list_instances(
        self,
        *,
        definition_id: str | None,
        status: str | None,
        business_key: str | None,
        page: int,
        page_size: int,
    ) -> wire.InstancePage:
        self._note(
            "instances",
            id=definition_id,
            status=status,
            business_key=business_key,
            page=page,
            page_size=page_size,
        )
        return wire.InstancePage([], 0, page, page_size)

    async def instance_history(self, instance_id: str) -> Sequence[wire.StepExecutionView]:
        self._note("history", id=instance_id)
        raw = msgspec.Raw(b'{"a":1}')
        row = wire.StepExecutionView(
            "e", instance_id, "s", "SERVICE_TASK", 2, "FAILED", NOW, None, "why", raw, None
        )
        return [row]

    async def cancel_instance(self, instance_id: str, *, reason: str) -> wire.InstanceView:
        self._note("cancel", id=instance_id, reason=reason)
        return _instance(status="CANCELLED", failure_reason=reason, completed_at=NOW)

    async def poll_jobs(
        self, *, worker_id: str, job_types: Sequence[str], max_jobs: int, lease_s: float, wait_s: float
    ) -> Sequence[wire.JobView]:
        self._note(
            "poll", worker=worker_id, types=list(job_types), max_jobs=max_jobs, lease_s=lease_s, wait_s=wait_s
        )
        if wait_s and not self.jobs:
            self.held_polls += 1
            try:
                async with asyncio.timeout(wait_s):
                    await self.gate.wait()
            except TimeoutError:
                return []
            finally:
                self.held_polls -= 1
        return self.jobs

    async def complete_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, variables: wire.RawJson
    ) -> None:
        self._note("complete", id=job_id, worker=worker_id, token=lease_token, variables=variables)

    async def fail_job(
        self, job_id: str, *, worker_id: str, lease_token: str | None, error_message: str, retryable: bool
    ) -> None:
        self._note(
            "fail", id=job_id, worker=worker_id, token=lease_token, message=error_message, retryable=retryable
        )

    async def complete_user_task(
        self, instance_id: str, step_id: str, *, worker_id: str | None, variables: wire.RawJson
    ) -> None:
        self._note("user_task", id=instance_id, step=step_id, worker=worker_id, variables=variables)

    async def signal_wait(self, instance_id: str, step_id: str, *, variables: wire.RawJson) -> None:
        self._note("signal", id=instance_id, step=step_id, variables=variables)

    async def readiness(self) -> wire.Readiness:
        return self.ready

    async def cluster_info(self) -> dict[str, object]:
        return {"nodes": [{"id": "n1", "alive": True, "self": True}]}

    def details(self) -> dict[str, object]:
        return {"lanes": {"count": 2}}


def _plain(value: Any) -> Any:
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value


def _instance(**changes: Any) -> wire.InstanceView:
    made: dict[str, Any] = {
        "id": "i",
        "definition_id": "d",
        "definition_version": 3,
        "status": "WAITING",
        "current_step_ids": ["s"],
        "variables": wire.EMPTY_OBJECT,
        "started_at": NOW,
    }
    return wire.InstanceView(**{**made, **changes})


class Door:
    def __init__(self, **settings: Any) -> None:
        self.service = Memory()
        self.stream = io.BytesIO()
        self.log = Log("info", self.stream)
        self.settings = replace(Settings(postgres_dsn="postgresql:///none", node_name="n1"), **settings)
        self.metrics = Metrics(self.settings.dispatch_mode)
        self.rest = RestApp(self.service, self.settings, self.metrics, self.log)
        self.caller: Caller

    async def call(self, method: str, path: str, body: Any = None, *headers: str) -> tuple[int, Any]:
        """Status and decoded body, which is None when there is none."""
        status, answered, content = await self.whole(method, path, body, *headers)
        if not content:
            return status, None
        assert content.endswith(b"\n")
        return status, json.loads(content) if "json" in answered["content-type"] else content.decode()

    async def whole(
        self, method: str, path: str, body: Any, *headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = post(path, data, *headers) if method == "POST" else get(path, *headers)
        return await self.caller.call(
            request.replace(b"GET", method.encode(), 1) if method != "POST" else request
        )

    @property
    def asked(self) -> tuple[str, dict[str, Any]]:
        return self.service.asked[-1]

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@contextlib.asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Door]:
    door = Door(**settings)
    await door.rest.start("127.0.0.1", 0)
    door.caller = await Caller.connect(door.rest.port)
    try:
        yield door
    finally:
        await door.rest.drain(0)
        await door.caller.close()


INSTANCE = {
    "id": "i",
    "definitionId": "d",
    "definitionVersion": 3,
    "status": "WAITING",
    "currentStepIds": ["s"],
    "variables": {},
    "startedAt": NOW,
}


async def test_definitions() -> None:
    async with opened() as door:
        summary = {"id": "d", "version": 3, "name": "D", "uploadedAt": NOW}
        assert await door.call("POST", "/v1/definitions", b'{"id": "d"}') == (201, summary)
        assert door.asked == ("upload", {"document": b'{"id": "d"}'})
        page = {"items": [summary], "total": 1, "page": 0, "pageSize": 20}
        assert await door.call("GET", "/v1/definitions") == (200, page)
        assert await door.call("GET", "/v1/definitions/d") == (200, {"id": "d", "version": 3})
        assert door.asked == ("definition", {"id": "d", "version": None})
        assert (await door.call("GET", "/v1/definitions/d/versions/2"))[0] == 200
        assert door.asked == ("definition", {"id": "d", "version": 2})
        for version in ("two", "1.0", "", "%20"):
            status, body = await door.call("GET", f"/v1/definitions/d/versions/{version}")
            assert status == (404 if not version else 400), body
        assert (await door.call("GET", "/v1/definitions/d/versions/0"))[0] == 404


async def test_all_violations_come_back_together() -> None:
    async with opened() as door:
        status, body = await door.call("POST", "/v1/definitions", b"bad")
        assert status == 400
        assert body == {
            "error": "bad-request",
            "reason": "validation error:\nsteps: one\nsteps: two",
            "message": "validation error:\nsteps: one\nsteps: two",
        }


@pytest.mark.parametrize("path", ["/v1/definitions", "/v1/definitions/other"])
@pytest.mark.parametrize("kind", ["application/xml", "text/xml; charset=utf-8", "Application/XML"])
async def test_xml_definitions_are_415_whatever_the_path_below(path: str, kind: str) -> None:
    async with opened() as door:
        status, body = await door.call("POST", path, b"<a/>", f"Content-Type: {kind}")
        assert (status, body["error"]) == (415, "unsupported-format")
        assert door.service.asked == []


@pytest.mark.parametrize("headers", [(), ("Content-Type: text/plain",), ("Content-Type: application/json",)])
async def test_any_other_content_type_is_read_as_json(headers: tuple[str, ...]) -> None:
    async with opened() as door:
        assert (await door.call("POST", "/v1/instances", {"definitionId": "d"}, *headers))[0] == 201


async def test_start() -> None:
    async with opened() as door:
        assert await door.call("POST", "/v1/instances", {"definitionId": "d"}) == (201, INSTANCE)
        assert door.asked == ("start", {"id": "d", "version": None, "variables": "{}", "business_key": None})
        asked = {
            "definitionId": "LOS::x",
            "definitionVersion": 7,
            "variables": {"a": [1, None]},
            "businessKey": "k",
            "unknown": {"x": 1},
        }
        status, body = await door.call("POST", "/v1/instances", asked)
        assert (status, body) == (201, INSTANCE | {"variables": {"a": [1, None]}, "businessKey": "k"})
        assert door.asked[1]["version"] == 7
        for nothing in (0, -3, None):
            await door.call("POST", "/v1/instances", {"definitionId": "d", "definitionVersion": nothing})
            assert door.asked[1]["version"] is None
        await door.call("POST", "/v1/instances", {"definitionId": "d", "variables": None, "businessKey": ""})
        assert door.asked[1] == {"id": "d", "version": None, "variables": "{}", "business_key": None}


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/v1/instances", b"", "invalid request body: it is empty"),
        ("/v1/instances", b"{", "invalid request body:"),
        ("/v1/instances", b"[]", "invalid request body: Expected `object`, got `array`"),
        ("/v1/instances", b'{"definitionId":"\xff"}', "invalid request body:"),
        ("/v1/instances", b"{}", "definitionId is required"),
        ("/v1/instances", b'{"definitionId":""}', "definitionId is required"),
        ("/v1/instances", b'{"DefinitionId":"d"}', "definitionId is required"),
        ("/v1/instances", b'{"definitionId":7}', "`$.definitionId`"),
        ("/v1/instances", b'{"definitionId":"d","definitionVersion":"1"}', "`$.definitionVersion`"),
        ("/v1/instances", b'{"definitionId":"d","definitionVersion":1.5}', "`$.definitionVersion`"),
        ("/v1/instances", b'{"definitionId":"d\\u0000"}', "definitionId holds the character U+0000"),
        ("/v1/instances", b'{"definitionId":"d","businessKey":"\\u0000"}', "businessKey holds"),
        ("/v1/jobs/poll", b"{}", "workerId is required"),
        ("/v1/jobs/poll", b'{"workerId":"w"}', "jobTypes must not be empty"),
        ("/v1/jobs/poll", b'{"workerId":"w","jobTypes":[]}', "jobTypes must not be empty"),
        ("/v1/jobs/poll", b'{"workerId":"w","jobTypes":"t"}', "`$.jobTypes`"),
        ("/v1/jobs/poll", b'{"workerId":"w","jobTypes":["t"],"maxJobs":"5"}', "`$.maxJobs`"),
        ("/v1/jobs/poll", b'{"workerId":"w","jobTypes":["t"],"waitMs":true}', "`$.waitMs`"),
        ("/v1/jobs/j/complete", b"", "invalid request body: it is empty"),
        ("/v1/jobs/j/complete", b'{"workerId":5}', "`$.workerId`"),
        ("/v1/jobs/j/complete", b'{"leaseToken":5}', "`$.leaseToken`"),
        ("/v1/jobs/j/fail", b'{"retryable":"yes"}', "`$.retryable`"),
        ("/v1/instances/i/cancel", b'{"reason":5}', "`$.reason`"),
        ("/v1/instances/i/signals/s", b"[1]", "signal must be a JSON object or null, got an array"),
        ("/v1/instances/i/signals/s", b"7", "signal must be a JSON object or null, got a number"),
        ("/v1/instances/i/user-tasks/s/complete", b'{"variables":"x"}', "got a string"),
        ("/v1/jobs/%FF/complete", b"{}", "not valid UTF-8"),
        ("/v1/jobs/a%00/complete", b"{}", "U+0000"),
    ],
)
async def test_bad_bodies_are_400_with_the_cause_and_reach_nobody(
    path: str, body: bytes, reason: str
) -> None:
    async with opened() as door:
        status, answer = await door.call("POST", path, body)
        assert (status, answer["error"], answer["message"]) == (400, "bad-request", answer["reason"])
        assert reason in answer["reason"]
        assert door.service.asked == []
        assert (await door.call("GET", "/healthz"))[0] == 200


UNSTORABLE = [
    (b"[]", "must be a JSON object or null, got an array"),
    (b"true", "got a boolean"),
    (b'{"a":"\\u0000"}', "U+0000"),
    (b'{"\\u0000a":1}', "U+0000"),
    (b'{"a":[{"b":"x\\u0000"}]}', "U+0000"),
    (b'{"a":"\\ud800"}', "lone surrogate"),
    (b'{"a":"\\udc00x"}', "lone surrogate"),
    (b'{"a":NaN}', "not valid JSON"),
    (b'{"a":Infinity}', "not valid JSON"),
    (b'{"a":1e999}', "outside the range"),
    (b'{"a":-1e999}', "outside the range"),
    (b'{"a":' + b"9" * 5000 + b"}", "outside the range"),
    (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "deeper than 100"),
    (b'{"a":' * 101 + b"1" + b"}" * 101, "deeper than 100"),
    (b'{"a":"\xff"}', "not valid UTF-8"),
]


@pytest.mark.parametrize(("raw", "reason"), UNSTORABLE)
@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("/v1/instances", b'{"definitionId":"d","variables":', b"}"),
        ("/v1/jobs/j/complete", b'{"workerId":"w","variables":', b"}"),
        ("/v1/instances/i/user-tasks/s/complete", b'{"result":', b"}"),
        ("/v1/instances/i/signals/s", b"", b""),
    ],
)
async def test_variables_nobody_could_store_are_refused_everywhere(
    path: str, before: bytes, after: bytes, raw: bytes, reason: str
) -> None:
    async with opened() as door:
        status, body = await door.call("POST", path, before + raw + after)
        assert (status, body["error"]) == (400, "bad-request")
        # The outer reader may stumble first over what is no JSON at all; it names the cause in its own words.
        assert reason in body["reason"] or (before and body["reason"].startswith("invalid request body: "))
        assert door.service.asked == []


def test_each_cause_is_named() -> None:
    for raw, reason in UNSTORABLE:
        with pytest.raises(errors.BadRequest) as caught:
            variables_of(raw)
        assert reason in caught.value.reason
        assert caught.value.reason.startswith("invalid request body: variables ")


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        (b"null", b"{}"),
        (b" null ", b"{}"),
        (b'{"a":3.0}', b'{"a":3}'),
        (b'{"a":[1e2,-5.0,-0.0]}', b'{"a":[100,-5,0]}'),
        (b'{"a":1E+3, "b":2.5}', b'{"a":1000,"b":2.5}'),
        (b'{"a":1e-20000}', b'{"a":0}'),
        (b'{"a":1e20}', b'{"a":100000000000000000000}'),
        (b'{"a":1e21}', b'{"a":1e21}'),
        (b'{ "spaces" : [ 1 , 2 ] }', b'{ "spaces" : [ 1 , 2 ] }'),
        (b'{"a":12345678901234567890123}', b'{"a":12345678901234567890123}'),
        (b'{"a":"\\\\u0000"}', b'{"a":"\\\\u0000"}'),
        (b'{"a":' + b"[" * 99 + b"]" * 99 + b"}", b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"),
        (b'{"a":"' + b"[{" * 300 + b'"}', b'{"a":"' + b"[{" * 300 + b'"}'),
        (b'{"a":"\\ud83d\\ude00"}', b'{"a":"\\ud83d\\ude00"}'),
    ],
)
def test_variables_pass_as_they_are_but_for_integral_doubles(raw: bytes, stored: bytes) -> None:
    assert bytes(variables_of(raw)) == stored


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.e1", max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text("xyz", max_size=4), JSON_VALUES, max_size=5), st.booleans())
def test_variables_keep_their_value_and_lose_their_integral_fractions(
    value: dict[str, Any], ascii_only: bool
) -> None:
    stored = json.loads(bytes(variables_of(json.dumps(value, ensure_ascii=ascii_only).encode())))
    assert stored == value

    def no_integral_double(part: Any) -> bool:
        if isinstance(part, float):
            return not part.is_integer() or abs(part) >= 1e21
        children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return all(no_integral_double(child) for child in children)

    assert no_integral_double(stored)


async def test_instances() -> None:
    async with opened() as door:
        status, body = await door.call("GET", "/v1/instances/i")
        ended = {"status": "FAILED", "completedAt": NOW, "failureReason": "because"}
        assert (status, body) == (200, INSTANCE | ended)
        status, body = await door.call("POST", "/v1/instances/i/cancel", {"reason": "enough"})
        assert (status, body) == (
            200,
            INSTANCE | {"status": "CANCELLED", "completedAt": NOW, "failureReason": "enough"},
        )
        assert (await door.call("POST", "/v1/instances/i/cancel"))[0] == 200
        assert door.asked == ("cancel", {"id": "i", "reason": ""})
        await door.call("POST", "/v1/instances/i/cancel", b'{"reason":"a\\u0000b"}')
        assert door.asked[1]["reason"] == "a�b"


async def test_history_spells_every_key_twice() -> None:
    async with opened() as door:
        status, body = await door.call("GET", "/v1/instances/i/history")
        assert status == 200
        camel = {
            "id": "e",
            "instanceId": "i",
            "stepId": "s",
            "stepType": "SERVICE_TASK",
            "attemptNumber": 2,
            "status": "FAILED",
            "startedAt": NOW,
            "endedAt": None,
            "failureReason": "why",
            "inputSnapshot": {"a": 1},
            "outputSnapshot": None,
        }
        pascal = {
            "ID": "e",
            "InstanceID": "i",
            "StepID": "s",
            "StepType": "SERVICE_TASK",
            "AttemptNumber": 2,
            "Status": "FAILED",
            "StartedAt": NOW,
            "EndedAt": None,
            "FailureReason": "why",
            "InputSnapshot": {"a": 1},
            "OutputSnapshot": None,
        }
        assert body == {"items": [camel | pascal]}


@pytest.mark.parametrize(
    ("query", "page", "page_size"),
    [
        ("", 0, 20),
        ("?page=2&pageSize=50", 2, 50),
        ("?pageSize=201", 0, 200),
        ("?pageSize=0", 0, 20),
        ("?pageSize=-5&page=-1", 0, 20),
        ("?pageSize=many&page=first", 0, 20),
        ("?page=99999999999999999999&pageSize=1e3", 0, 20),
        ("?page=999999999999", 2**31 - 1, 20),
        ("?page=1&page=7", 1, 20),
    ],
)
async def test_pages_are_clamped(query: str, page: int, page_size: int) -> None:
    async with opened() as door:
        for path, items in (("/v1/definitions", 1), ("/v1/instances", 0)):
            status, body = await door.call("GET", path + query)
            assert (status, body["page"], body["pageSize"], len(body["items"])) == (
                200,
                page,
                page_size,
                items,
            )


async def test_filters_are_decoded() -> None:
    async with opened() as door:
        await door.call("GET", "/v1/definitions?keyword=50%25+off_%C3%A9")
        assert door.asked[1]["keyword"] == "50% off_é"
        await door.call("GET", "/v1/instances?definitionId=LOS%3A%3Ax&status=ACTIVE&businessKey=")
        assert door.asked[1] == {
            "id": "LOS::x",
            "status": "ACTIVE",
            "business_key": None,
            "page": 0,
            "page_size": 20,
        }
        for query in ("definitionId=%FF", "status=%00"):
            assert (await door.call("GET", f"/v1/instances?{query}"))[0] == 400


async def test_poll_defaults_and_clamps() -> None:
    async with opened(long_poll_s_max=0.05) as door:

        async def asked(**fields: Any) -> dict[str, Any]:
            answer = await door.call(
                "POST", "/v1/jobs/poll", {"workerId": "w", "jobTypes": ["a", "b"], **fields}
            )
            assert answer == (200, {"jobs": []})
            return door.asked[1]

        plain = {"worker": "w", "types": ["a", "b"], "max_jobs": 10, "lease_s": 30.0, "wait_s": 0.0}
        assert await asked() == plain
        assert await asked(maxJobs=0, leaseSeconds=0, waitMs=0) == plain
        assert await asked(maxJobs=-1, leaseSeconds=-1, waitMs=-1) == plain
        assert await asked(maxJobs=None, leaseSeconds=None, waitMs=None) == plain
        assert await asked(maxJobs=64, leaseSeconds=5, waitMs=20) == plain | {
            "max_jobs": 64,
            "lease_s": 5.0,
            "wait_s": 0.02,
        }
        assert await asked(maxJobs=10**30, leaseSeconds=10**9, waitMs=10**9) == plain | {
            "max_jobs": 1000,
            "lease_s": 3600.0,
            "wait_s": 0.05,
        }
        assert (await asked(leaseSeconds=0.5))["lease_s"] == 1.0


async def test_polled_jobs_carry_every_field() -> None:
    async with opened() as door:
        raw = msgspec.Raw(b'{"n":null}')
        door.service.jobs = [
            wire.JobView("j", "i", "s", "e", "t", "LOCKED", "w", NOW, NOW, 2, raw, NOW, "token")
        ]
        status, body = await door.call("POST", "/v1/jobs/poll", {"workerId": "w", "jobTypes": ["t"]})
        job = {
            "id": "j",
            "instanceId": "i",
            "stepId": "s",
            "stepExecutionId": "e",
            "jobType": "t",
            "status": "LOCKED",
            "workerId": "w",
            "lockedAt": NOW,
            "lockExpiresAt": NOW,
            "retriesRemaining": 2,
            "variables": {"n": None},
            "createdAt": NOW,
            "leaseToken": "token",
        }
        assert (status, body) == (200, {"jobs": [job]})


async def test_a_long_poll_is_held_and_its_caller_may_leave() -> None:
    async with opened() as door:
        waiting = await Caller.connect(door.rest.port)
        body = json.dumps({"workerId": "w", "jobTypes": ["t"], "waitMs": 20000}).encode()
        await waiting.send(post("/v1/jobs/poll", body))
        await eventually(lambda: door.service.held_polls == 1)
        await waiting.close()
        await eventually(lambda: door.service.held_polls == 0)
        held = await Caller.connect(door.rest.port)
        await held.send(post("/v1/jobs/poll", body))
        await eventually(lambda: door.service.held_polls == 1)
        door.service.gate.set()
        assert (await held.answer())[0] == 200
        await held.close()
        assert door.lines() == []


async def test_polling_is_gone_while_jobs_travel_by_broker() -> None:
    async with opened(dispatch_mode="kafka_outbox") as door:
        status, body = await door.call("POST", "/v1/jobs/poll", b"not even json")
        assert status == 410
        assert (body["error"], body["dispatch_mode"]) == ("poll path disabled", "kafka_outbox")
        assert "workflow.jobs.<jobType>" in body["hint"]
        assert set(body) == {"error", "dispatch_mode", "hint", "message"}
        assert (await door.call("POST", "/v1/jobs/j/complete", {"workerId": "w"}))[0] == 204


async def test_complete_and_fail() -> None:
    async with opened() as door:
        full = {"workerId": "w", "leaseToken": "7", "variables": {"r": 1.0}}
        assert await door.call("POST", "/v1/jobs/j/complete", full) == (204, None)
        assert door.asked == ("complete", {"id": "j", "worker": "w", "token": "7", "variables": '{"r":1}'})
        assert await door.call("POST", "/v1/jobs/j/complete", {"variables": None}) == (204, None)
        assert door.asked == ("complete", {"id": "j", "worker": "", "token": None, "variables": "{}"})
        full = {"workerId": "w", "leaseToken": "7", "errorMessage": "no", "retryable": True}
        assert await door.call("POST", "/v1/jobs/j/fail", full) == (204, None)
        asked = {"id": "j", "worker": "w", "token": "7", "message": "no", "retryable": True}
        assert door.asked == ("fail", asked)
        await door.call("POST", "/v1/jobs/j/fail", {"workerId": "w"})
        assert door.asked[1] == {"id": "j", "worker": "w", "token": None, "message": "", "retryable": False}
        await door.call("POST", "/v1/jobs/j/fail", b'{"errorMessage":"\\u0000","leaseToken":""}')
        assert (door.asked[1]["message"], door.asked[1]["token"]) == ("�", None)


async def test_user_tasks_and_signals_take_either_spelling_or_no_body() -> None:
    async with opened() as door:

        async def user_task(body: Any) -> tuple[str | None, str]:
            assert await door.call("POST", "/v1/instances/i/user-tasks/s/complete", body) == (204, None)
            assert (door.asked[1]["id"], door.asked[1]["step"]) == ("i", "s")
            return door.asked[1]["worker"], door.asked[1]["variables"]

        assert await user_task(None) == (None, "{}")
        assert await user_task({"workerId": "w", "variables": {"a": 1}}) == ("w", '{"a": 1}')
        assert await user_task({"completedBy": "c", "result": {"b": 2}}) == ("c", '{"b": 2}')
        both = {"workerId": "w", "completedBy": "c", "variables": {"a": 1}, "result": {"b": 2}}
        assert await user_task(both) == ("w", '{"a": 1}')
        assert await user_task({"variables": None, "result": {"b": 2}}) == (None, '{"b": 2}')
        for body, variables in ((None, "{}"), (b"{}", "{}"), (b"null", "{}"), ({"a": 1}, '{"a": 1}')):
            assert await door.call("POST", "/v1/instances/i/signals/s", body) == (204, None)
            assert door.asked == ("signal", {"id": "i", "step": "s", "variables": variables})
        chunked = b"POST /v1/instances/i/signals/s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await door.caller.call(chunked + b'7\r\n{"b":2}\r\n0\r\n\r\n'))[0] == 204
        assert door.asked[1]["variables"] == '{"b":2}'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/definitions/{}"),
        ("GET", "/v1/definitions/{}/versions/1"),
        ("GET", "/v1/instances/{}"),
        ("GET", "/v1/instances/{}/history"),
        ("POST", "/v1/instances/{}/cancel"),
        ("POST", "/v1/jobs/{}/complete"),
        ("POST", "/v1/jobs/{}/fail"),
        ("POST", "/v1/instances/{}/user-tasks/s/complete"),
        ("POST", "/v1/instances/{}/signals/s"),
    ],
)
@pytest.mark.parametrize(
    ("written", "read"),
    [("LOS%3A%3Ax", "LOS::x"), ("LOS::x", "LOS::x"), ("a%2Fb%20c", "a/b c"), ("%C3%A9", "é")],
)
async def test_ids_are_decoded_on_every_route(method: str, path: str, written: str, read: str) -> None:
    async with opened() as door:
        status, _ = await door.call(method, path.format(written), {} if method == "POST" else None)
        assert status in {200, 204}
        assert door.asked[1]["id"] == read


@pytest.mark.parametrize(
    ("id", "status", "code", "reason"),
    [
        ("missing", 404, "not-found", "it is not there"),
        ("held", 409, "conflict", "another worker holds it"),
        ("wrong", 400, "bad-request", "it is of another type"),
        ("away", 503, "unavailable", "the database is away"),
        ("bug", 500, "internal-error", faults.INTERNAL_REASON),
        ("crash", 500, "internal-error", faults.INTERNAL_REASON),
    ],
)
async def test_each_error_has_its_status_and_three_words(
    id: str, status: int, code: str, reason: str
) -> None:
    calls = [
        ("POST", "/v1/instances", {"definitionId": id}),
        ("GET", f"/v1/instances/{id}", None),
        ("POST", f"/v1/jobs/{id}/complete", {"workerId": "w"}),
        ("POST", f"/v1/jobs/{id}/fail", {"workerId": "w"}),
        ("POST", f"/v1/instances/i/signals/{id}", None),
        ("POST", "/v1/jobs/poll", {"workerId": id, "jobTypes": ["t"]}),
    ]
    async with opened() as door:
        for method, path, body in calls:
            answer = await door.call(method, path, body)
            assert answer == (status, {"error": code, "reason": reason, "message": reason})
        lines = door.lines()
        assert "hunter2" not in json.dumps(lines)
        requests = [line for line in lines if line["msg"] == "rest request"]
        assert [line["level"] for line in requests] == ["ERROR" if status >= 500 else "WARN"] * len(calls)
        told = [line for line in lines if line["msg"] == "rest: handler broke"]
        assert len(told) == (len(calls) if status == 500 else 0)
        for line in told:
            assert ("edge 7" if id == "bug" else "ZeroDivisionError: division by zero") in line["err"]


def test_every_error_class_has_a_status() -> None:
    classes = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EngineError)
    ]
    assert len(classes) > 10
    for kind in classes:
        assert kind in faults.STATUSES, kind
    assert faults.status_of(type("New", (errors.Conflict,), {})("x")) == (409, "FAILED_PRECONDITION")


async def test_unknown_paths_and_wrong_verbs() -> None:
    async with opened() as door:
        for path in (
            "/",
            "/v1",
            "/v1/jobs",
            "/v1/instances/",
            "/v1/jobs//complete",
            "/v2/x",
            "/healthz/",
            "/metrics",
        ):
            assert await door.call("GET", path) == (404, "404 page not found\n"), path
        status, headers, body = await door.whole("GET", "/nope", None)
        assert headers["content-type"].startswith("text/plain")
        for method, path, allow in (
            ("GET", "/v1/jobs/poll", "post"),
            ("DELETE", "/v1/definitions", "post, get, head"),
            ("PUT", "/v1/instances/i", "get, head"),
            ("OPTIONS", "/v1/instances", "get, head, post"),
            ("POST", "/healthz", "get, head"),
        ):
            status, headers, body = await door.whole(method, path, None)
            assert (status, body, headers["allow"]) == (405, b"", allow), path
        assert door.service.asked == []


async def test_any_origin_may_call() -> None:
    async with opened() as door:
        status, headers, body = await door.whole(
            "OPTIONS", "/v1/jobs/poll", None, "Origin: http://ui", "Access-Control-Request-Method: POST"
        )
        assert (status, body) == (200, b"")
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-allow-methods"] == "get, post, options"
        assert headers["access-control-allow-headers"] == "accept, authorization, content-type"
        assert headers["access-control-max-age"] == "300"
        assert "access-control-allow-credentials" not in headers
        assert door.lines() == []
        for path in ("/healthz", "/nope", "/v1/instances/missing"):
            assert (await door.whole("GET", path, None))[1]["access-control-allow-origin"] == "*"


async def test_too_large_and_malformed_calls_get_the_same_three_words() -> None:
    async with opened(body_bytes_max=1024) as door:
        status, body = await door.call("POST", "/v1/instances", b"x" * 1025)
        assert (status, body["error"], body["message"]) == (413, "too-large", body["reason"])
        assert "larger than 1024 bytes" in body["reason"]
        door.caller = await Caller.connect(door.rest.port)
        status, _, content = await door.caller.call(b"?\r\n\r\n")
        assert (status, json.loads(content)["error"]) == (400, "bad-request")
        await door.caller.close()


async def test_the_access_log_has_every_call_but_polls_that_went_well() -> None:
    async with opened() as door:
        await door.call("POST", "/v1/jobs/poll", {"workerId": "w", "jobTypes": ["t"]})
        await door.call("POST", "/v1/jobs/poll", {})
        await door.call("POST", "/v1/jobs/j%20j/complete", {"workerId": "w"}, "Traceparent: 00-1-2-01")
        await door.call("GET", "/v1/instances/missing")
        await door.call("GET", "/nope/x")
        await door.call("GET", "/healthz")
        lines = door.lines()
        assert [(line["level"], line["method"], line["path"], line["status"]) for line in lines] == [
            ("WARN", "POST", "/v1/jobs/poll", 400),
            ("INFO", "POST", "/v1/jobs/{id}/complete", 204),
            ("WARN", "GET", "/v1/instances/{id}", 404),
            ("WARN", "GET", "unmatched", 404),
            ("INFO", "GET", "/healthz", 200),
        ]
        assert [line.get("traceparent") for line in lines] == [None, "00-1-2-01", None, None, None]
        for line in lines:
            assert line["msg"] == "rest request"
            assert 0 < line["duration"] < 5_000_000_000
            assert line["remote"].startswith("127.0.0.1:")
        assert lines[0]["bytes"] > 50


@pytest.mark.parametrize(
    ("headers", "remote"),
    [
        (("True-Client-IP: 1.1.1.1", "X-Real-IP: 2.2.2.2", "X-Forwarded-For: 3.3.3.3"), "1.1.1.1"),
        (("X-Forwarded-For: 3.3.3.3, 4.4.4.4", "X-Real-IP: 2.2.2.2"), "2.2.2.2"),
        (("X-Forwarded-For: 3.3.3.3, 4.4.4.4",), "3.3.3.3"),
        (("X-Forwarded-For: " + "x" * 500,), "x" * 64),
    ],
)
async def test_the_logged_address_is_the_first_named(headers: tuple[str, ...], remote: str) -> None:
    async with opened() as door:
        await door.call("GET", "/healthz", None, *headers)
        assert door.lines()[0]["remote"] == remote


async def test_calls_are_counted_by_pattern_never_by_id() -> None:
    async with opened() as door:
        for n in range(3):
            await door.call("POST", f"/v1/jobs/j{n}/complete", {"workerId": "w"})
            await door.call("GET", f"/random/{n}")
        await door.call("POST", "/v1/jobs/poll", {"workerId": "w", "jobTypes": ["t"]})
        count = door.metrics.registry.get_sample_value
        name = "http_requests_duration_seconds_count"
        assert count(name, {"method": "POST", "path": "/v1/jobs/{id}/complete", "status": "204"}) == 3
        assert count(name, {"method": "POST", "path": "/v1/jobs/poll", "status": "200"}) == 1
        assert count(name, {"method": "GET", "path": "unmatched", "status": "404"}) == 3
        assert b"/v1/jobs/j0" not in door.metrics.exposition()


async def test_health_pages() -> None:
    async with opened() as door:
        status, headers, body = await door.whole("GET", "/healthz", None)
        assert (status, body, "content-type" in headers) == (200, b"", False)
        status, body = await door.call("GET", "/health")
        assert (status, body["status"], body["nodeName"]) == (200, "alive", "n1")
        for path in ("/ready", "/readyz"):
            assert await door.call("GET", path) == (200, {"ready": True, "reasons": []})
        door.service.ready = wire.Readiness(ready=False, reasons=("migrations pending",))
        assert await door.call("GET", "/ready") == (503, {"ready": False, "reasons": ["migrations pending"]})
        status, body = await door.call("GET", "/health/detailed")
        assert (status, body["status"], body["reasons"]) == (200, "not-ready", ["migrations pending"])
        assert (body["lanes"], body["dispatchMode"], body["connections"]) == ({"count": 2}, "polling", 1)
        assert await door.call("GET", "/cluster/info") == (
            200,
            {"nodes": [{"id": "n1", "alive": True, "self": True}]},
        )
        assert (await door.call("GET", "/healthz"))[0] == 200


async def test_a_leaving_node_is_not_ready_and_holds_no_poll() -> None:
    async with opened() as door:
        busy = await Caller.connect(door.rest.port)
        body = json.dumps({"workerId": "w", "jobTypes": ["t"], "waitMs": 20000}).encode()
        await busy.send(post("/v1/jobs/poll", body))
        await eventually(lambda: door.service.held_polls == 1)
        draining = asyncio.ensure_future(door.rest.drain(10))
        await eventually(lambda: door.rest.draining)
        status, reply = await door.call("GET", "/ready")
        assert (status, reply) == (503, {"ready": False, "reasons": ["draining: the node is leaving"]})
        door.service.gate.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        await draining
        await busy.close()


async def test_calls_that_outlive_the_grace_are_told_to_the_log() -> None:
    async with opened() as door:
        body = json.dumps({"workerId": "w", "jobTypes": ["t"], "waitMs": 20000}).encode()
        await door.caller.send(post("/v1/jobs/poll", body))
        await eventually(lambda: door.service.held_polls == 1)
        await door.rest.drain(0.02)
        assert [(line["level"], line["connections"]) for line in door.lines()] == [("WARN", 1)]
        await eventually(lambda: door.service.held_polls == 0)


async def test_a_scheduler_answers_health_only() -> None:
    door = Door()
    door.rest = RestApp(door.service, door.settings, door.metrics, door.log, serves_api=False)
    await door.rest.start("127.0.0.1", 0)
    door.caller = await Caller.connect(door.rest.port)
    assert (await door.call("GET", "/ready"))[0] == 200
    status, body = await door.call("POST", "/v1/instances", {"definitionId": "d"})
    assert (status, body["error"]) == (503, "unavailable")
    assert door.service.asked == []
    await door.rest.drain(0)
    await door.caller.close()


async def test_the_metrics_port_serves_metrics_and_nothing_else() -> None:
    metrics = Metrics("polling")
    app = MetricsApp(metrics, Settings(postgres_dsn="x"), Log("info", io.BytesIO()))
    await app.start("127.0.0.1", 0)
    caller = await Caller.connect(app.port)
    metrics.instances_completed("failed").inc()
    for path in ("/metrics", "/", "/metrics?x=1"):
        status, headers, body = await caller.call(get(path))
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b'workflow_instances_completed_total{outcome="failed"} 1.0\n' in body
    assert (await caller.call(get("/v1/instances")))[0] == 404
    assert (await caller.call(post("/metrics", b"")))[0] == 405
    await app.drain(0)
    await caller.close()


async def test_a_port_in_use_refuses_the_boot() -> None:
    async with opened() as door:
        other = Door()
        with pytest.raises(errors.BootRefused, match=rf"127\.0\.0\.1:{door.rest.port}.*WE_REST_PORT"):
            await other.rest.start("127.0.0.1", door.rest.port)
