"""Contract 8.1, 8.2: each series by name, type, labels and buckets, and that what it counts feeds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from workflow import END, Json, fork, join, service, timer, transformation, user_task, wait

from patience import eventually
from suite.case import GRPC, REST, Need, add, holds, same, shows
from suite.cases.instance import chained_to
from suite.context import CaseContext

METRICS = [Need.METRICS]
BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, float("inf")]
PICKUP_BUCKETS = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, float("inf"),
]  # fmt: skip


async def counted(
    context: CaseContext,
    kind: str,
    name: str,
    act: Callable[[CaseContext], Awaitable[object]],
    least: int = 1,
    **labels: str,
) -> None:
    """The series is of that kind, and what is done counts at least so much: others may count beside it."""
    sample = f"{name}_count" if kind == "histogram" else name
    before = (await context.scrape()).total(sample, **labels)
    await act(context)
    after = await context.scrape()
    same(f"type of {name}", after.kinds.get(name), kind)
    grown = after.total(sample, **labels) - before
    holds(f"{sample}{labels or ''} grows by {least} or more", grown >= least, grown)


async def _define(context: CaseContext) -> None:
    id = await context.door.define(END)
    await context.door.define(wait("w"), END, id=id)


async def _start(context: CaseContext) -> None:
    """Two: one starts the other."""
    await context.door.run(END, **chained_to(await context.door.define(END)))


async def _fail(context: CaseContext, **more: object) -> None:
    instance = await context.door.run(service("a", retryCount=1), END)
    job = await context.door.lease(instance, "a")
    (await context.door.fail(job["id"], {"workerId": "w", **more})).ok("fail")


async def _retry(context: CaseContext) -> None:
    await _fail(context, retryable=True)


async def _work(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    await context.door.work_off(instance, "a")


async def _poll_for_nothing(context: CaseContext) -> None:
    for _ in range(3):
        same("jobs", await context.door.jobs("nobody's", "a"), [])


COUNTED = (
    ("workflow_definitions_uploaded_total", "counter", _define, 2),
    ("workflow_instances_started_total", "counter", _start, 2),
    ("job_retries_total", "counter", _retry, 1),
    ("workflow_job_failed_total", "counter", _fail, 1),
    ("job_poll_latency_seconds", "histogram", _work, 1),
    ("job_lock_conflicts_total", "counter", _poll_for_nothing, 3),
    ("engine_job_pickup_latency_seconds", "histogram", _work, 1),
)
"""Series, type, what feeds it, and by how much at least."""


def _counted(name: str, kind: str, act: Callable[[CaseContext], Awaitable[object]], least: int) -> None:
    async def run(context: CaseContext) -> None:
        await counted(context, kind, name, act, least)

    add(f"8.1 {name}", run=run, over=REST, needs=METRICS, shown_by="COUNTED")


for row in COUNTED:
    _counted(*row)


@shows("8.1 workflow_instances_completed_total", over=REST, needs=METRICS)
async def outcomes(context: CaseContext) -> None:
    async def complete(context: CaseContext) -> None:
        await context.door.run(END)

    async def fail(context: CaseContext) -> None:
        await context.door.run(transformation("t", {"x": "${ghost}"}), END)

    async def cancel(context: CaseContext) -> None:
        instance = await context.door.run(wait("w"), END)
        (await context.door.cancel(instance["id"])).ok("cancel")

    for outcome, act in (("completed", complete), ("failed", fail), ("cancelled", cancel)):
        await counted(context, "counter", "workflow_instances_completed_total", act, outcome=outcome)


@shows("8.1 workflow_steps_executed_total", over=REST, needs=METRICS)
async def steps(context: CaseContext) -> None:
    async def act(context: CaseContext) -> None:
        await context.door.run(
            transformation("t", {"x": 1}, "g"), fork("g", ["a", "u"], "j"), service("a", "j"), user_task("u", "j"),
            join("j"), END,
        )  # fmt: skip

    for kind in ("TRANSFORMATION", "PARALLEL_GATEWAY", "SERVICE_TASK", "USER_TASK"):
        await counted(context, "counter", "workflow_steps_executed_total", act, step_type=kind)


@shows("8.1 http_requests_duration_seconds", over=REST, needs=METRICS)
async def rest_calls(context: CaseContext) -> None:
    async def act(context: CaseContext) -> None:
        await context.rest.raw("GET", "/v1/instances/no-such")

    await counted(
        context, "histogram", "http_requests_duration_seconds", act,
        method="GET", path="/v1/instances/{id}", status="404",
    )  # fmt: skip


@shows("8.1 grpc_requests_duration_seconds", over=GRPC, needs=[Need.REST, Need.METRICS])
async def grpc_calls(context: CaseContext) -> None:
    async def act(context: CaseContext) -> None:
        await context.grpc.ask("GetInstance", id="no-such")

    before = (await context.scrape()).labels("grpc_requests_duration_seconds_count")
    await counted(context, "histogram", "grpc_requests_duration_seconds", act)
    after = (await context.scrape()).labels("grpc_requests_duration_seconds_count")
    same("labels", before | after, {"method", "code"})


@shows("8.1 engine_db_transaction_duration_seconds", over=REST, needs=METRICS)
async def transactions(context: CaseContext) -> None:
    async def act(context: CaseContext) -> None:
        door = context.door
        instance = await door.run(
            service("a", "u", boundaryEvents=[timer("PT0.2S", "b", interrupting=False)]), user_task("u", "w"),
            wait("w", boundaryEvents=[timer("PT0.2S", "c", interrupting=True)]), wait("b"), wait("c"), END,
        )  # fmt: skip
        await door.until_entered(instance, "b")
        await door.work_off(instance, "a")
        (await door.user_task(instance["id"], "u")).ok("user task")
        await door.until_entered(instance, "c")
        (await door.signal(instance["id"], "c")).ok("signal")

    name, before = "engine_db_transaction_duration_seconds", await context.scrape()
    await act(context)
    after = await context.scrape()
    for kind in (
        "start",
        "complete_job",
        "dispatch_boundary",
        "interrupt_boundary",
        "complete_user_task",
        "signal_wait",
    ):
        labels = {"tx_type": f"instance.{kind}"}
        for part in ("count", "sum"):
            grown = after.total(f"{name}_{part}", **labels) - before.total(f"{name}_{part}", **labels)
            holds(f"{name}_{part} of {labels} grows", grown > 0, grown)


@shows("8.1 engine_db_lock_wait_duration_seconds", over=REST, needs=METRICS)
async def lock_waits(context: CaseContext) -> None:
    for operation in ("instance.for_update", "job.poll_skip_locked"):
        name = "engine_db_lock_wait_duration_seconds"
        await counted(context, "histogram", name, _work_and_signal, operation=operation)


async def _work_and_signal(context: CaseContext) -> None:
    await _work(context)
    instance: Json = await context.door.run(wait("w"), END)
    (await context.door.signal(instance["id"], "w")).ok("signal")


@shows("8.1 buckets", over=REST, needs=METRICS)
async def buckets(context: CaseContext) -> None:
    await _work_and_signal(context)
    scrape = await context.scrape()
    for name in (
        "http_requests_duration_seconds",
        "engine_db_transaction_duration_seconds",
        "job_poll_latency_seconds",
    ):
        same(f"buckets of {name}", scrape.bounds(name), BUCKETS)
    same("buckets of pickup", scrape.bounds("engine_job_pickup_latency_seconds"), PICKUP_BUCKETS)


@shows("8.1 paths", over=REST, needs=METRICS)
async def paths(context: CaseContext) -> None:
    client = context.rest.client
    for path in ("/metrics", "/"):
        answer = await client.call("GET", path, base_url=client.metrics_url)
        same(f"status of {path}", answer.status, 200)
        holds(
            f"{path} is the text format",
            answer.headers["Content-Type"].startswith("text/plain"),
            answer.headers,
        )
        holds(f"{path} has process_*", b"\nprocess_" in answer.body, answer.body[:200])


@shows("8.1 polling-only", over=REST, needs=METRICS)
async def nothing_of_the_broker(context: CaseContext) -> None:
    text = (await context.scrape()).text
    for prefix in ("workflow_engine_dispatch_", "workflow_engine_kafka_"):
        holds(f"no {prefix}*", prefix not in text, [line for line in text.splitlines() if prefix in line])


@shows("8.2 series", over=REST, needs=METRICS)
async def series_of_the_alerts(context: CaseContext) -> None:
    async def all_there() -> bool:
        kinds = (await context.scrape()).kinds
        wanted = {
            "engine_job_pickup_latency_seconds",
            "engine_job_timeout_total",
            "workflow_job_failed_total",
        }
        return wanted <= set(kinds)

    await _work(context)
    await eventually(all_there)
