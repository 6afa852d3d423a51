"""Lets a batch insert a job already leased to a poll that waits for its type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from windlass.wire import JobView


class LeaseReservation(NamedTuple):
    """The lease with which a job is inserted, for a poll that waits for its type."""

    worker_id: str
    lease_s: float
    holder: object
    """Identifies the poll to the code that reserved it; the batch only returns it."""


class LeaseReservations(Protocol):
    """The waiting polls, as far as a batch needs them."""

    def reserve(self, job_type: str, size_bytes: int) -> LeaseReservation | None:
        """`size_bytes`: what the job takes in an answer at most."""
        ...

    def deliver(self, reservations: Sequence[tuple[LeaseReservation, JobView]]) -> None: ...
    def abandon(self, reservations: Sequence[LeaseReservation]) -> None: ...
