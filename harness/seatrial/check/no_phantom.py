"""NP: nothing in the final state appeared without a cause."""

from __future__ import annotations

from collections import Counter, defaultdict

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.blueprint import Blueprints
from seatrial.check.facts import DONE_PREFIX, Facts, facts_of, happened, job_of_done_key
from seatrial.check.finding import Findings
from seatrial.history import Call, History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Nothing appears without a cause: every instance, job and completion in the final state was caused by a call "
    "that was made and not refused."
)


@assuming("NP", GUARANTEE, PAIRED, OBSERVED, EFFECTIVE, LOADED)
def no_phantom(history: History) -> Verdict:
    facts = facts_of(history)
    findings = Findings(facts)
    blueprints = Blueprints(facts)
    chained = _judge_instances(facts, blueprints, findings)
    _judge_jobs(facts, findings)
    _judge_marks(facts, blueprints, findings)
    _judge_outcomes(facts, findings)
    _judge_resumptions(facts, findings)
    figures = {
        "instances": len(facts.instances),
        "chained": chained,
        "jobs": len(facts.jobs),
        "completions": sum(map(len, facts.done_keys.values())),
        "phantoms": findings.count,
    }
    summary = (
        f"{figures['instances']} instances ({chained} chained), {figures['jobs']} jobs and "
        f"{figures['completions']} completions traced to their calls, {findings.count} to none"
    )
    return findings.verdict("NP", GUARANTEE, summary, figures)


def _judge_instances(facts: Facts, blueprints: Blueprints, findings: Findings) -> int:
    """Returns how many are children of a chain. An unanswered start explains one instance of its definition with its
    business key; a COMPLETED parent explains one child without a key.
    """
    known = {
        str(call.end.value["instance_id"]): call
        for call in facts.calls_of("start")
        if call.end is not None and call.outcome == "ok"
    }
    unanswered = Counter(_start_key(call) for call in facts.calls_of("start") if call.outcome == "info")
    refused = {_start_key(call): call for call in facts.calls_of("start") if call.outcome == "fail"}
    children: Counter[str] = Counter()
    for row in facts.instances.values():
        plan = blueprints.of(row.value)
        if row.value["status"] == "COMPLETED" and plan is not None and plan.chained_id:
            children[plan.chained_id] += 1
    chained = 0
    for instance_id, row in facts.instances.items():
        key = _row_key(row)
        if instance_id in known:
            if _start_key(known[instance_id]) != key:
                asked = _described(_start_key(known[instance_id]))
                text = f"instance {instance_id} is {_described(key)}; its start asked for {asked}"
                findings.add(text, instance_id, at=(row.index,))
        elif unanswered[key] > 0:
            unanswered[key] -= 1
        elif key[1] is None and children[key[0]] > 0:
            children[key[0]] -= 1
            chained += 1
        else:
            cause = "its start was refused" if key in refused else "no start asked for it"
            at = (row.index, refused[key].invoke.index) if key in refused else (row.index,)
            findings.add(f"instance {instance_id} is {_described(key)}; {cause}", instance_id, at=at)
    return chained


def _judge_jobs(facts: Facts, findings: Findings) -> None:
    for job_id, row in facts.jobs.items():
        instance_id = str(row.value["instance_id"])
        step_id = row.value.get("step_execution_id")
        if instance_id not in facts.instances:
            text = f"job {job_id} belongs to instance {instance_id}, which does not exist"
            findings.add(text, job_id, instance_id, at=(row.index,))
        elif facts.steps and step_id not in facts.steps:
            text = f"job {job_id} belongs to step execution {step_id}, which does not exist"
            findings.add(text, job_id, instance_id, at=(row.index,))
    if not facts.jobs:
        return
    for job_id, tenure in facts.tenures.items():
        if job_id not in facts.jobs:
            poll = tenure.leases[0].poll
            at = (poll.invoke.index, poll.end.index) if poll.end is not None else (poll.invoke.index,)
            findings.add(f"a poll handed out job {job_id}, which does not exist", job_id, at=at)


