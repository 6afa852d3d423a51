"""Every metric of contract 8.1, and our own under `windlass_`, in a separate registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Generic, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics

from windlass.auth.gate import Refusal
from windlass.memory import Use
from windlass.tls.watch import HandshakeFault

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text"
OPEN_METRICS_CONTENT_TYPE = f"{OPEN_METRICS}; version=1.0.0; charset=utf-8"

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_PICKUP_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

OUTCOMES = ("completed", "failed", "cancelled")
ANSWERS = ("poll", "list", "history")
APIS = ("rest", "grpc")
SPANS_DROPPED = ("queue", "collector")
WAKE_BUSES = ("postgres", "redis", "none")


Child_co = TypeVar("Child_co", covariant=True)


class Observer(Protocol):
    """Takes seconds, and the labels of an exemplar."""

    def __call__(self, amount: float, exemplar: dict[str, str] | None = None) -> None: ...


class Counts(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class Observes(Protocol):
    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None: ...


class Shows(Protocol):
    def set(self, value: float) -> None: ...


class ShowsEach(Protocol):
    """A gauge with labels; a child that is removed is no longer exposed."""

    def labels(self, *labels: str) -> Shows: ...
    def remove(self, *labels: str) -> None: ...


class _Absent:
    """Used where this dispatch mode does not expose a series; recording to it does nothing."""

    def inc(self, amount: float = 1) -> None:
        """Count nothing."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Observe nothing."""

    def set(self, value: float) -> None:
        """Set nothing."""

    def labels(self, *labels: str) -> _Absent:  # noqa: ARG002 - as the series that stand here otherwise
        """Return the same, for chained calls."""
        return self

    def remove(self, *labels: str) -> None:
        """Remove nothing."""


class Children(Generic[Child_co]):
    """A labelled family whose children are looked up once: `family("polling").inc()`, labels in order."""

    def __init__(self, make: Callable[..., Child_co]) -> None:
        self._make = make
        self._made: dict[tuple[str, ...], Child_co] = {}

    def __call__(self, *labels: str) -> Child_co:
        child = self._made.get(labels)
        if child is None:
            child = self._made[labels] = self._make(*labels)
        return child


