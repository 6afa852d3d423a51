"""Contract 8.1: every series by name, type and labels, and that each is fed by what it counts.

An engine of this module's own, so that the counts are exact.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from prometheus_client.parser import text_string_to_metric_families
from workflow import END, decision, fork, join, service, transformation, user_task, wait

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("metrics")]

SERIES = {
    "workflow_definitions_uploaded_total": ("counter", set()),
    "workflow_instances_started_total": ("counter", set()),
    "workflow_instances_completed_total": ("counter", {"outcome"}),
    "workflow_steps_executed_total": ("counter", {"step_type"}),
    "job_retries_total": ("counter", set()),
    "workflow_job_failed_total": ("counter", set()),
    "http_requests_duration_seconds": ("histogram", {"method", "path", "status"}),
    "grpc_requests_duration_seconds": ("histogram", {"method", "code"}),
    "engine_db_transaction_duration_seconds": ("histogram", {"tx_type"}),
    "engine_db_lock_wait_duration_seconds": ("histogram", {"operation"}),
    "engine_job_timeout_total": ("counter", set()),
    "job_poll_latency_seconds": ("histogram", set()),
    "job_lock_conflicts_total": ("counter", set()),
    "engine_job_pickup_latency_seconds": ("histogram", set()),
}
BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"]
PICKUP_BUCKETS = [
    "0.001", "0.002", "0.005", "0.01", "0.02", "0.03", "0.05", "0.075", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0",
    "10.0", "+Inf",
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def metered(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EngineOnTrial]:
    async with EngineOnTrial(server, tmp_path_factory.mktemp("metered")) as running:
        yield running


@pytest.fixture
def engine(metered: EngineOnTrial) -> EngineClient:
    return metered.client


class Scrape:
    """All samples of one moment, by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {
            family.name + ("_total" if family.type == "counter" else ""): family
            for family in text_string_to_metric_families(text)
        }
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """0 for a series that does not exist yet."""
        return self._samples.get((name, frozenset(labels.items())), 0.0)


async def scrape(engine: EngineClient) -> Scrape:
    return Scrape(await engine.metrics())


async def test_every_promised_series_is_there(engine: EngineClient) -> None:
    families = (await scrape(engine)).families
    for name, (kind, _) in SERIES.items():
        assert name in families, name
        assert families[name].type == kind, name
        assert families[name].documentation, name


async def test_polling_exposes_nothing_of_the_broker(engine: EngineClient) -> None:
    text = await engine.metrics()
    assert "kafka" not in text.lower()
    assert "workflow_engine_dispatch" not in text
    assert "_created" not in text


async def test_it_is_answered_on_two_paths_in_text(engine: EngineClient) -> None:
    for path in ("/metrics", "/"):
        answer = await engine.call("GET", path, base_url=engine.metrics_url)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"process_resident_memory_bytes" in answer.body
        assert b'windlass_build_info{dispatch_mode="polling"' in answer.body


async def test_counters_count_what_happened_once(engine: EngineClient) -> None:
    before = await scrape(engine)
    child = await engine.define(END)
    workflow = await engine.define(
        transformation("t", {"x": 1}, "d"),
        decision("d", {"x == 1": "g"}),
        fork("g", ["a", "u"], "j"),
        service("a", "j", retryCount=1),
        user_task("u", "j"),
        join("j", "w"),
        wait("w"),
        END,
        autoStartNextWorkflow=True,
        nextWorkflowId=child.id,
    )
    await engine.define(END, id=child.id)
    completed, failed, cancelled = [await workflow.start() for _ in range(3)]
    for _ in range(3):
        job = await workflow.lease_one("a")
        if job["instanceId"] == failed["id"]:
            await engine.fail(job, retryable=True)
        elif job["instanceId"] == completed["id"]:
            await engine.complete(job)
    await engine.fail(await workflow.lease_one("a"))
    await engine.cancel(cancelled)
    await engine.user_task(completed, "u")
    await engine.signal(completed, "w")
    assert await engine.status(completed) == "COMPLETED"

    after = await scrape(engine)
    counts = {
        name: int(after(name) - before(name))
        for name in (
            "workflow_definitions_uploaded_total",
            "workflow_instances_started_total",
            "job_retries_total",
            "workflow_job_failed_total",
        )
    }
    assert counts == {
        "workflow_definitions_uploaded_total": 2,
        "workflow_instances_started_total": 4,
        "job_retries_total": 1,
        "workflow_job_failed_total": 1,
    }
    ended = "workflow_instances_completed_total"
    assert {
        outcome: int(after(ended, outcome=outcome) - before(ended, outcome=outcome))
        for outcome in ("completed", "failed", "cancelled")
    } == {"completed": 2, "failed": 1, "cancelled": 1}
    entered = "workflow_steps_executed_total"
    assert {
        kind: int(after(entered, step_type=kind) - before(entered, step_type=kind))
        for kind in ("TRANSFORMATION", "DECISION", "PARALLEL_GATEWAY", "SERVICE_TASK", "USER_TASK",
                     "JOIN_GATEWAY", "WAIT", "END")
    } == {
        "TRANSFORMATION": 3, "DECISION": 3, "PARALLEL_GATEWAY": 3, "SERVICE_TASK": 3, "USER_TASK": 3,
        "JOIN_GATEWAY": 2, "WAIT": 1, "END": 2,
    }  # fmt: skip


