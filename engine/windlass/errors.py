"""The engine's errors. Each class has one stable, kebab-case code, the wire's word (contract 1.2), or its parent's."""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    """`reason`: what is wrong and what to do about it, for people."""

    code = "internal-error"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rejected(EngineError):
    """The caller's fault; nothing was written."""

    code = "bad-request"


class BadRequest(Rejected):
    """Unreadable or incomplete input, or a step of the wrong type."""


class InvalidDefinition(Rejected):
    """`violations`: every rule of contract 3.5 that the document breaks, in rule order."""

    def __init__(self, violations: Sequence[str]) -> None:
        super().__init__("validation error:\n" + "\n".join(violations))
        self.violations = tuple(violations)


class UnsupportedFormat(Rejected):
    """An XML definition."""

    code = "unsupported-format"


class TooLarge(Rejected):
    """A body past the cap."""

    code = "too-large"


class Unauthenticated(Rejected):
    """No token, or one that is not (or no longer) good here; `is_invalid` tells the latter."""

    code = "unauthenticated"

    def __init__(self, reason: str, *, is_invalid: bool = False) -> None:
        super().__init__(reason)
        self.is_invalid = is_invalid


class TooManyAttempts(Unauthenticated):
    """Wrong tokens came from the caller's address, so that its token is not looked at before `retry_after_s`."""

    def __init__(self, reason: str, *, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Forbidden(Rejected):
    """The token is good, but not for this."""

    code = "forbidden"


class OutOfScope(Forbidden):
    """The role may, but not for this job type, definition or registration.

    `limit`: which of the three, as `windlass.auth.gate.Refusal` has them.
    """

    def __init__(self, reason: str, *, limit: str) -> None:
        super().__init__(reason)
        self.limit = limit


class NotFound(Rejected):
    """No such definition, instance, user task or job."""

    code = "not-found"


class Conflict(Rejected):
    """A terminal instance, a step that is not parked, a job that is leased to another worker."""

    code = "conflict"


class BusinessKeyInUse(Conflict):
    """Another instance of the definition runs with that key, in a database whose index allows one."""


class PollDisabled(Rejected):
    """Jobs reach workers by way of `dispatch_mode`, which is not polling."""

    code = "poll path disabled"

    def __init__(self, dispatch_mode: str) -> None:
        super().__init__(f"jobs travel through the broker in mode {dispatch_mode}; polling is off")
        self.dispatch_mode = dispatch_mode


class Unavailable(EngineError):
    """The database is away or the node is leaving; the call may be tried again, here or elsewhere."""

    code = "unavailable"


class Overloaded(EngineError):
    """Too much waits before this call, which did nothing; the same may be tried again in `retry_after_s`."""

    code = "overloaded"

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Defect(EngineError):
    """Our bug; the command changed nothing."""


class BootRefused(EngineError):
    """The process cannot start as configured, and exits 1 naming the cause."""

    code = "boot-refused"
