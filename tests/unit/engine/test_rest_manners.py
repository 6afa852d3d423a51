"""Errors, access log, metrics, health and leaving: what all routes of the REST door share."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import socket

import msgspec
import pytest
from caller import Caller, get, post
from door import Door, opened
from grpc_door import job

from patience import eventually
from windlass import errors, wire
from windlass.api import faults
from windlass.api.metrics import MetricsApp
from windlass.api.rest import RestApp
from windlass.config import Settings
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Metrics


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
    """Its own where it differs from its parent's, so that none is written twice."""
    for kind, status in faults.STATUSES.items():
        parents = [parent for parent in kind.__mro__[1:] if parent in faults.STATUSES]
        assert not parents or faults.STATUSES[parents[0]] != status, kind
    classes = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EngineError) and kind is not errors.EngineError
    ]
    assert len(classes) > 9
    for kind in classes:
        inherited = kind.__mro__[1].__dict__.get("code", "")
        assert kind.__dict__.get("code") != inherited, f"{kind} repeats its parent's code"
    assert faults.status_of(errors.InvalidDefinition(["x"])) == (400, "INVALID_ARGUMENT")
    assert faults.status_of(errors.BootRefused("x")) == (500, "INTERNAL")
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
        other = await Caller.connect(door.rest.port)
        status, _, content = await other.call(b"?\r\n\r\n")
        assert (status, json.loads(content)["error"]) == (400, "bad-request")
        await other.close()


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
        assert await door.call("GET", "/api/cluster/info") == await door.call("GET", "/cluster/info")
        assert (await door.call("GET", "/healthz"))[0] == 200


async def test_health_in_the_words_of_small_clusters() -> None:
    async with opened() as door:
        assert await door.call("GET", "/api/health") == (200, {"status": "serving"})
        assert await door.call("GET", "/api/ready") == (200, {"status": "ready"})
        door.service.ready = wire.Readiness(ready=True, reasons=(), degraded=("the broker is away",))
        told = {"status": "ready", "degraded": ["the broker is away"]}
        assert await door.call("GET", "/api/ready") == (200, told)
        door.service.ready = wire.Readiness(ready=False, reasons=("migrations pending",))
        told = {"status": "not-ready", "reasons": ["migrations pending"]}
        assert await door.call("GET", "/api/ready") == (503, told)
        assert await door.call("GET", "/api/health") == (200, {"status": "serving"})


async def test_a_leaving_node_is_not_ready_and_holds_no_poll() -> None:
    async with opened() as door:
        busy, late = await Caller.connect(door.rest.port), await Caller.connect(door.rest.port)
        body = json.dumps({"workerId": "w", "jobTypes": ["t"], "waitMs": 20000}).encode()
        await busy.send(post("/v1/jobs/poll", body))
        await eventually(lambda: door.service.held_polls == 1)
        draining = asyncio.ensure_future(door.rest.drain(10))
        await eventually(lambda: door.rest.draining)
        status, reply = await door.call("GET", "/ready")
        assert (status, reply) == (503, {"ready": False, "reasons": ["draining: the node is shutting down"]})
        assert (await late.call(post("/v1/jobs/poll", body)))[0] == 200
        assert door.asked()[1]["wait_s"] == 0.0
        door.service.gate.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        await draining
        await busy.close()
        await late.close()


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
    door.rest = RestApp(door.service, door.settings, door.metrics, door.log, door.memory, serves_api=False)
    await door.rest.start("127.0.0.1", 0)
    door.caller = await Caller.connect(door.rest.port)
    for path in ("/ready", "/api/ready", "/api/health", "/api/cluster/info"):
        assert (await door.call("GET", path))[0] == 200
    status, body = await door.call("POST", "/v1/instances", {"definitionId": "d"})
    assert (status, body["error"]) == (503, "unavailable")
    assert door.service.asked == []
    await door.rest.drain(0)
    await door.caller.close()


async def queue_length(job_type: str) -> int:
    if job_type == "away":
        raise errors.Unavailable("the database is away; try again")
    return len(job_type)


async def test_the_metrics_port_serves_metrics_and_nothing_else() -> None:
    metrics = Metrics("polling")
    app = MetricsApp(metrics, Settings(postgres_dsn="x"), Log("info", io.BytesIO()), queue_length)
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


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        ("/metrics/pay", 200, {"queue_length": 3}),
        ("/metrics/a%20b%2Fc?x=1", 200, {"queue_length": 5}),
        ("/metrics/%C3%A9", 200, {"queue_length": 1}),
        ("/metrics/away", 503, {"error": "unavailable", "reason": "the database is away; try again"}),
        ("/metrics/%FF", 400, {"error": "bad-request"}),
    ],
)
async def test_the_metrics_port_tells_how_long_a_queue_is(
    path: str, status: int, answer: dict[str, object]
) -> None:
    app = MetricsApp(Metrics("polling"), Settings(postgres_dsn="x"), Log("info", io.BytesIO()), queue_length)
    await app.start("127.0.0.1", 0)
    caller = await Caller.connect(app.port)
    found, headers, body = await caller.call(get(path))
    assert (found, headers["content-type"]) == (status, "application/json")
    assert answer.items() <= json.loads(body).items()
    assert (await caller.call(post(path, b"")))[0] == 405
    assert (await caller.call(get("/metrics/")))[0] == 404
    await app.drain(0)
    await caller.close()


async def test_a_port_in_use_refuses_the_boot() -> None:
    async with opened() as door:
        other = Door()
        with pytest.raises(errors.BootRefused, match=rf"127\.0\.0\.1:{door.rest.port}.*WE_REST_PORT"):
            await other.rest.start("127.0.0.1", door.rest.port)


# -- an answer that nobody takes

POLL = json.dumps({"workerId": "w", "jobTypes": ["t"], "waitMs": 10_000}).encode()
POLL_CALL = b"POST /v1/jobs/poll HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(POLL), POLL)
GIVEN_BACK = ("give_back", {"leases": [("j", "5")]})


async def poll_parked(door: Door) -> socket.socket:
    """The connection of a caller whose poll waits."""
    caller = socket.create_connection(("127.0.0.1", door.rest.port))
    caller.sendall(POLL_CALL)
    await eventually(lambda: door.service.held_polls == 1)
    return caller


async def test_jobs_for_a_caller_that_has_just_gone_are_given_back() -> None:
    """Its end has arrived, and the loop learns of it only after it has served the poll."""
    async with opened() as door:
        caller = await poll_parked(door)
        door.service.jobs = [job()]
        door.service.gate.set()
        caller.close()
        await eventually(lambda: GIVEN_BACK in door.service.asked)
        assert [line["status"] for line in door.lines() if line["msg"] == "rest request"] in ([], [499])


async def test_jobs_of_an_answer_that_was_sent_in_part_are_given_back() -> None:
    async with opened() as door:
        caller = await poll_parked(door)
        door.service.jobs = [job(variables=msgspec.Raw(b'{"a":"%b"}' % (b"x" * 30_000_000)))]
        door.service.gate.set()
        await asyncio.to_thread(caller.recv, 1)
        assert GIVEN_BACK not in door.service.asked
        caller.close()
        await eventually(lambda: GIVEN_BACK in door.service.asked)


async def test_jobs_of_an_answer_that_was_read_are_kept() -> None:
    async with opened() as door:
        caller = await poll_parked(door)
        door.service.jobs = [job()]
        door.service.gate.set()
        assert b'"leaseToken":"5"' in await asyncio.to_thread(caller.recv, 65536)
        caller.close()
        await door.rest.drain(1.0)
        assert GIVEN_BACK not in door.service.asked
