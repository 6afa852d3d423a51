"""What a call can end in, as a tree. Each class has one stable code: the wire's word where the wire has one.

WindlassError
+-- Refused               the call was understood and refused; it changed nothing
|   +-- BadRequest            bad-request         unreadable or incomplete input, a broken rule, a wrong step type
|   +-- Unauthenticated       unauthenticated     no token, or one that is not good (any more)
|   +-- Forbidden             forbidden           the token is not for this call, job type or definition
|   +-- NotFound              not-found           definition, instance, user task, job
|   +-- Conflict              conflict            terminal instance, step not parked, lease lost
|   +-- TooLarge              too-large           a body past the engine's cap
|   +-- PollDisabled          poll path disabled  jobs travel through a broker there
|   +-- Overloaded            overloaded          too much waits before the call; `retry_after_s` says when to try again
+-- Unanswered            nobody knows whether a change happened; reads and repeats are safe
|   +-- Unavailable           unavailable         the engine cannot serve just now
|   +-- Overdue               overdue             no answer in time
|   +-- Unreachable           unreachable         no connection, or it was lost
+-- EngineFault           internal-error      the engine's own fault; its log has the cause
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class WindlassError(Exception):
    """`reason`: what is wrong and what to do about it, for people."""

    code: ClassVar[str]

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(WindlassError):
    code = "refused"


class BadRequest(Refused):
    code = "bad-request"


class Unauthenticated(Refused):
    code = "unauthenticated"


class Forbidden(Refused):
    code = "forbidden"


class NotFound(Refused):
    code = "not-found"


class Conflict(Refused):
    code = "conflict"


class TooLarge(Refused):
    code = "too-large"


class PollDisabled(Refused):
    code = "poll path disabled"


class Overloaded(Refused):
    code = "overloaded"

    def __init__(self, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Unanswered(WindlassError):
    code = "unanswered"


class Unavailable(Unanswered):
    code = "unavailable"


class Overdue(Unanswered):
    code = "overdue"


class Unreachable(Unanswered):
    code = "unreachable"


class EngineFault(WindlassError):
    code = "internal-error"


class NonRetryableError(Exception):
    """A handler raises it when trying again cannot help: the instance fails with its text as the reason."""


BY_HTTP_STATUS: Mapping[int, type[WindlassError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: BadRequest,
    408: Overdue,
    409: Conflict,
    410: PollDisabled,
    413: TooLarge,
    415: BadRequest,
    429: Overloaded,
    431: TooLarge,
    502: Unavailable,
    503: Unavailable,
    504: Overdue,
}
"""What is not here is an EngineFault. 502 is a balancer's."""

BY_GRPC_STATUS: Mapping[str, type[WindlassError]] = {
    "CANCELLED": Unreachable,
    "INVALID_ARGUMENT": BadRequest,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": Forbidden,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": Conflict,
    "FAILED_PRECONDITION": Conflict,
    "RESOURCE_EXHAUSTED": TooLarge,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": Overdue,
}
"""What is not here is an EngineFault; with a pushback in its trailers RESOURCE_EXHAUSTED is Overloaded."""
