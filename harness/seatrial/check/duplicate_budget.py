"""DB: handlers run again only as often as faults explain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, assuming
from seatrial.check.dispatch import dispatches_of
from seatrial.check.facts import Facts, facts_of, happened
from seatrial.check.finding import Findings
from seatrial.check.lease import Lease, Tenure, token_of
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Handlers run at least once and rarely twice: each repeated execution of a job follows a lease that expired, was "
    "given back, or was held by a worker that a fault stopped; or a message that was delivered again, not yet "
    "acknowledged or acknowledged while its worker was paused."
)
_IDS_MAX = 200


class Budget(msgspec.Struct, frozen=True):
    """One job's executions, counted."""

    executions: int
    retries: int
    """Leases given back by a retryable fail: the next execution is wanted, no duplicate."""
    explained: int
    """Leases that expired or whose holder was stopped, and messages that were sent or delivered again."""

    @property
    def duplicates(self) -> int:
        return max(0, self.executions - 1 - self.retries)

    @property
    def unexplained(self) -> int:
        return max(0, self.duplicates - self.explained)


@assuming("DB", GUARANTEE, PAIRED, EFFECTIVE, LOADED)
def duplicate_budget(history: History) -> Verdict:
    """Parameter `duplicates_max`: judges the number of duplicates instead of asking for an explanation of each."""
    facts = facts_of(history)
    findings = Findings(facts)
    executions: dict[str, list[Op]] = defaultdict(list)
    for op in facts.ops:
        if op.f == "execute" and op.process.startswith("worker-"):
            executions[op.value["job_id"]].append(op)
    budgets = {job_id: _budget(facts, job_id, ops) for job_id, ops in executions.items() if len(ops) > 1}
    repeated = [job_id for job_id, budget in budgets.items() if budget.duplicates]
    duplicates = sum(budget.duplicates for budget in budgets.values())
    unexplained = sum(budget.unexplained for budget in budgets.values())
    if not facts.has("duplicates_max"):
        for job_id in repeated:
            if budgets[job_id].unexplained:
                text = (
                    f"job {job_id} was executed {budgets[job_id].executions} times, "
                    f"{budgets[job_id].unexplained} of them without a lease that ended"
                )
                findings.add(text, job_id, at=[op.index for op in executions[job_id]])
    elif duplicates > facts.number("duplicates_max"):
        for job_id in repeated:
            text = f"job {job_id} was executed {budgets[job_id].executions} times"
            findings.add(text, job_id, at=[op.index for op in executions[job_id]])
    count = sum(map(len, executions.values()))
    figures = {
        "executions": count,
        "jobs_executed": len(executions),
        "duplicates": duplicates,
        "duplicates_unexplained": unexplained,
        "retries": sum(budget.retries for budget in budgets.values()),
        "duplicate_job_ids": sorted(repeated)[:_IDS_MAX],
    }
    summary = (
        f"{count} executions of {len(executions)} jobs, {duplicates} duplicates, {unexplained} unexplained"
    )
    if facts.has("duplicates_max"):
        summary += f", at most {facts.number('duplicates_max'):g} allowed"
    return findings.verdict(
        "DB", GUARANTEE, summary, figures, vacuous=None if count else "no handler ever ran"
    )


def _budget(facts: Facts, job_id: str, executions: Sequence[Op]) -> Budget:
    """Every lease but the last may explain the execution that came after it, once, if its holder did run."""
    tokens = {token_of(op.value) for op in executions}
    tenure = facts.tenures.get(job_id, Tenure((), ()))
    retries = explained = 0
    for lease, later in pairwise(tenure.leases):
        if lease.token is not None and lease.token not in tokens:
            continue
        if tenure.given_back_s(lease) < later.answered_s:
            retries += 1
        elif later.locked_us >= lease.expires_us or _stopped(facts, lease, later):
            explained += 1
    again, repeats = _delivered(facts, job_id, executions)
    if tenure.leases and any(op.value.get("dedup_id") for op in executions):
        # Both ways at once, as during a change of mode: the first completion wins.
        repeats += len(tenure.leases)
    return Budget(len(executions), min(retries + again, len(executions) - 1), explained + repeats)


def _delivered(facts: Facts, job_id: str, executions: Sequence[Op]) -> tuple[int, int]:
    """Of the executions that messages brought: the wanted retries, and the explained repeats.

    A new dedup id explains one (whether the engine may give it is OC's to judge); the same id again, one that was
    published twice, or had not been acknowledged when it was delivered to another process, as far as that
    process could know.
    """
    by_message: dict[str, list[Op]] = defaultdict(list)
    for op in executions:
        if op.value.get("dedup_id"):
            by_message[op.value["dedup_id"]].append(op)
    if not by_message:
        return 0, 0
    fails = sum(
        happened(call) and bool(call.invoke.value.get("retryable", True))
        for call in facts.fails_of.get(job_id, ())
    )
    retries = min(fails, len(by_message) - 1)
    explained = len(by_message) - 1 - retries
    for dedup_id, ops in by_message.items():
        copies = len(dispatches_of(facts).records_of.get(dedup_id, ()))
        for before, again in pairwise(ops):
            is_elsewhere = again.process != before.process
            explained += is_elsewhere and (copies > 1 or not _acknowledged(facts, dedup_id, before, again))
    return retries, explained


def _acknowledged(facts: Facts, dedup_id: str, before: Op, again: Op) -> bool:
    """Whether the first process had acknowledged the message before the second one got it, and not while the second
    was paused: a consumer that resumes may first hand out what it fetched before its group continued without it.
    """
    places = {
        (op.value["destination"], op.value["partition"], op.value["position"])
        for op in facts.deliveries_of.get(dedup_id, ())
        if op.process == before.process
    }
    return any(
        op.process == before.process
        and before.t_s <= op.t_s < again.t_s
        and (op.value["destination"], op.value["partition"], op.value["position"]) in places
        and not _stood_still(facts, again.process, op.t_s)
        for op in facts.acknowledgements
    )


def _stood_still(facts: Facts, process: str, at_s: float) -> bool:
    return any(
        fault.effective_s is not None
        and fault.effective_s <= at_s
        and (fault.healed_s is None or at_s <= fault.healed_s)
        and process in fault.targets
        for fault in facts.faults
    )


def _stopped(facts: Facts, lease: Lease, later: Lease) -> bool:
    """A fault hit its worker while the lease was held or about to be, before the next one was known."""
    holders = {lease.worker_id, lease.poll.invoke.process}
    return any(
        fault.effective_s is not None
        and fault.effective_s > lease.poll.invoke.t_s
        and fault.invoked_s < later.answered_s
        and holders & set(fault.targets)
        for fault in facts.faults
    )
