"""Contract 10: the four SDKs as small models, each with the calls and the manners of its polling runner."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workflow import END, Json, document, service, user_task, wait

from suite.case import BOTH, REST, Differs, Need, Transport, add, holds, same, shows
from suite.context import CaseContext
from suite.doors import Door, fresh_id
from suite.doors.rest import task_path

Handler = Callable[[Json], Json]


class NonRetryable(Exception):
    """What an SDK calls so; in Go also a panic."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """What contract 10.2 says of one of them."""

    name: str
    fails_after_refused_complete: bool
    """A refused complete counts as the handler's error; otherwise it is logged and dropped."""
    dies_of_refused_fail: bool = False
    sends_lease_over_grpc: bool = False
    max_jobs: int = 64

    async def round(
        self, door: Door, job_types: Mapping[str, str], handlers: Mapping[str, Handler]
    ) -> list[str]:
        """One poll and what follows; what was done, in order. `job_types` are by handler's name."""
        body: Json = {"workerId": self.name, "jobTypes": list(job_types.values()), "maxJobs": self.max_jobs}
        if self.sends_lease_over_grpc and door.transport is Transport.GRPC:
            body["leaseSeconds"] = 0
        jobs = (await door.poll(body)).ok(f"{self.name}: poll")
        names = {job_type: name for name, job_type in job_types.items()}
        return [await self.handle(door, job, handlers.get(names[job["jobType"]])) for job in jobs or []]

    async def handle(self, door: Door, job: Json, handler: Handler | None) -> str:
        if handler is None:
            return await self.fail(door, job, "no handler", retryable=False)
        try:
            variables = handler(job)
        except NonRetryable as error:
            return await self.fail(door, job, str(error), retryable=False)
        except Exception as error:
            return await self.fail(door, job, str(error), retryable=True)
        answer = await door.complete(job["id"], {"workerId": self.name, "variables": variables})
        if answer.outcome == "ok":
            return "completed"
        if not self.fails_after_refused_complete:
            return "dropped"
        return "refused, then " + await self.fail(door, job, answer.text, retryable=True)

    async def fail(self, door: Door, job: Json, message: str, *, retryable: bool) -> str:
        body = {"workerId": self.name, "errorMessage": message, "retryable": retryable}
        answer = await door.fail(job["id"], body)
        if answer.outcome != "ok" and self.dies_of_refused_fail:
            text = f"{self.name}: the fail that nobody catches: expected 204, got {answer.said}: the process ends"
            raise Differs(text)
        return "failed"


GO = Sdk("go", fails_after_refused_complete=False)
JAVA = Sdk("java", fails_after_refused_complete=True)
NODE = Sdk("node", fails_after_refused_complete=True, dies_of_refused_fail=True, sends_lease_over_grpc=True)
PYTHON = Sdk("python", fails_after_refused_complete=False)
SDKS = (GO, JAVA, NODE, PYTHON)


def _done(job: Json) -> Json:
    return {"seen": job["variables"]}


def _raise(error: Exception) -> Handler:
    def handler(_: Json) -> Json:
        raise error

    return handler


async def work_through(
    door: Door, sdk: Sdk, handlers: Mapping[str, Handler], **step: Any
) -> tuple[Json, list[str]]:
    """An instance with one job, a round of the SDK, and both that came of it."""
    instance = await door.run(service("a", **step), END, variables={"x": 1})
    return instance, await sdk.round(door, {"a": f"{instance['definitionId']}.a"}, handlers)


# -- surface


async def surface(door: Door, sdk: Sdk) -> None:
    """Poll, complete and fail, as one worker makes them."""
    instance, did = await work_through(door, sdk, {"a": _done})
    same("what the worker did", did, ["completed"])
    same("variables", (await door.status_is(instance, "COMPLETED"))["variables"], {"x": 1, "seen": {"x": 1}})
    instance, did = await work_through(door, sdk, {"a": _raise(NonRetryable("broke"))}, retryCount=3)
    same("what the worker did", did, ["failed"])
    same("reason", (await door.status_is(instance, "FAILED"))["failureReason"], "broke")
    same("a round with nothing to do", await sdk.round(door, {"a": f"{instance['definitionId']}.a"}, {}), [])


def _surface(sdk: Sdk) -> None:
    async def run(context: CaseContext) -> None:
        await surface(context.door, sdk)

    add(f"10.1 {sdk.name}", run=run, over=BOTH, shown_by=surface.__name__)


for sdk in SDKS:
    _surface(sdk)


