"""Contract 1.1, 1.2, 1.8: each endpoint with each of its statuses, and the words of its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine_client import Answer
from engine_on_trial import rows
from workflow import END, Json, document, service, user_task, wait

from suite.case import REST, Need, add, contains, holds, same, shows
from suite.context import CaseContext
from suite.doors import fresh_id
from suite.doors.rest import signal_path, task_path

XML = {"Content_Type": "application/xml"}


class Call(NamedTuple):
    method: str
    path: str
    body: object = None


BROKEN = b"{"
REFUSALS: Mapping[str, tuple[Call, int, str]] = {
    "1.1 upload-400": (Call("POST", "/v1/definitions", {"id": ""}), 400, "bad-request"),
    "1.1 definition-404": (Call("GET", "/v1/definitions/no-such"), 404, "not-found"),
    "1.1 version-400": (Call("GET", "/v1/definitions/no-such/versions/one"), 400, "bad-request"),
    "1.1 version-404": (Call("GET", "/v1/definitions/no-such/versions/1"), 404, "not-found"),
    "1.1 start-400": (Call("POST", "/v1/instances", BROKEN), 400, "bad-request"),
    "1.1 start-404": (Call("POST", "/v1/instances", {"definitionId": "no-such"}), 404, "not-found"),
    "1.1 instance-404": (Call("GET", "/v1/instances/no-such"), 404, "not-found"),
    "1.1 history-404": (Call("GET", "/v1/instances/no-such/history"), 404, "not-found"),
    "1.1 cancel-404": (Call("POST", "/v1/instances/no-such/cancel"), 404, "not-found"),
    "1.1 poll-400": (Call("POST", "/v1/jobs/poll", BROKEN), 400, "bad-request"),
    "1.1 complete-400": (Call("POST", "/v1/jobs/no-such/complete", []), 400, "bad-request"),
    "1.1 complete-404": (Call("POST", "/v1/jobs/no-such/complete", {"workerId": "w"}), 404, "not-found"),
    "1.1 fail-400": (Call("POST", "/v1/jobs/no-such/fail", []), 400, "bad-request"),
    "1.1 fail-404": (Call("POST", "/v1/jobs/no-such/fail", {"workerId": "w"}), 404, "not-found"),
    "1.1 user-task-404": (Call("POST", task_path("no-such", "u")), 404, "not-found"),
    "1.1 signal-404": (Call("POST", signal_path("no-such", "w"), {}), 404, "not-found"),
}
TEXTS: Mapping[str, tuple[Call, str]] = {
    "1.2 invalid-body": (Call("POST", "/v1/instances", BROKEN), "invalid request body:"),
    "1.2 missing-definition-id": (Call("POST", "/v1/instances", {}), "definitionId is required"),
    "1.2 missing-worker-id": (Call("POST", "/v1/jobs/poll", {"jobTypes": ["t"]}), "workerId is required"),
    "1.2 missing-job-types": (Call("POST", "/v1/jobs/poll", {"workerId": "w"}), "jobTypes must not be empty"),
}


def refusal(answer: Answer, status: int, code: str) -> str:
    """The text of an error body as contract 1.2 has it."""
    same("status", answer.status, status)
    body = body_of(answer)
    same("error", body.get("error"), code)
    holds("reason is a text", isinstance(body.get("reason"), str) and body["reason"], body)
    return str(body["reason"])


def body_of(answer: Answer) -> Json:
    """The JSON of an answer, once its content type and its end are as they should be."""
    same("Content-Type", answer.headers.get("Content-Type", "").partition(";")[0], "application/json")
    holds("a newline ends the body", answer.body.endswith(b"\n"), answer.body[-20:])
    found: Json = answer.json
    return found


def _refused(row: str, call: Call, status: int, code: str) -> None:
    async def run(context: CaseContext) -> None:
        refusal(await context.rest.raw(*call), status, code)

    add(row, run=run, over=REST, shown_by="REFUSALS")


for key, expected in REFUSALS.items():
    _refused(key, *expected)


def _told(row: str, call: Call, text: str) -> None:
    async def run(context: CaseContext) -> None:
        contains("text", refusal(await context.rest.raw(*call), 400, "bad-request"), text)

    add(row, run=run, over=REST, shown_by="TEXTS")


for key, told in TEXTS.items():
    _told(key, *told)


# -- successes


async def _answered(context: CaseContext, call: Call, status: int) -> Json:
    answer = await context.rest.raw(*call)
    same("status", answer.status, status)
    return body_of(answer)


async def _no_content(context: CaseContext, call: Call) -> None:
    answer = await context.rest.raw(*call)
    same("status and body", (answer.status, answer.body), (204, b""))


@shows("1.1 upload-201", "1.1 content-type", over=REST)
async def upload(context: CaseContext) -> None:
    id = fresh_id()
    summary = await _answered(context, Call("POST", "/v1/definitions", document(id, END)), 201)
    same("id", summary["id"], id)


@shows("1.1 list-200", over=REST)
async def list_of_definitions(context: CaseContext) -> None:
    id = await context.door.define(END)
    page = await _answered(context, Call("GET", f"/v1/definitions?keyword={id}"), 200)
    same("ids in items", [item["id"] for item in page["items"]], [id])


@shows("1.1 definition-200", "1.1 version-200", over=REST)
async def one_definition(context: CaseContext) -> None:
    id = await context.door.define(END)
    await context.door.define(END, id=id, description="changed")
    same("latest", (await _answered(context, Call("GET", f"/v1/definitions/{id}"), 200))["version"], 2)
    first = await _answered(context, Call("GET", f"/v1/definitions/{id}/versions/1"), 200)
    same("version 1", (first["version"], "description" in first), (1, False))


@shows("1.1 start-201", "1.1 instance-200", "1.1 instances-200", "1.1 history-200", over=REST)
async def an_instance(context: CaseContext) -> None:
    id = await context.door.define(wait("w"), END)
    started = await _answered(context, Call("POST", "/v1/instances", {"definitionId": id}), 201)
    path = f"/v1/instances/{started['id']}"
    same("read again", await _answered(context, Call("GET", path), 200), started)
    page = await _answered(context, Call("GET", f"/v1/instances?definitionId={id}"), 200)
    same("items", page["items"], [started])
    history = await _answered(context, Call("GET", f"{path}/history"), 200)
    same("steps in items", [item["stepId"] for item in history["items"]], ["w"])


@shows("1.1 cancel-200", "1.1 cancel-409", over=REST)
async def a_cancel(context: CaseContext) -> None:
    path = f"/v1/instances/{(await context.door.run(wait('w'), END))['id']}/cancel"
    same("status", (await _answered(context, Call("POST", path), 200))["status"], "CANCELLED")
    refusal(await context.rest.raw("POST", path), 409, "conflict")


@shows("1.1 poll-200", "1.1 complete-204", "1.1 complete-409", over=REST)
async def a_completed_job(context: CaseContext) -> None:
    id = await context.door.define(service("a"), END)
    await context.door.begin(id)
    poll = Call("POST", "/v1/jobs/poll", {"workerId": "w", "jobTypes": [f"{id}.a"]})
    jobs = (await _answered(context, poll, 200))["jobs"]
    same("number of jobs", len(jobs), 1)
    path = f"/v1/jobs/{jobs[0]['id']}/complete"
    refusal(await context.rest.raw("POST", path, {"workerId": "another"}), 409, "conflict")
    await _no_content(context, Call("POST", path, {"workerId": "w"}))


@shows("1.1 fail-204", over=REST)
async def a_failed_job(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    job = await context.door.lease(instance, "a")
    await _no_content(context, Call("POST", f"/v1/jobs/{job['id']}/fail", {"workerId": "w"}))


@shows("1.1 user-task-204", "1.1 user-task-400", "1.1 user-task-409", over=REST)
async def a_user_task(context: CaseContext) -> None:
    path = task_path((await context.door.run(user_task("u"), END))["id"], "u")
    refusal(await context.rest.raw("POST", path, BROKEN), 400, "bad-request")
    await _no_content(context, Call("POST", path, {}))
    refusal(await context.rest.raw("POST", path, {}), 409, "conflict")


@shows("1.1 signal-204", "1.1 signal-400", "1.1 signal-409", over=REST)
async def a_signal(context: CaseContext) -> None:
    path = signal_path((await context.door.run(wait("w"), END))["id"], "w")
    refusal(await context.rest.raw("POST", path, BROKEN), 400, "bad-request")
    await _no_content(context, Call("POST", path, {}))
    refusal(await context.rest.raw("POST", path, {}), 409, "conflict")


# -- paths and verbs


@shows("1.1 healthz-200", over=REST)
async def healthz(context: CaseContext) -> None:
    answer = await context.rest.raw("GET", "/healthz")
    same(
        "status, body and type",
        (answer.status, answer.body, answer.headers.get("Content-Type")),
        (200, b"", None),
    )


@shows("1.1 unknown-path", "1.1 no-metrics", over=REST)
async def unknown_paths(context: CaseContext) -> None:
    for path in ("/", "/v1", "/v1/ghosts", "/metrics", "/v1/instances/x/y"):
        answer = await context.rest.raw("GET", path)
        same(f"status of {path}", answer.status, 404)
        same(f"type of {path}", answer.headers.get("Content-Type", "").partition(";")[0], "text/plain")
        same(f"body of {path}", answer.body.strip(), b"404 page not found")


@shows("1.1 wrong-verb", over=REST)
async def wrong_verbs(context: CaseContext) -> None:
    for method, path in (("DELETE", "/v1/definitions"), ("GET", "/v1/jobs/poll"), ("POST", "/healthz")):
        answer = await context.rest.raw(method, path)
        same(f"{method} {path}", (answer.status, answer.body), (405, b""))


@shows("1.1 encoded-ids", over=REST)
async def encoded_ids(context: CaseContext) -> None:
    id = f"{fresh_id()}::x"
    await context.door.define(user_task("p q", "r/s"), wait("r/s"), END, id=id)
    instance = await context.door.begin(id)
    for spelling in (id, id.replace(":", "%3A")):
        answer = await context.rest.raw("GET", f"/v1/definitions/{spelling}/versions/1")
        same(f"status of {spelling}", answer.status, 200)
    path = f"/v1/instances/%{ord(instance['id'][0]):02X}{instance['id'][1:]}"
    same("status of an instance", (await context.rest.raw("GET", path)).status, 200)
    same("user task", (await context.rest.raw("POST", f"{path}/user-tasks/p%20q/complete")).status, 204)
    same("signal", (await context.rest.raw("POST", f"{path}/signals/r%2Fs")).status, 204)


# -- errors


@shows("1.2 keys", "1.2 bad-request", "1.2 not-found", "1.2 conflict", over=REST)
async def error_bodies(context: CaseContext) -> None:
    instance = await context.door.run(END)
    for call, status, code in (
        (Call("POST", "/v1/instances", {}), 400, "bad-request"),
        (Call("GET", "/v1/instances/no-such"), 404, "not-found"),
        (Call("POST", f"/v1/instances/{instance['id']}/cancel"), 409, "conflict"),
    ):
        answer = await context.rest.raw(*call)
        reason = refusal(answer, status, code)
        same("message, beside reason", body_of(answer).get("message"), reason)
        holds("see is left out", "see" not in body_of(answer), answer.body)


@shows("1.1 upload-415", "1.2 unsupported-format", over=REST)
async def an_xml_upload(context: CaseContext) -> None:
    answer = await context.rest.raw("POST", "/v1/definitions", b"<bpmn/>", **XML)
    refusal(answer, 415, "unsupported-format")


@shows("1.2 parse-error", over=REST)
async def parse_error(context: CaseContext) -> None:
    text = refusal(await context.rest.raw("POST", "/v1/definitions", BROKEN), 400, "bad-request")
    holds('the text begins "parse error:"', text.startswith("parse error:"), text)


@shows("1.2 validation-error", over=REST)
async def validation_error(context: CaseContext) -> None:
    answer = await context.rest.raw("POST", "/v1/definitions", {"id": "no id", "steps": []})
    first, *rules = refusal(answer, 400, "bad-request").splitlines()
    holds('the text begins "validation error:"', first.startswith("validation error:"), first)
    said = "\n".join([first, *rules])
    for rule in ("id must match", "name is required", "steps must not be empty"):
        same(f"lines with {rule!r}", sum(rule in line for line in said.splitlines()), 1)


# -- health


@shows("1.8 readyz", over=REST)
async def readyz(context: CaseContext) -> None:
    same("status", (await context.rest.raw("GET", "/readyz")).status, 200)


@shows("1.8 schema-current", "1.8 alive", over=REST, needs=[Need.BOOT])
async def healthz_and_the_database(context: CaseContext) -> None:
    booted = await context.boots.serving()
    schema = await rows(booted.dsn, "SELECT version, dirty FROM schema_migrations")
    same("rows of schema_migrations", len(schema), 1)
    holds("version 9 at least, not dirty", schema[0]["version"] >= 9 and not schema[0]["dirty"], schema)
    await context.boots.drop(booted)
    same("status of /readyz without its database", (await booted.rest.raw("GET", "/readyz")).status, 503)
    same("status of /healthz without its database", (await booted.rest.raw("GET", "/healthz")).status, 200)
