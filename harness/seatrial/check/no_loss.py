"""NL: what the engine acknowledged is still there at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.facts import DONE_PREFIX, TERMINAL, Facts, facts_of, job_of_done_key
from seatrial.check.finding import Findings
from seatrial.check.instant import instant_us
from seatrial.history import Call, History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Nothing acknowledged is lost: every start answered ok ends in a terminal instance, and every accepted "
    "completion, signal, user task and cancel has its effect in the final state."
)


@assuming("NL", GUARANTEE, PAIRED, OBSERVED, EFFECTIVE, LOADED)
def no_loss(history: History) -> Verdict:
    """Parameters: `terminal_expected` (true): acked instances must be terminal, not merely present. `doomed_variable`
    (none): those started with it true must end FAILED, for a reason that contains `doomed_reason`, and all others
    COMPLETED.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    figures = {"starts_acked": _judge_starts(facts, findings), "lost_starts": findings.count}
    figures |= _judge_completes(facts, findings)
    figures["resumes_acked"] = _judge_resumes(facts, findings)
    figures["cancels_acked"] = _judge_cancels(facts, findings)
    figures["lost"] = findings.count
    acked = (
        figures["starts_acked"]
        + figures["completes_acked"]
        + figures["resumes_acked"]
        + figures["cancels_acked"]
    )
    summary = (
        f"{figures['starts_acked']} starts and {figures['completes_acked']} completes acknowledged, "
        f"{figures['completes_excused']} of them no-ops, {figures['lost']} lost"
    )
    return findings.verdict(
        "NL", GUARANTEE, summary, figures, vacuous=None if acked else "no call was acknowledged"
    )


def _judge_starts(facts: Facts, findings: Findings) -> int:
    """Returns how many were acknowledged."""
    terminal_expected = facts.flag("terminal_expected", default=True)
    owner: dict[str, Call] = {}
    acked = 0
    for call in facts.calls_of("start"):
        if call.end is None or call.outcome != "ok":
            continue
        acked += 1
        instance_id = str(call.end.value["instance_id"])
        at = (call.invoke.index, call.end.index)
        row = facts.instances.get(instance_id)
        if instance_id in owner:
            first = owner[instance_id].invoke.index
            findings.add(
                f"two acknowledged starts share instance {instance_id}", instance_id, at=(*at, first)
            )
        elif row is None:
            findings.add(f"instance {instance_id} was acknowledged but is gone", instance_id, at=at)
        elif terminal_expected and row.value["status"] not in TERMINAL:
            text = f"instance {instance_id} was acknowledged but is still {row.value['status']}"
            findings.add(text, instance_id, at=(*at, row.index))
        elif wrong := _wrong_end(facts, call, row):
            findings.add(f"instance {instance_id} {wrong}", instance_id, at=(*at, row.index))
        else:
            _expect_variables(facts, findings, instance_id, call)
        owner.setdefault(instance_id, call)
    return acked


def _wrong_end(facts: Facts, start: Call, row: Op) -> str | None:
    doomed_variable, reason_wanted = facts.word("doomed_variable"), facts.word("doomed_reason") or ""
    status, reason = row.value["status"], str(row.value.get("failure_reason") or "")
    if doomed_variable is None or status not in TERMINAL:
        return None
    if not _sent(start).get(doomed_variable):
        return None if status == "COMPLETED" else f"could complete but is {status}: {reason}"
    if status != "FAILED":
        return f"was bound to fail ({doomed_variable}) and is {status}"
    return (
        None
        if reason_wanted in reason
        else f"failed for the reason {reason!r}, which does not say {reason_wanted!r}"
    )


