"""What is judged of a REST call when its head is there and its body is not, and what a call's lines carry."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping

from windlass.api.call import Request, Response
from windlass.auth.principal import PRINCIPAL
from windlass.telemetry.log import TRACEPARENT

HeadGate = Callable[[Request], Response | None]
"""Sets the principal and the route of a call without body; an answer refuses it."""

_TRACEPARENT_CHARS_MAX = 256
_SHOWN_BYTES_MAX = 40


def flaw_of(headers: Mapping[bytes, bytes], hosts: int, version: str) -> tuple[int, str] | None:
    """Status and reason for a head that cannot be served; `hosts` is the number of its Host lines."""
    if hosts != 1 and (hosts or version != "1.0"):
        found = f"{hosts} Host headers" if hosts else "no Host header"
        return 400, f"malformed HTTP request: {found}; send one"
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity":
        shown = coding[:_SHOWN_BYTES_MAX].decode("ascii", "backslashreplace")
        return 415, f"the body has the Content-Encoding {shown!r}; send it as it is, without one"
    return None


def in_its_context(request: Request, serve: Callable[[Request], None]) -> None:
    """Call `serve` so that the task which it makes, and all its lines, carry the caller's header and name."""
    traceparent = request.headers.get(b"traceparent")
    if traceparent is None and request.principal is None:
        serve(request)
        return
    context = contextvars.copy_context()
    if traceparent is not None:
        context.run(TRACEPARENT.set, traceparent[:_TRACEPARENT_CHARS_MAX].decode("latin-1"))
    context.run(PRINCIPAL.set, request.principal)
    context.run(serve, request)
