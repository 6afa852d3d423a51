"""The rows of the Limits table in engine/README.md: what a caller may send, and what becomes of more."""

from __future__ import annotations

from collections.abc import Iterator

from windlass import advance, config
from windlass.api import bounds, payload, protobuf
from windlass.api.call import Limits
from windlass.definition import document, duration, expression, operators, parser, validation
from windlass.dispatch import polling

MIB = 1024 * 1024
BAD, CLAMPED, FAILED = (
    "400, INVALID_ARGUMENT",
    "the limit is used",
    "the instance is FAILED, with the reason",
)

SET_BY = {
    "WINDLASS_BODY_BYTES_MAX": ("body of a call", "413, RESOURCE_EXHAUSTED"),
    "WINDLASS_ANSWER_BYTES_MAX": (
        "answer of a poll, a list or a history; over gRPC a job, an instance or a definition",
        (
            "jobs stay unleased, pages have a cursor, one item is always given; over gRPC a larger job is left to REST "
            "polls and named in the log, a larger instance or definition is RESOURCE_EXHAUSTED, and in lists it is "
            "without variables or texts"
        ),
    ),
    "WINDLASS_MEMORY_BYTES_MAX": (
        "memory of the process, for all calls in progress",
        "large calls wait up to 5 s, in order; then 503, UNAVAILABLE; what never fits: 413, RESOURCE_EXHAUSTED",
    ),
    "WINDLASS_QUEUE_SECONDS_MAX": (
        "time that a call would wait for its turn",
        (
            "starts, signals and user tasks: 429, RESOURCE_EXHAUSTED, with the time to wait, before anything is done; "
            "completions, fails and cancels are taken"
        ),
    ),
    "WINDLASS_HEAD_BYTES_MAX": ("head of a call with its trailers; gRPC metadata", "431, RESOURCE_EXHAUSTED"),
    "WINDLASS_READ_TIMEOUT_SECONDS": (
        "time for a call to arrive; for a gRPC connection to be set up", "408; connection closed"
    ),
    "WINDLASS_REQUEST_TIMEOUT_SECONDS": ("time for a call to be served", "504, DEADLINE_EXCEEDED"),
    "WINDLASS_WRITE_TIMEOUT_SECONDS": ("time for the caller to read an answer", "connection cut"),
    "WINDLASS_IDLE_TIMEOUT_SECONDS": ("time without a call", "connection closed"),
    "WINDLASS_CONNECTIONS_MAX": (
        "connections, REST and gRPC each",
        (
            "REST: one idle for 20 s is closed, else the poll that has waited for longest is answered as if its time "
            "were over; until then newcomers wait unaccepted, and only when all are busy with other calls it is 503; "
            "those on the last twentieth are for one call each; gRPC: the new one is closed"
        ),
    ),
    "WINDLASS_GRPC_STREAMS_MAX": (
        "concurrent calls on a gRPC connection",
        (
            "they wait at the client; from nine tenths on, the poll that has waited for longest is answered as if its "
            "time were over, so that others find room"
        ),
    ),
    "WINDLASS_LONG_POLL_SECONDS_MAX": ("`waitMs` of a poll", CLAMPED),
}  # fmt: skip
"""Limits that a variable sets: what is limited, and what happens beyond it."""

PROTECTS = {
    "body of a call": "memory",
    "memory of the process, for all calls in progress": "the process, which is killed at its container's limit",
    "answer of a poll, a list or a history; over gRPC a job, an instance or a definition": (
        "memory; gRPC clients, which take no message above 4 MiB"
    ),
    "time that a call would wait for its turn": "callers, who would wait for a time-out and not know what happened",
    "head of a call with its trailers; gRPC metadata": "memory of calls that are not yet known",
    "time for a call to arrive; for a gRPC connection to be set up": "memory and connections that slow callers hold",
    "time for a call to be served": "callers, who would wait for a database that does not answer",
    "time for the caller to read an answer": "memory of answers that nobody reads",
    "time without a call": "connections",
    "connections, REST and gRPC each": "file descriptors and memory",
    "concurrent calls on a gRPC connection": "memory",
    "`waitMs` of a poll": "calls, from proxies that end what is silent for long",
    "calls read ahead on a REST connection": "memory; the turn of other connections",
    "`maxJobs` of a poll": "memory, and other workers' share of the jobs",
    "job types of a poll": "the time of a claim",
    "`leaseSeconds` of a poll": "jobs, from workers that died with a long lease",
    "`pageSize` of a list": "memory, the database's time",
    "business key": "its index, whose entries PostgreSQL limits",
    "variables: nested objects and arrays": "readers that recurse",
    "the same, read over gRPC": "clients: Protobuf libraries read so deep",
    "variables: members": "memory: each is kept by itself",
    "variables: numbers": "readers: gRPC and most JSON libraries have doubles only",
    "variables: digits that exponents stand for": "memory: the database writes them out, 75 bytes for one of `1e300,`",
    "any text": "the database, which stores no other text",
    "definition: nesting": "readers that recurse",
    "definition id": "URLs and log lines",
    "job type": "its index, whose entries PostgreSQL limits",
    "retry count": "the database's integer",
    "duration of a timer": "the database's timestamps",
    "errors of a definition that are listed": "the size of the answer",
    "expression": "the time of other calls",
    "value of an expression": "memory",
    "what the expressions of one event compute": "the time of other calls",
    "steps in a row without waiting": "the time of other calls: a loop without work would not end",
    "steps of an instance that wait at the same time": "the database, from timers that multiply their own step",
    "variables that such steps write": "memory, and the size of the write",
}
"""What would suffer without the limit, for each row."""


