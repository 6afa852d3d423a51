"""Acquisitions of one job, as the answers of polls showed them, and who held what when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from math import inf
from typing import Any

import msgspec

from seatrial.check.instant import instant_us
from seatrial.history import Call


def token_of(value: Mapping[str, Any]) -> str | None:
    token = value.get("lease_token")
    return None if token is None else str(token)


class Lease(msgspec.Struct, frozen=True):
    """One acquisition of one job; instants on the database's clock."""

    job_id: str
    instance_id: str
    token: str | None
    worker_id: str
    locked_us: int
    expires_us: int
    poll: Call

    @property
    def answered_s(self) -> float:
        """When the worker knew of it (monotonic)."""
        return self.poll.end.t_s if self.poll.end is not None else self.poll.invoke.t_s

    @property
    def name(self) -> str:
        return f"token {self.token}" if self.token is not None else f"worker {self.worker_id}"


def leased_jobs(polls: Iterable[Call]) -> Iterator[tuple[Call, Mapping[str, Any]]]:
    """Each job that an answered poll brought, as its answer tells of it (the table in `seatrial.history`)."""
    for poll in polls:
        if poll.end is not None and poll.outcome == "ok":
            for job in poll.end.value.get("jobs") or ():
                yield poll, job


def lease_of(poll: Call, job: Mapping[str, Any]) -> Lease:
    """Raises ValueError when the answer does not tell from when until when it holds."""
    return Lease(
        job["job_id"],
        job.get("instance_id") or "",
        token_of(job),
        str(poll.invoke.value.get("worker_id") or poll.invoke.process),
        instant_us(job.get("locked_at")),
        instant_us(job.get("lock_expires_at")),
        poll,
    )


class Answered:
    """Leases by the time at which workers knew of them."""

    def __init__(self, leases: Iterable[Lease]) -> None:
        ordered = sorted(leases, key=lambda lease: lease.answered_s)
        self._times_s = [lease.answered_s for lease in ordered]
        self._latest: list[Lease] = []
        for lease in ordered:
            is_later = not self._latest or lease.locked_us >= self._latest[-1].locked_us
            self._latest.append(lease if is_later else self._latest[-1])

    def latest_until(self, t_s: float) -> Lease | None:
        """The one locked last among those known at `t_s`."""
        known = bisect_right(self._times_s, t_s)
        return self._latest[known - 1] if known else None

    def latest_before(self, t_s: float) -> Lease | None:
        known = bisect_left(self._times_s, t_s)
        return self._latest[known - 1] if known else None


class Tenure:
    """All leases of one job, in the order of the database's clock, and its holders' fails."""

    def __init__(self, leases: Iterable[Lease], gave_back: Iterable[Call]) -> None:
        """`gave_back`: the retryable fails of this job that may have happened."""
        self.leases = sorted(leases, key=lambda lease: (lease.locked_us, lease.answered_s))
        self._gave_back = sorted(gave_back, key=lambda call: call.invoke.t_s)

    def superseder(self, call: Call) -> Lease | None:
        """The acquisition that took the job from the caller, answered before the call was sent (real time); the
        latest one. None for a call whose lease is the latest, or was never seen.
        """
        token = token_of(call.invoke.value)
        key = (True, token) if token is not None else (False, str(call.invoke.value.get("worker_id")))
        held = self._held_by.get(key)
        mine = held.latest_until(call.invoke.t_s) if held is not None else None
        latest = self._all.latest_before(call.invoke.t_s)
        if mine is None or latest is None or latest.locked_us <= mine.locked_us:
            return None
        return latest

    def given_back_s(self, lease: Lease) -> float:
        """When its holder first sent a retryable fail, which ends a lease early (monotonic); else infinite.

        With both tokens known they decide, else the worker's name does.
        """
        if lease.token is None:
            lists = [self._fails_by["worker", lease.worker_id]]
        else:
            lists = [self._fails_by["token", lease.token], self._fails_by["tokenless", lease.worker_id]]
        firsts = (bisect_left(times_s, lease.answered_s) for times_s in lists)
        return min(
            (times_s[first] for times_s, first in zip(lists, firsts, strict=True) if first < len(times_s)),
            default=inf,
        )

    @cached_property
    def _all(self) -> Answered:
        return Answered(self.leases)

    @cached_property
    def _held_by(self) -> dict[tuple[bool, str | None], Answered]:
        """By (True, token) and by (False, worker id)."""
        groups: dict[tuple[bool, str | None], list[Lease]] = defaultdict(list)
        for lease in self.leases:
            groups[False, lease.worker_id].append(lease)
            if lease.token is not None:
                groups[True, lease.token].append(lease)
        return {key: Answered(leases) for key, leases in groups.items()}

    @cached_property
    def _fails_by(self) -> dict[tuple[str, str], list[float]]:
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for call in self._gave_back:
            token, worker_id = token_of(call.invoke.value), str(call.invoke.value.get("worker_id"))
            groups["worker", worker_id].append(call.invoke.t_s)
            if token is None:
                groups["tokenless", worker_id].append(call.invoke.t_s)
            else:
                groups["token", token].append(call.invoke.t_s)
        return groups
