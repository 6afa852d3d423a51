"""Contract 1.3: what stands around a call: headers, CORS, content types, sizes, and fields nobody knows."""

from __future__ import annotations

import json
import re
import secrets

from workflow import END, document, service, step, timer, transformation, wait

from suite.case import REST, Need, holds, same, shows
from suite.cases.endpoint import refusal
from suite.context import CaseContext
from suite.doors import fresh_id

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PREFLIGHT = {"Origin": "https://any.example", "Access_Control_Request_Method": "POST"}
CAP_BYTES = 16 * 1024 * 1024


@shows("1.3 traceparent", over=REST, needs=[Need.LOG])
async def traceparent(context: CaseContext) -> None:
    trace = f"{TRACE}-{secrets.token_hex(4)}"
    id = await context.door.define(service("a"), END)
    await context.rest.raw("POST", "/v1/instances", {"definitionId": id}, traceparent=trace)
    await context.logged(msg="rest request", traceparent=trace)
    line = await context.logged(msg="step dispatched", definition_id=id)
    same("traceparent of what the call did", line.get("traceparent"), trace)


async def _remote(context: CaseContext, wanted: str, **headers: str) -> None:
    trace = f"{TRACE}-{secrets.token_hex(4)}"
    await context.rest.raw("GET", "/v1/definitions", traceparent=trace, **headers)
    remote = (await context.logged(msg="rest request", traceparent=trace))["remote"]
    holds(f"remote is {wanted}", re.fullmatch(wanted, remote), remote)


@shows("1.3 client-true", over=REST, needs=[Need.LOG])
async def true_client(context: CaseContext) -> None:
    await _remote(
        context, "10.1.1.1", True_Client_IP="10.1.1.1", X_Real_IP="10.2.2.2", X_Forwarded_For="10.3.3.3"
    )


@shows("1.3 client-real", over=REST, needs=[Need.LOG])
async def real_client(context: CaseContext) -> None:
    await _remote(context, "10.2.2.2", X_Real_IP="10.2.2.2", X_Forwarded_For="10.3.3.3")


@shows("1.3 client-forwarded", over=REST, needs=[Need.LOG])
async def forwarded_client(context: CaseContext) -> None:
    await _remote(context, "10.3.3.3", X_Forwarded_For="10.3.3.3, 10.4.4.4")


@shows("1.3 client-socket", over=REST, needs=[Need.LOG])
async def socket_client(context: CaseContext) -> None:
    await _remote(context, r".*:\d+")


@shows("1.3 cors-origin", over=REST)
async def any_origin(context: CaseContext) -> None:
    for path in ("/v1/definitions", "/v1/instances/no-such", "/no/such/path"):
        answer = await context.rest.raw("GET", path, Origin="https://any.example")
        same(f"allowed origin of {path}", answer.headers.get("Access-Control-Allow-Origin"), "*")
        same("credentials", answer.headers.get("Access-Control-Allow-Credentials"), None)


@shows("1.3 cors-preflight", over=REST)
async def preflight(context: CaseContext) -> None:
    answer = await context.rest.raw("OPTIONS", "/v1/instances", **PREFLIGHT)
    same("status and body", (answer.status, answer.body), (200, b""))
    same("max age", answer.headers.get("Access-Control-Max-Age"), "300")
    for header, wanted in (
        ("Access-Control-Allow-Origin", {"*"}),
        ("Access-Control-Allow-Methods", {"get", "post", "options"}),
        ("Access-Control-Allow-Headers", {"accept", "authorization", "content-type"}),
    ):
        got = {word.strip().lower() for word in answer.headers.get(header, "").split(",")}
        holds(f"{header} allows {sorted(wanted)}", wanted <= got, sorted(got))


@shows("1.3 cors-log", over=REST, needs=[Need.LOG])
async def unlogged_preflight(context: CaseContext) -> None:
    mark = f"10.9.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
    await context.rest.raw("OPTIONS", "/v1/instances", X_Real_IP=mark, **PREFLIGHT)
    await context.rest.raw("GET", "/v1/definitions", X_Real_IP=mark)
    await context.logged(msg="rest request", remote=mark)
    lines = context.log(msg="rest request", remote=mark)
    same("methods in the access log", [line["method"] for line in lines], ["GET"])


