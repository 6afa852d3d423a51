"""Contract 8.4: the lines operators search for."""

from __future__ import annotations

import re
import secrets

from workflow import END, service, timer, wait

from patience import eventually
from suite.case import GRPC, REST, Need, holds, same, shows
from suite.context import CaseContext

LOG = [Need.LOG]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)")


@shows("8.4 json", over=REST, needs=LOG)
async def one_object_a_line(context: CaseContext) -> None:
    await context.rest.raw("GET", "/v1/instances/no-such")
    lines = context.log()
    holds("there are lines", lines, lines)
    for line in lines:
        holds("time", TIME.fullmatch(line["time"]), line)
        holds("level", line["level"] in {"DEBUG", "INFO", "WARN", "ERROR"}, line)
        holds("msg", line["msg"], line)


@shows("8.4 starting", over=REST, needs=LOG)
async def first_line(context: CaseContext) -> None:
    first = context.log()[0]
    same("msg and level", (first["msg"], first["level"]), ("engine: starting", "INFO"))
    holds("the ports", {"rest_port", "grpc_port", "metrics_port"} <= set(first), first)


@shows("8.4 dispatch-ready", over=REST, needs=LOG)
async def dispatch_ready(context: CaseContext) -> None:
    same("mode", [line["mode"] for line in context.log(msg="engine: dispatch runtime ready")], ["polling"])


@shows("8.4 listening", over=REST, needs=LOG)
async def listening(context: CaseContext) -> None:
    for door in ("REST", "metrics", "gRPC"):
        (line,) = context.log(msg=f"engine: {door} listening")
        holds("addr ends with the port", re.search(r":\d+$", line["addr"]), line)


@shows("8.4 rest-request", over=REST, needs=LOG)
async def rest_requests(context: CaseContext) -> None:
    for path, pattern, status, level in (
        ("/v1/definitions", "/v1/definitions", 200, "INFO"),
        ("/v1/instances/no-such", "/v1/instances/{id}", 404, "WARN"),
    ):
        mark = secrets.token_hex(8)
        await context.rest.raw("GET", path, X_Real_IP=mark)
        line = await context.logged(msg="rest request", remote=mark)
        same("method, path, status, level", (line["method"], line["path"], line["status"], line["level"]),
             ("GET", pattern, status, level))  # fmt: skip
        holds(
            "bytes and duration in nanoseconds", line["bytes"] > 0 and isinstance(line["duration"], int), line
        )


@shows("8.4 rest-poll-quiet", over=REST, needs=LOG)
async def quiet_polls(context: CaseContext) -> None:
    mark = secrets.token_hex(8)
    for body in ({"workerId": "w", "jobTypes": ["nobody's"]}, {}):
        await context.rest.raw("POST", "/v1/jobs/poll", body, X_Real_IP=mark)
    await context.logged(msg="rest request", remote=mark)
    same(
        "statuses in the log",
        [line["status"] for line in context.log(msg="rest request", remote=mark)],
        [400],
    )


@shows("8.4 grpc-request", over=GRPC, needs=LOG)
async def grpc_requests(context: CaseContext) -> None:
    mark = f"no-such-{secrets.token_hex(8)}"
    await context.grpc.ask("GetInstance", id=mark)

    def told() -> list[dict[str, object]]:
        return [
            line for line in context.log(msg="grpc request", level="WARN") if mark in str(line.get("err"))
        ]

    (line,) = await eventually(told)
    holds("method", str(line["method"]).endswith("GetInstance"), line)
    same("code", str(line["code"]).replace("_", "").upper(), "NOTFOUND")
    holds("duration", isinstance(line["duration"], int), line)


@shows("8.4 grpc-poll-quiet", over=GRPC, needs=LOG)
async def quiet_grpc_polls(context: CaseContext) -> None:
    await context.grpc.ask("PollJobs", worker_id="w", job_types=["nobody's"])
    await context.grpc.ask("PollJobs", worker_id="w")

    def refused() -> list[dict[str, object]]:
        return [line for line in context.log(msg="grpc request") if "PollJobs" in str(line["method"])]

    lines = await eventually(refused)
    same("levels in the log", {line["level"] for line in lines}, {"WARN"})


@shows("8.4 step-dispatched", over=REST, needs=LOG)
async def step_dispatched(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    line = await context.logged(msg="step dispatched", instance_id=instance["id"])
    (step,) = await context.door.trail(instance)
    wanted = {
        "level": "INFO",
        "definition_id": instance["definitionId"],
        "definition_version": 1,
        "step_id": "a",
        "step_type": "SERVICE_TASK",
        "step_execution_id": step["id"],
        "attempt": 1,
    }
    same("attributes", {key: line.get(key) for key in wanted}, wanted)


@shows("8.4 lease-sweeper", over=REST, needs=LOG)
async def lease_sweeper(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    await context.door.lease(instance, "a", leaseSeconds=1)
    await context.door.lease(instance, "a", "next")
    line = await context.logged(msg="lease sweeper: reclaimed expired jobs")
    same("level", line["level"], "INFO")
    holds("count", line["count"] >= 1, line)


@shows("8.4 timer-sweeper", over=REST, needs=LOG)
async def timer_sweeper(context: CaseContext) -> None:
    instance = await context.door.run(
        wait("w", boundaryEvents=[timer("PT0.2S", "end", interrupting=True)]), END
    )
    await context.door.until_entered(instance, "end")
    line = await context.logged(msg="timer sweeper: fired boundary event", instance_id=instance["id"])
    same("level, target, interrupting", (line["level"], line["target_step_id"], line["interrupting"]),
         ("INFO", "end", True))  # fmt: skip
    holds("event_id", line["event_id"], line)


@shows("8.4 no-kafka", over=REST, needs=LOG)
async def no_word_of_the_broker(context: CaseContext) -> None:
    same("lines that hold kafka", [line for line in context.log() if "kafka" in str(line).lower()], [])


@shows("8.4 engine-tx", over=REST, needs=[Need.BOOT])
async def transactions_at_debug(context: CaseContext) -> None:
    booted = await context.boots.shared({"WE_LOG_LEVEL": "debug"})
    await booted.rest.run(END)
    (line, *_) = await eventually(lambda: booted.process.log(msg="engine tx", tx_type="instance.start"))
    same("level", line["level"], "DEBUG")
    holds("duration", line["duration"] > 0, line)
