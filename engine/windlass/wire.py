"""The data between the API and the engine, with the names of contract 1.4.

Instants leave as text already formatted for the wire (`format_time`); variables stay raw JSON
bytes (`msgspec.Raw`) end to end, so a value no step reads is never parsed twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

RawJson = msgspec.Raw

EMPTY_OBJECT = msgspec.Raw(b"{}")


PLAIN_BYTES_MAX = 16 * 1024
"""Of JSON whose values are not counted: it is small at the most that they can take."""


def answer_bytes(json: bytes) -> int:
    """What compact JSON takes in an answer at most, over either door; `apply.sql` counts jobs likewise.

    A value takes at most twelve bytes more over gRPC than in the text: `1,` has two, and eleven there. With the fields
    around it.
    """
    size = len(json)
    if size <= PLAIN_BYTES_MAX:
        return 1000 + 6 * size
    return 1000 + size + 12 * (json.count(b",") + json.count(b"[") + json.count(b"{"))


_MAYBE_EXPONENT = re.compile(rb"[0-9][eE]")
_NEXT_EXPONENT = re.compile(
    rb'(?:[^"0-9-]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9]++(?:\.[0-9]++)?+(?![eE]))*+'
    rb"(?:-?[0-9]++(?:\.[0-9]++)?+[eE]([+-]?[0-9]++))?"
)


def exponent_digits(json: bytes) -> int:
    """By how much the text of a `jsonb` value may be longer: PostgreSQL writes 1e300 with three hundred zeros."""
    if not _MAYBE_EXPONENT.search(json):
        return 0
    return sum(abs(int(found[1])) for found in _NEXT_EXPONENT.finditer(json) if found[1] is not None)


def format_time(instant: datetime) -> str:
    """RFC 3339 in UTC, up to six fraction digits, trailing zeros trimmed, suffix Z (contract 1.4)."""
    text = instant.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if instant.microsecond else text) + "Z"


class DefinitionSummary(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    id: str
    version: int
    name: str
    uploaded_at: str
    description: str | None = None


class DefinitionPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`next_page_token` is omitted on the last page."""

    items: Sequence[DefinitionSummary]
    total: int
    page: int
    page_size: int
    next_page_token: str | None = None


class InstanceView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`completed_at`, `failure_reason`, `business_key` are omitted when unset."""

    id: str
    definition_id: str
    definition_version: int
    status: str
    current_step_ids: Sequence[str]
    variables: RawJson
    started_at: str
    completed_at: str | None = None
    failure_reason: str | None = None
    business_key: str | None = None


INSTANCES_COUNTED_MAX = 10_000
"""Past the end of a page: to count them all would read millions of rows."""


class InstancePage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`next_page_token` is omitted on the last page."""

    items: Sequence[InstanceView]
    total: int
    page: int
    page_size: int
    next_page_token: str | None = None


class StepExecutionView(msgspec.Struct, frozen=True, rename="camel"):
    """A history row; the REST layer writes each key in both spellings (contract 1.4)."""

    id: str
    instance_id: str
    step_id: str
    step_type: str
    attempt_number: int
    status: str
    started_at: str
    ended_at: str | None
    failure_reason: str | None
    input_snapshot: RawJson | None
    output_snapshot: RawJson | None


class HistoryPage(msgspec.Struct, frozen=True):
    items: Sequence[StepExecutionView]
    next_page_token: str | None = None


class JobView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A polled job. `lease_token` is an addition of Windlass: optional for clients, new for each lease. So are
    `traceparent` and `tracestate`, which are there if the job belongs to a trace: a worker hands them on.
    """

    id: str
    instance_id: str
    step_id: str
    step_execution_id: str
    job_type: str
    status: str
    worker_id: str
    locked_at: str
    lock_expires_at: str
    retries_remaining: int
    variables: RawJson
    created_at: str
    lease_token: str
    traceparent: str | None = None
    tracestate: str | None = None


class WorkerRegistration(msgspec.Struct, frozen=True):
    """What a worker says of itself, within the limits of `api/bounds.py`."""

    id: str
    job_types: Sequence[str]
    version: str
    capacity: int
    heartbeat_s: float


class WorkerView(msgspec.Struct, frozen=True, rename="camel"):
    """A registered worker. `state`: ALIVE, or LATE while its last heartbeat is overdue but not three of them."""

    id: str
    job_types: Sequence[str]
    version: str
    capacity: int
    heartbeat_seconds: int | float
    state: str
    registered_at: str
    last_seen_at: str


WORKERS_SHOWN_MAX = 200
"""In /cluster/info; the list of workers has them all."""


class WorkerPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`next_page_token` is omitted on the last page."""

    items: Sequence[WorkerView]
    total: int
    page: int
    page_size: int
    next_page_token: str | None = None


class Readiness(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`reasons` is empty exactly when the node may receive calls.

    `degraded` says what does not work although calls are answered, such as an unreachable broker.
    """

    ready: bool
    reasons: Sequence[str]
    degraded: Sequence[str] = ()
