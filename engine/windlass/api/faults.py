"""How each error is answered: one table from error class to HTTP status and gRPC status (contract 1.2, 2.4)."""

from __future__ import annotations

import msgspec

from windlass import errors
from windlass.api.call import Response
from windlass.config import BROKER_MODES

SHED = (429, "RESOURCE_EXHAUSTED")

STATUSES: dict[type[errors.EngineError], tuple[int, str]] = {
    errors.Rejected: (400, "INVALID_ARGUMENT"),
    errors.Unauthenticated: (401, "UNAUTHENTICATED"),
    errors.Forbidden: (403, "PERMISSION_DENIED"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.Conflict: (409, "FAILED_PRECONDITION"),
    errors.BusinessKeyInUse: (409, "ALREADY_EXISTS"),
    errors.PollDisabled: (410, "FAILED_PRECONDITION"),
    errors.TooLarge: (413, "RESOURCE_EXHAUSTED"),
    errors.UnsupportedFormat: (415, "INVALID_ARGUMENT"),
    errors.Overloaded: SHED,
    errors.Unavailable: (503, "UNAVAILABLE"),
    errors.EngineError: (500, "INTERNAL"),
}
"""A class that is not here is answered as its parent."""

#: Codes of the calls refused before they reach a route.
EARLY_CODES = {
    400: "bad-request",
    408: "timeout",
    413: "too-large",
    415: "unsupported-format",
    431: "head-too-large",
    503: "unavailable",
}

#: A call that took longer than the request timeout: the HTTP status goes out with an empty body (contract 1.2).
OVERDUE = (504, "DEADLINE_EXCEEDED")

#: A gRPC status travels percent-encoded in the trailers; past 8 KiB of these clients see another status instead.
DETAILS_BYTES_MAX = 6 * 1024

#: Text for an internal error; only the log has the cause.
INTERNAL_REASON = "internal error: the engine's log has the cause"

_CHALLENGE = b'WWW-Authenticate: Bearer realm="windlass"%b\r\n'
#: Metadata behind a gRPC status: what Retry-After is for REST. It also tells RESOURCE_EXHAUSTED of a node that has too
#: much to do from that of a message that is too large.
PUSHBACK = "grpc-retry-pushback-ms"

_RETRY_AFTER = b"Retry-After: %d\r\n"
_RETRY_SOON = _RETRY_AFTER % 1


def status_of(error: errors.EngineError) -> tuple[int, str]:
    """Return the HTTP status and the gRPC status name of the nearest class in the table."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def answer(error: errors.EngineError) -> Response:
    """Answer a failed call with its code and reason; `message` repeats the reason for SDKs that read it."""
    if isinstance(error, errors.PollDisabled):
        return _poll_disabled(error)
    status, _ = status_of(error)
    reason = INTERNAL_REASON if status == 500 else error.reason
    return error_response(status, error.code, reason, headers=_headers(error))


def grpc_answer(error: errors.EngineError) -> tuple[str, str]:
    """Return the gRPC status name and its text, cut to what a client will read."""
    http_status, status = status_of(error)
    if isinstance(error, errors.PollDisabled):
        return status, f"{error.reason}; {_hint(error)}"
    return status, _cut(INTERNAL_REASON if http_status == 500 else error.reason)


def _cut(text: str) -> str:
    # Percent-encoding keeps printable ASCII as it is and makes three bytes of any other one.
    left = DETAILS_BYTES_MAX
    for index, character in enumerate(text):
        printable = " " <= character <= "~" and character != "%"
        left -= 1 if printable else 3 * len(character.encode("utf-8", "replace"))
        if left < 0:
            return text[:index] + " ... (cut; REST has the whole text)"
    return text


def early(status: int, reason: str) -> Response:
    """Answer a request that could not be read (malformed, too large, too slow)."""
    return error_response(status, EARLY_CODES[status], reason)


def retry_after_s(error: Exception) -> int | None:
    """When a call that did nothing may be tried again, if that is known."""
    return error.retry_after_s if isinstance(error, errors.Overloaded) else None


def error_response(status: int, code: str, reason: str, *, headers: bytes = b"") -> Response:
    body = msgspec.json.encode({"error": code, "reason": reason, "message": reason}) + b"\n"
    return Response(status, body, headers=headers or (_RETRY_SOON if status == 503 else b""))


def _headers(error: errors.EngineError) -> bytes:
    """Return the challenge of RFC 6750, or when to come back."""
    match error:
        case errors.TooManyAttempts():
            return _CHALLENGE % b"" + _RETRY_AFTER % error.retry_after_s
        case errors.Unauthenticated():
            return _CHALLENGE % (b', error="invalid_token"' if error.is_invalid else b"")
        case errors.Forbidden():
            return _CHALLENGE % b', error="insufficient_scope"'
        case errors.Overloaded():
            return _RETRY_AFTER % error.retry_after_s
    return b""


def _poll_disabled(error: errors.PollDisabled) -> Response:
    """Answer 410 with the three strings of contract 1.7."""
    body = {
        "error": error.code,
        "dispatch_mode": error.dispatch_mode,
        "hint": _hint(error),
        "message": error.reason,
    }
    return Response(410, msgspec.json.encode(body) + b"\n")


def _hint(error: errors.PollDisabled) -> str:
    return f"{BROKER_MODES[error.dispatch_mode]}; complete and fail stay available here"
