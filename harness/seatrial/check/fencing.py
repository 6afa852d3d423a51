"""FN: a worker that lost its lease can no longer change the job."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.facts import DONE_PREFIX, Facts, facts_of, happened
from seatrial.check.finding import Findings
from seatrial.check.lease import Lease, token_of
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A stale lease is fenced: a complete or fail whose lease was superseded before it was sent is refused and has "
    "no effect."
)


@assuming("FN", GUARANTEE, PAIRED, OBSERVED, EFFECTIVE, LOADED)
def fencing(history: History) -> Verdict:
    """Parameter `stale_expected` (false): the drill is vacuous unless a stale call was made."""
    facts = facts_of(history)
    findings = Findings(facts)
    stale_completes = stale_fails = refused = 0
    for call in facts.calls_of("complete"):
        successor = _superseder(facts, call)
        if successor is None:
            continue
        certainly_live = _live_throughout(facts, call, successor)
        if token_of(call.invoke.value) is None and not certainly_live:
            continue  # contract 1.6: without a token, the first completion of an unleased job wins
        stale_completes += 1
        refused += call.outcome == "fail"
        _judge_complete(facts, call, successor, findings, certainly_live=certainly_live)
    for job_id, calls in facts.fails_of.items():
        stale = [call for call in calls if _superseder(facts, call) is not None]
        stale_fails += len(stale)
        _judge_fails(facts, job_id, stale, findings)
    figures = {
        "stale_completes": stale_completes,
        "stale_completes_refused": refused,
        "stale_fails": stale_fails,
        "stale_accepted": findings.count,
    }
    summary = f"{stale_completes} stale completes ({refused} refused) and {stale_fails} stale fails were sent"
    nothing = facts.flag("stale_expected", default=False) and not stale_completes + stale_fails
    return findings.verdict(
        "FN", GUARANTEE, summary, figures, vacuous="no stale call was ever made" if nothing else None
    )


def _superseder(facts: Facts, call: Call) -> Lease | None:
    tenure = facts.tenures.get(call.invoke.value["job_id"])
    return tenure.superseder(call) if tenure is not None else None


def _judge_complete(
    facts: Facts, call: Call, successor: Lease, findings: Findings, *, certainly_live: bool
) -> None:
    job_id = successor.job_id
    marks = {key for key in call.invoke.value.get("variables") or {} if key.startswith(DONE_PREFIX)}
    at = [call.invoke.index]
    if call.end is not None:
        at.append(call.end.index)
    if successor.poll.end is not None:
        at.append(successor.poll.end.index)
    taken = marks & facts.done_keys.get(job_id, set())
    if taken:
        text = f"completion {min(taken)} took effect after {successor.name} had superseded its lease"
        findings.add(text, job_id, successor.instance_id, at=at)
    elif call.outcome == "ok" and certainly_live and _finished_later(facts, call, job_id):
        text = f"a stale complete of job {job_id} was answered ok while {successor.name} held it"
        findings.add(text, job_id, successor.instance_id, at=at)


def _live_throughout(facts: Facts, call: Call, lease: Lease) -> bool:
    """The lease cannot have ended before the call was answered: it began after its poll was sent, so it lasts at
    least its length from then, and nobody else touched the job meanwhile.
    """
    if call.end is None:
        return False
    lasts_until_s = lease.poll.invoke.t_s + (lease.expires_us - lease.locked_us) / 1e6
    if lasts_until_s <= call.end.t_s:
        return False
    others = (*facts.completes_of.get(lease.job_id, ()), *facts.fails_of.get(lease.job_id, ()))
    return not any(
        each is not call
        and happened(each)
        and each.invoke.t_s < call.end.t_s
        and (each.end is None or each.end.t_s >= lease.poll.invoke.t_s)
        for each in others
    )


def _finished_later(facts: Facts, call: Call, job_id: str) -> bool:
    """The job was completed by a call sent after this one was answered, so it was unfinished throughout."""
    keys = facts.done_keys.get(job_id, set())
    for each in facts.completes_of.get(job_id, ()):
        marks = set(each.invoke.value.get("variables") or {})
        if keys and keys <= marks and call.end is not None and each.invoke.t_s >= call.end.t_s:
            return True
    return False


def _judge_fails(facts: Facts, job_id: str, stale: Sequence[Call], findings: Findings) -> None:
    """A stale fail shows in the job's end when the job is FAILED with its message and no rightful fail gave it.

    One that only freed the job shows as an overlap of leases (LX).
    """
    job = facts.jobs.get(job_id)
    if job is None or job.value["status"] != "FAILED":
        return
    step = facts.steps.get(job.value.get("step_execution_id") or "")
    instance = facts.instances.get(job.value["instance_id"])
    reasons = {row.value.get("failure_reason") for row in (step, instance) if row is not None} - {None}
    rightful = {
        str(call.invoke.value.get("error_message"))
        for call in facts.fails_of.get(job_id, ())
        if happened(call) and not any(call is each for each in stale)
    }
    for call in stale:
        message = str(call.invoke.value.get("error_message"))
        if token_of(call.invoke.value) is not None and message in reasons and message not in rightful:
            text = f"a stale fail of job {job_id} ({message}) failed it"
            findings.add(text, job_id, str(job.value["instance_id"]), at=(call.invoke.index, job.index))
