"""What must have happened in a run before its verdicts mean anything (Antithesis' `sometimes`): a drill whose
situation never came up proves nothing, so it is vacuous.

The drill names them in its parameter `circumstances_min`: {name: how many there must be}.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from seatrial.check.dispatch import Row, dispatches_of
from seatrial.check.facts import Facts, error_status, happened
from seatrial.check.held import lost_by_database
from seatrial.check.lead import hits
from seatrial.check.lease import Lease, Tenure, token_of
from seatrial.check.punctuality import fates
from seatrial.history import Call


def counted(facts: Facts) -> Mapping[str, int]:
    """Each circumstance that the drill asks for, with how often it happened; raises ValueError for an unknown one."""
    unknown = [name for name in _wanted(facts) if name not in CIRCUMSTANCES]
    if unknown:
        known = ", ".join(CIRCUMSTANCES)
        raise ValueError(f"circumstances_min names {', '.join(unknown)}; known are {known}")
    return {name: CIRCUMSTANCES[name](facts) for name in _wanted(facts)}


def missing(facts: Facts, counts: Mapping[str, int]) -> str | None:
    """Why nothing was shown, or None."""
    lacking = [
        f"{counts[name]} {name.replace('_', ' ')}, at least {least} were expected"
        for name, least in _wanted(facts).items()
        if counts[name] < least
    ]
    return "; ".join(lacking) or None


def _wanted(facts: Facts) -> Mapping[str, int]:
    return facts.header.parameters.get("circumstances_min") or {}


def lapsed(tenure: Tenure) -> Sequence[tuple[Lease, Lease]]:
    """Leases that ran out, each with the one that took the job afterwards; not those given back in time."""
    return [
        (lease, later)
        for lease, later in pairwise(tenure.leases)
        if later.locked_us >= lease.expires_us and tenure.given_back_s(lease) > later.answered_s
    ]


def _leases_lapsed(facts: Facts) -> int:
    return sum(len(lapsed(tenure)) for tenure in facts.tenures.values())


def _completes_raced(facts: Facts) -> int:
    """Jobs that were being completed at two replicas at one time."""
    return sum(
        any(_race(a, b) for a, b in pairwise(_by_time(calls))) for calls in facts.completes_of.values()
    )


def _race(call: Call, later: Call) -> bool:
    return call.invoke.node != later.invoke.node and (call.end is None or call.end.t_s > later.invoke.t_s)


def _by_time(calls: Sequence[Call]) -> Sequence[Call]:
    return sorted(calls, key=lambda call: call.invoke.t_s)


def _leases_completed_elsewhere(facts: Facts) -> int:
    """Leases taken at one replica and completed at another."""
    return sum(lease.poll.invoke.node != end.invoke.node for lease, end in _completed(facts))


def _leases_orphaned(facts: Facts) -> int:
    """Leases completed after a fault had hit the replica that gave them."""
    effects = [
        (fault.effective_s, set(fault.targets)) for fault in facts.faults if fault.effective_s is not None
    ]
    return sum(
        any(
            lease.poll.invoke.node in targets and lease.answered_s < effective_s < call.invoke.t_s
            for effective_s, targets in effects
        )
        for lease, call in _completed(facts)
    )


def _completed(facts: Facts) -> Sequence[tuple[Lease, Call]]:
    """Leases with the completion of theirs that was answered ok."""
    found = []
    for job_id, tenure in facts.tenures.items():
        for call in facts.completes_of.get(job_id, ()):
            held = [lease for lease in tenure.leases if lease.token == token_of(call.invoke.value)]
            if held and call.outcome == "ok" and happened(call):
                found.append((held[0], call))
    return found


def _leaders_hit(facts: Facts) -> int:
    """Faults that hit whoever led the relay then."""
    return len(hits(facts))


def _rows_waiting_together(facts: Facts) -> int:
    """Rows that waited beside an earlier one of the same instance and job type: only these can be overtaken."""
    lines: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in dispatches_of(facts).rows.values():
        lines[row.instance_id, row.job_type].append(row)
    return sum(
        earlier.removed_us is None or later.enqueued_us < earlier.removed_us
        for rows in lines.values()
        for earlier, later in pairwise(sorted(rows, key=lambda each: each.seq))
    )


def _copies(facts: Facts) -> int:
    """Records that repeat an earlier one's dedup id."""
    return sum(len(records) - 1 for records in dispatches_of(facts).records_of.values())


