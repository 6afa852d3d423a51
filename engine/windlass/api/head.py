"""What is judged of a REST call when its head is there and its body is not, and what a call's lines carry."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from windlass.api.call import Request, Response
from windlass.api.message import Message
from windlass.auth.principal import PRINCIPAL
from windlass.telemetry.log import TRACEPARENT
from windlass.trace_context import TRACE, CallTraces, trace_of

HeadGate = Callable[[Request], Response | None]
"""Sets the principal and the route of a call without body; an answer refuses it."""

_TRACEPARENT_CHARS_MAX = 256
_SHOWN_BYTES_MAX = 40
_TRACED = b"/v1/"
"""Calls of the API have a span each; probes have none."""


def flaw_of(message: Message, version: str) -> tuple[int, str] | None:
    """Status and reason for a message whose head cannot be served."""
    if message.hosts != 1 and (message.hosts or version != "1.0"):
        found = f"{message.hosts} Host headers" if message.hosts else "no Host header"
        return 400, f"malformed HTTP request: {found}; send one"
    coding = message.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity":
        shown = coding[:_SHOWN_BYTES_MAX].decode("ascii", "backslashreplace")
        return 415, f"the body has the Content-Encoding {shown!r}; send it as it is, without one"
    return None


def carries_nothing(request: Request, traces: CallTraces | None) -> bool:
    """A copy of the context can be saved. What leads here may be the end of another call, in that one's context."""
    return (
        request.principal is None
        and traces is None
        and b"traceparent" not in request.headers
        and PRINCIPAL.get() is None
        and TRACEPARENT.get() is None
    )


def in_its_context(
    request: Request, serve: Callable[[Request], None], traces: CallTraces | None = None
) -> None:
    """Call `serve` so that the task which it makes, and all its lines, carry the caller's header and name, and its
    trace.
    """
    traceparent = request.headers.get(b"traceparent")
    context = contextvars.copy_context()
    text = trace = None
    if traceparent is not None:
        text = traceparent[:_TRACEPARENT_CHARS_MAX].decode("latin-1")
        trace = trace_of(text, request.headers.get(b"tracestate", b"").decode("latin-1"))
    if traces is not None and request.path.startswith(_TRACED):
        parent, trace = trace, traces.below(trace)
        request.span = parent, trace
    # All of them: the context copied may be that of the call before on the connection.
    context.run(TRACEPARENT.set, text)
    context.run(TRACE.set, trace)
    context.run(PRINCIPAL.set, request.principal)
    context.run(serve, request)