def rows() -> Iterator[tuple[str, str, str, str]]:
    """(what, how much, what it protects, what a caller gets beyond it). LookupError when PROTECTS lacks a row."""
    for what, limit, beyond in _limits():
        if what not in PROTECTS:
            raise LookupError(
                f"PROTECTS in {__file__} lacks {what!r}; say what would suffer without this limit"
            )
        yield what, limit, PROTECTS[what], beyond


def _limits() -> Iterator[tuple[str, str, str]]:
    """(what, how much, what happens beyond it)."""
    defaults = {variable.name: variable.default_text for variable in config.variables()}
    defaults["WINDLASS_MEMORY_BYTES_MAX"] = "of the container"
    for name, (what, more) in SET_BY.items():
        yield what, f"`{name}` (`{defaults[name]}`)", more
    yield (
        "calls read ahead on a REST connection",
        str(Limits().pipeline_max),
        "not read until the others are answered",
    )
    most, told = bounds.JOBS_MAX, polling.CLAIM_JOBS_MAX
    yield "`maxJobs` of a poll", f"{most:,}, of which one answer holds {told}", CLAMPED
    yield "job types of a poll", f"{bounds.JOB_TYPES_MAX:,}", BAD
    yield "`leaseSeconds` of a poll", f"{bounds.LEASE_S_MIN:g} to {bounds.LEASE_S_MAX:g}", CLAMPED
    yield "`pageSize` of a list", str(bounds.PAGE_SIZE_MAX), CLAMPED
    yield "business key", f"{bounds.BUSINESS_KEY_BYTES_MAX:,} bytes", BAD
    yield "variables: nested objects and arrays", str(payload.NESTING_MAX), BAD
    yield "the same, read over gRPC", str(protobuf.NESTING_MAX), "[see gRPC](#grpc)"
    yield "variables: members", f"{payload.VARIABLES_MAX:,}", BAD
    yield "variables: numbers", "range of a double", BAD
    yield "variables: digits that exponents stand for", f"{payload.EXPONENT_DIGITS_MAX:,} in all", BAD
    yield (
        "any text",
        "UTF-8 without U+0000 and lone surrogates",
        f"{BAD}; in a fail's message U+0000 is replaced",
    )
    yield "definition: nesting", str(document.NESTING_MAX), BAD
    yield "definition id", f"{validation.ID_CHARS_MAX} characters, `[A-Za-z0-9_:-]`", BAD
    yield "job type", f"{validation.JOB_TYPE_BYTES_MAX:,} bytes", BAD
    yield "retry count", f"{validation.RETRY_COUNT_MAX:,}", BAD
    yield (
        "duration of a timer",
        f"{duration.DURATION_MIN_S * 1e6:g} µs to {duration.DURATION_MAX_S / 86_400:,.0f} days",
        BAD,
    )
    yield (
        "errors of a definition that are listed",
        f"{validation.VIOLATIONS_SHOWN_MAX:,}",
        "the rest is counted or cut, and the answer says so",
    )
    yield "expression", f"{expression.EXPRESSION_CHARS_MAX:,} characters, {parser.NESTING_MAX} deep", FAILED
    yield (
        "value of an expression",
        f"{operators.RESULT_BYTES_MAX // MIB} MiB, {operators.RESULT_NESTING_MAX} deep",
        FAILED,
    )
    yield (
        "what the expressions of one event compute",
        f"{operators.WORK_MAX:,} units, less than a second",
        FAILED,
    )
    yield "steps in a row without waiting", f"{advance.STEPS_PER_EVENT_MAX:,}", FAILED
    yield "steps of an instance that wait at the same time", f"{advance.OPEN_STEPS_MAX:,}", FAILED
    yield "variables that such steps write", f"{advance.EVENT_BYTES_MAX // MIB} MiB", FAILED