def _judge_completes(facts: Facts, findings: Findings) -> dict[str, Any]:
    acked = excused = lost = 0
    for job_id, calls in facts.completes_of.items():
        for call in calls:
            if call.end is None or call.outcome != "ok":
                continue
            acked += 1
            instance_id = _instance_of(facts, call)
            final = facts.variables(instance_id)
            marks = [key for key in _sent(call) if key.startswith(DONE_PREFIX)]
            if all(key in final for key in marks):
                _expect_variables(facts, findings, instance_id, call)
            elif _was_no_op(facts, call, job_id, instance_id, final):
                excused += 1
            else:
                lost += 1
                status = facts.jobs[job_id].value["status"] if job_id in facts.jobs else "gone"
                findings.add(
                    f"completion {marks[0]} was answered ok; no completion of job {job_id} ({status}) is in the "
                    f"variables of instance {instance_id}",
                    job_id,
                    instance_id,
                    at=(call.invoke.index, call.end.index),
                )
    return {"completes_acked": acked, "completes_excused": excused, "lost_completes": lost}


def _was_no_op(facts: Facts, call: Call, job_id: str, instance_id: str, final: Mapping[str, Any]) -> bool:
    """A 204 without effect is correct if the job was finished in another way (contract 1.6): by another completion,
    by a
    failure, by a cancel, or by the end of its instance.
    """
    if any(job_of_done_key(key) == job_id for key in final):
        return True
    job = facts.jobs.get(job_id)
    row = facts.instances.get(instance_id)
    if row is None:
        return False
    if job is None:
        return not facts.jobs and row.value["status"] in {"CANCELLED", "FAILED"}
    if job.value["status"] in {"CANCELLED", "FAILED"}:
        return True
    return job.value["status"] == "COMPLETED" and _ended_before_completion(facts, call, job_id, instance_id)


def _ended_before_completion(facts: Facts, call: Call, job_id: str, instance_id: str) -> bool:
    """Some engines mark a job COMPLETED that is completed after its instance's end: no effect was promised then."""
    row = facts.instances[instance_id].value
    if row["status"] not in TERMINAL:
        return False
    step = facts.steps.get(facts.jobs[job_id].value.get("step_execution_id") or "")
    if step is not None and step.value.get("ended_at") and row.get("completed_at"):
        return instant_us(step.value["ended_at"]) > instant_us(row["completed_at"])
    ended_s = call.end.t_s if call.end is not None else call.invoke.t_s
    cancels = (
        each for each in facts.calls_of("cancel") if each.invoke.value.get("instance_id") == instance_id
    )
    return any(each.outcome != "fail" and each.invoke.t_s < ended_s for each in cancels)


def _judge_resumes(facts: Facts, findings: Findings) -> int:
    acked = 0
    for f in ("signal", "user_task"):
        for call in facts.calls_of(f):
            if call.end is not None and call.outcome == "ok":
                acked += 1
                _expect_variables(facts, findings, str(call.invoke.value["instance_id"]), call)
    return acked


def _judge_cancels(facts: Facts, findings: Findings) -> int:
    acked = 0
    for call in facts.calls_of("cancel"):
        if call.end is None or call.outcome != "ok":
            continue
        acked += 1
        instance_id = str(call.invoke.value["instance_id"])
        row = facts.instances.get(instance_id)
        status = row.value["status"] if row is not None else "gone"
        if status != "CANCELLED":
            text = f"the cancel of instance {instance_id} was answered ok but it is {status}"
            findings.add(text, instance_id, at=(call.invoke.index, call.end.index))
    return acked


def _expect_variables(facts: Facts, findings: Findings, instance_id: str, call: Call) -> None:
    """Merging is shallow and never removes a key (contract 5.3), so every key once accepted is there at the end."""
    final = facts.variables(instance_id)
    missing = [key for key in _sent(call) if key not in final]
    if missing:
        text = f"{call.invoke.f} was answered ok; variables {', '.join(missing)} are not in instance {instance_id}"
        at = (call.invoke.index, call.end.index) if call.end is not None else (call.invoke.index,)
        findings.add(text, instance_id, at=at)


def _sent(call: Call) -> Mapping[str, Any]:
    return call.invoke.value.get("variables") or {}


def _instance_of(facts: Facts, call: Call) -> str:
    job = facts.jobs.get(call.invoke.value["job_id"])
    return str(call.invoke.value.get("instance_id") or (job.value["instance_id"] if job is not None else ""))
