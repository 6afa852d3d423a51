"""What a call's `traceparent` header is for: each line logged for the call carries it."""

from __future__ import annotations

import contextvars

from windlass.telemetry.log import TRACEPARENT

_CHARS_MAX = 256


def traced(traceparent: bytes) -> contextvars.Context:
    """A context of its own: the task made inside it and all its lines carry the header."""
    context = contextvars.copy_context()
    context.run(TRACEPARENT.set, traceparent[:_CHARS_MAX].decode("latin-1"))
    return context