async def test_outcomes_exist_before_the_first_of_their_kind(engine: EngineClient) -> None:
    text = await engine.metrics()
    for outcome in ("completed", "failed", "cancelled"):
        assert f'workflow_instances_completed_total{{outcome="{outcome}"}}' in text


async def test_polls_are_timed_from_the_job_s_creation(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", retryCount=1), END)
    before = await scrape(engine)
    for _ in range(3):
        await workflow.start()
    jobs = await workflow.lease("a")
    assert len(jobs) == 3
    await engine.fail(jobs[0], retryable=True)
    assert len(await workflow.lease("a")) == 1
    after = await scrape(engine)
    pickups = "engine_job_pickup_latency_seconds_count"
    first_leases = "job_poll_latency_seconds_count"
    assert (after(pickups) - before(pickups), after(first_leases) - before(first_leases)) == (4, 3)


async def test_a_job_inserted_leased_to_a_waiting_poll_is_timed_too(engine: EngineClient) -> None:
    workflow = await engine.define(service("a", "b"), service("b"), END)
    before = await scrape(engine)
    await workflow.start()
    await workflow.work_off("a")
    await workflow.work_off("b")
    after = await scrape(engine)
    for name in ("engine_job_pickup_latency_seconds_count", "job_poll_latency_seconds_count"):
        assert after(name) - before(name) == 2


async def test_polls_that_return_nothing_are_counted(engine: EngineClient) -> None:
    before = await scrape(engine)
    for _ in range(5):
        assert await engine.poll(["nobody's"]) == []
    after = await scrape(engine)
    assert after("job_lock_conflicts_total") - before("job_lock_conflicts_total") == 5


async def test_expired_leases_are_counted(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    before = await scrape(engine)
    for _ in range(2):
        await workflow.start()
    assert len(await workflow.lease("a", leaseSeconds=1)) == 2

    async def counted() -> bool:
        after = await scrape(engine)
        return after("engine_job_timeout_total") - before("engine_job_timeout_total") == 2

    await eventually(counted)
    assert len(await workflow.lease("a")) == 2


async def test_calls_are_timed_by_pattern_and_status(engine: EngineClient) -> None:
    workflow = await engine.define(wait("w"), END)
    before = await scrape(engine)
    instance = await workflow.start()
    for id in (instance["id"], instance["id"], "ghost"):
        await engine.get(f"/v1/instances/{id}")
    await engine.get("/no/such/path")
    after = await scrape(engine)

    def calls(method: str, path: str, status: str) -> float:
        name, labels = (
            "http_requests_duration_seconds_count",
            {"method": method, "path": path, "status": status},
        )
        return after(name, **labels) - before(name, **labels)

    assert calls("GET", "/v1/instances/{id}", "200") == 2
    assert calls("GET", "/v1/instances/{id}", "404") == 1
    assert calls("POST", "/v1/instances", "201") == 1
    patterns = set(re.findall(r'path="([^"]*)"', await engine.metrics()))
    assert not any(instance["id"] in pattern or "ghost" in pattern for pattern in patterns)
    assert not any("/no/such/path" in pattern for pattern in patterns)


@pytest.mark.parametrize(
    ("name", "buckets"),
    [
        ("http_requests_duration_seconds", BUCKETS),
        ("engine_db_transaction_duration_seconds", BUCKETS),
        ("job_poll_latency_seconds", BUCKETS),
        ("engine_job_pickup_latency_seconds", PICKUP_BUCKETS),
    ],
)
async def test_buckets_and_labels_are_as_promised(
    engine: EngineClient, name: str, buckets: list[str]
) -> None:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    await workflow.work_off("a")
    family = (await scrape(engine)).families[name]
    found = [sample for sample in family.samples if sample.name == f"{name}_bucket"]
    labels = set(found[0].labels)
    assert labels == SERIES[name][1] | {"le"}
    assert list(dict.fromkeys(sample.labels["le"] for sample in found)) == buckets


async def test_a_queue_is_as_long_as_its_waiting_jobs(engine: EngineClient) -> None:
    """What an autoscaler reads: leased, completed and other types' jobs do not count."""
    workflow = await engine.define(service("a", "b"), service("b"), END)

    async def length(step: str) -> int:
        path = f"/metrics/{workflow.job_type(step)}"
        answer = await engine.call("GET", path, base_url=engine.metrics_url)
        assert answer.status == 200, answer
        assert set(answer.json) == {"queue_length"}
        return int(answer.json["queue_length"])

    assert await length("a") == 0
    for _ in range(3):
        await workflow.start()
    assert (await length("a"), await length("b")) == (3, 0)
    job = await workflow.lease_one("a")
    assert await length("a") == 2
    await engine.complete(job)
    assert (await length("a"), await length("b")) == (2, 1)
