"""Histories of jobs that travel through a broker: the outbox audit, records, leaders, deliveries."""

from __future__ import annotations

from typing import Any, Self

from trial_builder import Trial, db_time


class DispatchTrial(Trial):
    """Row d<n> belongs to job j<n> of instance i<n> unless told otherwise; every step takes `tick_s`."""

    def __init__(self, *checks: str, **parameters: Any) -> None:
        super().__init__(*checks, **parameters)
        self.lines: list[dict[str, Any]] = []
        self.waiting: dict[str, dict[str, Any]] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.destinations: dict[str, str] = {}
        self.epoch: int | None = None

    def _row(self, row: str, job: str | None, instance: str | None, job_type: str) -> dict[str, Any]:
        number = row.removeprefix("d")
        return {
            "dedup_id": row,
            "job_id": job or f"j{number}",
            "instance_id": instance or f"i{number}",
            "job_type": job_type,
        }

    def enqueue(
        self, row: str, *, job: str | None = None, instance: str | None = None, job_type: str = "work"
    ) -> Self:
        self.now_s += self.tick_s
        self.waiting[row] = self._row(row, job, instance, job_type)
        return self._line("enqueued", self.waiting[row])

    def remove(
        self,
        row: str,
        *,
        status: str = "UNLOCKED",
        by: str = "windlass/replica-0/engine",
        at_s: float | None = None,
    ) -> Self:
        if at_s is None:
            self.now_s += self.tick_s
        return self._line(
            "removed", self.waiting.pop(row), at_s=at_s, job_status=status, by_whom=by, epoch=self.epoch
        )

    def _line(self, what: str, row: dict[str, Any], *, at_s: float | None = None, **more: Any) -> Self:
        told = {"job_status": None, "by_whom": "windlass/replica-1/engine", "epoch": None, **more}
        at = db_time(self.now_s if at_s is None else at_s)
        self.lines.append({"seq": len(self.lines) + 1, "what": what, **row, **told, "at": at})
        self.note("observer", "outbox_line", **self.lines[-1])
        return self

    def record(
        self,
        row: str,
        *,
        job: str | None = None,
        instance: str | None = None,
        job_type: str = "work",
        partition: int = 0,
        epoch: int | None = None,
        **changes: Any,
    ) -> Self:
        self.now_s += self.tick_s
        ids = self._row(row, job, instance, job_type)
        name = self._destination(job_type)
        position = self.positions.get((name, partition), 0)
        self.positions[name, partition] = position + 1
        value = {
            "destination": name, "partition": partition, "position": position, "at": db_time(self.now_s),
            "ordering_key": ids["instance_id"], "epoch": epoch, "envelope_dedup_id": row, **ids,
        }  # fmt: skip
        self.note("observer", "record", **{**value, **changes})
        return self

    def _destination(self, job_type: str) -> str:
        """Its name at the broker, which the history tells once."""
        if job_type not in self.destinations:
            self.destinations[job_type] = f"queue of {job_type}"
            self.note("observer", "destination", job_type=job_type, name=self.destinations[job_type])
        return self.destinations[job_type]

    def relay(self, row: str, **rest: Any) -> Self:
        """Published, then removed."""
        return self.record(row, **rest).remove(row)

    def lead(self, epoch: int, holder: str) -> Self:
        self.now_s += self.tick_s
        self.epoch = epoch
        self.note("observer", "leader_line", seq=epoch, holder=holder, epoch=epoch, at=db_time(self.now_s))
        return self

    def gauge(self, node: str, *, leads: bool | None) -> Self:
        self.note("observer", "leads", node=node, leads=leads)
        return self

    def deliver(self, row: str, *, worker: str = "a", position: int = 0, repeated: bool = False) -> Self:
        ids = self._row(row, None, None, "work")
        place = {"destination": self._destination("work"), "partition": 0, "position": position}
        self.now_s += self.tick_s
        self.note(f"worker-{worker}", "deliver", **ids, **place, repeated=repeated)
        return self

    def acknowledge(self, *, worker: str = "a", position: int = 0) -> Self:
        self.now_s += self.tick_s
        place = {"destination": self._destination("work"), "partition": 0, "position": position}
        self.note(f"worker-{worker}", "acknowledge", **place)
        return self

    def ran(self, row: str, job: str, *, worker: str = "a") -> Self:
        self.now_s += self.tick_s
        self.note(f"worker-{worker}", "execute", job_id=job, lease_token=None, dedup_id=row)
        return self

    def read(self) -> Self:
        """The end: what still waits, and the two clocks side by side."""
        for row in self.waiting.values():
            self.note("observer", "outbox_row", **row)
        self.note("observer", "clock", at=db_time(self.now_s))
        return self
