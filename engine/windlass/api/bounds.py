"""The limits that REST and gRPC share, so that both clamp in the same way (contract 1.5, 1.6)."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.errors import BadRequest

PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_MAX = 20, 200, 2**31 - 1
JOBS_MAX = 1000
REST_JOBS_DEFAULT, GRPC_JOBS_DEFAULT = 10, 1
#: Job types one poll may ask for: each is remembered for a while, and each is looked up in the claim.
JOB_TYPES_MAX = 1000
#: A business key is in an index, whose entries PostgreSQL keeps below a third of a page.
BUSINESS_KEY_BYTES_MAX = 2048
LEASE_S_MIN, LEASE_S_MAX = 1.0, 3600.0
#: Of what a worker registers: its id and its version, and each job type.
WORKER_TEXT_CHARS_MAX = 255
#: Fewer than a poll may ask for: a page of workers shows them all.
WORKER_JOB_TYPES_MAX = 200
WORKER_CAPACITY_MAX = 100_000
WORKER_HEARTBEAT_S_DEFAULT, WORKER_HEARTBEAT_S_MIN, WORKER_HEARTBEAT_S_MAX = 15.0, 1.0, 3600.0

SHOWN_BELOW = 1e12


def page_of(page: int, page_size: int) -> tuple[int, int]:
    """Page and page size by the clamps of contract 1.5."""
    size = min(page_size, PAGE_SIZE_MAX) if page_size > 0 else PAGE_SIZE_DEFAULT
    return min(max(page, 0), PAGE_MAX), size


def jobs_wanted(asked: int | None, default: int) -> int:
    return min(asked, JOBS_MAX) if asked is not None and asked > 0 else default


def lease_s_of(asked_s: float | None, default_s: float) -> float:
    if asked_s is None or asked_s <= 0:
        return default_s
    return min(max(asked_s, LEASE_S_MIN), LEASE_S_MAX)


def wait_s_of(asked_ms: float | None, longest_s: float) -> float:
    # Compared first: an integer may be too large to be divided.
    return min(asked_ms, longest_s * 1000) / 1000 if asked_ms is not None and asked_ms > 0 else 0.0


def job_types_of(asked: Sequence[str]) -> Sequence[str]:
    """BadRequest when there are too many."""
    if len(asked) > JOB_TYPES_MAX:
        raise BadRequest(f"a poll may ask for {JOB_TYPES_MAX} job types, got {len(asked)}; poll in parts")
    return asked


def worker_text(value: str, name: str) -> str:
    """BadRequest when it is too long."""
    if len(value) > WORKER_TEXT_CHARS_MAX:
        raise BadRequest(f"{name} has {len(value)} characters, at most {WORKER_TEXT_CHARS_MAX}; shorten it")
    return value


def worker_job_types(asked: Sequence[str]) -> Sequence[str]:
    """Each once, in their order. BadRequest when there are none or too many, or one is empty or too long."""
    if not asked:
        raise BadRequest("jobTypes must not be empty")
    if len(asked) > WORKER_JOB_TYPES_MAX:
        raise BadRequest(
            f"a worker may name {WORKER_JOB_TYPES_MAX} job types, got {len(asked)}; register several workers"
        )
    if not all(asked):
        raise BadRequest("jobTypes must not contain an empty text; name each type")
    return list(dict.fromkeys(worker_text(job_type, "a text of jobTypes") for job_type in asked))


def worker_capacity(asked: float | None) -> int:
    """One if it is not told. BadRequest when it is out of range, or no whole number; 4.0 is one."""
    if asked is None:
        return 1
    if not 1 <= asked <= WORKER_CAPACITY_MAX or asked != int(asked):
        raise BadRequest(
            f"capacity must be a whole number from 1 to {WORKER_CAPACITY_MAX}, got {_shown(asked)}; it is how many "
            "jobs run at a time"
        )
    return int(asked)


def worker_heartbeat_s(asked_s: float | None) -> float:
    """BadRequest when it is out of range."""
    if asked_s is None:
        return WORKER_HEARTBEAT_S_DEFAULT
    if not WORKER_HEARTBEAT_S_MIN <= asked_s <= WORKER_HEARTBEAT_S_MAX:
        raise BadRequest(
            f"heartbeatSeconds must be {WORKER_HEARTBEAT_S_MIN:g} to {WORKER_HEARTBEAT_S_MAX:g}, "
            f"got {_shown(asked_s)}; it is the pause between two heartbeats"
        )
    return float(asked_s)


def _shown(number: float) -> str:
    # An integer of a body may have more digits than anyone wants to read, or Python writes.
    return str(number) if abs(number) < SHOWN_BELOW else "one far beyond"


def business_key_of(key: str) -> str | None:
    """None for no key; BadRequest when it is too long for the index."""
    size = len(key.encode())
    if size > BUSINESS_KEY_BYTES_MAX:
        raise BadRequest(f"the business key has {size} bytes, at most {BUSINESS_KEY_BYTES_MAX}; shorten it")
    return key or None
