"""What became of each row of the outbox: the lines of its audit, the broker's records, the leaders' terms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import msgspec

from seatrial.check.assumptions import Assumption
from seatrial.check.facts import Facts
from seatrial.check.instant import instant_us
from seatrial.history import Op


class Record(msgspec.Struct, frozen=True):
    """One message as a destination keeps it: those of one partition are in the order of their positions.

    `at_us`: the broker's clock, to the millisecond.
    """

    dedup_id: str
    destination: str
    partition: int
    position: int
    at_us: int
    epoch: int | None
    op: Op


class Row(msgspec.Struct, frozen=True):
    """One row of the outbox, from its insert on. Times are the database's."""

    dedup_id: str
    job_id: str
    instance_id: str
    job_type: str
    seq: int
    enqueued_us: int
    op: Op
    removed: Op | None
    """The line of its removal."""
    waits: bool
    """It was still there at the end."""

    @property
    def removed_us(self) -> int | None:
        return instant_us(self.removed.value["at"]) if self.removed is not None else None


class Term(msgspec.Struct, frozen=True):
    epoch: int
    holder: str
    began_us: int
    op: Op


class Dispatches:
    """Indexed once for all checks of a history."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        lines = facts.rows("outbox_line")
        removed = {op.value["dedup_id"]: op for op in lines if op.value["what"] == "removed"}
        waiting = {op.value["dedup_id"] for op in facts.rows("outbox_row")}
        self.rows: Mapping[str, Row] = {
            op.value["dedup_id"]: _row(op, removed, waiting) for op in lines if op.value["what"] == "enqueued"
        }
        self.removals: Sequence[Op] = [op for op in lines if op.value["what"] == "removed"]
        records = [_record(op) for op in facts.rows("record") if "dedup_id" in op.value]
        read_us = [instant_us(op.value["at"]) for op in facts.rows("clock")]
        #: the destinations are read after the outbox audit, which lacks records that came in between
        self.records: Sequence[Record] = [
            each for each in records if not read_us or each.at_us <= read_us[-1]
        ]
        #: by job type, where the broker keeps its messages
        self.destinations: Mapping[str, str] = {
            op.value["job_type"]: op.value["name"] for op in facts.rows("destination")
        }
        self.undecodable: Sequence[Op] = [op for op in facts.rows("record") if "dedup_id" not in op.value]
        self.terms: Sequence[Term] = [_term(op) for op in facts.rows("leader_line")]

    @cached_property
    def records_of(self) -> Mapping[str, Sequence[Record]]:
        """By dedup id, in the order of their positions."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(
            self.records, key=lambda each: (each.destination, each.partition, each.position)
        ):
            found[record.dedup_id].append(record)
        return found

    @cached_property
    def rows_of_job(self) -> Mapping[str, Sequence[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in sorted(self.rows.values(), key=lambda each: each.seq):
            found[row.job_id].append(row)
        return found

    @cached_property
    def clock_offset_s(self) -> float | None:
        """What to add to the database's time, in seconds since 1970, to get the monotonic one; None: never read."""
        clocks = self._facts.rows("clock")
        return clocks[-1].t_s - instant_us(clocks[-1].value["at"]) / 1e6 if clocks else None


@lru_cache(maxsize=1)
def dispatches_of(facts: Facts) -> Dispatches:
    """All checks of one history share one index."""
    return Dispatches(facts)


def _unkept(facts: Facts) -> str | None:
    return None if facts.rows("clock") else "the outbox audit was not read"


OUTBOX_AUDIT = Assumption(_unkept, essential=True)
"""The triggers' lines and the broker's records were read at the end."""


def _row(op: Op, removed: Mapping[str, Op], waiting: set[str]) -> Row:
    value = op.value
    return Row(
        value["dedup_id"],
        value["job_id"],
        value["instance_id"],
        value["job_type"],
        int(value["seq"]),
        instant_us(value["at"]),
        op,
        removed.get(value["dedup_id"]),
        value["dedup_id"] in waiting,
    )


def _record(op: Op) -> Record:
    value = op.value
    return Record(
        value["dedup_id"],
        value["destination"],
        int(value["partition"]),
        int(value["position"]),
        instant_us(value["at"]),
        value.get("epoch"),
        op,
    )


def _term(op: Op) -> Term:
    return Term(int(op.value["epoch"]), str(op.value["holder"]), instant_us(op.value["at"]), op)