class Metrics:
    """One attribute for each metric of the dispatch mode; for metrics of the other mode it does nothing.

    Metrics that only one broker has are in its folder below `dispatch/`.

    Durations are observed in seconds.
    """

    def __init__(self, dispatch_mode: str) -> None:
        # A switch of the whole library; contract 8.1 lists no *_created series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._engine()
        self._polling(dispatch_mode)
        self._broker(dispatch_mode)
        self._own(dispatch_mode)

    def _engine(self) -> None:
        self.definitions_uploaded: Counts = self._counter(
            "workflow_definitions_uploaded_total", "Definition versions stored"
        )
        self.instances_started: Counts = self._counter(
            "workflow_instances_started_total", "Instances started, including chained ones"
        )
        #: outcome: completed, failed, cancelled
        self.instances_completed: Children[Counts] = Children(
            self._counter("workflow_instances_completed_total", "Instances ended", "outcome").labels
        )
        for outcome in OUTCOMES:
            self.instances_completed(outcome)
        #: step_type
        self.steps_executed: Children[Counts] = Children(
            self._counter("workflow_steps_executed_total", "Steps entered", "step_type").labels
        )
        self.job_retries: Counts = self._counter(
            "job_retries_total", "Jobs put back after a retryable failure"
        )
        self.job_failed: Counts = self._counter("workflow_job_failed_total", "Jobs failed for good")
        self.job_timeouts: Counts = self._counter("engine_job_timeout_total", "Leases that expired")
        #: method, path (pattern), status
        self.http_duration: Children[Observes] = Children(
            self._histogram(
                "http_requests_duration_seconds", "REST calls", _BUCKETS_S, "method", "path", "status"
            ).labels
        )
        #: method, code
        self.grpc_duration: Children[Observes] = Children(
            self._histogram(
                "grpc_requests_duration_seconds", "gRPC calls", _BUCKETS_S, "method", "code"
            ).labels
        )
        #: tx_type
        self.db_transaction_duration: Children[Observes] = Children(
            self._histogram(
                "engine_db_transaction_duration_seconds", "Engine transactions", _BUCKETS_S, "tx_type"
            ).labels
        )
        #: operation
        self.db_lock_wait_duration: Children[Observes] = Children(
            self._histogram(
                "engine_db_lock_wait_duration_seconds", "Waits for row locks", _BUCKETS_S, "operation"
            ).labels
        )

    def _polling(self, dispatch_mode: str) -> None:
        self.job_poll_latency: Observes = _Absent()
        self.job_lock_conflicts: Counts = _Absent()
        self.job_pickup_latency: Observes = _Absent()
        self.jobs_passed_over: Counts = _Absent()
        if dispatch_mode != "polling":
            return
        self.job_poll_latency = self._histogram(
            "job_poll_latency_seconds", "From a job's creation to its first lease", _BUCKETS_S
        )
        self.job_lock_conflicts = self._counter("job_lock_conflicts_total", "Polls that returned nothing")
        self.job_pickup_latency = self._histogram(
            "engine_job_pickup_latency_seconds", "From a job's creation to its lease", _PICKUP_BUCKETS_S
        )
        self.jobs_passed_over = self._counter(
            "windlass_jobs_passed_over_total",
            "Looks, one a minute for each job type, that found a job too large for the gRPC polls that wait",
        )

    def _broker(self, dispatch_mode: str) -> None:
        self.outbox_backlog: Shows = _Absent()
        #: result: success, error
        self.relay_publish: Children[Counts] = Children(_Absent().labels)
        self.relay_batch_latency: Observes = _Absent()
        self.relay_leader: Shows = _Absent()
        #: topic, the destination's name
        self.destination_unusable: ShowsEach = _Absent()
        self.redeliveries: Counts = _Absent()
        if dispatch_mode == "polling":
            return
        dispatch = "workflow_engine_dispatch"
        self.outbox_backlog = self._gauge(f"{dispatch}_outbox_backlog", "Events that wait to be published")
        self.relay_publish = Children(
            self._counter(f"{dispatch}_relay_publish_total", "Events offered to the broker", "result").labels
        )
        for result in ("success", "error"):
            self.relay_publish(result)
        self.relay_batch_latency = self._histogram(
            f"{dispatch}_relay_batch_latency_seconds",
            "From reading a batch of events to their removal",
            _BUCKETS_S,
        )
        self.relay_leader = self._gauge(f"{dispatch}_relay_leader", "1 on the node that runs the relay")
        self.destination_unusable = self._gauge(
            "windlass_dispatch_topic_unusable",
            "1 for a topic that job types need and that is missing or may not be written to",
            "topic",
        )
        self.redeliveries = self._counter(
            "windlass_dispatch_redeliveries_total",
            "Jobs dispatched again because nobody completed them in time",
        )

    def _own(self, dispatch_mode: str) -> None:
        self.lane_batch_size: Observes = self._histogram(
            "windlass_lane_batch_size", "Commands committed by one transaction", _BATCH_BUCKETS
        )
        self.calls_shed: Counts = self._counter(
            "windlass_calls_shed_total", "Calls refused because too much waited before them"
        )
        self.queue_wait = self._gauge(
            "windlass_queue_wait_seconds",
            "How long a small call that comes now would wait for its batch to begin",
        )
        self._doors()
        #: reason: queue, collector
        self.spans_dropped: Children[Counts] = Children(
            self._counter(
                "windlass_trace_spans_dropped_total",
                "Spans that the collector never got: the queue was full, or it took none for too long",
                "reason",
            ).labels
        )
        for reason in SPANS_DROPPED:
            self.spans_dropped(reason)
        self.spans_exported: Counts = self._counter(
            "windlass_trace_spans_exported_total", "Spans that the collector has taken"
        )
        self.log_lines_dropped: Counts = self._counter(
            "windlass_log_dropped_lines_total", "Log lines dropped because nobody read standard output"
        )
        #: table
        self.retention_removed: Children[Counts] = Children(
            self._counter(
                "windlass_retention_removed_rows_total",
                "Rows removed because their instance finished too long ago, and old audit rows of none",
                "table",
            ).labels
        )
        self.retention_oldest: Shows = self._gauge(
            "windlass_retention_oldest_seconds",
            "How long ago the oldest instance finished that the last pass of the retention found due; 0 if none was",
        )
        self.wake_degraded = Gauge(
            "windlass_wake_degraded",
            "1 while the node finds jobs only by polling although its wake mode expects notifications",
            registry=self.registry,
        )
        #: bus: postgres, redis, none
        self.wake_bus: Children[Shows] = Children(
            self._gauge(
                "windlass_wake_bus",
                "1 for what carries notifications from node to node, 0 for the others",
                "bus",
            ).labels
        )
        #: way: direct, session pooler, transaction pooler
        self.database_way: Children[Shows] = Children(
            self._gauge(
                "windlass_database_way", "1 for what is between engine and database, 0 for the others", "way"
            ).labels
        )
        self.database_sessions: Shows = self._gauge(
            "windlass_database_sessions",
            "1 while sessions of the engine's own can be had, for notifications and the relay's lock",
        )
        Gauge(
            "windlass_build_info",
            "Always 1; the labels show what is running",
            ("version", "dispatch_mode"),
            registry=self.registry,
        ).labels(version("windlass"), dispatch_mode).set(1)

    def _doors(self) -> None:
        """Of calls: who is refused, and for want of what."""
        self.memory_limit: Shows = self._gauge(
            "windlass_memory_limit_bytes", "Memory that the process may have"
        )
        #: use: body, parsed, batch, answer
        self.memory_drawn: Children[Shows] = Children(
            self._gauge(
                "windlass_memory_drawn_bytes", "Memory drawn on the budget by calls in progress", "use"
            ).labels
        )
        self.memory_refused: Children[Counts] = Children(
            self._counter(
                "windlass_memory_refused_total", "Calls refused because the memory budget had no room", "use"
            ).labels
        )
        for use in Use:
            self.memory_refused(use.value)
        #: answer: poll, list, history
        self.answers_cut: Children[Counts] = Children(
            self._counter(
                "windlass_answers_cut_total",
                "Answers that ended before WINDLASS_ANSWER_BYTES_MAX although there was more",
                "answer",
            ).labels
        )
        for answer in ANSWERS:
            self.answers_cut(answer)
        #: reason: missing, unknown, expired, invalid, keys, too_many, role, job_type, definition, registration
        self.auth_refused: Children[Counts] = Children(
            self._counter(
                "windlass_auth_refused_total", "Calls refused for want of a token that allows them", "reason"
            ).labels
        )
        for reason in Refusal:
            self.auth_refused(reason.value)
        self.tokens_unusable: Counts = self._counter(
            "windlass_auth_tokens_unusable_total",
            "New contents of the tokens file that could not be used; the tokens read before stay good",
        )
        self.keys_unusable: Counts = self._counter(
            "windlass_auth_keys_unusable_total",
            "Fetches or new contents of the issuer's keys that could not be used; the keys read before stay good",
        )
        self.tls_expiry: Shows = self._gauge(
            "windlass_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that the ports show ends, as Unix time; 0 without TLS",
        )
        self.tls_unusable: Shows = self._gauge(
            "windlass_tls_certificate_unusable",
            "1 while the certificate's files hold what cannot be used; the certificate read before is shown meanwhile",
        )
        #: reason: plaintext, timeout, refused
        self.tls_handshakes_failed: Children[Counts] = Children(
            self._counter(
                "windlass_tls_handshakes_failed_total",
                "Connections to REST and metrics that were ended because no TLS came about",
                "reason",
            ).labels
        )
        for fault in HandshakeFault:
            self.tls_handshakes_failed(fault.value)
        #: api: rest, grpc
        self.polls_ended_early: Children[Counts] = Children(
            self._counter(
                "windlass_polls_ended_early_total",
                "Polls answered before their time because connections or streams were short",
                "api",
            ).labels
        )
        for api in APIS:
            self.polls_ended_early(api)
        self.connections_closed_idle: Counts = self._counter(
            "windlass_connections_closed_idle_total", "Idle REST connections closed to make room for others"
        )
        self.connections_refused: Counts = self._counter(
            "windlass_connections_refused_total", "REST connections refused because all were busy"
        )

    def http_observer(self, method: str, path: str, status: int) -> Observer:
        """Return the one function that observes calls of this kind, seconds each; worth keeping."""
        return self.http_duration(method, path, str(status)).observe

    def exposition(self) -> bytes:
        """Return all series in Prometheus text format, which knows no exemplars."""
        return generate_latest(self.registry)

    def open_metrics(self) -> bytes:
        """Return all series in the OpenMetrics text format, with exemplars."""
        text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
