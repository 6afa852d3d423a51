"""S1x: each step visit is dispatched once, by replaying the definitions over the observed rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, STEPS_OBSERVED, assuming
from seatrial.check.blueprint import Blueprint, Blueprints
from seatrial.check.chain import judge_chains
from seatrial.check.facts import OPEN_JOB, TERMINAL, Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.replay import Imbalance, Tally, imbalances
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Each step visit is dispatched once: every step execution follows from the definition, has one job or task, "
    "continues exactly once, and nothing stays open in a finished instance."
)

INTERRUPTED = "interrupted by boundary timer"
_JOB_FITS_STEP = {
    "RUNNING": OPEN_JOB,
    "COMPLETED": frozenset({"COMPLETED"}),
    "FAILED": frozenset({"FAILED", "CANCELLED"}),
    "SKIPPED": frozenset({"CANCELLED"}),
}


@assuming("S1x", GUARANTEE, PAIRED, OBSERVED, STEPS_OBSERVED, EFFECTIVE, LOADED)
def step_once(history: History) -> Verdict:
    """All rows are of one snapshot. Without the tables (REST alone) only visits and chains are judged.

    Parameter `chain_key`: see `chain.judge_chains`.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    blueprints = Blueprints(facts)
    replayed = 0
    seen: dict[Any, Sequence[Imbalance]] = {}
    for instance_id, row in facts.instances.items():
        steps = facts.steps_of.get(instance_id, [])
        _judge_attempts(steps, findings)
        if facts.tables_observed:
            _judge_dispatch(facts, instance_id, steps, findings)
        if row.value["status"] in TERMINAL:
            _judge_terminal(facts, row, steps, findings)
        plan = blueprints.of(row.value)
        if plan is not None:
            replayed += 1
            _judge_timers(facts, plan, row, findings)
            _replay(facts, plan, row, steps, seen, findings)
    parents = judge_chains(facts, blueprints, findings)
    figures = {
        "instances_replayed": replayed,
        "instances_without_definition": len(facts.instances) - replayed,
        "step_visits": len(facts.steps),
        "chained_parents": parents,
        "violations": findings.count,
    }
    summary = f"{len(facts.steps)} step visits of {replayed} instances replayed, {parents} chained parents"
    if not facts.tables_observed:
        summary += "; jobs, tasks and timers were not observed"
    return findings.verdict(
        "S1x",
        GUARANTEE,
        summary,
        figures,
        vacuous=None if replayed else "no definition of any instance was uploaded in this history",
    )


def _judge_attempts(steps: Sequence[Op], findings: Findings) -> None:
    attempts: dict[str, list[int]] = defaultdict(list)
    for row in steps:
        attempts[row.value["step_id"]].append(int(row.value["attempt_number"]))
    for step_id, numbers in attempts.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            instance_id = str(steps[0].value["instance_id"])
            text = f"step {step_id} of instance {instance_id} has attempts {sorted(numbers)}, not 1 to {len(numbers)}"
            findings.add(
                text, instance_id, at=[row.index for row in steps if row.value["step_id"] == step_id]
            )


def _judge_dispatch(facts: Facts, instance_id: str, steps: Sequence[Op], findings: Findings) -> None:
    """One job for each SERVICE_TASK execution, in a state that fits; one user task for each USER_TASK execution."""
    for row in steps:
        value = row.value
        jobs = facts.jobs_of_step.get(value["id"], [])
        expected = 1 if value["step_type"] == "SERVICE_TASK" else 0
        named = f"{value['step_type']} {value['step_id']} (attempt {value['attempt_number']}) of instance {instance_id}"
        at = [row.index, *(job.index for job in jobs)]
        ids = [instance_id, str(value["id"]), *(str(job.value["id"]) for job in jobs)]
        if len(jobs) != expected:
            findings.add(f"{named} has {len(jobs)} jobs instead of {expected}", *ids, at=at)
        elif jobs and jobs[0].value["status"] not in _JOB_FITS_STEP.get(value["status"], frozenset()):
            findings.add(f"{named} is {value['status']}, its job is {jobs[0].value['status']}", *ids, at=at)
    tasks = Counter(task.value["step_id"] for task in facts.user_tasks_of.get(instance_id, ()))
    visits = Counter(row.value["step_id"] for row in steps if row.value["step_type"] == "USER_TASK")
    for step_id in dict.fromkeys([*visits, *tasks]):
        if visits[step_id] != tasks[step_id]:
            counts = f"{visits[step_id]} visits, {tasks[step_id]} user tasks"
            text = f"USER_TASK {step_id} of instance {instance_id}: {counts}"
            findings.add(text, instance_id)


