"""Contract 1.2, 1.3 and 1.8: how the door says no, and what stands around every answer."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from engine_client import EngineClient
from engine_on_trial import rows
from engine_process import RunWindlass
from workflow import END, service, wait

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


# -- paths and verbs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/ghosts", "/v1/instances/", "/v1/instances/x/y", "/v1/jobs", "/v2/instances", "/metrics",
     "/v1/user-tasks/x/complete", "/V1/instances", "/v1/definitions/x/versions"],
)  # fmt: skip
async def test_an_unknown_path_is_plain_text(engine: EngineClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await engine.call(method, path)
        assert answer.status == 404
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.body.strip() == b"404 page not found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/definitions"),
        ("PUT", "/v1/definitions/x"),
        ("POST", "/v1/definitions/x"),
        ("DELETE", "/v1/instances/x"),
        ("GET", "/v1/instances/x/cancel"),
        ("GET", "/v1/jobs/poll"),
        ("PUT", "/v1/jobs/x/complete"),
        ("GET", "/v1/instances/x/signals/y"),
        ("POST", "/healthz"),
    ],
)
async def test_a_wrong_verb_is_refused_without_a_body(engine: EngineClient, method: str, path: str) -> None:
    answer = await engine.call(method, path)
    assert (answer.status, answer.body) == (405, b"")


# -- CORS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/instances", "/v1/jobs/x/complete", "/v1/no/such/path"])
async def test_a_preflight_allows_every_origin(engine: EngineClient, path: str) -> None:
    asked = {
        "Origin": "https://operator.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = await engine.call("OPTIONS", path, headers=asked)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "Accept, Authorization, Content-Type"
    assert answer.headers["Access-Control-Max-Age"] == "300"
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_every_answer_may_be_read_by_any_origin(engine: EngineClient) -> None:
    for answer in (
        await engine.get("/v1/definitions"),
        await engine.get("/v1/instances/ghost"),
        await engine.get("/no/such/path"),
        await engine.post("/v1/jobs/poll", {}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


# -- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"workerId": }', b"\xff\xfe", b'{"a": 1}{"b": 2}', b"[" * 9_000]
)
@pytest.mark.parametrize("path", ["/v1/instances", "/v1/jobs/poll", "/v1/jobs/x/complete", "/v1/jobs/x/fail"])
async def test_what_is_no_json_is_a_bad_request(engine: EngineClient, path: str, body: bytes) -> None:
    text = (await engine.call("POST", path, body)).refused(400, "bad-request")
    assert text.startswith("invalid request body:")


async def test_a_body_past_the_cap_is_too_large(engine: EngineClient) -> None:
    body = b'{"workerId": "w", "jobTypes": ["nobody\'s"], "ignored": "%b"}'
    just = await engine.call("POST", "/v1/jobs/poll", body % (b"x" * (15 * 1024 * 1024)))
    assert just.status == 200
    over = await engine.call("POST", "/v1/jobs/poll", body % (b"x" * (17 * 1024 * 1024)))
    assert "16777216 bytes" in over.refused(413, "too-large")


async def test_a_value_that_cannot_be_stored_spoils_nothing_else(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    poison = b'{"definitionId": "%b", "variables": {"x": "\\u0000"}}' % workflow.id.encode()
    good = asyncio.gather(*(workflow.start(n=n) for n in range(8)))
    bad = asyncio.gather(*(engine.call("POST", "/v1/instances", poison) for _ in range(3)))
    await good
    for answer in await bad:
        answer.refused(400, "bad-request")
    listed = await engine.get(f"/v1/instances?definitionId={workflow.id}")
    assert listed.json["total"] == 8


HOSTILE = [
    b"null", b"true", b"0", b'""', b"[]", b"{}", b'{"definitionId": null}', b'{"definitionId": "\\ud800"}',
    b'{"definitionId": {"a": 1}}', b'{"definitionId": "d", "variables": {"a": 1e999}}',
    b'{"definitionId": "d", "definitionVersion": 1e30}', b'{"definitionId": "d", "definitionVersion": 99999999999}',
    b'{"workerId": "w", "jobTypes": [null]}', b'{"workerId": "w", "jobTypes": ["a"], "maxJobs": 1e999}',
    b'{"workerId": "w", "jobTypes": ["a"], "leaseSeconds": -1e300}', b'{"workerId": "\\u0000", "jobTypes": ["a"]}',
    b'{"workerId": "w", "jobTypes": ["\\u0000"]}', b'{"workerId": "w", "jobTypes": ["a"], "waitMs": -5}',
    b'{"variables": {"a": ' + b"[" * 2000 + b"]" * 2000 + b"}}", b'{"errorMessage": "\\u0000", "retryable": 1}',
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_body_is_answered_5xx(engine: EngineClient, body: bytes) -> None:
    workflow = await engine.define(service("a", "w", retryCount=9), wait("w"), END)
    instance = await workflow.start()
    job = await workflow.lease_one("a")
    for path in (
        "/v1/definitions",
        "/v1/instances",
        "/v1/jobs/poll",
        f"/v1/jobs/{job['id']}/fail",
        f"/v1/jobs/{job['id']}/complete",
        f"/v1/instances/{instance['id']}/signals/w",
        f"/v1/instances/{instance['id']}/user-tasks/w/complete",
        f"/v1/instances/{instance['id']}/cancel",
    ):
        answer = await engine.call("POST", path, body)
        assert answer.status < 500, (path, answer)


# -- health ---------------------------------------------------------------------------------------


async def test_healthz_is_alive_and_empty(engine: EngineClient) -> None:
    answer = await engine.get("/healthz")
    assert (answer.status, answer.body) == (200, b"")
    assert "Content-Type" not in answer.headers


async def test_the_health_pages_of_a_healthy_node(engine: EngineClient) -> None:
    assert (await engine.get("/health")).json["status"] == "alive"
    for path in ("/ready", "/readyz"):
        answer = await engine.get(path)
        assert (answer.status, answer.json) == (200, {"ready": True, "reasons": []})
    detailed = (await engine.get("/health/detailed")).json
    assert (detailed["status"], detailed["reasons"], detailed["dispatchMode"]) == ("ready", [], "polling")
    info = (await engine.get("/cluster/info")).json
    (node,) = info["nodes"]
    assert (info["node"], node["id"], node["self"], node["alive"], node["role"]) == (
        "replica-0", "replica-0", True, True, "serve",
    )  # fmt: skip


# -- when the engine itself is in trouble ---------------------------------------------------------


async def test_a_defect_is_told_to_the_log_and_not_to_the_caller(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    process, engine = await windlass.serving(WE_POSTGRES_DSN=dsn)
    workflow = await engine.define(wait("w"), END)
    superuser_dsn = server.dsn(urlsplit(dsn).path.removeprefix("/"))
    await rows(superuser_dsn, "ALTER TABLE audit_log RENAME TO lost")
    text = (await engine.post("/v1/instances", {"definitionId": workflow.id})).refused(500, "internal-error")
    assert "audit_log" not in text
    broke = await process.until_logged("rest: handler broke")
    assert (broke["level"], broke["path"]) == ("ERROR", "/v1/instances")
    assert "audit_log" in broke["err"]
    assert "Traceback" in broke["stack"]
    request = await eventually(lambda: process.log(msg="rest request", status=500))
    assert [line["level"] for line in request] == ["ERROR"]
    await rows(superuser_dsn, "ALTER TABLE lost RENAME TO audit_log")
    assert (await workflow.start())["status"] == "WAITING"
