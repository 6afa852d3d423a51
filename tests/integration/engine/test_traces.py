"""A trace from its start to its end, as a collector gets it; and what the engine does while there is none."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from kafka_case import KafkaCase, logged, sample
from nodes import END, Boot, Running, service
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from collector import Collector, Span
from patience import eventually
from windlass.telemetry.events import Event
from windlass.telemetry.metrics import CONTENT_TYPE
from windlass.telemetry.tracing.spans import Traces
from windlass.trace_settings import TraceSettings
from windlass_client import Client, Job

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE = {"traceparent": f"00-{TRACE_ID}-{CALLER}-01", "tracestate": "vendor=t61rcWkgMzE"}
PAGE = Path(__file__).parents[3] / "docs/tracing.md"
#: As Prometheus 3 writes it.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def client_of(node: Running, door: str) -> Client:
    assert node.node.grpc is not None
    return Client(
        f"grpc://127.0.0.1:{node.node.grpc.port}"
        if door == "grpc"
        else f"http://127.0.0.1:{node.node.rest.port}"
    )


async def polled(client: Client, job_type: str, wait_s: float = 10.0) -> Job:
    (job,) = await client.poll("w", [job_type], wait_s=wait_s)
    return job


async def trace_of(collector: Collector, trace_id: str, ready: Callable[[list[Span]], bool]) -> list[Span]:
    """Its spans, once they are all there."""
    return await eventually(lambda: found if ready(found := collector.spans(trace_id)) else [], within_s=20)


def tree_of(spans: list[Span], root: str) -> list[str]:
    """The spans below one as lines, each level two blanks further in; children in the order of their beginning."""
    lines: list[str] = []

    def add(parent_id: str, depth: int) -> None:
        for span in spans:
            if span.parent_id == parent_id:
                lines.append("  " * depth + span.name)
                add(span.id, depth + 1)

    add(root, 0)
    return lines


def tree_on_page(door: str) -> list[str]:
    """As docs/tracing.md shows it to users."""
    found = re.search(
        rf"<!-- {door}: .*? -->\n```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found
    return found[1].splitlines()


@pytest.mark.parametrize("door", ["rest", "grpc"])
async def test_one_trace_leads_from_the_start_to_the_end(boot: Boot, collector: Collector, door: str) -> None:
    """Through two nodes; the first attempt fails, and the second is linked to it."""
    a = await boot(
        WINDLASS_OTLP_ENDPOINT=collector.url, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=t"
    )
    b = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await a.define(service("a", "b", retryCount=1), service("b", "end"), END)
    async with client_of(a, door) as client, client_of(b, door) as worker:
        instance = await client.start("d", trace=TRACE)
        first = await polled(worker, "do-a")
        await worker.fail(first, "broke", retryable=True)
        second = await polled(client, "do-a")
        await client.complete(second)
        last = await polled(worker, "do-b")
        await worker.complete(last)
        assert (await client.get(instance.id)).status == "COMPLETED"
    for job in (first, second, last):
        assert job.traceparent is not None
        assert job.traceparent.startswith(f"00-{TRACE_ID}-")
        assert job.tracestate == TRACE["tracestate"]
    wanted = tree_on_page(door)
    spans = await trace_of(collector, TRACE_ID, lambda found: len(found) >= len(wanted))
    assert tree_of(spans, CALLER) == wanted
    attempt_1, attempt_2 = [span for span in spans if span.name == "dispatch do-a"]
    assert attempt_1.links == []
    assert attempt_2.links == [(TRACE_ID, attempt_1.id)]
    assert first.traceparent == f"00-{TRACE_ID}-{attempt_1.id}-01"
    assert attempt_1.kind == "PRODUCER"
    assert attempt_1.attributes == {
        "messaging.system": "windlass",
        "messaging.operation.name": "dispatch",
        "messaging.operation.type": "send",
        "messaging.destination.name": "do-a",
        "messaging.message.id": first.id,
        "windlass.instance.id": instance.id,
        "windlass.job.id": first.id,
        "windlass.job.attempt": 1,
        "windlass.worker.id": "w",
    }
    (end,) = [span for span in spans if span.events]
    assert list(end.events) == [("instance ended", {"windlass.instance.status": "COMPLETED"})]
    assert end.attributes["windlass.batch.commands"] == 1
    assert end.attributes["windlass.definition.id"] == "d"
    assert {span.state for span in spans} == {TRACE["tracestate"]}
    assert {span.resource["service.name"] for span in spans} == {"windlass"}
    assert {span.resource["service.instance.id"] for span in spans} == {"node-1", "node-2"}
    assert {span.resource.get("deployment.environment.name") for span in spans} == {"t", None}
    calls = [span for span in spans if span.kind == "SERVER"]
    assert len(calls) == 4
    assert not any(span.is_error for span in spans)
    assert all(span.began_ns <= span.ended_ns for span in spans)


async def test_a_completion_that_brings_no_trace_is_linked_and_the_instance_stays_in_its_own(
    boot: Boot, collector: Collector
) -> None:
    """As SDKs that know nothing of traces send it."""
    node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await node.define(service("a", "b"), service("b", "end"), END)
    async with client_of(node, "rest") as client:
        await client.start("d", trace=TRACE)
        for job_type in ("do-a", "do-b"):
            await client.complete(await polled(client, job_type), trace={})
    spans = await trace_of(collector, TRACE_ID, lambda found: any(span.events for span in found))
    names = [span.name for span in spans if span.name.startswith(("batch", "dispatch"))]
    assert sorted(names) == [
        "batch instance.complete_job",
        "batch instance.complete_job",
        "batch instance.start",
        "dispatch do-a",
        "dispatch do-b",
    ]
    completed = [span for span in spans if span.name == "batch instance.complete_job"]
    start = next(span for span in spans if span.name == "batch instance.start")
    assert {span.parent_id for span in completed} == {start.id}
    calls = await eventually(
        lambda: (
            found
            if len(found := [s for s in collector.spans() if s.name == "POST /v1/jobs/{id}/complete"]) == 2
            else []
        )
    )
    assert sorted(link for span in completed for link in span.links) == sorted(
        (s.trace_id, s.id) for s in calls
    )
    assert {span.parent_id for span in calls} == {""}


async def test_commands_of_one_transaction_are_linked_to_the_first(boot: Boot, collector: Collector) -> None:
    node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await node.define(service("a", "end"), END)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(node, "rest"))
        await asyncio.gather(*(client.start("d") for _ in range(20)))
    spans = await eventually(
        lambda: (
            found
            if len(found := [s for s in collector.spans() if s.name == "batch instance.start"]) == 20
            else []
        )
    )
    assert len({span.trace_id for span in spans}) == 20, "each start began a trace"
    firsts = {(span.trace_id, span.id) for span in spans if not span.links}
    assert len(firsts) < 20, "some were committed together"
    for span in spans:
        assert len(span.links) <= 1
        assert set(span.links) <= firsts


async def test_a_timer_s_sweep_and_a_lapsed_lease_are_told(boot: Boot, collector: Collector) -> None:
    node = await boot(
        WINDLASS_OTLP_ENDPOINT=collector.url,
        WINDLASS_TIMER_SWEEP_SECONDS="0.1",
        WINDLASS_LEASE_SWEEP_SECONDS="0.1",
        WINDLASS_LEASE_EXPIRIES_MAX="2",
    )
    timer = {"type": "TIMER", "duration": "PT1S", "interrupting": True, "targetStepId": "b"}
    await node.define(service("a", "end", boundaryEvents=[timer]), service("b", "end"), END)
    async with client_of(node, "rest") as client:
        await client.start("d", trace=TRACE)
        first, second = await polled(client, "do-b"), None
        while second is None:
            second = next(iter(await client.poll("w", ["do-b"], lease_s=1, wait_s=5)), None)
            if second is None:
                await node.rows("UPDATE job SET lock_expires_at = now() WHERE id = $1", first.id)
        await node.rows("UPDATE job SET lock_expires_at = now() WHERE id = $1", first.id)
        spans = await trace_of(collector, TRACE_ID, lambda found: any(span.events for span in found))
    fired = next(span for span in spans if span.name == "batch instance.interrupt_boundary")
    failed = next(span for span in spans if span.name == "batch instance.fail_job")
    assert list(failed.events) == [("instance ended", {"windlass.instance.status": "FAILED"})]
    sweeps = {span.name: span for span in collector.spans() if span.name.startswith("sweep")}
    assert list(fired.links) == [(sweeps["sweep timers"].trace_id, sweeps["sweep timers"].id)]
    leases = [span for span in collector.spans() if span.name == "sweep leases"]
    assert [span.attributes["windlass.sweep.count"] for span in leases] == [1, 1]
    assert list(failed.links) == [(leases[-1].trace_id, leases[-1].id)]
    attempts = [span for span in spans if span.name == "dispatch do-b"]
    assert [span.attributes["windlass.job.attempt"] for span in attempts] == [1, 2]
    assert list(attempts[1].links) == [(TRACE_ID, attempts[0].id)]


@pytest.mark.slow
@pytest.mark.xdist_group("kafka")
@pytest.mark.parametrize("case", ["librdkafka", "kafka-python"], indirect=True)
async def test_through_kafka_the_trace_is_in_the_headers(case: KafkaCase, collector: Collector) -> None:
    node = await case.boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await case.one_step(node, retryCount=1)
    async with client_of(node, "rest") as client:
        await client.start("d", trace=TRACE)
        await case.drained(node)
        (record,) = await case.broker.records_of(case.topic("a"))
        (event,) = await case.events()
        job = Job(
            id=event.job_id, instance_id=event.instance_id, step_id="a", step_execution_id="", job_type="",
            retries_remaining=1, variables={}, lock_expires_at=event.created_at.ToDatetime(), lease_token="",
            worker_id="w", traceparent=record.headers["traceparent"].decode(),
            tracestate=record.headers["tracestate"].decode(),
        )  # fmt: skip
        await client.fail(job, "broke", retryable=True)
        await case.drained(node)
        later = next(
            each.headers
            for each in await case.broker.records_of(case.topic("a"))
            if each.headers["dedup-id"] != record.headers["dedup-id"]
        )
        assert later["traceparent"] != record.headers["traceparent"]
        await client.complete(job, trace={"traceparent": later["traceparent"].decode()})
    spans = await trace_of(collector, TRACE_ID, lambda found: len(found) >= 8)
    send = f"send {case.topic('a')}"
    assert tree_of(spans, CALLER) == [
        "POST /v1/instances",
        "  batch instance.start",
        f"    {send}",
        "      POST /v1/jobs/{id}/fail",
        "        batch instance.fail_job",
        f"    {send}",
        "      POST /v1/jobs/{id}/complete",
        "        batch instance.complete_job",
    ]
    attempt_1, attempt_2 = [span for span in spans if span.name == send]
    assert attempt_1.links == []
    assert attempt_2.links == [(TRACE_ID, attempt_1.id)]
    assert (attempt_1.kind, attempt_1.attributes["messaging.system"]) == ("PRODUCER", "kafka")
    assert attempt_1.attributes["messaging.destination.name"] == case.topic("a")
    assert attempt_1.attributes["messaging.message.id"] == event.dedup_id
    assert record.headers["traceparent"].decode() == f"00-{TRACE_ID}-{attempt_1.id}-01"


# -- exemplars


async def test_samples_of_latency_name_the_spans_that_they_were_taken_in(
    boot: Boot, collector: Collector
) -> None:
    """In OpenMetrics alone, which Prometheus asks for by itself."""
    node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client, client_of(node, "grpc") as grpc:
        await client.start("d", trace=TRACE)
        await client.complete(await polled(client, "do-a"))
        await grpc.start("d", trace=TRACE)
    spans = await trace_of(collector, TRACE_ID, lambda found: len(found) >= 7)
    ids = {span.name: {s.id for s in spans if s.name == span.name} for span in spans}
    url = f"http://127.0.0.1:{node.node.metrics_app.port}/metrics"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers={"Accept": ACCEPT}) as answer:
            assert answer.content_type == "application/openmetrics-text"
            text = await answer.text()
        async with session.get(url) as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            plain = await answer.text()
            assert "trace_id" not in plain
    by_family: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for each in family.samples:
            if each.exemplar is not None:
                assert each.exemplar.labels["trace_id"] == TRACE_ID
                by_family.setdefault(family.name, set()).add(each.exemplar.labels["span_id"])
    assert by_family["http_requests_duration_seconds"] == (
        ids["POST /v1/instances"] | ids["POST /v1/jobs/{id}/complete"]
    )
    assert by_family["grpc_requests_duration_seconds"] == ids["workflow.v1.WorkflowEngine/StartInstance"]
    assert by_family["engine_db_transaction_duration_seconds"] <= (
        ids["batch instance.start"] | ids["batch instance.complete_job"]
    )
    assert by_family["engine_job_pickup_latency_seconds"] <= ids["batch instance.start"]
    names = {line.split()[2] for line in plain.splitlines() if line.startswith("# TYPE")}
    assert {name.removesuffix("_total") for name in names} == {
        line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")
    }


# -- without a collector


@pytest.mark.parametrize("door", ["rest", "grpc"])
async def test_without_tracing_a_trace_is_handed_on_as_it_came(boot: Boot, door: str) -> None:
    node = await boot()
    await node.define(service("a", "b"), service("b", "end"), END)
    async with client_of(node, door) as client:
        await client.start("d", trace=TRACE)
        first = await polled(client, "do-a")
        await client.complete(first)
        second = await polled(client, "do-b")
        assert first.trace == second.trace == TRACE
        await client.complete(second)
        await client.start("d")
        assert (await polled(client, "do-a")).trace == {}
    rows = await node.rows("SELECT trace_context FROM job ORDER BY created_at, id")
    assert [row["trace_context"] for row in rows] == [" ".join(TRACE.values())] * 2 + [None]
    bare = await node.rows("SELECT progress FROM workflow_instance WHERE progress NOT LIKE '%trace%'")
    assert len(bare) == 1, "an instance without a trace stores nothing of it"


async def test_a_waiting_poll_gets_the_trace_too(boot: Boot) -> None:
    node = await boot()
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client:
        poll = asyncio.create_task(polled(client, "do-a"))
        await eventually(lambda: node.node.polls.parked)
        await client.start("d", trace=TRACE)
        assert (await poll).trace == TRACE


async def test_a_caller_who_has_not_decided_to_record_is_heeded(boot: Boot, collector: Collector) -> None:
    node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client:
        await client.start("d", trace={"traceparent": f"00-{TRACE_ID}-{CALLER}-00"})
        job = await polled(client, "do-a")
        assert job.traceparent is not None
        assert job.traceparent.startswith(f"00-{TRACE_ID}-")
        assert job.traceparent.endswith("-00")
        await client.complete(job)
        await client.get(job.instance_id)
    await eventually(lambda: [s for s in collector.spans() if s.name == "GET /v1/instances/{id}"])
    assert collector.spans(TRACE_ID) == []


async def test_a_ratio_of_none_records_none_that_begin_here(boot: Boot, collector: Collector) -> None:
    node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url, WINDLASS_TRACE_RATIO="0")
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client:
        await client.start("d")
        await client.start("d", trace=TRACE)
    spans = await trace_of(collector, TRACE_ID, lambda found: len(found) == 2)
    assert collector.spans() == spans


async def test_headers_reach_the_collector_and_the_library_s_own_variables_count_for_nothing(
    boot: Boot, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {
        "OTEL_EXPORTER_OTLP_HEADERS": "x-leaked=1",
        "OTEL_SDK_DISABLED": "true",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    node = await boot(
        WINDLASS_OTLP_ENDPOINT=f"{collector.url}/",
        WINDLASS_OTLP_HEADERS="authorization=Bearer%20abc, X-Team = a",
    )
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client:
        await client.start("d", trace=TRACE)
    await trace_of(collector, TRACE_ID, bool)
    assert (collector.headers["authorization"], collector.headers["x-team"]) == ("Bearer abc", "a")
    assert "x-leaked" not in collector.headers
    assert {name: os.environ[name] for name in own} == own
    assert "Bearer" not in str(node.log_lines())


async def test_a_collector_that_is_away_costs_a_line_and_a_count(boot: Boot) -> None:
    with Collector() as gone:
        url, port = gone.url, gone.port
    node = await boot(
        WINDLASS_OTLP_ENDPOINT=url, WINDLASS_OTLP_TIMEOUT_SECONDS="0.5", WINDLASS_TRACE_QUEUE_MAX="5"
    )
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client:
        for _ in range(3):
            await client.start("d")
        lost = await eventually(lambda: logged(node, Event.COLLECTOR_LOST))
        assert "Connection refused" in lost[0]["err"]
        for _ in range(10):
            await client.start("d")
        await eventually(lambda: sample(node, 'windlass_trace_spans_dropped_total{reason="queue"}'))
        await eventually(
            lambda: (sample(node, 'windlass_trace_spans_dropped_total{reason="collector"}') or 0) > 5
        )
        assert len(logged(node, lost[0]["msg"])) == 1
        assert sample(node, "windlass_trace_spans_exported_total") == 0
        with Collector(port) as collector:
            await client.start("d", trace=TRACE)
            await trace_of(collector, TRACE_ID, lambda found: len(found) == 2)
        assert len(logged(node, Event.COLLECTOR_BACK)) == 1
    assert not logged(node, "library")


async def test_a_collector_that_hangs_holds_up_neither_calls_nor_the_end(boot: Boot) -> None:
    with Collector() as collector:
        collector.may_answer.clear()
        node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
        await node.define(service("a", "end"), END)
        async with client_of(node, "rest") as client:
            await client.start("d")
            await eventually(lambda: collector.requests)
            began_s = time.monotonic()
            await client.start("d")
            assert time.monotonic() - began_s < 2
        began_s = time.monotonic()
        await node.node._shut_down()
        assert time.monotonic() - began_s < 5


async def test_what_waits_is_sent_before_the_end(boot: Boot, collector: Collector) -> None:
    node = await boot(WINDLASS_OTLP_ENDPOINT=collector.url)
    await node.define(service("a", "end"), END)
    async with client_of(node, "rest") as client:
        await client.start("d", trace=TRACE)
    await node.node._shut_down()
    assert len(collector.spans(TRACE_ID)) == 2


async def test_an_end_before_the_boot_was_done_waits_for_nothing(boot: Boot, collector: Collector) -> None:
    running = await boot()
    settings = TraceSettings(otlp_endpoint=collector.url)
    traces = Traces(settings, running.node.telemetry, node="n", version="1")
    await asyncio.wait_for(traces.stop(30), 1)
