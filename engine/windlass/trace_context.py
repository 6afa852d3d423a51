"""W3C trace context: how it is read, kept with instances and jobs, and handed on (https://www.w3.org/TR/trace-context/).

A *trace* is kept as one text: `traceparent`, and after a blank the `tracestate` if there was one. It names a span, and
what is handed on with it becomes a child of that span.
"""

from __future__ import annotations

import contextvars
import hashlib
import re
from collections.abc import Sequence
from typing import Protocol

from windlass.wire import JobView

#: What the work of the call being served carries on: the caller's own trace, or with tracing on the span of the call.
TRACE: contextvars.ContextVar[str | None] = contextvars.ContextVar("trace", default=None)

STATE_CHARS_MAX = 512
"""Of a `tracestate`; the standard asks for no more, and half of an entry means nothing."""
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: Printable ASCII, as header values are: it travels in headers again.
_STATE = re.compile(r"[\x20-\x7e]+")
FIRST = "first"
"""The attempt to have a job done that the later ones are linked to."""


Span = tuple[str | None, str]
"""A span to be recorded: the trace at its parent, None for the first one, and at itself."""


def trace_of(traceparent: str, tracestate: str | None = None) -> str | None:
    """What a caller has sent, None if it is no trace. Of a later version, what this one knows counts."""
    head = traceparent[:55]
    if not _PARENT.fullmatch(head):
        return None
    if len(traceparent) > 55 and (head.startswith("00") or traceparent[55] != "-"):
        return None
    parent = f"00{head[2:]}"
    state = tracestate.strip() if tracestate else ""
    if not state or len(state) > STATE_CHARS_MAX or not _STATE.fullmatch(state):
        return parent
    return f"{parent} {state}"


def parent_and_state(trace: str | None) -> tuple[str | None, str | None]:
    """As they go out: `traceparent` and `tracestate`."""
    if trace is None:
        return None, None
    parent, _, state = trace.partition(" ")
    return parent, state or None


def trace_id_of(trace: str) -> str:
    return trace[3:35]


def span_id_of(trace: str) -> str:
    return trace[36:52]


def is_sampled(trace: str) -> bool:
    """Whether its spans are recorded, by whom it began with."""
    return bool(int(trace[53:55], 16) & 1)


def with_span(trace: str, span_id: str) -> str:
    """The same trace, at another of its spans."""
    return f"{trace[:36]}{span_id}{trace[52:]}"


def attempt(trace: str, job_id: str, number: str) -> str:
    """The trace of handing out a job. `number` tells its attempts apart; the span's id follows from the two, so that a
    later attempt can name the first without a record of it.
    """
    span_id = hashlib.blake2b(f"{job_id} {number}".encode(), digest_size=8).hexdigest()
    return with_span(trace, span_id)


def exemplar_of(trace: str | None) -> dict[str, str] | None:
    """The labels by which a sample names the span that it was taken in, if that is recorded."""
    if trace is None or not is_sampled(trace):
        return None
    return {"trace_id": trace_id_of(trace), "span_id": span_id_of(trace)}


class CallTraces(Protocol):
    """What a door asks of tracing. `parent` is the caller's own span, None for a call that begins a trace."""

    def below(self, parent: str | None) -> str:
        """The trace at a new span below `parent`; without one a new trace, recorded or not by the ratio set."""
        ...

    def rest_call(
        self, parent: str | None, own: str, method: str, route: str, status: int, duration_ns: int
    ) -> None: ...
    def grpc_call(self, parent: str | None, own: str, method: str, status: str, duration_ns: int) -> None: ...


class JobTraces(Protocol):
    """What hands out jobs asks of tracing."""

    def handed_out(self, jobs: Sequence[JobView]) -> Sequence[JobView]:
        """Records it, and returns the jobs with the traces at these spans."""
        ...


class BatchTraces(Protocol):
    """What a batch asks of tracing; its spans are recorded when it is committed."""

    def below(self, parent: str | None) -> str: ...
