"""Which entries into which steps a definition justifies, given what was completed (contract 5).

Every entry into a step has exactly one source: the start, a completed predecessor, a fired join or a boundary timer.
A source that leads to one of several steps (a DECISION) counts for one of them. So the visits of an instance are
right exactly when every entry can be given a source of its own, and every source that must have led somewhere can be
given an entry of its own: two bipartite flows, and when each has a solution both have one together (Mendelsohn and
Dulmage). Visits are counted, not ordered, so steps of a loop that justify only each other are noticed just when
nothing that was completed could have led there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from seatrial.check.blueprint import Blueprint, Step
from seatrial.check.flow import unmet

_RESTING = frozenset({"SERVICE_TASK", "USER_TASK", "WAIT"})
_AUTOMATIC = frozenset({"DECISION", "TRANSFORMATION", "PARALLEL_GATEWAY", "JOIN_GATEWAY"})


class Tally(msgspec.Struct, frozen=True):
    """The step executions of one step in one instance, counted."""

    entered: int = 0
    completed: int = 0
    interrupted: int = 0
    """FAILED by an interrupting boundary timer."""
    failed_unexplained: int = 0
    """FAILED without any reason given: it may have been a timer."""
    fired_beside: tuple[tuple[str, int], ...] = ()
    """(target, count) of non-interrupting timers that fired while the step still runs."""


class Source(msgspec.Struct, frozen=True):
    text: str
    targets: tuple[str, ...]
    most: int
    """The number of entries that it may have caused."""
    least: int
    """The number of entries that it must have caused."""
    step_id: str | None = None
    """The step it comes from; None for the start."""


class Imbalance(msgspec.Struct, frozen=True):
    text: str
    step_id: str


def imbalances(blueprint: Blueprint, status: str, tallies: Mapping[str, Tally]) -> Sequence[Imbalance]:
    """Everything wrong with the visits of one instance; empty when a run of the definition explains them all."""
    found = _judge_ends(blueprint, status, tallies) + _judge_automatic(blueprint, status, tallies)
    sources = sources_of(blueprint, status, tallies)
    entered = [step_id for step_id, tally in tallies.items() if tally.entered]
    position = {step_id: number for number, step_id in enumerate(entered)}
    served = [{position[target] for target in source.targets if target in position} for source in sources]
    entries = [tallies[step_id].entered for step_id in entered]
    unjustified = unmet(entries, [source.most for source in sources], served)
    for step_id, surplus in zip(entered, unjustified, strict=True):
        if surplus:
            total = tallies[step_id].entered
            text = f"step {step_id} was entered {total} times, {total - surplus} of them justified"
            found.append(Imbalance(text, step_id))
    found += _detached(blueprint, entered, sources)
    reached_by: list[set[int]] = [set() for _ in entered]
    for number, steps in enumerate(served):
        for step in steps:
            reached_by[step].add(number)
    lost = unmet([source.least for source in sources], entries, reached_by)
    for source, missing in zip(sources, lost, strict=True):
        if missing:
            text = f"{source.text} and {missing} of its entries into {' or '.join(source.targets)} is missing"
            found.append(Imbalance(text, source.targets[0]))
    return found


def _detached(blueprint: Blueprint, entered: Sequence[str], sources: Sequence[Source]) -> list[Imbalance]:
    leads: dict[str | None, set[str]] = {}
    for source in sources:
        if source.most:
            leads.setdefault(source.step_id, set()).update(source.targets)
    reached, fresh = {blueprint.first}, [blueprint.first]
    while fresh:
        fresh = list({target for step_id in fresh for target in leads.get(step_id, ())} - reached)
        reached.update(fresh)
    return [
        Imbalance(f"step {step_id} was entered and nothing that was completed leads to it", step_id)
        for step_id in entered
        if step_id not in reached
    ]


def sources_of(blueprint: Blueprint, status: str, tallies: Mapping[str, Tally]) -> list[Source]:
    sources = [Source("the instance started", (blueprint.first,), 1, 1)]
    none = Tally()
    for step in blueprint.steps.values():
        tally = tallies.get(step.id, none)
        if step.type == "JOIN_GATEWAY":
            sources.append(_join(blueprint, step, tally, tallies, status))
        elif step.type == "PARALLEL_GATEWAY":
            least = _least(blueprint, step, status, tally.completed)
            text = f"gateway {step.id} completed {tally.completed} times"
            sources.extend(
                Source(text, (target,), tally.completed, least, step.id) for target in step.targets
            )
        elif step.targets:
            least = _least(blueprint, step, status, tally.completed)
            text = f"step {step.id} completed {tally.completed} times"
            sources.append(Source(text, step.targets, tally.completed, least, step.id))
        sources.extend(_timers(step, tally))
    return sources


def _judge_ends(blueprint: Blueprint, status: str, tallies: Mapping[str, Tally]) -> list[Imbalance]:
    """The first END entered completes the instance, and nothing is entered afterwards."""
    ends = [step.id for step in blueprint.steps.values() if step.type == "END"]
    entered = sum(tallies[step_id].entered for step_id in ends if step_id in tallies)
    expected = 1 if status == "COMPLETED" else 0
    if entered == expected:
        return []
    return [
        Imbalance(
            f"a {status} instance has {entered} END entries instead of {expected}", ends[0] if ends else ""
        )
    ]


def _judge_automatic(blueprint: Blueprint, status: str, tallies: Mapping[str, Tally]) -> list[Imbalance]:
    """These steps begin and end in one transaction; one may have failed, and then the instance with it."""
    unfinished = [
        (step_id, tally.entered - tally.completed)
        for step_id, tally in tallies.items()
        if blueprint.steps[step_id].type not in _RESTING and tally.entered > tally.completed
    ]
    if not unfinished or (status == "FAILED" and sum(count for _, count in unfinished) == 1):
        return []
    return [
        Imbalance(f"{blueprint.steps[step_id].type} {step_id} was left unfinished {count} times", step_id)
        for step_id, count in unfinished
    ]


def _least(blueprint: Blueprint, step: Step, status: str, completed: int) -> int:
    """Of so many completions, how many must have led on: all, unless their transaction met the instance's end first.

    Another branch of the same fork can have done that, or a condition whose failure failed the instance.
    """
    is_overtaken = blueprint.forks and step.type in _AUTOMATIC and status in {"COMPLETED", "FAILED"}
    is_failed = step.conditional and step.type in _RESTING and status == "FAILED"
    return 0 if is_overtaken or is_failed else completed


def _join(
    blueprint: Blueprint, step: Step, tally: Tally, tallies: Mapping[str, Tally], status: str
) -> Source:
    """A join fires once for each activation of its gateway whose branches have all arrived (contract 5.7)."""
    join = blueprint.joins.get(step.id)
    arrived = tally.completed
    text = f"{arrived} arrivals at join {step.id}"
    if join is None:
        return Source(text, step.targets, 0, 0, step.id)
    if join.shared:
        gateways = (each for each in blueprint.steps.values() if each.type == "PARALLEL_GATEWAY")
        activations = sum(tallies[each.id].completed for each in gateways if each.id in tallies)
        return Source(text, step.targets, min(arrived, activations), 0, step.id)
    activations = tallies.get(join.gateway, Tally()).completed
    most = min(activations, arrived // join.branches)
    # Each activation that has not fired waits with one branch less than all: more arrivals than that mean firings.
    fired = min(most, max(0, arrived - activations * (join.branches - 1)))
    least = 0 if blueprint.has_boundaries else _least(blueprint, step, status, fired)
    return Source(text, step.targets, most, least, step.id)


def _timers(step: Step, tally: Tally) -> list[Source]:
    sources = []
    interrupting = tuple(dict.fromkeys(each.target for each in step.boundaries if each.interrupting))
    if interrupting:
        most = tally.interrupted + tally.failed_unexplained
        text = f"a timer interrupted step {step.id} {tally.interrupted} times"
        sources.append(Source(text, interrupting, most, tally.interrupted, step.id))
    fired_beside = dict(tally.fired_beside)
    for target in dict.fromkeys(each.target for each in step.boundaries if not each.interrupting):
        events = sum(not each.interrupting and each.target == target for each in step.boundaries)
        fired = fired_beside.get(target, 0)
        text = f"{fired} timers fired beside step {step.id}"
        sources.append(Source(text, (target,), tally.entered * events, fired, step.id))
    return sources
