"""An instance that another engine began: where it stands is read from its rows exactly, or not at all."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from windlass import advance
from windlass.definition.document import compile_definition
from windlass.definition.model import Definition
from windlass.effects import (
    Effect,
    JobClosed,
    JobCreated,
    StepClosed,
    StepEntered,
    TimerClosed,
    TimerScheduled,
    UserTaskClosed,
    UserTaskCreated,
)
from windlass.instance import Instance, Progress
from windlass.takeover import Begun, Execution, Unclear, progress_of

END = {"id": "end", "type": "END"}


def define(*steps: dict[str, Any]) -> Definition:
    named = [{"name": step["id"], **step} for step in steps]
    return compile_definition("d", 1, json.dumps({"id": "d", "name": "d", "steps": named}).encode())


def task(id_: str, next_: str | None, kind: str = "SERVICE_TASK", **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": kind, **more} | ({"nextStep": next_} if next_ else {})


def fork(id_: str, join: str, next_: str, *heads: str) -> list[dict[str, Any]]:
    gateway = {"id": id_, "type": "PARALLEL_GATEWAY", "parallelNextSteps": heads, "joinStep": join}
    return [gateway, {"id": join, "type": "JOIN_GATEWAY", "nextStep": next_}]


def timer(target: str, *, interrupting: bool) -> dict[str, Any]:
    return {"type": "TIMER", "duration": "PT1H", "interrupting": interrupting, "targetStepId": target}


TIMED = [timer("late", interrupting=True), timer("nag", interrupting=False)]
SEQUENCE = define(
    task("a", "b", boundaryEvents=TIMED),
    task("b", "c", "USER_TASK"),
    task("c", "end", "WAIT"),
    task("late", "c"),
    task("nag", "note"),
    task("note", None, "USER_TASK"),
    END,
)
BRANCHES = define(
    *fork("f", "j", "last", "a", "b", "c"),
    task("a", "a2"),
    task("a2", "j", "WAIT"),
    task("b", "j", "USER_TASK", boundaryEvents=[timer("late", interrupting=True)]),
    task("late", "j"),
    task("c", "j"),
    task("last", "end"),
    END,
)
NESTED = define(
    *fork("f", "j", "last", "a", "g"),
    task("a", "j"),
    *fork("g", "k", "d", "b", "c"),
    task("b", "k", "WAIT"),
    task("c", "c2"),
    task("c2", "k"),
    task("d", "j", "USER_TASK"),
    task("last", "end"),
    END,
)
LOOP = define(
    *fork("f", "j", "again", "a", "b"),
    task("a", "j"),
    task("b", "j"),
    task("again", "f", "WAIT"),
    END,
)


class Rows:
    """What an engine writes, kept as rows of the other one's tables."""

    def __init__(self) -> None:
        self.executions: dict[str, list[Any]] = {}
        self.work: dict[str, tuple[str, str]] = {}
        self.timers: dict[str, tuple[str, str, bool]] = {}

    def write(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case StepEntered():
                    self.executions[effect.execution_id] = [effect.step_id, effect.attempt, "RUNNING"]
                case StepClosed():
                    self.executions[effect.execution_id][2] = effect.status
                case JobCreated():
                    self.work[effect.job_id] = ("job_ids", effect.execution_id)
                case UserTaskCreated():
                    self.work[effect.task_id] = ("user_task_ids", effect.execution_id)
                case JobClosed():
                    del self.work[effect.job_id]
                case UserTaskClosed():
                    del self.work[effect.task_id]
                case TimerScheduled():
                    interrupting = effect.interrupting
                    self.timers[effect.timer_id] = (effect.execution_id, effect.target_step_id, interrupting)
                case TimerClosed():
                    self.timers.pop(effect.timer_id, None)
                case _:
                    pass

    def begun(self, instance: Instance) -> Begun:
        def of(kind: str, execution_id: str) -> tuple[str, ...]:
            return tuple(id_ for id_, work in self.work.items() if work == (kind, execution_id))

        executions = tuple(
            Execution(
                id_,
                step_id,
                attempt,
                status,
                of("job_ids", id_),
                of("user_task_ids", id_),
                tuple(timer_id for timer_id, row in self.timers.items() if row[0] == id_),
            )
            for id_, (step_id, attempt, status) in self.executions.items()
        )
        return Begun("i", "d", 1, instance.current_step_ids, executions)


def walk(definition: Definition, seed: int, events: int) -> tuple[Instance, Rows]:
    """A run of this engine that ends early, at some moment."""
    chance, numbers, rows = random.Random(seed), itertools.count(1), Rows()
    around = advance.Surroundings(lambda: f"id-{next(numbers):04}", lambda: "2026-01-02T03:04:05Z")
    decision = advance.start(definition, "i", {}, None, around)
    rows.write(decision.effects)
    for _ in range(events):
        instance = decision.instance
        if not instance.progress.open:
            break
        execution_id = chance.choice(list(instance.progress.open))
        step = definition.steps[instance.progress.open[execution_id].step_id]
        due = [(id_, *row) for id_, row in rows.timers.items() if row[0] == execution_id]
        if due and chance.random() < 0.5:
            timer_id, _, target, interrupting = chance.choice(due)
            decision = advance.fire_timer(
                definition, instance, execution_id, timer_id, target, interrupting=interrupting, around=around
            )
        elif step.type == "SERVICE_TASK":
            decision = advance.complete_job(definition, instance, execution_id, "w", {}, around)
        elif step.type == "USER_TASK":
            decision = advance.complete_user_task(definition, instance, execution_id, None, {}, around)
        else:
            decision = advance.signal_wait(definition, instance, execution_id, {}, around)
        rows.write(decision.effects)
    return decision.instance, rows


def in_order(progress: Progress) -> Progress:
    """Arrivals are a set."""
    sorted_ = {
        id_: msgspec.structs.replace(each, arrived=tuple(sorted(each.arrived)))
        for id_, each in progress.activations.items()
    }
    return msgspec.structs.replace(progress, activations=sorted_)


@pytest.mark.parametrize(
    ("definition", "events"),
    [(SEQUENCE, 6), (BRANCHES, 6), (NESTED, 7), (LOOP, 9)],
    ids=["sequence", "branches", "nested", "loop"],
)
def test_what_the_rows_tell_is_what_the_engine_remembers(definition: Definition, events: int) -> None:
    """At every moment of runs that go every way."""
    seen = 0
    for seed in range(200):
        instance, rows = walk(definition, seed, seed % (events + 1))
        if not instance.is_final:
            assert progress_of(definition, rows.begun(instance)) == in_order(instance.progress), seed
            seen += 1
    assert seen > 90


# -- what another engine's rows may look like beside


def begun(current: Sequence[str], *executions: Execution) -> Begun:
    return Begun("i", "d", 1, tuple(current), executions)


def done(id_: str, step_id: str, attempt: int = 1) -> Execution:
    return Execution(id_, step_id, attempt, "COMPLETED")


def at(id_: str, step_id: str, *jobs: str) -> Execution:
    return Execution(id_, step_id, 1, "RUNNING", jobs)


def test_a_step_that_leads_nowhere_stays_current_there_and_holds_nothing_here() -> None:
    definition = define(*fork("f", "j", "end", "a", "b"), task("a", None), task("b", "j"), END)
    left = begun(["a", "b"], done("1", "f"), done("2", "a"), at("3", "b", "job"))
    progress = progress_of(definition, left)
    assert list(progress.open) == ["3"]
    assert progress.activations["1"].arrived == ()
    after = begun(["a", "j"], done("1", "f"), done("2", "a"), done("3", "b"), done("4", "j"))
    assert progress_of(definition, after).activations["1"].arrived == (1,)


SHARED = define(*fork("f", "j", "end", "a", "b"), task("a", "c"), task("b", "c"), task("c", "j"), END)
SKIPS = define(*fork("f", "j", "c", "a", "b"), task("a", "j"), task("b", "c"), task("c", "end"), END)
UNCLEAR: dict[str, tuple[Definition, Begun, str]] = {
    "a step of an unknown name": (SEQUENCE, begun(["x"], at("1", "x", "job")), "step x is running"),
    "a running gateway": (BRANCHES, begun(["f"], at("1", "f")), "step f is running"),
    "no job": (SEQUENCE, begun(["a"], at("1", "a")), "step a has 0 open jobs"),
    "two jobs": (SEQUENCE, begun(["a"], at("1", "a", "old", "new")), "step a has 2 open jobs"),
    "nothing open": (SEQUENCE, begun(["a"], done("1", "a")), "step a is current and nothing is open there"),
    "a join whose branches are gone": (
        BRANCHES,
        begun(["j"], done("1", "f"), done("2", "c"), done("3", "j")),
        "step j is current and nothing is open there",
    ),
    "a join that fired too early": (
        BRANCHES,
        begun(
            ["a2", "last"],
            done("1", "f"),
            done("2", "c"),
            done("3", "j"),
            at("4", "a2"),
            at("5", "last", "job"),
        ),
        "join j has 1 arrivals, and is not a current step",
    ),
    "an arrival too few": (
        BRANCHES,
        begun(["a", "j"], done("1", "f"), at("2", "a", "job"), done("3", "j")),
        "join j has 1 arrivals, while nothing is open on 2 of its 3 branches",
    ),
    "an earlier run that is not over": (
        LOOP,
        begun(["a"], done("1", "f"), done("2", "f", 2), at("3", "a", "job")),
        "gateway f was entered 2 times",
    ),
    "a step of two branches": (
        SHARED,
        begun(["c"], done("1", "f"), at("2", "c", "job")),
        "step c is on more than one branch of gateway f",
    ),
    "a step before and behind the join": (
        SKIPS,
        begun(["c", "j"], done("1", "f"), done("2", "j"), at("3", "c", "job")),
        "step c is both before and behind the join of gateway f",
    ),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_the_rows_do_not_tell_is_not_guessed(case: str) -> None:
    definition, rows, said = UNCLEAR[case]
    with pytest.raises(Unclear, match=said):
        progress_of(definition, rows)


def test_a_page_of_rows_is_read_from_json() -> None:
    text = """[{"id":"i","definition_id":"d","version":1,"current_step_ids":["a"],"executions":[
        {"id":"1","step_id":"a","attempt":1,"status":"RUNNING","job_ids":["j"],"user_task_ids":[],"timer_ids":[]}]}]"""
    assert msgspec.json.decode(text, type=tuple[Begun, ...]) == (begun(["a"], at("1", "a", "j")),)
