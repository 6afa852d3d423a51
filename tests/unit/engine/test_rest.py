"""Every route of contract 1.1 over real sockets: what reaches the engine, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from caller import Caller, post
from door import INSTANCE, NOW, opened

from patience import eventually
from windlass import wire


async def test_definitions() -> None:
    async with opened() as door:
        summary = {"id": "d", "version": 3, "name": "D", "uploadedAt": NOW}
        assert await door.call("POST", "/v1/definitions", b'{"id": "d"}') == (201, summary)
        assert door.asked() == ("upload", {"document": b'{"id": "d"}'})
        page = {"items": [summary], "total": 1, "page": 0, "pageSize": 20}
        assert await door.call("GET", "/v1/definitions") == (200, page)
        assert await door.call("GET", "/v1/definitions/d") == (200, {"id": "d", "version": 3})
        assert door.asked() == ("definition", {"id": "d", "version": None})
        assert (await door.call("GET", "/v1/definitions/d/versions/2"))[0] == 200
        assert door.asked() == ("definition", {"id": "d", "version": 2})
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
        assert door.asked() == (
            "start",
            {"id": "d", "version": None, "variables": "{}", "business_key": None},
        )
        asked = {
            "definitionId": "LOS::x",
            "definitionVersion": 7,
            "variables": {"a": [1, None]},
            "businessKey": "k",
            "unknown": {"x": 1},
        }
        status, body = await door.call("POST", "/v1/instances", asked)
        assert (status, body) == (201, INSTANCE | {"variables": {"a": [1, None]}, "businessKey": "k"})
        assert door.asked()[1]["version"] == 7
        for nothing in (0, -3, None):
            await door.call("POST", "/v1/instances", {"definitionId": "d", "definitionVersion": nothing})
            assert door.asked()[1]["version"] is None
        await door.call("POST", "/v1/instances", {"definitionId": "d", "variables": None, "businessKey": ""})
        assert door.asked()[1] == {"id": "d", "version": None, "variables": "{}", "business_key": None}


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
        ("/v1/instances", b'{"definitionId":"d\\u0000"}', "definitionId contains the character U+0000"),
        ("/v1/instances", b'{"definitionId":"d","businessKey":"\\u0000"}', "businessKey contains"),
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
        ("/v1/instances/i/user-tasks/s/complete", b'{"variables":{},"result":5}', "result must be"),
        ("/v1/instances/i/user-tasks/s/complete", b'{"workerId":"w","completedBy":"\\u0000"}', "completedBy"),
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
        assert door.asked() == ("cancel", {"id": "i", "reason": ""})
        await door.call("POST", "/v1/instances/i/cancel", b'{"reason":"a\\u0000b"}')
        assert door.asked()[1]["reason"] == "a�b"


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
        assert door.asked()[1]["keyword"] == "50% off_é"
        await door.call("GET", "/v1/instances?definitionId=LOS%3A%3Ax&status=ACTIVE&businessKey=")
        assert door.asked()[1] == {
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
            return door.asked()[1]

        plain: dict[str, Any] = {
            "worker": "w",
            "types": ["a", "b"],
            "max_jobs": 10,
            "lease_s": 30.0,
            "wait_s": 0.0,
        }
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
        full: dict[str, Any] = {"workerId": "w", "leaseToken": "7", "variables": {"r": 1.0}}
        assert await door.call("POST", "/v1/jobs/j/complete", full) == (204, None)
        assert door.asked() == ("complete", {"id": "j", "worker": "w", "token": "7", "variables": '{"r": 1}'})
        assert await door.call("POST", "/v1/jobs/j/complete", {"variables": None}) == (204, None)
        assert door.asked() == ("complete", {"id": "j", "worker": "", "token": None, "variables": "{}"})
        full = {"workerId": "w", "leaseToken": "7", "errorMessage": "no", "retryable": True}
        assert await door.call("POST", "/v1/jobs/j/fail", full) == (204, None)
        asked = {"id": "j", "worker": "w", "token": "7", "message": "no", "retryable": True}
        assert door.asked() == ("fail", asked)
        await door.call("POST", "/v1/jobs/j/fail", {"workerId": "w"})
        assert door.asked()[1] == {"id": "j", "worker": "w", "token": None, "message": "", "retryable": False}
        await door.call("POST", "/v1/jobs/j/fail", b'{"errorMessage":"\\u0000","leaseToken":""}')
        assert (door.asked()[1]["message"], door.asked()[1]["token"]) == ("�", None)


async def test_user_tasks_and_signals_take_either_spelling_or_no_body() -> None:
    async with opened() as door:

        async def user_task(body: Any) -> tuple[str | None, str]:
            assert await door.call("POST", "/v1/instances/i/user-tasks/s/complete", body) == (204, None)
            assert (door.asked()[1]["id"], door.asked()[1]["step"]) == ("i", "s")
            return door.asked()[1]["worker"], door.asked()[1]["variables"]

        assert await user_task(None) == (None, "{}")
        assert await user_task({"workerId": "w", "variables": {"a": 1}}) == ("w", '{"a": 1}')
        assert await user_task({"completedBy": "c", "result": {"b": 2}}) == ("c", '{"b": 2}')
        both = {"workerId": "w", "completedBy": "c", "variables": {"a": 1}, "result": {"b": 2}}
        assert await user_task(both) == ("w", '{"a": 1}')
        assert await user_task({"variables": None, "result": {"b": 2}}) == (None, '{"b": 2}')
        for body, variables in ((None, "{}"), (b"{}", "{}"), (b"null", "{}"), ({"a": 1}, '{"a": 1}')):
            assert await door.call("POST", "/v1/instances/i/signals/s", body) == (204, None)
            assert door.asked() == ("signal", {"id": "i", "step": "s", "variables": variables})
        chunked = b"POST /v1/instances/i/signals/s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await door.caller.call(chunked + b'7\r\n{"b":2}\r\n0\r\n\r\n'))[0] == 204
        assert door.asked()[1]["variables"] == '{"b":2}'


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
        assert door.asked()[1]["id"] == read


REGISTRATION = {
    "id": "w-1",
    "jobTypes": ["a", "b", "a"],
    "version": "1.4",
    "capacity": 20,
    "heartbeatSeconds": 2.5,
}


async def test_workers_register_and_are_listed() -> None:
    async with opened() as door:
        known = {
            **REGISTRATION,
            "jobTypes": ["a", "b"],
            "state": "ALIVE",
            "registeredAt": NOW,
            "lastSeenAt": NOW,
        }
        assert await door.call("POST", "/v1/workers", REGISTRATION) == (201, known)
        asked = {"id": "w-1", "job_types": ["a", "b"], "version": "1.4", "capacity": 20, "heartbeat_s": 2.5}
        assert door.asked() == ("register", asked)
        assert await door.call("POST", "/v1/workers", REGISTRATION) == (200, known)
        await door.call(
            "POST",
            "/v1/workers",
            {"id": "w-2", "jobTypes": ["a"], "version": None, "capacity": 4.0, "unknown": 1},
        )
        asked = {"id": "w-2", "job_types": ["a"], "version": "", "capacity": 4, "heartbeat_s": 15.0}
        assert door.asked() == ("register", asked)
        status, page = await door.call("GET", "/v1/workers?page=0&pageSize=7")
        assert (status, page["items"][0], page["total"], page["pageSize"]) == (200, known, 2, 7)
        assert await door.call("POST", "/v1/workers/w%2F1/heartbeat") == (204, None)
        assert door.asked() == ("worker_is_alive", {"id": "w/1"})
        assert await door.call("DELETE", "/v1/workers/w-1") == (204, None)
        assert door.asked() == ("unregister", {"id": "w-1"})
        assert (await door.call("DELETE", "/v1/workers/missing"))[0] == 404
        assert (await door.call("POST", "/v1/workers/missing/heartbeat"))[0] == 404


@pytest.mark.parametrize(
    ("change", "gist"),
    [
        ({"id": ""}, "id is required"),
        ({"id": None}, "id is required"),
        ({"id": "x" * 256}, "id has 256 characters, at most 255; shorten it"),
        ({"id": "a\x00"}, "id contains the character U+0000"),
        ({"jobTypes": None}, "jobTypes must not be empty"),
        ({"jobTypes": []}, "jobTypes must not be empty"),
        ({"jobTypes": ["a", ""]}, "jobTypes must not contain an empty text"),
        ({"jobTypes": ["t" * 256]}, "a text of jobTypes has 256 characters"),
        ({"jobTypes": [str(n) for n in range(201)]}, "a worker may name 200 job types, got 201"),
        ({"jobTypes": "a"}, "Expected `array"),
        ({"version": "v" * 256}, "version has 256 characters"),
        ({"capacity": 0}, "capacity must be a whole number from 1 to 100000, got 0"),
        ({"capacity": 100_001}, "capacity must be a whole number from 1 to 100000, got 100001"),
        ({"capacity": "9"}, "Expected `int"),
        ({"capacity": 1.5}, "capacity must be a whole number from 1 to 100000, got 1.5"),
        ({"heartbeatSeconds": 0.5}, "heartbeatSeconds must be 1 to 3600, got 0.5"),
        ({"heartbeatSeconds": 10**400}, "heartbeatSeconds must be 1 to 3600, got one far beyond"),
        ({"capacity": -(10**19)}, "capacity must be a whole number from 1 to 100000, got one far beyond"),
    ],
)
async def test_what_a_worker_may_not_say(change: dict[str, Any], gist: str) -> None:
    async with opened() as door:
        status, body = await door.call("POST", "/v1/workers", {**REGISTRATION, **change})
        assert (status, body["error"]) == (400, "bad-request")
        assert gist in body["reason"]
        assert len(body["reason"]) < 300
        assert door.service.asked == []