@shows("10.1 python-client", over=REST)
async def calls_of_the_python_client(context: CaseContext) -> None:
    """Everything but by version, by list of instances, parked steps and health; with its dead path."""
    door, id = context.rest, fresh_id()
    (await door.upload(document(id, wait("w"), END))).ok("upload")
    same("listed", [each["id"] for each in (await door.definitions(keyword=id)).ok("list")["items"]], [id])
    same("definition", (await door.definition(id)).ok("get")["id"], id)
    instance = (await door.start({"definitionId": id, "variables": {}})).ok("start")
    same("status", (await door.instance(instance["id"])).ok("get")["status"], "WAITING")
    same("history", len((await door.history(instance["id"])).ok("history")), 1)
    same("status", (await door.cancel(instance["id"], "enough")).ok("cancel")["status"], "CANCELLED")
    same("the dead path", (await door.raw("POST", "/v1/user-tasks/u/complete", {})).status, 404)


# -- behaviour


@shows("10.2 headers", over=REST)
async def headers_and_no_more(context: CaseContext) -> None:
    """By hand, since every HTTP library adds some of its own."""
    where = urlsplit(context.rest.client.rest_url)
    body = json.dumps({"workerId": "w", "jobTypes": ["nobody's"], "maxJobs": 64})
    for more in ("", "Accept: application/json\r\n"):
        reader, writer = await asyncio.open_connection(where.hostname, where.port or 80)
        writer.write(
            f"POST /v1/jobs/poll HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        writer.close()
        same("status line", head.split(b"\r\n")[0].split()[1], b"200")


@shows("10.2 max-jobs")
async def sixty_four(context: CaseContext) -> None:
    door = context.door
    id = await door.define(service("a"), END)
    for _ in range(12):
        await door.begin(id)
    same("what a round did", await NODE.round(door, {"a": f"{id}.a"}, {"a": _done}), ["completed"] * 12)


@shows("10.2 no-handler")
async def no_handler(context: CaseContext) -> None:
    for sdk in SDKS:
        instance, did = await work_through(context.door, sdk, {}, retryCount=3)
        same(f"what {sdk.name} did", did, ["failed"])
        await context.door.status_is(instance, "FAILED", [])


@shows("10.2 handler-error")
async def handler_error(context: CaseContext) -> None:
    for sdk in SDKS:
        instance, did = await work_through(
            context.door, sdk, {"a": _raise(ValueError("not yet"))}, retryCount=1
        )
        same(f"what {sdk.name} did", did, ["failed"])
        await context.door.status_is(instance, "ACTIVE", ["a"])
        types = {"a": f"{instance['definitionId']}.a"}
        same("the next round", await sdk.round(context.door, types, {"a": _done}), ["completed"])


@shows("10.2 non-retryable")
async def non_retryable(context: CaseContext) -> None:
    for sdk in SDKS:
        instance, _ = await work_through(
            context.door, sdk, {"a": _raise(NonRetryable("never"))}, retryCount=3
        )
        same("reason", (await context.door.status_is(instance, "FAILED"))["failureReason"], "never")


class Stolen:
    """An SDK's worker whose lease has lapsed while its handler ran, and the worker who holds the job now."""

    def __init__(self, door: Door, instance: Json, lost: Json) -> None:
        self.door = door
        self.instance = instance
        self.lost = lost

    @classmethod
    async def make(cls, door: Door, sdk: Sdk) -> Stolen:
        instance = await door.run(service("a", "b", retryCount=2), service("b"), END)
        lost = await door.lease(instance, "a", sdk.name, leaseSeconds=1)
        await door.lease(instance, "a", "thief")
        return cls(door, instance, lost)

    async def untouched(self) -> None:
        """The thief still holds it, with all its retries, and can complete it."""
        found = await self.door.status_is(self.instance, "ACTIVE", ["a"])
        same("variables", found["variables"], {})
        same("jobs", await self.door.jobs(self.instance["definitionId"], "a", worker="third"), [])
        body = {"workerId": "thief", "variables": {"by": "thief"}}
        (await self.door.complete(self.lost["id"], body)).ok("complete by the holder")
        found = await self.door.status_is(self.instance, "ACTIVE", ["b"])
        same("variables", found["variables"], {"by": "thief"})


@shows("10.2 complete-dropped")
async def dropped(context: CaseContext) -> None:
    for sdk in (GO, PYTHON):
        stolen = await Stolen.make(context.door, sdk)
        same(f"what {sdk.name} did", await sdk.handle(context.door, stolen.lost, _done), "dropped")
        await stolen.untouched()


@shows("10.3 fail-after-complete")
async def fail_after_complete(context: CaseContext) -> None:
    for sdk in (JAVA, NODE):
        stolen = await Stolen.make(context.door, sdk)
        same(
            f"what {sdk.name} did", await sdk.handle(context.door, stolen.lost, _done), "refused, then failed"
        )
        await stolen.untouched()
        same(
            "after the holder's complete",
            await sdk.fail(context.door, stolen.lost, "late", retryable=True),
            "failed",
        )
        await context.door.status_is(stolen.instance, "ACTIVE", ["b"])


@shows("10.3 repeat")
async def repeated_complete(context: CaseContext) -> None:
    instance = await context.door.run(service("a", "b"), service("b"), END)
    job = await context.door.lease(instance, "a")
    body = {"workerId": "w", "variables": {"x": 1}}
    answers = await asyncio.gather(*(context.door.complete(job["id"], body) for _ in range(5)))
    for answer in answers:
        answer.ok("a complete sent five times")
    steps = [each["stepId"] for each in await context.door.trail(instance)]
    same("steps", steps, ["a", "b"])


@shows("10.3 null-variables")
async def nulls(context: CaseContext) -> None:
    instance = await context.door.run(
        service("a", "b"), service("b"), END, variables={"x": None, "deep": {"y": [None]}}
    )
    job = await context.door.work_off(instance, "a", {"z": None})
    same("variables of the job", job["variables"], {"x": None, "deep": {"y": [None]}})
    job = await context.door.lease(instance, "b")
    same("variables of the next", job["variables"], {"x": None, "deep": {"y": [None]}, "z": None})


@shows("10.3 unknown-fields", over=REST)
async def added_fields(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    more = {"sdkVersion": "9.9", "metadata": {"lang": "x"}, "heartbeat": None}
    types = [f"{instance['definitionId']}.a"]
    (job,) = (await context.door.poll({"workerId": "w", "jobTypes": types, **more})).ok("poll")
    (await context.door.complete(job["id"], {"workerId": "w", **more})).ok("complete")
    (await context.door.fail(job["id"], {"workerId": "w", **more})).ok("fail")
    same("variables", (await context.door.status_is(instance, "COMPLETED"))["variables"], {})


@shows("10.3 chunked", over=REST)
async def chunked_everywhere(context: CaseContext) -> None:
    rest, id = context.rest, fresh_id()

    async def send(path: str, body: Json, status: int) -> Any:
        text = json.dumps(body).encode()
        half = len(text) // 2
        answer = await rest.chunked(path, text[:half], text[half:])
        same(f"status of {path}", answer.status, status)
        return json.loads(answer.body) if answer.body else None

    await send("/v1/definitions", document(id, service("a", "u"), user_task("u"), END), 201)
    instance = await send("/v1/instances", {"definitionId": id, "variables": {"x": 1}}, 201)
    same("variables", instance["variables"], {"x": 1})
    (job,) = (await send("/v1/jobs/poll", {"workerId": "w", "jobTypes": [f"{id}.a"]}, 200))["jobs"]
    await send(f"/v1/jobs/{job['id']}/complete", {"workerId": "w", "variables": {"y": 2}}, 204)
    await send(f"/v1/jobs/{job['id']}/fail", {"workerId": "w"}, 204)
    await send(task_path(instance["id"], "u"), {"variables": {"z": 3}}, 204)
    found = await rest.status_is(instance, "COMPLETED")
    same("variables", found["variables"], {"x": 1, "y": 2, "z": 3})
    other = await rest.run(wait("w"), END)
    cancelled = await send(f"/v1/instances/{other['id']}/cancel", {"reason": "in chunks"}, 200)
    same("reason", cancelled.get("failureReason"), "in chunks")


@shows("10.3 non-sticky", needs=[Need.BOOT])
async def two_replicas(context: CaseContext) -> None:
    dsn = await context.boots.database()
    one, other = await context.boots.serving(dsn), await context.boots.serving(dsn)
    here, there = (
        each.rest if context.door.transport is Transport.REST else each.grpc for each in (one, other)
    )
    assert here is not None and there is not None, "nothing listens on WE_GRPC_PORT"  # noqa: PT018 - one cause
    instance = await here.run(service("a"), END)
    job = await here.lease(instance, "a")
    (await there.complete(job["id"], {"workerId": "w", "variables": {"x": 1}})).ok("complete elsewhere")
    (await here.complete(job["id"], {"workerId": "w", "variables": {"x": 2}})).ok("repeat")
    same("variables", (await there.status_is(instance, "COMPLETED"))["variables"], {"x": 1})


@shows("10.3 empty-poll")
async def a_hundred_empty_polls(context: CaseContext) -> None:
    began_s = time.monotonic()
    for _ in range(100):
        same("jobs", await context.door.jobs("nobody's", "a", worker="w", maxJobs=64), [])
    took_s = time.monotonic() - began_s
    holds("a hundred empty polls take less than 30 s", took_s < 30, took_s)
