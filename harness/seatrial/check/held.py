"""What two servers held when the second took over, and which acknowledged operations only the first had.

An operation that the old primary had committed and that had not reached the new one is lost by the database, whatever
the engine does. It is as if it had never been answered: `surviving` says so to the checks that compare answers with the
final state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from seatrial.check.facts import TERMINAL, Facts
from seatrial.history import Call, History, Op

_ENDED_JOB = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
MAY_LOSE = "database_may_lose"
"""The parameter of drills with asynchronous replication."""


class Held(msgspec.Struct, frozen=True):
    """One server's rows by id."""

    instances: Mapping[str, Op]
    jobs: Mapping[str, Op]

    def keys(self, instance_id: str) -> frozenset[str]:
        """The names of the instance's variables; none when it is not there."""
        row = self.instances.get(instance_id)
        return frozenset(row.value["keys"]) if row is not None else frozenset()

    def has_ended(self, job_id: str) -> bool:
        row = self.jobs.get(job_id)
        return row is not None and row.value["status"] in _ENDED_JOB


def held_by(facts: Facts, server: str) -> Held:
    """`server`: old or new."""
    instances, jobs = (
        {op.value["id"]: op for op in facts.rows(f) if op.value["server"] == server}
        for f in ("held_instance", "held_job")
    )
    return Held(instances, jobs)


def promotion_of(facts: Facts) -> Op | None:
    """The row that was written when the new primary took writes and no engine could reach it yet."""
    return next(iter(facts.rows("promotion")), None)


def lost_by_database(facts: Facts) -> Sequence[Call]:
    """The acknowledged operations that the old primary had and the new one had not; none when nothing took over.

    A poll is lost when a job that it handed out is.
    """
    promotion = promotion_of(facts)
    if promotion is None:
        return []
    old, new = held_by(facts, "old"), held_by(facts, "new")
    return [
        call
        for call in facts.calls
        # What is answered later has been answered by the new primary.
        if call.end is not None
        and call.outcome == "ok"
        and call.end.t_s <= promotion.t_s
        and _is_lost(call, call.end, old, new)
    ]


def _is_lost(call: Call, end: Op, old: Held, new: Held) -> bool:
    sent: Mapping[str, Any] = call.invoke.value
    match call.invoke.f:
        case "start":
            instance_id = end.value["instance_id"]
            return instance_id in old.instances and instance_id not in new.instances
        case "complete":
            return old.has_ended(sent["job_id"]) and not new.has_ended(sent["job_id"])
        case "signal" | "user_task":
            names = frozenset(sent.get("variables") or {})
            return names <= old.keys(sent["instance_id"]) and not names <= new.keys(sent["instance_id"])
        case "cancel":
            return _is_cancelled(old, sent["instance_id"]) and not _is_cancelled(new, sent["instance_id"])
        case "poll":
            return any(_is_gone(job["job_id"], old, new) for job in end.value.get("jobs") or ())
    return False


def _is_cancelled(held: Held, instance_id: str) -> bool:
    row = held.instances.get(instance_id)
    return row is not None and row.value["status"] == "CANCELLED"


def _is_gone(job_id: str, old: Held, new: Held) -> bool:
    return job_id in old.jobs and job_id not in new.jobs


def surviving(history: History, facts: Facts) -> History:
    """The same history, in which what the database lost has an unknown outcome, if the drill allows it to lose
    anything.
    """
    if not facts.flag(MAY_LOSE, default=False):
        return history
    ends = {call.end.index for call in lost_by_database(facts) if call.end is not None}
    return History(
        msgspec.structs.replace(op, type="info", value={}) if op.index in ends else op for op in history.ops
    )


def broken_promises(facts: Facts) -> Sequence[tuple[str, str, Sequence[int]]]:
    """(what is wrong, id, indexes) for each thing that the new primary held and that is not so at the end."""
    new = held_by(facts, "new")
    found: list[tuple[str, str, Sequence[int]]] = []
    for instance_id, row in new.instances.items():
        held, end = row.value["status"], facts.instances.get(instance_id)
        if end is None:
            found.append((f"instance {instance_id} had survived and is gone", instance_id, (row.index,)))
        elif held in TERMINAL and end.value["status"] != held:
            text = f"instance {instance_id} had survived as {held} and is {end.value['status']}"
            found.append((text, instance_id, (row.index, end.index)))
        elif missing := new.keys(instance_id) - facts.variables(instance_id).keys():
            text = f"instance {instance_id} had survived with {', '.join(sorted(missing))}, which it has not any more"
            found.append((text, instance_id, (row.index, end.index)))
    for job_id, row in new.jobs.items():
        end = facts.jobs.get(job_id)
        now = end.value["status"] if end is not None else "gone"
        if now == "gone" or (row.value["status"] in _ENDED_JOB and now != row.value["status"]):
            text = f"job {job_id} had survived as {row.value['status']} and is {now}"
            found.append((text, job_id, (row.index,) if end is None else (row.index, end.index)))
    return found
