"""PO: the jobs of one instance reach their destination in the order in which the instance created them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.dispatch import OUTBOX_AUDIT, Record, dispatches_of
from seatrial.check.facts import facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "Order is kept: the jobs of one instance that share a destination are first published in the order in which they "
    "were created, and all in one partition of it."
)


@assuming("PO", GUARANTEE, PAIRED, OBSERVED, OUTBOX_AUDIT, EFFECTIVE, LOADED)
def publish_order(history: History) -> Verdict:
    """A copy, which has the dedup id of an earlier record, is not a new publication."""
    facts = facts_of(history)
    dispatches = dispatches_of(facts)
    findings = Findings(facts)
    lines: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for dedup_id, row in dispatches.rows.items():
        records = dispatches.records_of.get(dedup_id, ())
        if records:
            lines[row.job_type, row.instance_id].extend(records)
    compared = 0
    for (job_type, instance_id), records in lines.items():
        partitions = {record.partition for record in records}
        if len(partitions) > 1:
            text = f"the {job_type} jobs of instance {instance_id} are in partitions {sorted(partitions)}"
            findings.add(text, instance_id, at=[record.op.index for record in records])
            continue
        first: dict[str, Record] = {}
        for record in sorted(records, key=lambda each: each.position):
            first.setdefault(record.dedup_id, record)
        compared += len(first) - 1
        for before, after in pairwise(first.values()):
            earlier, later = dispatches.rows[before.dedup_id], dispatches.rows[after.dedup_id]
            if earlier.seq > later.seq:
                text = (
                    f"{earlier.dedup_id} (made as {earlier.seq}) was published at {before.destination}/"
                    f"{before.partition}/{before.position}, before {later.dedup_id} "
                    f"(made as {later.seq}) of the same instance"
                )
                at = (earlier.op.index, later.op.index, before.op.index, after.op.index)
                findings.add(text, instance_id, earlier.dedup_id, later.dedup_id, at=at)
    figures = {"lines": len(lines), "pairs_compared": compared, "out_of_order": findings.count}
    summary = f"{len(lines)} instances by job type, {compared} successions"
    return findings.verdict(
        "PO", GUARANTEE, summary, figures, vacuous=None if lines else "nothing was published"
    )
