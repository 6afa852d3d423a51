"""What is judged of a REST call when its head is there and its body is not, and what a call's lines carry."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from windlass.api.call import Request, Response
from windlass.auth.principal import PRINCIPAL
from windlass.telemetry.log import TRACEPARENT
from windlass.trace_context import TRACE, CallTraces, trace_of

HeadGate = Callable[[Request], Response | None]
"""Sets the principal and the route of a call without body; an answer refuses it."""

LINE_BYTES = len(b": \r\n")
"""What a header line holds besides name and value."""

_TRACEPARENT_CHARS_MAX = 256
_SHOWN_BYTES_MAX = 40
_TRACED = b"/v1/"
"""Calls of the API have a span each; probes have none."""


class Head:
    """A call's target and headers as they arrive. Names are lower case; of a repeated one the first value counts."""

    __slots__ = ("headers", "hosts", "line_bytes", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        #: header lines that name the host
        self.hosts = 0
        #: of header and trailer lines, and of bytes behind the head that the parser has not used yet
        self.line_bytes = 0


def flaw_of(head: Head, version: str) -> tuple[int, str] | None:
    """Status and reason for a head that cannot be served."""
    if head.hosts != 1 and (head.hosts or version != "1.0"):
        found = f"{head.hosts} Host headers" if head.hosts else "no Host header"
        return 400, f"malformed HTTP request: {found}; send one"
    coding = head.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity":
        shown = coding[:_SHOWN_BYTES_MAX].decode("ascii", "backslashreplace")
        return 415, f"the body has the Content-Encoding {shown!r}; send it as it is, without one"
    return None


def in_its_context(
    request: Request, serve: Callable[[Request], None], traces: CallTraces | None = None
) -> None:
    """Call `serve` so that the task which it makes, and all its lines, carry the caller's header and name, and its
    trace.
    """
    traceparent = request.headers.get(b"traceparent")
    context = contextvars.copy_context()
    trace = None
    if traceparent is not None:
        text = traceparent[:_TRACEPARENT_CHARS_MAX].decode("latin-1")
        context.run(TRACEPARENT.set, text)
        trace = trace_of(text, request.headers.get(b"tracestate", b"").decode("latin-1"))
    if traces is not None and request.path.startswith(_TRACED):
        parent, trace = trace, traces.below(trace)
        request.span = parent, trace
    if trace is not None:
        context.run(TRACE.set, trace)
    context.run(PRINCIPAL.set, request.principal)
    context.run(serve, request)