def _judge_terminal(facts: Facts, row: Op, steps: Sequence[Op], findings: Findings) -> None:
    instance_id, status = str(row.value["id"]), row.value["status"]
    if row.value.get("current_step_ids"):
        text = f"{status} instance {instance_id} still has current steps {', '.join(row.value['current_step_ids'])}"
        findings.add(text, instance_id, at=(row.index,))
    left = [("step execution", each) for each in steps if each.value["status"] == "RUNNING"]
    for each in steps:
        jobs = facts.jobs_of_step.get(each.value["id"], ())
        left.extend(("job", job) for job in jobs if job.value["status"] in OPEN_JOB)
    tasks = facts.user_tasks_of.get(instance_id, ())
    left.extend(("user task", task) for task in tasks if task.value["status"] == "OPEN")
    left.extend(
        ("timer", timer) for timer in facts.timers_of.get(instance_id, ()) if not timer.value["fired"]
    )
    for kind, each in left:
        text = f"{status} instance {instance_id} still has an open {kind} {each.value['id']}"
        findings.add(text, instance_id, str(each.value["id"]), at=(row.index, each.index))


def _judge_timers(facts: Facts, plan: Blueprint, row: Op, findings: Findings) -> None:
    """At most one timer for each boundary event of an execution; an interrupting one that fired did interrupt."""
    instance_id = str(row.value["id"])
    timers = facts.timers_of.get(instance_id, ())
    scheduled = Counter(map(_timer_key, timers))
    fired = Counter(_timer_key(timer) for timer in timers if timer.value["fired"])
    for (execution_id, target), count in scheduled.items():
        execution = facts.steps.get(execution_id)
        step = plan.steps.get(execution.value["step_id"]) if execution is not None else None
        if execution is None or step is None:
            text = f"a timer of instance {instance_id} belongs to step execution {execution_id}, which is not known"
            findings.add(text, instance_id, str(execution_id))
            continue
        events = [each for each in step.boundaries if each.target == target]
        if count > len(events):
            text = f"step {step.id} of instance {instance_id} has {count} timers to {target} instead of {len(events)}"
            findings.add(text, instance_id, str(execution_id), at=(execution.index,))
        beside = sum(not each.interrupting for each in events)
        if execution.value["status"] == "RUNNING" and fired[execution_id, target] > beside:
            text = f"an interrupting timer of step {step.id} of instance {instance_id} fired without effect"
            findings.add(text, instance_id, str(execution_id), at=(execution.index,))


def _timer_key(timer: Op) -> tuple[str, str]:
    return timer.value["step_execution_id"], timer.value["target_step_id"]


def _replay(
    facts: Facts,
    plan: Blueprint,
    row: Op,
    steps: Sequence[Op],
    seen: dict[Any, Sequence[Imbalance]],
    findings: Findings,
) -> None:
    """Most instances have the same counts, so each distinct one is judged once."""
    instance_id = str(row.value["id"])
    known = [each for each in steps if _fits(plan, each)]
    for each in steps:
        if not _fits(plan, each):
            named = f"{each.value['step_type']} {each.value['step_id']}"
            text = f"instance {instance_id} entered {named}, which its definition does not have"
            findings.add(text, instance_id, str(each.value["id"]), at=(each.index,))
    tallies = _tallies(known, facts.timers_of.get(instance_id, ()), plan)
    version = row.value.get("definition_version")
    key = (
        plan.definition_id,
        version,
        row.value["status"],
        tuple(sorted(tallies.items(), key=lambda each: each[0])),
    )
    if key not in seen:
        seen[key] = imbalances(plan, row.value["status"], tallies)
    for imbalance in seen[key]:
        at = [each.index for each in steps if each.value["step_id"] == imbalance.step_id]
        findings.add(
            f"instance {instance_id} ({row.value['status']}): {imbalance.text}",
            instance_id,
            at=[*at, row.index],
        )


def _fits(plan: Blueprint, row: Op) -> bool:
    step = plan.steps.get(row.value["step_id"])
    return step is not None and step.type == row.value["step_type"]


def _tallies(steps: Sequence[Op], timers: Sequence[Op], plan: Blueprint) -> dict[str, Tally]:
    rows: dict[str, list[Op]] = defaultdict(list)
    for row in steps:
        rows[row.value["step_id"]].append(row)
    running = {row.value["id"]: row.value["step_id"] for row in steps if row.value["status"] == "RUNNING"}
    beside: dict[str, Counter[str]] = defaultdict(Counter)
    for timer in timers:
        step_id = running.get(timer.value["step_execution_id"])
        if timer.value["fired"] and step_id is not None:
            target = timer.value["target_step_id"]
            if any(
                each.target == target and not each.interrupting for each in plan.steps[step_id].boundaries
            ):
                beside[step_id][target] += 1
    return {
        step_id: Tally(
            entered=len(found),
            completed=sum(row.value["status"] == "COMPLETED" for row in found),
            interrupted=sum(_reason(row) is not None and INTERRUPTED in str(_reason(row)) for row in found),
            failed_unexplained=sum(row.value["status"] == "FAILED" and not _reason(row) for row in found),
            fired_beside=tuple(sorted(beside[step_id].items())) if step_id in beside else (),
        )
        for step_id, found in rows.items()
    }


def _reason(row: Op) -> str | None:
    return row.value.get("failure_reason") if row.value["status"] == "FAILED" else None