@shows("1.3 content-type-xml", over=REST)
async def xml(context: CaseContext) -> None:
    for kind in ("application/xml", "text/xml; charset=utf-8"):
        answer = await context.rest.raw("POST", "/v1/definitions", b"<bpmn/>", Content_Type=kind)
        refusal(answer, 415, "unsupported-format")


@shows("1.3 content-type-any", over=REST)
async def any_content_type(context: CaseContext) -> None:
    for kind in ("text/plain", "application/octet-stream", "application/x-www-form-urlencoded"):
        body = json.dumps(document(fresh_id(), END)).encode()
        answer = await context.rest.raw("POST", "/v1/definitions", body, Content_Type=kind)
        same(f"status with {kind}", answer.status, 201)


@shows("1.3 body-size", over=REST)
async def body_size(context: CaseContext) -> None:
    body = b'{"definitionId": "no-such", "ignored": "%b"}' % (b"x" * (CAP_BYTES + 1))
    same("status past the cap", (await context.rest.raw("POST", "/v1/instances", body)).status, 413)
    same("status afterwards", (await context.rest.raw("GET", "/v1/instances/no-such")).status, 404)


@shows("1.3 unknown-fields", over=REST)
async def unknown_fields(context: CaseContext) -> None:
    id = await context.door.define(service("a", "w"), wait("w"), END)
    more = {"nobodyKnows": {"this": [1]}}
    instance = (await context.door.start({"definitionId": id, **more})).ok("start")
    (job,) = (await context.door.poll({"workerId": "w", "jobTypes": [f"{id}.a"], **more})).ok("poll")
    (await context.door.complete(job["id"], {"workerId": "w", **more})).ok("complete")
    (await context.door.fail(job["id"], {"workerId": "w", **more})).ok("fail")
    path = f"/v1/instances/{instance['id']}/cancel"
    same("status of cancel", (await context.rest.raw("POST", path, more)).status, 200)


@shows("1.3 unknown-fields-upload", over=REST)
async def unknown_fields_of_a_definition(context: CaseContext) -> None:
    odd = {"nobodyKnows": 1}
    alarm = timer("PT1H", "end", interrupting=True)
    for what, broken in (
        ("at the top", document(fresh_id(), END, **odd)),
        ("in a step", document(fresh_id(), END | odd)),
        ("in a boundary event", document(fresh_id(), wait("w", boundaryEvents=[alarm | odd]), END)),
        ("in another case", document(fresh_id(), END, Description="x")),
    ):
        (await context.door.upload(broken)).refused(f"a field {what}", "bad-request")


@shows("1.3 unknown-fields-metadata", over=REST)
async def unknown_fields_in_metadata(context: CaseContext) -> None:
    deep = {"nobodyKnows": [{"steps": {"deep": 1}}]}
    id = await context.door.define(END, metadata=deep)
    same("metadata", (await context.door.definition(id)).ok("definition")["metadata"], deep)


@shows("1.3 field-case", over=REST)
async def field_case(context: CaseContext) -> None:
    id = await context.door.define(END)
    text = (await context.door.start({"DefinitionId": id})).refused(
        "a start with DefinitionId", "bad-request"
    )
    holds("the field is missing", "definitionId is required" in text, text)


@shows("1.3 number-typing", over=REST)
async def number_typing(context: CaseContext) -> None:
    id = await context.door.define(END)
    start = {"definitionId": id, "definitionVersion": "1"}
    (await context.door.start(start)).refused("definitionVersion as a string", "bad-request")
    poll = {"workerId": "w", "jobTypes": ["t"], "maxJobs": "5"}
    (await context.door.poll(poll)).refused("maxJobs as a string", "bad-request")
    odd = document(fresh_id(), step("a", "SERVICE_TASK", "end", jobType="a", retryCount="3"), END)
    (await context.door.upload(odd)).refused("retryCount as a string", "bad-request")
    same(
        "a string in variables",
        (await context.door.run(transformation("t", {"x": "3"}), END))["variables"],
        {"x": "3"},
    )
