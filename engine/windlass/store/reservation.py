"""Leases that waiting polls hold ready for jobs which a batch is about to insert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from windlass.wire import JobView


class LeaseReservation(NamedTuple):
    """The lease of a job that is inserted already leased, to a poll that waits for its type."""

    worker_id: str
    lease_s: float
    holder: object
    """Whoever reserved it; the batch only hands it back."""


class LeaseReservations(Protocol):
    """The waiting polls, as the batch sees them."""

    def reserve(self, job_type: str) -> LeaseReservation | None: ...
    def deliver(self, reservations: Sequence[tuple[LeaseReservation, JobView]]) -> None: ...
    def abandon(self, reservations: Sequence[LeaseReservation]) -> None: ...
