"""Continues an instance that another engine began: its `Progress` from the rows that engine wrote. Pure.

That engine keeps no memory of an instance but its rows: running executions with their work, current steps, and one row
for each arrival at a join. They tell everything, except which branch a token is in where branches share steps, and
what a join that fired too early has left behind. Then it says so and guesses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from windlass.definition.model import Definition, Step, StepType
from windlass.instance import Activation, Branch, OpenStep, Progress, Scope
from windlass.states import StepStatus

_PARKING = frozenset({StepType.SERVICE_TASK, StepType.USER_TASK, StepType.WAIT})


class Execution(msgspec.Struct, frozen=True):
    """A row of step_execution with the work and timers that are still open for it."""

    id: str
    step_id: str
    attempt: int
    status: str
    job_ids: tuple[str, ...] = ()
    user_task_ids: tuple[str, ...] = ()
    timer_ids: tuple[str, ...] = ()


class Begun(msgspec.Struct, frozen=True):
    """A live instance as another engine left it."""

    id: str
    definition_id: str
    version: int
    current_step_ids: tuple[str, ...]
    executions: tuple[Execution, ...]
    """In the order in which they began."""


class Unclear(Exception):
    """The rows do not tell where the instance stands."""


class _Fork(NamedTuple):
    """The newest run through a gateway, whose join has not fired."""

    gateway: Step
    execution_id: str
    regions: Sequence[frozenset[str]]
    """Of each branch, the steps that a token can reach before the join."""
    beyond: frozenset[str]
    """What it can reach from the join on."""
    arrivals: int


def progress_of(definition: Definition, begun: Begun) -> Progress:
    """Raises Unclear, saying which step is in doubt."""
    visits: dict[str, int] = {}
    for execution in begun.executions:
        visits[execution.step_id] = max(visits.get(execution.step_id, 0), execution.attempt)
    running = {
        execution.id: _open(definition, execution)
        for execution in begun.executions
        if execution.status == StepStatus.RUNNING
    }
    dead_ends = _dead_ends(definition, begun, running.values())
    forks = _forks(definition, begun, [*(step.step_id for step in running.values()), *dead_ends])
    open_steps = {
        execution_id: msgspec.structs.replace(step, scope=_scope(step.step_id, forks))
        for execution_id, step in running.items()
    }
    activations = {
        fork.execution_id: _activation(fork, forks, [s.step_id for s in running.values()], dead_ends)
        for fork in forks
    }
    explained = {step.step_id for step in running.values()} | set(dead_ends)
    explained |= {activation.join_step_id for activation in activations.values() if activation.arrived}
    for step_id in begun.current_step_ids:
        if step_id not in explained:
            raise Unclear(f"step {step_id} is current and nothing is open there")
    return Progress(visits, open_steps, activations)


def _open(definition: Definition, execution: Execution) -> OpenStep:
    step = definition.steps.get(execution.step_id)
    if step is None or step.type not in _PARKING:
        raise Unclear(f"step {execution.step_id} is running and is no step that waits for something")
    work: Sequence[str] = ("",)
    if step.type is not StepType.WAIT:
        work = execution.job_ids if step.type is StepType.SERVICE_TASK else execution.user_task_ids
    if len(work) != 1:
        what = "jobs" if step.type is StepType.SERVICE_TASK else "user tasks"
        raise Unclear(f"step {execution.step_id} has {len(work)} open {what} where one is meant")
    return OpenStep(execution.step_id, work[0], (), execution.timer_ids)


def _dead_ends(definition: Definition, begun: Begun, running: Iterable[OpenStep]) -> list[str]:
    """Current steps that are done and lead nowhere: that engine leaves them in the list (contract 5.3)."""
    busy = {step.step_id for step in running}
    newest = {execution.step_id: execution.status for execution in begun.executions}
    return [
        step_id
        for step_id in begun.current_step_ids
        if step_id not in busy
        and newest.get(step_id) == StepStatus.COMPLETED
        and step_id in definition.steps
        and definition.steps[step_id].type in _PARKING
        and not _targets(definition.steps[step_id])
    ]


def _targets(step: Step) -> list[str]:
    """Where its own token goes."""
    next_step = [step.next_step] if step.next_step is not None else []
    return [*next_step, *(target for _, target in step.branches), *step.parallel_next_steps]


# -- parallel branches


def _forks(definition: Definition, begun: Begun, held: Sequence[str]) -> list[_Fork]:
    """The gateways that tokens, at the steps `held`, may still be inside of."""
    entered = Counter(execution.step_id for execution in begun.executions)
    forks = []
    for gateway in definition.steps.values():
        join = gateway.join_step
        if gateway.type is not StepType.PARALLEL_GATEWAY or not join or not entered[gateway.id]:
            continue
        regions = [_reachable(definition, head, join) for head in gateway.parallel_next_steps]
        inside = [step_id for step_id in held if any(step_id in region for region in regions)]
        if not inside:
            # Its join has fired, or nothing is left that could reach it: then `progress_of` finds the join current and
            # unexplained.
            continue
        if definition.gateway_of_join.get(join) != gateway.id:
            raise Unclear(f"join {join} belongs to two gateways")
        forks.append(_fork(definition, begun, gateway, join, regions))
    return forks


def _fork(
    definition: Definition, begun: Begun, gateway: Step, join: str, regions: Sequence[frozenset[str]]
) -> _Fork:
    """Of the newest run through a gateway."""
    passed = [execution.step_id for execution in begun.executions]
    last = len(passed) - 1 - passed[::-1].index(gateway.id)
    arrivals, before = passed[last:].count(join), passed[:last].count(join)
    earlier = passed[:last].count(gateway.id)
    if before != earlier * len(regions):
        raise Unclear(f"gateway {gateway.id} was entered {earlier + 1} times, and an earlier run is not over")
    if (join in begun.current_step_ids) != (arrivals > 0):
        raise Unclear(
            f"join {join} has {arrivals} arrivals, and is {'' if arrivals == 0 else 'not '}a current step"
        )
    after = definition.steps[join].next_step if join in definition.steps else None
    # Back through the gateway would be another run, with a row of its own.
    beyond = _reachable(definition, after, gateway.id) if after is not None else frozenset()
    return _Fork(gateway, begun.executions[last].id, regions, beyond, arrivals)


def _reachable(definition: Definition, first: str, stop: str) -> frozenset[str]:
    """The steps from `first` on, timers' targets too, without `stop` and what is only behind it."""
    found: set[str] = set()
    pending = [first]
    while pending:
        step_id = pending.pop()
        if step_id in found or step_id == stop or step_id not in definition.steps:
            continue
        found.add(step_id)
        step = definition.steps[step_id]
        pending += _targets(step)
        pending += [event.target_step_id for event in step.boundary_events]
    return frozenset(found)