def _judge_marks(facts: Facts, blueprints: Blueprints, findings: Findings) -> None:
    """Each `done:` variable needs the complete call that sent it, for the same instance or an ancestor in a chain."""
    sender: dict[str, Call] = {}
    for call in facts.calls_of("complete"):
        for key in call.invoke.value.get("variables") or {}:
            if key.startswith(DONE_PREFIX) and (key not in sender or happened(call)):
                sender[key] = call
    for instance_id, row in facts.instances.items():
        for key in facts.variables(instance_id):
            job_id = job_of_done_key(key)
            if job_id is None:
                continue
            sent = sender.get(key)
            if sent is None:
                findings.add(
                    f"{key} is in instance {instance_id}; no call sent it",
                    job_id,
                    instance_id,
                    at=(row.index,),
                )
            elif not happened(sent):
                text = f"{key} is in instance {instance_id}; the call that sent it was refused"
                findings.add(text, job_id, instance_id, at=(sent.invoke.index, row.index))
            elif not _may_hold(facts, blueprints, row, str(sent.invoke.value.get("instance_id"))):
                sent_for = sent.invoke.value.get("instance_id")
                text = f"{key} is in instance {instance_id}; it was sent for instance {sent_for}"
                findings.add(text, job_id, instance_id, at=(sent.invoke.index, row.index))


def _may_hold(facts: Facts, blueprints: Blueprints, holder: Op, sent_for: str) -> bool:
    """A chained child starts with a copy of its parent's variables, so do its own children."""
    if holder.value["id"] == sent_for:
        return True
    row = facts.instances.get(sent_for)
    plan = blueprints.of(row.value) if row is not None else None
    seen: set[str] = set()
    while plan is not None and plan.chained_id and plan.chained_id not in seen:
        if plan.chained_id == holder.value["definition_id"]:
            return not holder.value.get("business_key")
        seen.add(plan.chained_id)
        plan = blueprints.latest(plan.chained_id)
    return False


def _judge_outcomes(facts: Facts, findings: Findings) -> None:
    """COMPLETED, FAILED and CANCELLED each need a call that could have caused them."""
    unseen_poll = any(poll.outcome == "info" for poll in facts.calls_of("poll"))
    for job_id, row in facts.jobs.items():
        status = row.value["status"]
        completed = any(happened(call) for call in facts.completes_of.get(job_id, ()))
        failed = any(happened(call) for call in facts.fails_of.get(job_id, ()))
        # An engine that limits lease expiries fails a job by itself when its leases expire one after another.
        run_out = job_id in facts.tenures or unseen_poll
        if status == "COMPLETED" and not completed:
            findings.add(f"job {job_id} is COMPLETED; no call completed it", job_id, at=(row.index,))
        elif status == "FAILED" and not failed and not run_out:
            findings.add(
                f"job {job_id} is FAILED; no call failed it and no worker had it", job_id, at=(row.index,)
            )
    cancelled = {str(call.invoke.value["instance_id"]) for call in facts.calls_of("cancel") if happened(call)}
    for instance_id, row in facts.instances.items():
        if row.value["status"] == "CANCELLED" and instance_id not in cancelled:
            findings.add(
                f"instance {instance_id} is CANCELLED; no call cancelled it", instance_id, at=(row.index,)
            )


def _judge_resumptions(facts: Facts, findings: Findings) -> None:
    """A USER_TASK or WAIT passed n times needs n calls that were not refused."""
    calls: Counter[tuple[str, str, str]] = Counter()
    for f, step_type in (("user_task", "USER_TASK"), ("signal", "WAIT")):
        for call in facts.calls_of(f):
            if happened(call):
                value = call.invoke.value
                calls[step_type, str(value["instance_id"]), str(value["step_id"])] += 1
    passed: dict[tuple[str, str, str], list[Op]] = defaultdict(list)
    for row in facts.steps.values():
        value = row.value
        if value["step_type"] in {"USER_TASK", "WAIT"} and value["status"] == "COMPLETED":
            passed[value["step_type"], value["instance_id"], value["step_id"]].append(row)
    for key, rows in passed.items():
        if len(rows) > calls[key]:
            text = (
                f"{key[0]} {key[2]} of instance {key[1]} was passed {len(rows)} times by {calls[key]} calls"
            )
            findings.add(text, key[1], at=[row.index for row in rows])


def _start_key(call: Call) -> tuple[str, str | None]:
    return str(call.invoke.value["definition_id"]), call.invoke.value.get("business_key") or None


def _row_key(row: Op) -> tuple[str, str | None]:
    return str(row.value["definition_id"]), row.value.get("business_key") or None


def _described(key: tuple[str, str | None]) -> str:
    return f"a {key[0]} with business key {key[1]}" if key[1] else f"a {key[0]} without business key"
