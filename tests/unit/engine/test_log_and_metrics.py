"""Contract 8.1 and 8.4: the shape of a line, when it is written, and which series there are."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from patience import eventually
from windlass.dispatch.kafka.boot import KafkaEvent
from windlass.dispatch.kafka.metrics import KafkaMetrics
from windlass.telemetry.events import BrokerEvent, Event
from windlass.telemetry.log import TRACEPARENT, Log, bridge_stdlib
from windlass.telemetry.metrics import Metrics
from windlass.telemetry.output import HELD_BYTES_MAX


class Sink(io.BytesIO):
    """Counts the writes that reach it; `open` lets them through."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.written = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def write(self, data: Any) -> int:
        self.open.wait(10)
        self.writes += 1
        self.written.set()
        return super().write(data)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def test_a_line_is_one_object_in_order() -> None:
    sink = Sink()
    log = Log("debug", sink)
    log.info(Event.REST_REQUEST, status=204, duration=1_500_000, path="/v1/é\n", ok=True, none=None)
    log.flush()
    line = sink.getvalue().decode()
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert list(json.loads(line)) == ["time", "level", "msg", "status", "duration", "path", "ok", "none"]
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"])
    assert (found["level"], found["msg"], found["duration"]) == ("INFO", "rest request", 1_500_000)


@pytest.mark.parametrize(
    ("threshold", "written"),
    [
        ("debug", ["DEBUG", "INFO", "WARN", "ERROR"]),
        ("info", ["INFO", "WARN", "ERROR"]),
        ("warn", ["WARN", "ERROR"]),
        ("error", ["ERROR"]),
    ],
)
def test_levels(threshold: str, written: list[str]) -> None:
    sink = Sink()
    log = Log(threshold, sink)
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)("x")
        assert log.enabled(level.removesuffix("ing")) == (
            level[:4].upper().rstrip("I") in {w[:4] for w in written}
        )
    log.flush()
    assert [line["level"] for line in sink.lines()] == written


async def test_lines_gather_and_leave_together_soon() -> None:
    sink = Sink()
    log = Log("info", sink)
    for n in range(50):
        log.info("x", n=n)
    assert sink.writes == 0
    async with asyncio.timeout(2):
        while not sink.writes:
            await asyncio.sleep(0.001)
    assert sink.writes == 1
    assert [line["n"] for line in sink.lines()] == list(range(50))
    log.info("later")
    async with asyncio.timeout(2):
        while sink.writes < 2:
            await asyncio.sleep(0.001)


async def test_warnings_and_errors_do_not_wait_and_keep_the_order() -> None:
    sink = Sink()
    log = Log("info", sink)
    log.info("a")
    log.warning("b")
    await eventually(lambda: [line["msg"] for line in sink.lines()] == ["a", "b"], every_s=0.001)
    log.info("c")
    log.error("d")
    await eventually(lambda: [line["msg"] for line in sink.lines()] == ["a", "b", "c", "d"], every_s=0.001)