def _branch(step_id: str, fork: _Fork) -> int | None:
    """The number of the branch that a token at this step is in; None outside of all."""
    numbers = [number for number, region in enumerate(fork.regions) if step_id in region]
    if len(numbers) > 1:
        raise Unclear(f"step {step_id} is on more than one branch of gateway {fork.gateway.id}")
    if numbers and fork.arrivals and step_id in fork.beyond:
        raise Unclear(f"step {step_id} is both before and behind the join of gateway {fork.gateway.id}")
    return numbers[0] if numbers else None


def _scope(step_id: str, forks: Sequence[_Fork]) -> Scope:
    """The forks around a step, outermost first."""
    around = [(fork, number) for fork in forks if (number := _branch(step_id, fork)) is not None]
    depths = {
        fork.execution_id: sum(
            _branch(fork.gateway.id, other) is not None for other, _ in around if other != fork
        )
        for fork, _ in around
    }
    if sorted(depths.values()) != list(range(len(around))):
        raise Unclear(f"step {step_id} is in gateways that are not inside each other")
    around.sort(key=lambda pair: depths[pair[0].execution_id])
    return tuple(Branch(fork.execution_id, fork.gateway.id, number) for fork, number in around)


def _activation(
    fork: _Fork, forks: Sequence[_Fork], held: Sequence[str], dead_ends: Sequence[str]
) -> Activation:
    """Branches in which nothing is open have arrived, if that is as many as there are rows of the join."""
    left = {number for step_id in (*held, *dead_ends) if (number := _branch(step_id, fork)) is not None}
    arrived = tuple(number for number in range(len(fork.regions)) if number not in left)
    join = fork.gateway.join_step or ""
    if len(arrived) != fork.arrivals:
        raise Unclear(
            f"join {join} has {fork.arrivals} arrivals, while nothing is open on {len(arrived)} of its "
            f"{len(fork.regions)} branches"
        )
    others = [other for other in forks if other is not fork]
    return Activation(join, len(fork.regions), arrived, _scope(fork.gateway.id, others))