def _redeliveries(facts: Facts) -> int:
    """Rows of the outbox beyond the first of each job."""
    return sum(len(rows) - 1 for rows in dispatches_of(facts).rows_of_job.values())


def _rows_enqueued(facts: Facts) -> int:
    """Rows that the outbox took in."""
    return len(dispatches_of(facts).rows)


def _rows_left(facts: Facts) -> int:
    """Rows of the outbox that still waited at the end."""
    return len(facts.rows("outbox_row"))


def _answers_lost(facts: Facts) -> int:
    """Executions whose worker tried to complete the job but reached no engine."""
    begun: dict[tuple[str, str], list[float]] = defaultdict(list)
    for op in facts.ops:
        if op.f == "execute":
            begun[op.process, op.value["job_id"]].append(op.t_s)
    return sum(
        bool(tried) and all(call.outcome != "ok" for call in tried)
        for (process, job_id), times in begun.items()
        for began_s, next_s in pairwise([*times, math.inf])
        if (
            tried := [
                call
                for call in facts.completes_of.get(job_id, ())
                if call.invoke.process == process and began_s <= call.invoke.t_s < next_s
            ]
        )
    )


def _deliveries_moved(facts: Facts) -> int:
    """Messages that came to a second worker process."""
    return sum(len({op.process for op in ops}) > 1 for ops in facts.deliveries_of.values())


def _drains_of_all(facts: Facts) -> int:
    """Node drains during which no pod was ready for a while."""
    ends = [call.end for call in facts.calls_of("drain_node") if call.outcome == "ok"]
    return sum(end is not None and end.value["ready_min"] == 0 for end in ends)


def _acks_lost_by_database(facts: Facts) -> int:
    """Acknowledged operations that were only in a primary which did not come back."""
    return len(lost_by_database(facts))


def _reads_refused(facts: Facts) -> int:
    """Reads that no engine wanted to answer."""
    return sum(error_status(call) == 503 for call in facts.calls_of("get"))


def _timers_late(facts: Facts) -> int:
    """Timers that took effect more than a second after their time: nobody looked for them."""
    return sum(
        fate.late_us is not None and fate.late_us > 1_000_000
        for instance_id in facts.timers_of
        for fate in fates(facts, instance_id)
    )


def _calls_refused(facts: Facts) -> int:
    """Starts, completions and polls that an engine answered 503."""
    return sum(error_status(call) == 503 for f in ("start", "complete", "poll") for call in facts.calls_of(f))


def _instances_doomed(facts: Facts) -> int:
    """Instances that were started to fail, and failed."""
    variable = facts.word("doomed_variable")
    return sum(
        op.value["status"] == "FAILED" and bool((op.value.get("variables") or {}).get(variable))
        for op in facts.instances.values()
    )


def _bytes_pressed(facts: Facts) -> int:
    """What those sent, or had sent to them, who pressed on the engine."""
    return sum(int(op.value["bytes"]) for op in facts.ops if op.f == "pressed")


def _callers_pressed(facts: Facts) -> int:
    """The most of one kind that pressed on one node at one time."""
    return max((int(op.value["at_once"]) for op in facts.ops if op.f == "pressed"), default=0)


CIRCUMSTANCES: Mapping[str, Callable[[Facts], int]] = {
    "leases_lapsed": _leases_lapsed,
    "completes_raced": _completes_raced,
    "leases_completed_elsewhere": _leases_completed_elsewhere,
    "leases_orphaned": _leases_orphaned,
    "leaders_hit": _leaders_hit,
    "rows_waiting_together": _rows_waiting_together,
    "copies": _copies,
    "redeliveries": _redeliveries,
    "answers_lost": _answers_lost,
    "deliveries_moved": _deliveries_moved,
    "rows_left": _rows_left,
    "rows_enqueued": _rows_enqueued,
    "drains_of_all": _drains_of_all,
    "acks_lost_by_database": _acks_lost_by_database,
    "calls_refused": _calls_refused,
    "reads_refused": _reads_refused,
    "timers_late": _timers_late,
    "instances_doomed": _instances_doomed,
    "bytes_pressed": _bytes_pressed,
    "callers_pressed": _callers_pressed,
}
