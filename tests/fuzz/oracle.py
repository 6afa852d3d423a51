"""What must be true of every answer and of the engine that gave it; each oracle has a planted failure in the tests."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from case import Case
from socket_caller import Answer, Exchange
from subject import Rows

ANSWER_WITHIN_S = 10.0
"""Far above what any case takes, and far below what a caller would wait."""

#: A quiet engine grows while caches fill and arenas settle; a leak grows on. Both must be passed.
GROWTH_BYTES_MAX = 24 * 1024 * 1024
GROWTH_BYTES_PER_1000_CASES_MAX = 4 * 1024 * 1024
WARM_UP_SHARE = 0.3

#: A valid workflow after the cases may take so much longer than before them.
SLOWER_MAX, SLOWER_ALLOWED_S = 3.0, 1.0

REFUSED = frozenset({400, 404, 405, 408, 409, 413, 415, 431})
ACCEPTED = frozenset({200, 201, 204})
EMPTY_BODY = frozenset({405})

#: What one who may not come in is told: 413 for a length that the head tells, which is past the cap for everybody.
NOT_LET_IN = frozenset({401, 403, 413})
#: ... and of a head that is none, or asks for what there is not, before it is known who calls.
NO_HEAD = frozenset({400, 408, 415, 431})
#: One who is known may learn that there is no such route, and read the API's document.
KNOWN_TOLD = frozenset({404, 405})

GRPC_NOT_LET_IN = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
GRPC_NO_CALL = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED})

GRPC_REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


#: Of calls that a log tells about, refused ones among them; and of what a node says of its own state meanwhile.
LOG_BYTES_PER_CALL_MAX, LOG_BYTES_ALLOWED = 2_048, 64 * 1024


class Broken(Exception):
    """An oracle says no. `oracle` is its name."""

    def __init__(self, oracle: str, text: str) -> None:
        super().__init__(f"{oracle}: {text}")
        self.oracle = oracle
        self.text = text


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    code: grpc.StatusCode
    details: str
    took_s: float


def judge_exchange(case: Case, found: Exchange) -> bool:
    """Whether the call was accepted. Raises Broken."""
    if found.ended == "silent" or found.took_s > ANSWER_WITHIN_S:
        raise Broken("in time", f"no answer, or no end, within {ANSWER_WITHIN_S:g} s: {found}")
    if found.rest:
        raise Broken("whole answers", f"bytes that are no answer: {found.rest[:200]!r}")
    if len(found.answers) < case.answers:
        raise Broken("every call answered", f"{len(found.answers)} answers to {case.answers} calls: {found}")
    if case.by:
        judge_not_let_in(case, found.answers)
        return False
    for answer in found.answers:
        _judge_answer(answer, head_only=case.sent.startswith(b"HEAD "))
    accepted = any(answer.status in ACCEPTED for answer in found.answers)
    if case.must_refuse and accepted:
        raise Broken("refused", f"it must be refused and was answered {found.answers[0].status}")
    return accepted


def judge_not_let_in(case: Case, answers: Sequence[Answer]) -> None:
    """Raises Broken when a caller who may do nothing here was told more than that."""
    for number, answer in enumerate(answers):
        allowed = NOT_LET_IN
        if not (case.is_whole and number == 0):
            # A body that was not read is no call either.
            allowed |= NO_HEAD | (KNOWN_TOLD if case.by == "powerless" else frozenset())
        if answer.status not in allowed:
            raise Broken("not let in", f"answered {answer.status} to {case.by}: {answer.body[:300]!r}")
        if answer.status == 401 and not answer.headers.get("www-authenticate", "").startswith("Bearer"):
            raise Broken("not let in", "401 without WWW-Authenticate, which RFC 9110, 15.5.2 asks for")
        if answer.status in NOT_LET_IN and not case.sent.startswith(b"HEAD "):
            judge_error_body(answer)


def _judge_answer(answer: Answer, *, head_only: bool) -> None:
    if answer.status in ACCEPTED:
        return
    if answer.status not in REFUSED:
        raise Broken("status", f"answered {answer.status}: {answer.body[:300]!r}")
    if (
        answer.status in EMPTY_BODY
        or head_only
        or answer.headers.get("content-type", "").startswith("text/plain")
    ):
        return
    judge_error_body(answer)


def judge_error_body(answer: Answer) -> None:
    """Three words: a stable code, the reason, and the reason again as message (contract 1.2). Raises Broken."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        raise Broken(
            "error body", f"{answer.status} with a body that is no JSON: {answer.body[:200]!r}"
        ) from None
    words = [told.get(name) if isinstance(told, dict) else None for name in ("error", "reason", "message")]
    if not all(isinstance(word, str) and word for word in words) or words[1] != words[2]:
        raise Broken(
            "error body", f"{answer.status} without error, reason and message: {answer.body[:200]!r}"
        )


