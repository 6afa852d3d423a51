"""The answers that operations share: refusals by status, each with its one code (contract 1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass import errors
from windlass.api import faults
from windlass.api.call import Limits
from windlass.api.openapi.shape import Schema, ref, whole, word

#: The statuses with which a call can be refused before it reaches any operation.
EARLY = tuple(faults.EARLY_CODES)

#: With authentication on, what needs a token can be refused so.
GATE = (401, 403)

_CODES: Mapping[int, str] = faults.EARLY_CODES | {
    status: kind.code for kind, (status, _) in faults.STATUSES.items()
}


def refusal(status: int, description: str) -> dict[str, Any]:
    """A refusal with the error body, whose code is that of the status; 504 has none."""
    if status == faults.OVERDUE[0]:
        return {"description": description}
    if status == faults.STATUSES[errors.PollDisabled][0]:
        return answer(ref("PollDisabled"), description)
    schema: Schema = {**ref("Error"), "properties": {"error": {"const": _CODES[status]}}}
    made = answer(schema, description)
    if status in GATE:
        made["headers"] = {
            "WWW-Authenticate": {
                "schema": {"type": "string"},
                "description": "Bearer, and what is wrong with the token (RFC 6750).",
            }
        }
    if status in {429, 503}:
        made["headers"] = {
            "Retry-After": {
                "schema": {"type": "integer"},
                "description": "Seconds to wait before trying again.",
            }
        }
    return made


def answer(schema: Schema, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


#: The names of the shared ones.
NAMES: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthenticated",
    403: "Forbidden",
    408: "RequestTimeout",
    413: "TooLarge",
    415: "UnsupportedFormat",
    429: "Overloaded",
    431: "HeadTooLarge",
    500: "InternalError",
    503: "Unavailable",
    504: "Overdue",
}


def shared(limits: Limits) -> dict[int, dict[str, Any]]:
    """What any operation may answer, by status, with the same text for all."""
    words = {
        400: "The call is not valid HTTP, or its path, query or body does not fit the operation. Nothing was changed.",
        401: "There is no token, or it is not good (any more). The connection is closed.",
        403: "The token is not for this call, job type or definition. Nothing was changed.",
        408: f"The call did not arrive within {limits.read_s:g} s; the connection is closed.",
        413: f"The body is larger than {limits.body_bytes_max} bytes; the connection is closed.",
        415: "The body has a Content-Encoding, or an upload's Content-Type says XML; any other is read as JSON.",
        429: "So much waits before this call that it would wait longer than WINDLASS_QUEUE_SECONDS_MAX for its turn. "
        "Nothing was done; try again after the time of Retry-After.",
        431: f"The head is larger than {limits.head_bytes_max} bytes; the connection is closed.",
        500: "An error inside the engine; its log has the cause. Nothing was changed.",
        503: "Not available now: the database is unreachable, the node is shutting down or runs as scheduler, all its "
        f"{limits.connections_max} connections are busy, or it has no memory left for another request of this "
        "size. Try again, here or elsewhere; the text says so if a change may have happened nevertheless.",
        504: f"The call took longer than {limits.request_s:g} s. No body. It is not known whether a change "
        "happened.",
    }
    return {status: refusal(status, text) for status, text in words.items()}


SCHEMAS: Mapping[str, Schema] = {
    "Error": whole(
        {
            "error": word("A stable code."),
            "reason": word("What is wrong and what to do about it, for people."),
            "message": word("Equal to reason."),
        },
    ),
    "PollDisabled": whole(
        {
            "error": word("A stable code.", const="poll path disabled"),
            "dispatch_mode": word("The dispatch mode in use.", const="kafka_outbox"),
            "hint": word("Where to get jobs."),
            "message": word("What is wrong, for people."),
        },
    ),
}
