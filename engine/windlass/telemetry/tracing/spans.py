"""The spans of a node: calls, batches, jobs handed out, and sweeps (docs/tracing.md).

Each is recorded once it is over; until then it is no more than its trace (`trace_context.py`), which is what others are
put below. Names and attributes are those of OpenTelemetry's semantic conventions for HTTP, RPC and messaging; those of
our own begin with `windlass.`. All methods are called by the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from windlass.commands import CompleteJob, ExhaustJob, FailJob, FireTimer
from windlass.dispatch.broker import Broker, Message
from windlass.job_event import OutboxRow
from windlass.states import FINAL_INSTANCE_STATUSES
from windlass.store.batch import Batch, CommandSpan
from windlass.sweep.loop import Body
from windlass.telemetry.node import FIRST_LEASE_TOKEN, NodeTelemetry, tx_type
from windlass.telemetry.tracing.export import Session, SpanQueue, exporter_of, without_environment
from windlass.trace_context import (
    FIRST,
    TRACE,
    attempt,
    is_sampled,
    parent_and_state,
    span_id_of,
    trace_id_of,
    with_span,
)
from windlass.trace_settings import TraceSettings
from windlass.wire import JobView

#: As OpenTelemetry's conventions for servers have it; the others are faults of the caller.
_GRPC_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
Attributes = Mapping[str, str | int | bool]


class Traces:
    """`start` ... `stop`. Implements the ports of those who make spans."""

    def __init__(self, settings: TraceSettings, telemetry: NodeTelemetry, *, node: str, version: str) -> None:
        self._telemetry = telemetry
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ratio = TraceIdRatioBased(settings.trace_ratio)
        self._ids = _GivenIds()
        session = Session()
        self._queue = SpanQueue(
            exporter_of(settings, session),
            settings.trace_queue_max,
            lambda: session.trouble,
            exported=telemetry.spans_exported,
            dropped=telemetry.spans_dropped,
            lost=lambda cause: self._in_loop(telemetry.collector_lost, cause),
            back=lambda: self._in_loop(telemetry.collector_back),
        )
        with without_environment():
            provider = TracerProvider(
                # Whether a trace is recorded is known before: it is written into it.
                sampler=ALWAYS_ON,
                resource=Resource(
                    {
                        "service.name": settings.service_name,
                        "service.version": version,
                        "service.instance.id": node,
                        **settings.resource,
                    }
                ),
                id_generator=self._ids,
                span_limits=SpanLimits(),
                shutdown_on_exit=False,
            )
        provider.add_span_processor(self._queue)
        self._tracer = provider.get_tracer("windlass", version)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue.start(self._loop)

    async def stop(self, within_s: float) -> None:
        await self._queue.stop(within_s)

    def _in_loop(self, report: Callable[..., None], *arguments: object) -> None:
        """The log belongs to the loop's thread; when the loop is closed nobody reads it."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(report, *arguments)

    # -- traces

    def below(self, parent: str | None) -> str:
        span_id = f"{random.getrandbits(64) or 1:016x}"
        if parent is not None:
            return with_span(parent, span_id)
        trace_id = random.getrandbits(128) or 1
        is_taken = self._ratio.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE
        return f"00-{trace_id:032x}-{span_id}-{int(is_taken):02x}"

    def _record(
        self,
        name: str,
        parent: str | None,
        own: str,
        began_ns: int,
        ended_ns: int,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        linked: Iterable[str] = (),
        ended_as: str | None = None,
        is_error: bool = False,
    ) -> None:
        """`ended_as`: the status with which the instance ended here."""
        if not is_sampled(own):
            return
        self._ids.take(own)
        span = self._tracer.start_span(
            name,
            context=_context_of(parent) if parent is not None else Context(),
            kind=kind,
            attributes=attributes,
            links=[Link(_span_context(trace)) for trace in linked],
            start_time=min(began_ns, ended_ns),
        )
        if ended_as is not None:
            span.add_event("instance ended", {"windlass.instance.status": ended_as}, timestamp=ended_ns)
        if is_error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended_ns)

    # -- calls

    def rest_call(
        self, parent: str | None, own: str, method: str, route: str, status: int, duration_ns: int
    ) -> None:
        now_ns = time.time_ns()
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
        if status >= 500:
            attributes["error.type"] = str(status)
        self._record(
            f"{method} {route}",
            parent,
            own,
            now_ns - duration_ns,
            now_ns,
            attributes,
            kind=SpanKind.SERVER,
            is_error=status >= 500,
        )

    def grpc_call(self, parent: str | None, own: str, method: str, status: str, duration_ns: int) -> None:
        now_ns = time.time_ns()
        name = method.removeprefix("/")
        attributes = {"rpc.system.name": "grpc", "rpc.method": name, "rpc.response.status_code": status}
        if status in _GRPC_FAULTS:
            attributes["error.type"] = status
        self._record(
            name,
            parent,
            own,
            now_ns - duration_ns,
            now_ns,
            attributes,
            kind=SpanKind.SERVER,
            is_error=status in _GRPC_FAULTS,
        )

    # -- batches

    def batch_committed(self, batch: Batch, elapsed_s: float) -> None:
        """A span for each command of the transaction, in the trace of its instance; all but the first are linked to
        the first.
        """
        spans = [span for span in batch.spans if is_sampled(span.own)]
        if not spans:
            return
        now_ns = time.time_ns()
        last = {span.instance_id: span for span in spans}
        for span in spans:
            linked = [span.linked] if span.linked is not None else []
            if span is not spans[0]:
                linked.append(spans[0].own)
            status = batch.instances[span.instance_id].status
            ended = status if status in FINAL_INSTANCE_STATUSES and last[span.instance_id] is span else None
            self._record(
                f"batch {tx_type(span.command)}",
                span.parent,
                span.own,
                now_ns - int(elapsed_s * 1e9),
                now_ns,
                _batch_attributes(batch, span),
                linked=linked,
                ended_as=ended,
            )

    # -- jobs handed out

    def handed_out(self, jobs: Sequence[JobView]) -> Sequence[JobView]:
        return [self._handed_out(job) if job.traceparent is not None else job for job in jobs]

    def _handed_out(self, job: JobView) -> JobView:
        created = f"{job.traceparent} {job.tracestate}" if job.tracestate else job.traceparent
        assert created is not None
        is_first = job.lease_token == FIRST_LEASE_TOKEN
        own = attempt(created, job.id, FIRST if is_first else job.lease_token)
        now_ns = time.time_ns()
        # On the database's clock both; this node's may differ.
        waited_s = _time_of(job.locked_at) - _time_of(job.created_at) if is_first else 0.0
        self._record(
            f"dispatch {job.job_type}",
            created,
            own,
            now_ns - int(max(0.0, waited_s) * 1e9),
            now_ns,
            {
                "messaging.system": "windlass",
                "messaging.operation.name": "dispatch",
                "messaging.operation.type": "send",
                "messaging.destination.name": job.job_type,
                "messaging.message.id": job.id,
                "windlass.instance.id": job.instance_id,
                "windlass.job.id": job.id,
                "windlass.job.attempt": int(job.lease_token),
                "windlass.worker.id": job.worker_id,
            },
            kind=SpanKind.PRODUCER,
            linked=() if is_first else (attempt(created, job.id, FIRST),),
        )
        traceparent, _ = parent_and_state(own)
        return msgspec.structs.replace(job, traceparent=traceparent)

    def published(self, row: OutboxRow, message: Message, broker: Broker, began_ns: int) -> None:
        destination = broker.destination(row.job_type)
        assert row.trace is not None
        assert message.trace is not None
        self._record(
            f"send {destination}",
            row.trace,
            message.trace,
            began_ns,
            time.time_ns(),
            {
                "messaging.system": broker.system,
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": destination,
                "messaging.message.id": row.id,
                "messaging.message.body.size": len(row.payload),
                "windlass.instance.id": row.instance_id,
                "windlass.job.id": row.job_id,
            },
            kind=SpanKind.PRODUCER,
            linked=() if row.is_first else (attempt(row.trace, row.job_id, FIRST),),
        )

    # -- sweeps

    def sweep(self, name: str, body: Body) -> Body:
        """The same, with a span for each pass that found something to do."""

        async def traced() -> int | None:
            own, began_ns = self.below(None), time.time_ns()
            token = TRACE.set(own)
            try:
                count = await body()
            finally:
                TRACE.reset(token)
            if count:
                found: Attributes = {"windlass.sweep.name": name, "windlass.sweep.count": count}
                self._record(f"sweep {name}", None, own, began_ns, time.time_ns(), found)
            return count

        return traced


