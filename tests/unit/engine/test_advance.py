"""The pure engine: every step type, every event, and what must hold whatever happens (contract 5)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instance_run import END, NOW, Run, define, plain, service

from windlass import advance
from windlass.definition.model import Definition
from windlass.effects import (
    ChainRequested,
    Effect,
    JobClosed,
    JobCreated,
    JobRequeued,
    StepClosed,
    StepEntered,
    TimerClosed,
    TimerScheduled,
    UserTaskClosed,
    UserTaskCreated,
)
from windlass.instance import Instance, decode_progress, encode_progress
from windlass.states import FINAL_INSTANCE_STATUSES, INSTANCE_TRANSITIONS


def test_a_job_carries_the_variables_and_its_completion_merges_them_shallowly() -> None:
    run = Run(define(service("a", "b", retryCount=3), service("b", "end"), END), x={"k": 1}, y=1)
    job = run.all(JobCreated)[0]
    assert (job.job_type, job.retries_remaining, json.loads(job.payload)) == (
        "do-a",
        3,
        {"x": {"k": 1}, "y": 1},
    )
    assert (run.status, run.current) == ("ACTIVE", ("a",))
    run.complete("a", x={"other": 2}, z=None)
    assert (run.variables, run.current) == ({"x": {"other": 2}, "y": 1, "z": None}, ("b",))
    run.complete("b")
    assert (run.status, run.current) == ("COMPLETED", ())
    assert run.entered() == ["a", "b", "end"]


def test_a_service_task_without_a_job_type_uses_its_step_id() -> None:
    run = Run(define({"id": "a", "type": "SERVICE_TASK", "nextStep": "end"}, END))
    assert run.all(JobCreated)[0].job_type == "a"


def test_a_task_without_a_next_step_ends_its_branch_and_leaves_the_instance_active() -> None:
    run = Run(define(service("a", None))).complete("a")
    assert (run.status, run.current) == ("ACTIVE", ())


def test_retries_requeue_without_a_new_step_row_until_none_is_left() -> None:
    run = Run(define(service("a", "end", retryCount=1), END))
    run.fail("a", 1, retryable=True)
    assert run.all(JobRequeued)[0].retries_remaining == 0
    assert (run.status, run.entered()) == ("ACTIVE", ["a"])
    run.fail("a", 0, retryable=True, message="still broken")
    assert (run.status, run.instance.failure_reason, run.current) == ("FAILED", "still broken", ())
    assert run.all(JobClosed)[0].status == "FAILED"


def test_a_failure_that_is_not_retryable_fails_at_once_and_always_has_a_reason() -> None:
    run = Run(define(service("a", "end", retryCount=5), END)).fail("a", 5, retryable=False, message="")
    assert run.status == "FAILED"
    assert run.instance.failure_reason


@pytest.mark.parametrize(("points", "target"), [(150, "gold"), (60, "silver"), (1, "none")])
def test_a_decision_takes_the_first_true_branch_in_declaration_order(points: int, target: str) -> None:
    branches = {"points >= 100": "gold", "points >= 50": "silver", "true": "none"}
    run = Run(
        define(
            {"id": "d", "type": "DECISION", "conditionalNextSteps": branches},
            *(service(name, "end") for name in ("gold", "silver", "none")),
            END,
        ),
        points=points,
    )
    assert run.current == (target,)


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("points > 5", "DecisionNoBranchMatched"),
        ("ghost == 1", "expression eval error"),
        ("points", "not bool"),
    ],
)
def test_a_decision_that_cannot_be_made_fails_the_instance(condition: str, reason: str) -> None:
    run = Run(
        define({"id": "d", "type": "DECISION", "conditionalNextSteps": {condition: "end"}}, END), points=1
    )
    assert run.status == "FAILED"
    assert reason in str(run.instance.failure_reason)
    assert run.all(StepClosed)[0].failure_reason == run.instance.failure_reason


def test_conditions_after_a_task_win_over_next_step_and_their_error_fails_only_the_instance() -> None:
    steps = (
        service("a", "end", conditionalNextSteps={"ok == true": "b"}),
        service("b", "end"),
        END,
    )
    assert Run(define(*steps)).complete("a", ok=True).current == ("b",)
    failed = Run(define(*steps)).complete("a", ok=False)
    assert (failed.status, failed.all(StepClosed)[0].status) == ("FAILED", "COMPLETED")


def test_a_transformation_sees_earlier_results_and_keeps_nothing_on_an_error() -> None:
    good = {"total": "${a + 1}", "double": "${total * 2}", "at": "${now()}", "kept": [1, "${a}"], "text": "a"}
    run = Run(
        define({"id": "t", "type": "TRANSFORMATION", "transformations": good, "nextStep": "end"}, END), a=1
    )
    assert run.variables == {"a": 1, "total": 2, "double": 4, "at": NOW, "kept": [1, "${a}"], "text": "a"}
    bad = {"x": 1, "y": "${ghost}"}
    run = Run(
        define({"id": "t", "type": "TRANSFORMATION", "transformations": bad, "nextStep": "end"}, END), a=1
    )
    assert (run.status, run.variables) == ("FAILED", {"a": 1})
    assert str(run.instance.failure_reason).startswith('transformation "y": ')


def gateway(*branches: str, join: str = "j", id_: str = "g") -> dict[str, Any]:
    return {"id": id_, "type": "PARALLEL_GATEWAY", "parallelNextSteps": list(branches), "joinStep": join}


def join(id_: str = "j", next_: str = "end") -> dict[str, Any]:
    return {"id": id_, "type": "JOIN_GATEWAY", "nextStep": next_}


def test_a_join_fires_once_when_every_branch_has_arrived_however_long_they_are() -> None:
    run = Run(
        define(gateway("a", "b"), service("a", "a2"), service("a2", "j"), service("b", "j"), join(), END)
    )
    assert run.current == ("a", "b")
    run.complete("b")
    assert (run.current, run.status) == (("a", "j"), "ACTIVE")
    run.complete("a")
    assert run.status == "ACTIVE"
    run.complete("a2")
    assert run.status == "COMPLETED"
    assert [s.attempt for s in run.all(StepEntered) if s.step_id == "j"] == [1, 2]


def test_nested_gateways_and_a_loop_back_to_the_gateway_keep_their_activations_apart() -> None:
    definition = define(
        gateway("x", "y"),
        gateway("a", "b", join="jx", id_="x"),
        service("a", "jx"),
        service("b", "jx"),
        join("jx", "j"),
        service("y", "j"),
        join("j", "again"),
        {"id": "again", "type": "DECISION", "conditionalNextSteps": {"more": "g", "!more": "end"}},
        END,
    )
    run = Run(definition, more=True)
    for more in (True, False):
        run.complete("y", more=more).complete("a").complete("b")
    assert run.status == "COMPLETED"
    assert run.entered().count("g") == 2


def test_a_token_outside_the_gateway_fails_at_its_join_instead_of_hanging() -> None:
    definition = define(
        service("first", "j"), gateway("a", "b"), service("a", "j"), service("b", "j"), join(), END
    )
    run = Run(definition).complete("first")
    assert run.status == "FAILED"
    assert "without passing its gateway" in str(run.instance.failure_reason)


def test_an_end_in_one_branch_completes_the_instance_and_closes_the_other() -> None:
    run = Run(define(gateway("a", "u"), service("a", "end"), {"id": "u", "type": "USER_TASK"}, join(), END))
    assert run.status == "WAITING"
    run.complete("a")
    assert (run.status, run.current) == ("COMPLETED", ())
    assert run.all(UserTaskClosed)[0].status == "CANCELLED"


def parked(kind: str, **event: Any) -> Definition:
    timer = {"type": "TIMER", "duration": "PT10S", "targetStepId": "late", "interrupting": True, **event}
    more = {"jobType": "t"} if kind == "SERVICE_TASK" else {}
    return define(
        {"id": "p", "type": kind, "nextStep": "end", "boundaryEvents": [timer], **more},
        service("late", "end"),
        END,
    )


@pytest.mark.parametrize("kind", ["SERVICE_TASK", "USER_TASK", "WAIT"])
def test_an_interrupting_timer_closes_the_step_with_its_work(kind: str) -> None:
    run = Run(parked(kind))
    timer = run.all(TimerScheduled)[0]
    assert timer.delay_s == 10.0
    run.timer(timer)
    assert (run.status, run.current) == ("ACTIVE", ("late",))
    assert run.all(StepClosed)[0].failure_reason == "interrupted by boundary timer"
    closed = [*run.all(JobClosed), *run.all(UserTaskClosed)]
    assert [c.status for c in closed] == ([] if kind == "WAIT" else ["CANCELLED"])
    before = run.instance
    assert run.timer(timer).instance == before, "a timer fires once"


def test_a_timer_that_does_not_interrupt_runs_beside_the_parked_step() -> None:
    run = Run(parked("USER_TASK", interrupting=False))
    run.timer(run.all(TimerScheduled)[0])
    assert (run.status, run.current) == ("WAITING", ("p", "late"))
    run.timer(run.all(TimerScheduled)[0])
    assert run.current == ("p", "late")
    assert run.complete("late").status == "COMPLETED"


def test_finishing_a_step_closes_its_timers_and_a_late_firing_changes_nothing() -> None:
    run = Run(parked("WAIT"))
    timer = run.all(TimerScheduled)[0]
    run.signal("p", got=1)
    assert run.status == "COMPLETED"
    assert [t.timer_id for t in run.all(TimerClosed)] == [timer.timer_id]
    assert run.timer(timer).status == "COMPLETED"


def test_user_tasks_and_waits_park_the_instance_and_resume_it() -> None:
    run = Run(
        define(
            {"id": "u", "type": "USER_TASK", "nextStep": "w"},
            {"id": "w", "type": "WAIT", "nextStep": "s"},
            service("s", "end"),
            END,
        ),
        a=1,
    )
    assert json.loads(run.all(UserTaskCreated)[0].payload) == {"a": 1}
    assert run.status == "WAITING"
    assert run.user("u", b=2).status == "WAITING"
    assert (run.signal("w", c=3).status, run.variables) == ("ACTIVE", {"a": 1, "b": 2, "c": 3})


def test_cancel_closes_everything_that_was_open() -> None:
    run = Run(
        define(
            gateway("a", "u"),
            service("a", "j"),
            {"id": "u", "type": "USER_TASK", "nextStep": "j"},
            join(),
            END,
        )
    )
    run.cancel("no longer wanted")
    assert (run.status, run.instance.failure_reason, run.current) == ("CANCELLED", "no longer wanted", ())
    assert {s.failure_reason for s in run.all(StepClosed) if s.status == "FAILED"} == {"instance cancelled"}
    assert len(run.all(JobClosed)) == len(run.all(UserTaskClosed)) == 1


def test_an_end_chains_with_a_copy_of_the_variables() -> None:
    definition = define(service("a", "end"), END, autoStartNextWorkflow=True, nextWorkflowId="next")
    chain = Run(definition, a=1).complete("a", b=2).all(ChainRequested)[0]
    assert (chain.definition_id, plain(chain.variables)) == ("next", {"a": 1, "b": 2})


def test_a_loop_without_work_fails_instead_of_running_for_ever() -> None:
    loop = {"id": "t", "type": "TRANSFORMATION", "transformations": {"n": 1}, "nextStep": "d"}
    back = {"id": "d", "type": "DECISION", "conditionalNextSteps": {"n == 1": "t", "n == 2": "end"}}
    run = Run(define(loop, back, END))
    assert run.status == "FAILED"
    assert "loops without" in str(run.instance.failure_reason)


def test_timers_that_lead_back_to_their_step_are_stopped_before_they_are_too_many() -> None:
    timer = {"type": "TIMER", "duration": "PT1S", "targetStepId": "p", "interrupting": False}
    run = Run(define({"id": "p", "type": "USER_TASK", "nextStep": "end", "boundaryEvents": [timer] * 2}, END))
    fired = 0
    while run.status == "WAITING":
        assert len(run.instance.progress.open) <= advance.OPEN_STEPS_MAX
        run.timer(run.all(TimerScheduled)[fired])
        fired += 1
    assert (run.status, run.current) == ("FAILED", ())
    assert f"step p: {advance.OPEN_STEPS_MAX} steps of the instance wait" in str(run.instance.failure_reason)
    assert fired == advance.OPEN_STEPS_MAX
    assert len(run.all(UserTaskClosed)) == len(run.all(UserTaskCreated)) == advance.OPEN_STEPS_MAX


def test_a_gateway_may_fork_as_far_as_one_event_goes() -> None:
    names = [f"s{n}" for n in range(advance.STEPS_PER_EVENT_MAX - 1)]
    run = Run(define(gateway(*names), *(service(name, "j") for name in names), join(), END))
    assert (run.status, len(run.instance.progress.open)) == ("ACTIVE", len(names))


# -- whatever happens


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """Small random graphs, every type, also senseless ones: only the shape is legal."""
    count = draw(st.integers(2, 7))
    names = [f"s{n}" for n in range(count)]
    anywhere = st.sampled_from([*names, "end"])
    steps: list[dict[str, Any]] = []
    for name in names:
        kind = draw(
            st.sampled_from(
                ["SERVICE_TASK", "USER_TASK", "WAIT", "DECISION", "TRANSFORMATION", "PARALLEL_GATEWAY"]
            )
        )
        step: dict[str, Any] = {"id": name, "type": kind}
        if kind == "DECISION":
            step["conditionalNextSteps"] = {"flag": draw(anywhere), "!flag": draw(anywhere)}
        elif kind == "PARALLEL_GATEWAY":
            step |= {"parallelNextSteps": [draw(anywhere), draw(anywhere)], "joinStep": "join"}
        else:
            step["nextStep"] = draw(st.sampled_from([*names, "end", "join"]))
            if kind == "TRANSFORMATION":
                step["transformations"] = {"flag": "${!flag}"}
        if kind in {"SERVICE_TASK", "USER_TASK", "WAIT"} and draw(st.booleans()):
            event = {"type": "TIMER", "duration": "PT1S", "targetStepId": draw(anywhere)}
            step["boundaryEvents"] = [event | {"interrupting": draw(st.booleans())}]
        steps.append(step)
    return define(*steps, join("join", "end"), END)


def play(definition: Definition, choices: Sequence[int]) -> list[tuple[Instance, list[Effect]]]:
    """One event for each choice, whichever are possible; the instance after each."""
    run = Run(definition, flag=True)
    seen = [(run.instance, list(run.effects))]
    for choice in choices:
        open_steps = list(run.instance.progress.open.items())
        timers = run.all(TimerScheduled)
        options = (
            [("step", eid) for eid, _ in open_steps] + [("timer", t) for t in timers] + [("cancel", None)]
        )
        kind, what = options[choice % len(options)] if choice % 17 else ("cancel", None)
        before = len(run.effects)
        if kind == "timer":
            assert isinstance(what, TimerScheduled)
            run.timer(what)
        elif kind == "cancel":
            if run.instance.is_final:
                continue
            run.cancel("stop")
        else:
            step = run.instance.progress.open[str(what)]
            match definition.steps[step.step_id].type:
                case "SERVICE_TASK":
                    run.complete(step.step_id, flag=bool(choice & 1))
                case "USER_TASK":
                    run.user(step.step_id)
                case _:
                    run.signal(step.step_id)
        seen.append((run.instance, run.effects[before:]))
    return seen


@settings(max_examples=200)
@given(definitions(), st.lists(st.integers(1, 1000), max_size=12))
def test_whatever_happens_the_invariants_hold(definition: Definition, choices: list[int]) -> None:
    seen = play(definition, choices)
    assert seen == play(definition, choices), "the same arguments give the same answer"
    effects = [effect for _, batch in seen for effect in batch]
    for (before, _), (after, batch) in itertools.pairwise(seen):
        if before.is_final:
            assert after == before
            assert all(isinstance(effect, TimerClosed) for effect in batch)
        elif after.status is not before.status:
            assert (before.status, after.status) in INSTANCE_TRANSITIONS
    last = seen[-1][0]
    open_now = set(last.progress.open)
    running = {e.execution_id for e in effects if isinstance(e, StepEntered)}
    for effect in effects:
        if isinstance(effect, StepClosed):
            assert effect.execution_id in running, "a step is closed once, after it was entered"
            running.remove(effect.execution_id)
    assert running == open_now
    jobs = {e.job_id for e in effects if isinstance(e, JobCreated)} - {
        e.job_id for e in effects if isinstance(e, JobClosed)
    }
    tasks = {e.task_id for e in effects if isinstance(e, UserTaskCreated)} - {
        e.task_id for e in effects if isinstance(e, UserTaskClosed)
    }
    assert jobs | tasks == {step.work_id for step in last.progress.open.values() if step.work_id}
    if last.status in FINAL_INSTANCE_STATUSES:
        assert not last.current_step_ids
        assert not open_now
    assert decode_progress(encode_progress(last.progress)) == last.progress
