"""The result of a call, the same for both transports."""

from __future__ import annotations

from typing import Any

import msgspec

from seatrial.history import OpType

MESSAGE_CHARS_MAX = 1000
OVERLOADED = (429, "overloaded")
"""The engine refuses early what would wait too long (contract 1.2)."""


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """A polled job as the wire gives it (contract 1.4); `lease_token` is None when the engine gives none."""

    job_id: str = msgspec.field(name="id")
    instance_id: str
    step_execution_id: str
    job_type: str
    retries_remaining: int
    variables: dict[str, Any] = {}
    step_id: str | None = None
    lease_token: str | None = None
    locked_at: str | None = None
    lock_expires_at: str | None = None

    def recorded(self) -> dict[str, Any]:
        """The Job of history.py: everything but the variables, which would swell the file."""
        fields = msgspec.structs.asdict(self)
        del fields["variables"]
        return fields


class _Polled(msgspec.Struct):
    jobs: list[Job] | None = None


class Answer(msgspec.Struct, frozen=True):
    """How a call ended. `status` is HTTP's, or the HTTP twin of gRPC's, and 0 when no answer came; `code` and
    `message` are set unless it is ok. `body` is JSON in the shapes of contract 1.4.
    """

    outcome: OpType
    node: str
    status: int = 0
    body: Any = None
    code: str = ""
    message: str = ""
    jobs: tuple[Job, ...] = ()
    """What a poll got."""

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def refused(self) -> bool:
        """Nothing listened there: safe to ask another replica."""
        return self.outcome == "fail" and self.status == 0

    @property
    def refused_for_now(self) -> bool:
        """Nothing was done, and the same call may be made again: nothing listened, or too much waits there."""
        return self.refused or self.status == OVERLOADED[0]

    @property
    def id(self) -> str:
        """The instance or definition in the body; raises CallFailed when the call did not succeed."""
        if not self.ok:
            raise CallFailed(self)
        return str(self.body["id"])


class CallFailed(Exception):
    """A scenario needed this call to succeed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            f"{answer.node} answered {answer.outcome} (HTTP {answer.status}, {answer.code}): {answer.message}"
        )
        self.answer = answer


def jobs_of(body: Any) -> tuple[Job, ...]:
    """The jobs of a poll's body. Raises msgspec.ValidationError for one of another form."""
    return tuple(msgspec.convert(body, _Polled).jobs or ())


def refused(node: str, cause: object) -> Answer:
    """Nobody accepted the call, so it certainly did nothing."""
    return Answer("fail", node, code="connection-refused", message=_said(cause))


def lost(node: str, cause: object) -> Answer:
    """The connection broke after the call was sent: nobody knows."""
    return Answer("info", node, code="connection-lost", message=_said(cause))


def overdue(node: str, limit_s: float) -> Answer:
    """The caller's time is over: nobody knows."""
    return Answer("info", node, code="timeout", message=f"no answer within {limit_s:g} s")


def unreadable(node: str, status: int, error: Exception) -> Answer:
    """It was answered with success, but its body is not what the contract promises."""
    return Answer("info", node, status, code="unreadable-answer", message=_said(error))


def _said(cause: object) -> str:
    text = f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)
    return text[:MESSAGE_CHARS_MAX]