def _batch_attributes(batch: Batch, span: CommandSpan) -> Attributes:
    instance = batch.instances[span.instance_id]
    found: dict[str, str | int] = {
        "windlass.batch.commands": batch.carried_out,
        "windlass.instance.id": span.instance_id,
        "windlass.definition.id": instance.definition_id,
        "windlass.definition.version": instance.definition_version,
    }
    match span.command:
        case CompleteJob(job_id=job_id, worker_id=worker_id) | FailJob(job_id=job_id, worker_id=worker_id):
            found["windlass.job.id"] = job_id
            found["windlass.worker.id"] = worker_id
        case ExhaustJob(job_id=job_id):
            found["windlass.job.id"] = job_id
        case FireTimer(timer_id=timer_id):
            found["windlass.timer.id"] = timer_id
        case _:
            pass
    return found


def _time_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _span_context(trace: str) -> SpanContext:
    _, state = parent_and_state(trace)
    return SpanContext(
        int(trace_id_of(trace), 16),
        int(span_id_of(trace), 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([state]) if state else None,
    )


def _context_of(parent: str) -> Context:
    return set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())


class _GivenIds(IdGenerator):
    """A span has the ids that its trace was given before."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    def take(self, trace: str) -> None:
        self._trace_id, self._span_id = int(trace_id_of(trace), 16), int(span_id_of(trace), 16)

    def generate_trace_id(self) -> int:
        return self._trace_id

    def generate_span_id(self) -> int:
        return self._span_id