def judge_call(case: Case, found: GrpcAnswer) -> bool:
    """The same over gRPC."""
    if found.code is grpc.StatusCode.DEADLINE_EXCEEDED or found.took_s > ANSWER_WITHIN_S:
        raise Broken("in time", f"no answer within {ANSWER_WITHIN_S:g} s")
    if case.by:
        allowed = GRPC_NOT_LET_IN if case.is_whole else GRPC_NOT_LET_IN | GRPC_NO_CALL
        if found.code not in allowed:
            raise Broken("not let in", f"answered {found.code.name} to {case.by}: {found.details[:300]}")
        return False
    if found.code is grpc.StatusCode.OK:
        if case.must_refuse:
            raise Broken("refused", "it must be refused and was answered OK")
        return True
    if found.code not in GRPC_REFUSED:
        raise Broken("status", f"answered {found.code.name}: {found.details[:300]}")
    if not found.details and not case.metadata:
        # Of metadata past its limit the library under the door says nothing to some clients.
        raise Broken("error body", f"{found.code.name} without a message")
    return False


def judge_rows(before: Rows, after: Rows) -> None:
    """Raises Broken when a refused call changed a row."""
    changed = [table for table in after if before.get(table) != after[table]]
    if changed:
        told = ", ".join(f"{table} {before.get(table)} -> {after[table]}" for table in changed)
        raise Broken("no changed row", f"refused calls changed rows (count, newest transaction): {told}")


def judge_log(complaints: Sequence[str]) -> None:
    if complaints:
        raise Broken("quiet log", f"{len(complaints)} lines, the first: {complaints[0][:500]}")


def growth_per_1000(samples: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Bytes per thousand cases after the warm-up by least squares, and bytes over that whole stretch."""
    last_case = samples[-1][0] if samples else 0
    warm = [(case, rss) for case, rss in samples if case >= last_case * WARM_UP_SHARE]
    if len(warm) < 3:
        return 0.0, 0.0
    slope, _ = statistics.linear_regression(*zip(*warm, strict=True))
    return slope * 1000, slope * (warm[-1][0] - warm[0][0])


def judge_memory(samples: Sequence[tuple[int, int]]) -> None:
    """`samples`: number of cases so far, resident bytes. Raises Broken for a process that goes on growing."""
    rate, total = growth_per_1000(samples)
    if rate > GROWTH_BYTES_PER_1000_CASES_MAX and total > GROWTH_BYTES_MAX:
        raise Broken(
            "no growing process",
            f"{rate / 2**20:.1f} MiB per 1,000 cases, {total / 2**20:.0f} MiB since the warm-up",
        )


def judge_peak(peak_bytes: int, resident_before_bytes: int, bytes_max: int) -> None:
    """The most that was resident during a case. Raises Broken past the limit, unless it was passed before the case."""
    if peak_bytes > max(bytes_max, resident_before_bytes):
        raise Broken(
            "within memory",
            f"{peak_bytes / 2**20:.0f} MiB at its peak, {bytes_max / 2**20:.0f} allowed; "
            f"{resident_before_bytes / 2**20:.0f} before the case",
        )


def judge_ending(ending: str | None, bytes_max: int) -> None:
    """`ending`: how the process ended; None while it runs. Raises Broken."""
    if ending is not None:
        raise Broken(
            "still running", f"{ending}; a signal 9 is how its limit of {bytes_max / 2**20:.0f} MiB ends it"
        )


def judge_log_bytes(written_bytes: int, calls: int) -> None:
    """Raises Broken when so many calls made the log grow out of proportion."""
    if written_bytes > LOG_BYTES_ALLOWED + calls * LOG_BYTES_PER_CALL_MAX:
        raise Broken("short log", f"{calls} calls wrote {written_bytes:,} bytes into the log")


def judge_leases(*, held: int, heard: int, polls: int, lost_max: int) -> None:
    """`held`: leases in the database; `heard`: jobs that a caller was told of. Raises Broken when some are nobody's."""
    if held - heard > lost_max:
        raise Broken(
            "no lease without a holder", f"{held} leases after {polls} polls, whose callers heard of {heard}"
        )


def judge_service(before_s: Sequence[float], after_s: Sequence[float]) -> None:
    """Seconds of valid workflows before and after. Raises Broken when the engine has become slow."""
    before, after = statistics.median(before_s), statistics.median(after_s)
    if after > before * SLOWER_MAX + SLOWER_ALLOWED_S:
        raise Broken(
            "still serving", f"a valid workflow takes {after:.3f} s, before the cases it was {before:.3f} s"
        )
