"""OC: what was written to the outbox reached the broker or is still there, and nothing else did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.dispatch import OUTBOX_AUDIT, Dispatches, Record, Row, dispatches_of
from seatrial.check.facts import Facts, facts_of, happened
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "The outbox loses nothing: every row is published, still waits, or was dropped because nobody waited for its job "
    "any more; no row is removed before the broker has it; copies share its dedup id, and a new id means a retry or a "
    "redelivery that was due."
)
#: a row is due by one clock and one statement; this is for the rounding of what is recorded
_ROUNDING_US = 10_000


@assuming("OC", GUARANTEE, PAIRED, OBSERVED, OUTBOX_AUDIT, EFFECTIVE, LOADED)
def outbox_conservation(history: History) -> Verdict:
    """Parameters: `redelivery_s` (300): the shortest wait before a dispatched job is dispatched again;
    `republished_max` (none): the largest number of copies allowed.
    """
    facts = facts_of(history)
    dispatches = dispatches_of(facts)
    findings = Findings(facts)
    published = left = dropped = 0
    for row in dispatches.rows.values():
        records = dispatches.records_of.get(row.dedup_id, ())
        published += bool(records)
        left += row.waits
        dropped += not records and not row.waits
        _judge_row(dispatches, row, records, findings)
    _judge_records(dispatches, findings)
    redelivered = sum(
        _judge_repeats(facts, dispatches, job_id, rows, findings)
        for job_id, rows in dispatches.rows_of_job.items()
    )
    republished = sum(len(records) - 1 for records in dispatches.records_of.values())
    if facts.has("republished_max") and republished > facts.number("republished_max"):
        findings.add(
            f"{republished} copies were published, at most {facts.number('republished_max'):g} may be"
        )
    figures = {
        "enqueued": len(dispatches.rows),
        "published": published,
        "left": left,
        "dropped": dropped,
        "records": len(dispatches.records),
        "republished": republished,
        "redelivered": redelivered,
    }
    summary = (
        f"{len(dispatches.rows)} rows: {published} published, {left} left, {dropped} dropped; "
        f"{republished} copies, {redelivered} redeliveries"
    )
    return findings.verdict(
        "OC", GUARANTEE, summary, figures, vacuous=None if dispatches.rows else "the outbox was never used"
    )


def _judge_row(dispatches: Dispatches, row: Row, records: Sequence[Record], findings: Findings) -> None:
    ids = (row.dedup_id, row.job_id, row.instance_id)
    if row.removed is None or row.removed_us is None:
        if not row.waits:
            findings.add(f"row {row.dedup_id} is gone and no removal was seen", *ids, at=(row.op.index,))
        return
    at = (row.op.index, row.removed.index)
    if not records:
        followed = any(later.seq > row.seq for later in dispatches.rows_of_job[row.job_id])
        if row.removed.value.get("job_status") == "UNLOCKED" and not followed:
            text = f"row {row.dedup_id} was removed, was never published, and job {row.job_id} waits for it"
            findings.add(text, *ids, at=at)
    elif row.removed_us < min(record.at_us for record in records):
        first = min(records, key=lambda record: record.at_us)
        early_s = (first.at_us - row.removed_us) / 1e6
        text = f"row {row.dedup_id} was removed {early_s:.3f} s before the broker had it"
        findings.add(text, *ids, at=(*at, first.op.index))


def _judge_records(dispatches: Dispatches, findings: Findings) -> None:
    for op in dispatches.undecodable:
        findings.add(
            f"a record of {op.value['destination']} is not a job's event: {op.value['cause']}", at=(op.index,)
        )
    for record in dispatches.records:
        value = record.op.value
        row = dispatches.rows.get(record.dedup_id)
        ids = (record.dedup_id, str(value.get("job_id")), str(value.get("instance_id")))
        if row is None:
            findings.add(
                f"record {record.dedup_id} in {record.destination} was never enqueued",
                *ids,
                at=(record.op.index,),
            )
            continue
        for what, found, wanted in (
            ("job", value.get("job_id"), row.job_id),
            ("instance", value.get("instance_id"), row.instance_id),
            ("destination", record.destination, dispatches.destinations.get(row.job_type)),
            ("ordering key", value.get("ordering_key"), row.instance_id),
            ("dedup id beside its body", value.get("envelope_dedup_id"), row.dedup_id),
        ):
            if found != wanted:
                text = f"record {record.dedup_id} has {what} {found}, its row {wanted}"
                findings.add(text, *ids, at=(record.op.index, row.op.index))


def _judge_repeats(
    facts: Facts, dispatches: Dispatches, job_id: str, rows: Sequence[Row], findings: Findings
) -> int:
    """Returns how many of a job's further rows were redeliveries that were due, by the time since the broker took the
    row before, which is the earliest moment that an engine can count from. Others each need a retryable fail of a
    worker, or a lease that a poller let expire.
    """
    redelivery_us = int(facts.number("redelivery_s", 300.0) * 1e6)
    due = 0
    hasty = []
    for row, later in pairwise(rows):
        taken_us = min((each.at_us for each in dispatches.records_of.get(row.dedup_id, ())), default=None)
        gone_us = row.removed_us if taken_us is None else taken_us
        if (
            row.removed is not None
            and gone_us is not None
            and later.enqueued_us - gone_us >= redelivery_us - _ROUNDING_US
        ):
            due += 1
        else:
            hasty.append((row, later))
    fails = sum(
        happened(call) and bool(call.invoke.value.get("retryable", True))
        for call in facts.fails_of.get(job_id, ())
    )
    tenure = facts.tenures.get(job_id)
    excused = fails + (len(tenure.leases) if tenure is not None else 0)
    for row, later in hasty[excused:]:
        text = f"job {job_id} got row {later.dedup_id} although {row.dedup_id} was not due for redelivery"
        findings.add(text, job_id, row.dedup_id, later.dedup_id, at=(row.op.index, later.op.index))
    return due