def test_a_burst_does_not_wait_for_the_loop() -> None:
    sink = Sink()
    log = Log("info", sink)

    async def burst() -> None:
        for _ in range(HELD_BYTES_MAX // 2000):
            log.info("x" * 1000)
        # The loop does not run meanwhile.
        assert sink.written.wait(5)

    asyncio.run(burst())


async def test_a_reader_that_stops_holds_up_nobody_and_hears_later_how_much_it_missed() -> None:
    sink = Sink()
    log = Log("info", sink)
    dropped = []
    log.count_dropped = lambda: dropped.append(1)
    sink.open.clear()
    line_bytes = len(json.dumps({"time": "2026-01-01T00:00:00.000000Z", "level": "INFO", "msg": "x" * 1000}))
    count = 3 * HELD_BYTES_MAX // line_bytes
    began_s = time.monotonic()
    for n in range(count):
        log.info("x" * 1000, n=n)
        if n == 10:
            log.error("one that the writer takes")
            await asyncio.sleep(0.05)
    log.flush()
    assert time.monotonic() - began_s < 5
    assert 0 < len(dropped) < count
    sink.open.set()
    await eventually(lambda: any(line["msg"] == Event.LINES_DROPPED for line in sink.lines()))
    (told,) = [line for line in sink.lines() if line["msg"] == Event.LINES_DROPPED]
    assert (told["level"], told["count"]) == ("WARN", len(dropped))
    assert len(sink.lines()) == count + 2 - len(dropped)
    log.info("after")
    log.flush()
    assert sink.lines()[-1]["msg"] == "after"


def test_a_pipe_that_may_not_wait_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as stream:
        log = Log("info", stream)
        for n in range(500):
            log.info("x" * 1000, n=n)
        got = [json.loads(reader.readline())["n"] for _ in range(500)]
    assert got == list(range(500))


async def test_a_new_loop_flushes_too() -> None:
    sink = Sink()
    log = Log("info", sink)

    async def say() -> None:
        log.info("said")

    await asyncio.to_thread(lambda: asyncio.run(say()))
    log.info("and then")
    await eventually(lambda: [line["msg"] for line in sink.lines()] == ["said", "and then"])


def test_what_cannot_be_encoded_is_still_told() -> None:
    sink = Sink()
    log = Log("info", sink)
    loop: list[Any] = []
    loop.append(loop)
    log.info("odd", surrogate="\ud800", thing=object, loop=loop, big=10**400, raw=b"\xff")
    log.flush()
    (line,) = sink.lines()
    assert line["surrogate"] == "\\ud800"
    assert "object" in line["thing"]


def test_err_is_told_without_passwords() -> None:
    sink = Sink()
    log = Log("info", sink)
    log.error("x", err=OSError("postgresql://u:hunter2@h/d refused"))
    log.error("x", err="password=hunter2")
    log.error("x", err=ValueError())
    log.flush()
    assert [line["err"] for line in sink.lines()] == [
        "OSError: postgresql://u:***@h/d refused",
        "password=***",
        "ValueError",
    ]


def test_a_traced_call_s_lines_carry_its_header() -> None:
    sink = Sink()
    log = Log("info", sink)
    token = TRACEPARENT.set("00-1-2-01")
    log.info("in")
    TRACEPARENT.reset(token)
    log.info("out")
    log.flush()
    assert [line.get("traceparent") for line in sink.lines()] == ["00-1-2-01", None]


def test_a_reader_that_went_away_costs_lines_only() -> None:
    class Gone(io.BytesIO):
        def flush(self) -> None:
            raise BrokenPipeError

    gone = Log("info", Gone())
    gone.error("x")
    closed = io.BytesIO()
    shut = Log("info", closed)
    closed.close()
    shut.error("x")
    began_s = time.monotonic()
    for log in (gone, shut):
        log.flush()
    assert time.monotonic() - began_s < 1


def test_the_end_of_the_process_writes_what_is_left() -> None:
    program = (
        "import asyncio, sys\n"
        "from windlass.telemetry.log import Log\n"
        "log = Log('info', sys.stdout.buffer)\n"
        "async def main(): log.info('last words')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout)["msg"] == "last words"


@pytest.fixture
def bridged() -> Iterator[Sink]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    sink = Sink()
    bridge_stdlib(Log("debug", sink))
    yield sink
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


async def test_libraries_speak_in_the_same_shape(bridged: Sink) -> None:
    logging.getLogger("asyncio").debug("not this")
    logging.getLogger("asyncpg").warning("slow %s", "password=hunter2")
    try:
        raise ValueError("postgresql://u:hunter2@h/d")
    except ValueError:
        logging.getLogger("asyncio").exception("never retrieved")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd", stacklevel=1)
    await eventually(lambda: len(bridged.lines()) == 3)
    lines = bridged.lines()
    assert [(line["level"], line["msg"], line["logger"]) for line in lines] == [
        ("WARN", "library", "asyncpg"),
        ("ERROR", "library", "asyncio"),
        ("WARN", "library", "py.warnings"),
    ]
    assert lines[0]["text"] == "slow password=***"
    assert "ValueError" in lines[1]["stack"]
    assert "hunter2" not in json.dumps(lines)


def test_every_event_has_its_own_text() -> None:
    texts = [value for name, value in vars(Event).items() if name.isupper()]
    assert len(texts) == len(set(texts))
    assert not any("kafka" in text.lower() for text in texts)


BOTH = {
    "workflow_definitions_uploaded_total": "counter",
    "workflow_instances_started_total": "counter",
    "workflow_instances_completed_total": "counter",
    "workflow_steps_executed_total": "counter",
    "job_retries_total": "counter",
    "workflow_job_failed_total": "counter",
    "http_requests_duration_seconds": "histogram",
    "grpc_requests_duration_seconds": "histogram",
    "engine_db_transaction_duration_seconds": "histogram",
    "engine_db_lock_wait_duration_seconds": "histogram",
    "engine_job_timeout_total": "counter",
    "windlass_lane_batch_size": "histogram",
    "windlass_calls_shed_total": "counter",
    "windlass_queue_wait_seconds": "gauge",
    "windlass_memory_limit_bytes": "gauge",
    "windlass_memory_drawn_bytes": "gauge",
    "windlass_memory_refused_total": "counter",
    "windlass_answers_cut_total": "counter",
    "windlass_trace_spans_dropped_total": "counter",
    "windlass_trace_spans_exported_total": "counter",
    "windlass_auth_refused_total": "counter",
    "windlass_auth_tokens_unusable_total": "counter",
    "windlass_auth_keys_unusable_total": "counter",
    "windlass_tls_certificate_expiry_timestamp_seconds": "gauge",
    "windlass_tls_certificate_unusable": "gauge",
    "windlass_tls_handshakes_failed_total": "counter",
    "windlass_log_dropped_lines_total": "counter",
    "windlass_polls_ended_early_total": "counter",
    "windlass_connections_closed_idle_total": "counter",
    "windlass_connections_refused_total": "counter",
    "windlass_wake_degraded": "gauge",
    "windlass_wake_bus": "gauge",
    "windlass_database_way": "gauge",
    "windlass_database_sessions": "gauge",
    "windlass_retention_removed_rows_total": "counter",
    "windlass_retention_oldest_seconds": "gauge",
    "windlass_build_info": "gauge",
}
POLLING_ONLY = {
    "job_poll_latency_seconds": "histogram",
    "job_lock_conflicts_total": "counter",
    "engine_job_pickup_latency_seconds": "histogram",
    "windlass_jobs_passed_over_total": "counter",
}
BROKER_ONLY = {
    "workflow_engine_dispatch_outbox_backlog": "gauge",
    "workflow_engine_dispatch_relay_publish_total": "counter",
    "workflow_engine_dispatch_relay_batch_latency_seconds": "histogram",
    "workflow_engine_dispatch_relay_leader": "gauge",
    "windlass_dispatch_topic_unusable": "gauge",
    "windlass_dispatch_redeliveries_total": "counter",
}
KAFKA_ONLY = {
    "workflow_engine_kafka_producer_errors_total": "counter",
    "workflow_engine_kafka_consumer_lag_seconds": "gauge",
}


def types_of(metrics: Metrics) -> dict[str, str]:
    found = re.findall(r"^# TYPE (\S+) (\S+)$", metrics.exposition().decode(), re.MULTILINE)
    return {name: kind for name, kind in found if not name.startswith("process_")}


def feed(metrics: Metrics) -> None:
    metrics.definitions_uploaded.inc()
    metrics.instances_started.inc()
    metrics.instances_completed("failed").inc()
    metrics.steps_executed("DECISION").inc(2)
    metrics.job_retries.inc()
    metrics.job_failed.inc()
    metrics.job_timeouts.inc(3)
    metrics.http_observer("GET", "/v1/x/{id}", 200)(0.02)
    metrics.grpc_duration("PollJobs", "OK").observe(0.02)
    metrics.db_transaction_duration("instance.start").observe(0.02)
    metrics.db_lock_wait_duration("instance.for_update").observe(0.02)
    metrics.job_poll_latency.observe(0.02)
    metrics.job_lock_conflicts.inc()
    metrics.job_pickup_latency.observe(0.02)
    metrics.outbox_backlog.set(7)
    metrics.relay_publish("success").inc()
    metrics.relay_batch_latency.observe(0.02)
    metrics.relay_leader.set(1)
    metrics.destination_unusable.labels("workflow.jobs.b").set(1)
    metrics.destination_unusable.remove("workflow.jobs.b")
    metrics.redeliveries.inc()
    metrics.lane_batch_size.observe(3)
    metrics.wake_degraded.set(1)


def test_polling_has_its_own_series_and_no_broker_s() -> None:
    metrics = Metrics("polling")
    feed(metrics)
    assert types_of(metrics) == BOTH | POLLING_ONLY
    text = metrics.exposition().decode()
    assert "kafka" not in text.lower()
    assert "_created" not in text
    assert "process_cpu_seconds_total" in text
    for sample in (
        'workflow_instances_completed_total{outcome="cancelled"} 0.0',
        'workflow_instances_completed_total{outcome="failed"} 1.0',
        'workflow_steps_executed_total{step_type="DECISION"} 2.0',
        "engine_job_timeout_total 3.0",
        'http_requests_duration_seconds_bucket{le="0.025",method="GET",path="/v1/x/{id}",status="200"} 1.0',
        'http_requests_duration_seconds_bucket{le="0.01",method="GET",path="/v1/x/{id}",status="200"} 0.0',
        'engine_job_pickup_latency_seconds_bucket{le="0.02"} 1.0',
        'engine_job_pickup_latency_seconds_bucket{le="0.075"} 1.0',
        'windlass_build_info{dispatch_mode="polling",version="0.1.0"} 1.0',
    ):
        assert sample in text.splitlines(), sample


def test_the_broker_s_mode_has_no_polling_series_and_feeding_them_is_harmless() -> None:
    metrics = Metrics("kafka_outbox")
    feed(metrics)
    assert types_of(metrics) == BOTH | BROKER_ONLY
    kafka = KafkaMetrics(metrics.registry)
    kafka.producer_errors("_TRANSPORT").inc()
    kafka.consumer_lag.labels("workflow.jobs.a", "workflow.workers.a", "0").set(1.5)
    assert types_of(metrics) == BOTH | BROKER_ONLY | KAFKA_ONLY
    lines = metrics.exposition().decode().splitlines()
    for sample in (
        "workflow_engine_dispatch_outbox_backlog 7.0",
        'workflow_engine_dispatch_relay_publish_total{result="success"} 1.0',
        'workflow_engine_dispatch_relay_publish_total{result="error"} 0.0',
        "workflow_engine_dispatch_relay_leader 1.0",
        'workflow_engine_kafka_producer_errors_total{code="_TRANSPORT"} 1.0',
    ):
        assert sample in lines, sample
    lag = 'consumer_lag_seconds{group="workflow.workers.a",partition="0",topic="workflow.jobs.a"} 1.5'
    assert f"workflow_engine_kafka_{lag}" in lines
    assert not [line for line in lines if line.startswith("windlass_dispatch_topic_unusable{")]


def test_the_broker_s_events_have_texts_of_their_own() -> None:
    texts = [
        value for kind in (BrokerEvent, KafkaEvent) for name, value in vars(kind).items() if name.isupper()
    ]
    others = [value for name, value in vars(Event).items() if name.isupper()]
    assert len(texts + others) == len({*texts, *others})


def test_two_registries_do_not_meet() -> None:
    one, other = Metrics("polling"), Metrics("polling")
    one.instances_started.inc()
    assert "workflow_instances_started_total 0.0" in other.exposition().decode()


def test_children_are_made_once() -> None:
    metrics = Metrics("polling")
    assert metrics.steps_executed("END") is metrics.steps_executed("END")
    assert metrics.http_duration("GET", "/x", "200") is not metrics.http_duration("GET", "/x", "404")
