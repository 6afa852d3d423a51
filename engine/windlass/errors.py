"""The engine's errors, as a tree. Each class has one stable, kebab-case code: the wire's word (contract 1.2).

EngineError
+-- Rejected              the caller's fault; nothing was written
|   +-- BadRequest            bad-request         unreadable or incomplete input, wrong step type
|   +-- InvalidDefinition     bad-request         every violated rule, one per line
|   +-- UnsupportedFormat     unsupported-format  an XML definition
|   +-- TooLarge              too-large           a body past the cap
|   +-- NotFound              not-found           definition, instance, user task, job
|   +-- Conflict              conflict            terminal instance, step not parked, job leased to another
|   +-- PollDisabled          poll path disabled  polling while jobs travel through a broker
+-- Unavailable           the database is away or the node is shutting down; try again, here or elsewhere
+-- Defect                our bug; the command changed nothing
"""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    code = "internal-error"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rejected(EngineError):
    code = "bad-request"


class BadRequest(Rejected):
    code = "bad-request"


class InvalidDefinition(Rejected):
    """`violations`: every rule of contract 3.5 that the document breaks, in rule order."""

    code = "bad-request"

    def __init__(self, violations: Sequence[str]) -> None:
        super().__init__("validation error:\n" + "\n".join(violations))
        self.violations = tuple(violations)


class UnsupportedFormat(Rejected):
    code = "unsupported-format"


class TooLarge(Rejected):
    code = "too-large"


class NotFound(Rejected):
    code = "not-found"


class Conflict(Rejected):
    code = "conflict"


class PollDisabled(Rejected):
    """Jobs reach workers by way of `dispatch_mode`, which is not polling."""

    code = "poll path disabled"

    def __init__(self, dispatch_mode: str) -> None:
        super().__init__(f"jobs travel through the broker in mode {dispatch_mode}; polling is off")
        self.dispatch_mode = dispatch_mode


class Unavailable(EngineError):
    code = "unavailable"


class Defect(EngineError):
    code = "internal-error"


class BootRefused(EngineError):
    """The process cannot start as configured, and exits 1 naming the cause."""

    code = "boot-refused"
