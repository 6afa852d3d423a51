"""The span of a REST call, which is recorded when it is answered and its route is known."""

from __future__ import annotations

from windlass.api.call import Request
from windlass.api.router import Route
from windlass.trace_context import CallTraces, exemplar_of


def span_of(
    request: Request, route: Route, status: int, duration_ns: int, traces: CallTraces | None
) -> dict[str, str] | None:
    """Records it, and returns the labels of its exemplar; None while tracing is off, and for polls and heartbeats."""
    if traces is None or request.span is None or route.quiet:
        return None
    parent, own = request.span
    traces.rest_call(parent, own, request.method, route.pattern, status, duration_ns)
    return exemplar_of(own)
