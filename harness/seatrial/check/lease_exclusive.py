"""LX: one job, one holder at a time, one completion."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.instant import instant_us
from seatrial.check.lease import Lease, Tenure
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A lease is exclusive: leases of one job never overlap on the database's clock, each has a token of its own, "
    "and at most one completion of a job is accepted."
)


@assuming("LX", GUARANTEE, PAIRED, OBSERVED, EFFECTIVE, LOADED)
def lease_exclusive(history: History) -> Verdict:
    """Parameter `lease_tokens_ordered` (false): tokens are integers that rise with each acquisition. Without tokens
    (None) a lease is known by its worker and `locked_at` alone.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    ordered = facts.flag("lease_tokens_ordered", default=False)
    for tenure in facts.tenures.values():
        _judge_tokens(tenure.leases, findings, ordered=ordered)
        _judge_overlaps(tenure, findings)
        _judge_finished(facts, tenure.leases, findings)
    for job_id, keys in facts.done_keys.items():
        if len(keys) > 1:
            text = f"{len(keys)} completions of job {job_id} were accepted: {', '.join(sorted(keys))}"
            findings.add(text, job_id, at=_complete_indexes(facts, job_id, keys))
    count = sum(len(tenure.leases) for tenure in facts.tenures.values())
    figures = {
        "jobs_leased": len(facts.tenures),
        "leases": count,
        "leased_again": sum(len(tenure.leases) > 1 for tenure in facts.tenures.values()),
        "violations": findings.count,
    }
    summary = (
        f"{count} leases of {len(facts.tenures)} jobs, {figures['leased_again']} jobs leased more than once"
    )
    return findings.verdict(
        "LX", GUARANTEE, summary, figures, vacuous=None if count else "no job was ever leased"
    )


def _judge_tokens(leases: Sequence[Lease], findings: Findings, *, ordered: bool) -> None:
    first: dict[tuple[str, int], Lease] = {}
    previous: Lease | None = None
    for lease in leases:
        # Without a token, two acquisitions by one worker differ in their locked_at only.
        key = (lease.token, 0) if lease.token is not None else (lease.worker_id, lease.locked_us)
        if key in first:
            text = f"job {lease.job_id} was handed out twice under the same {lease.name}"
            findings.add(text, lease.job_id, at=(*_shown(first[key]), *_shown(lease)))
        first.setdefault(key, lease)
        if ordered and previous is not None and _rank(previous) > _rank(lease):
            text = f"job {lease.job_id}: {lease.name} was locked after {previous.name}, which is higher"
            findings.add(text, lease.job_id, at=(*_shown(previous), *_shown(lease)))
        previous = lease


def _judge_overlaps(tenure: Tenure, findings: Findings) -> None:
    """In order of `locked_at`. Of the leases that still run, the one given back last (or never) is the holder."""
    running: list[tuple[float, int, Lease]] = []
    for number, lease in enumerate(tenure.leases):
        while running and running[0][2].expires_us <= lease.locked_us:
            heappop(running)
        if running and -running[0][0] >= lease.answered_s:
            holder = running[0][2]
            overlap_s = (min(holder.expires_us, lease.expires_us) - lease.locked_us) / 1e6
            text = (
                f"job {lease.job_id}: {holder.name} and {lease.name} held it together for {overlap_s:.3f} s"
            )
            findings.add(text, lease.job_id, at=(*_shown(holder), *_shown(lease)))
        heappush(running, (-tenure.given_back_s(lease), number, lease))


def _judge_finished(facts: Facts, leases: Sequence[Lease], findings: Findings) -> None:
    """A COMPLETED job is never handed out again: none of its leases begins after its completion."""
    job = facts.jobs.get(leases[0].job_id)
    step = facts.steps.get(job.value.get("step_execution_id") or "") if job is not None else None
    if (
        job is None
        or step is None
        or job.value["status"] != "COMPLETED"
        or step.value["status"] != "COMPLETED"
    ):
        return
    if not step.value.get("ended_at"):
        return
    ended_us = instant_us(step.value["ended_at"])
    for lease in leases:
        if lease.locked_us > ended_us:
            late_s = (lease.locked_us - ended_us) / 1e6
            text = f"job {lease.job_id} was leased to {lease.worker_id} {late_s:.3f} s after its completion"
            findings.add(text, lease.job_id, at=(*_shown(lease), step.index))


def _rank(lease: Lease) -> int:
    """Raises ValueError for a token that is not an integer: the drill says that tokens are integers."""
    return int(lease.token) if lease.token is not None else 0


def _shown(lease: Lease) -> tuple[int, ...]:
    return (lease.poll.end.index,) if lease.poll.end is not None else ()


def _complete_indexes(facts: Facts, job_id: str, keys: set[str]) -> list[int]:
    calls = facts.completes_of.get(job_id, ())
    return [call.invoke.index for call in calls if keys & set(call.invoke.value.get("variables") or {})]
