"""LV: nothing is stuck after the drain."""

from __future__ import annotations

from typing import Any

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.circumstance import lapsed
from seatrial.check.facts import OPEN_JOB, TERMINAL, Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.instant import instant_us
from seatrial.history import OBSERVER, History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Nothing is stuck: after heal and drain every instance is terminal or waits for an outside call, no job waits "
    "and no lease outlives its expiry and the sweep."
)


@assuming("LV", GUARANTEE, PAIRED, OBSERVED, EFFECTIVE, LOADED)
def liveness(history: History) -> Verdict:
    """Parameters: `parked_allowed` ([]): step types in which an instance may stay; `lease_sweep_interval_s` (15);
    `reclaim_bound_s` (none): the time after a lease's expiry within which another worker must have the job.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    parked_allowed = facts.words("parked_allowed")
    parked = 0
    for row in facts.instances.values():
        if row.value["status"] not in TERMINAL:
            stuck = _why_stuck(facts, row, parked_allowed)
            parked += stuck is None
            if stuck is not None:
                findings.add(stuck, str(row.value["id"]), at=(row.index,))
    unfinished = _judge_jobs(facts, findings, waiting_allowed="SERVICE_TASK" in parked_allowed)
    reclaim_s = _judge_reclaims(facts, findings)
    figures: dict[str, Any] = {
        "instances": len(facts.instances),
        "instances_parked": parked,
        "jobs_unfinished": unfinished,
        "stuck": findings.count,
    }
    summary = f"{len(facts.instances)} instances, {parked} parked as allowed, {unfinished} jobs unfinished"
    if reclaim_s is not None:
        figures["reclaim_s"] = round(reclaim_s, 3)
        summary += f", jobs of expired leases leased again within {reclaim_s:.3f} s"
    return findings.verdict("LV", GUARANTEE, summary, figures)


def database_clock_us(facts: Facts) -> int | None:
    """The database's clock was at least here when the end state was read: a lease cannot be younger than the answer
    that brought it, and both clocks run alike. None when no poll brought a job.
    """
    observed_s = next((t_s for t_s, name in reversed(facts.phases) if name == "observe"), None)
    if observed_s is None:
        observed_s = max((op.t_s for op in facts.ops if op.process != OBSERVER), default=0.0)
    return max(
        (
            lease.locked_us + int((observed_s - lease.answered_s) * 1e6)
            for tenure in facts.tenures.values()
            for lease in tenure.leases
        ),
        default=None,
    )


def _why_stuck(facts: Facts, row: Op, parked_allowed: frozenset[str]) -> str | None:
    """None when each running step is of an allowed type and can still be continued."""
    instance_id, status = str(row.value["id"]), row.value["status"]
    running = [step for step in facts.steps_of.get(instance_id, ()) if step.value["status"] == "RUNNING"]
    if not running:
        return f"instance {instance_id} is {status} with no running step: nothing can ever continue it"
    for step in running:
        value = step.value
        if value["step_type"] not in parked_allowed:
            return f"instance {instance_id} is {status} in {value['step_type']} {value['step_id']}"
        if value["step_type"] in {"SERVICE_TASK", "USER_TASK"} and not facts.tables_observed:
            has_mover = True
        elif value["step_type"] == "SERVICE_TASK":
            jobs = facts.jobs_of_step.get(value["id"], ())
            has_mover = any(job.value["status"] in OPEN_JOB for job in jobs)
        elif value["step_type"] == "USER_TASK":
            tasks = facts.user_tasks_of.get(instance_id, ())
            has_mover = any(
                task.value["step_id"] == value["step_id"] and task.value["status"] == "OPEN" for task in tasks
            )
        else:
            has_mover = value["step_id"] in (row.value.get("current_step_ids") or ())
        if not has_mover:
            return f"instance {instance_id} rests in {value['step_type']} {value['step_id']}, which nothing can end"
    return None


def _judge_reclaims(facts: Facts, findings: Findings) -> float | None:
    """The longest time from a lease's expiry to the next lease of that job; None when none expired or none is
    judged.
    """
    if not facts.has("reclaim_bound_s"):
        return None
    bound_s = facts.number("reclaim_bound_s")
    longest_s: float | None = None
    for tenure in facts.tenures.values():
        for lease, later in lapsed(tenure):
            took_s = (later.locked_us - lease.expires_us) / 1e6
            longest_s = max(took_s, longest_s or 0.0)
            if took_s > bound_s:
                text = (
                    f"job {lease.job_id} was leased again {took_s:.3f} s after the lease of {lease.worker_id} "
                    f"had expired, the bound is {bound_s:g} s"
                )
                at = [each.poll.end.index for each in (lease, later) if each.poll.end is not None]
                findings.add(text, lease.job_id, lease.instance_id, at=at)
    return longest_s


def _judge_jobs(facts: Facts, findings: Findings, *, waiting_allowed: bool) -> int:
    """Returns the number of open jobs."""
    sweep_us = int(facts.number("lease_sweep_interval_s", 15.0) * 1e6)
    now_us = database_clock_us(facts)
    unfinished = 0
    for job_id, row in facts.jobs.items():
        value = row.value
        if value["status"] not in OPEN_JOB:
            continue
        unfinished += 1
        ids = (job_id, str(value["instance_id"]))
        if value["status"] == "UNLOCKED":
            if not waiting_allowed:
                findings.add(
                    f"job {job_id} ({value['job_type']}) still waits after the drain", *ids, at=(row.index,)
                )
        elif not value.get("lock_expires_at"):
            findings.add(
                f"job {job_id} is LOCKED without an expiry: no sweep will free it", *ids, at=(row.index,)
            )
        elif now_us is not None and now_us > instant_us(value["lock_expires_at"]) + sweep_us:
            late_s = (now_us - instant_us(value["lock_expires_at"])) / 1e6
            text = f"job {job_id} is still LOCKED {late_s:.1f} s after its lease expired"
            findings.add(text, *ids, at=(row.index,))
    return unfinished
