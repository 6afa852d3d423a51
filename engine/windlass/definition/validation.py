"""The rules of contract 3.5, in their order, each a generator of the messages it has for a document.

A document is what `document.py` made of an upload: right types, no unknown and no empty optional fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from windlass.definition import duration
from windlass.definition.model import StepType

ID_CHARS_MAX = 256
VIOLATIONS_SHOWN_MAX = 1000

#: A job type is in an index, whose entries PostgreSQL keeps below a third of a page.
JOB_TYPE_BYTES_MAX = 2048

#: The database keeps retries in 32 bits.
RETRY_COUNT_MAX = 2**31 - 1

ID_PATTERN = re.compile(r"[A-Za-z0-9_:-]+")

_SHOWN_CHARS_MAX = 120

Document = Mapping[str, Any]
Step = Mapping[str, Any]


def violations(document: Document) -> list[str]:
    """List every rule the document breaks, in rule order, naming the step; empty when it may be stored.

    The list ends after VIOLATIONS_SHOWN_MAX and says so: no document may cause an endless answer.
    """
    found = _all(document)
    shown = list(islice(found, VIOLATIONS_SHOWN_MAX))
    if next(found, None) is not None:
        shown.append(f"and more; these are the first {VIOLATIONS_SHOWN_MAX} violations")
    return shown


def _all(document: Document) -> Iterator[str]:
    yield from _identity(document)
    if not document.get("steps"):
        yield "steps must not be empty"
        return
    if document.get("autoStartNextWorkflow") and not document.get("nextWorkflowId"):
        yield "nextWorkflowId is required when autoStartNextWorkflow is true"
    steps = _Steps(document["steps"])
    for rule in _STEP_RULES:
        yield from rule(steps)


def _identity(document: Document) -> Iterator[str]:
    definition_id = document.get("id", "")
    if not definition_id:
        yield "id is required"
    else:
        if len(definition_id) > ID_CHARS_MAX:
            yield f"id too long: {len(definition_id)} characters, at most {ID_CHARS_MAX}"
        if not ID_PATTERN.fullmatch(definition_id):
            yield f"id must match ^{ID_PATTERN.pattern}$, got {_shown(definition_id)}"
    if not document.get("name"):
        yield "name is required"


class _Steps:
    """The step list with the lookups the rules share."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.all = steps
        #: id -> the first step with it
        self.by_id: dict[str, Step] = {}
        for step in steps:
            if step.get("id"):
                self.by_id.setdefault(step["id"], step)

    def labelled(self, *types: StepType) -> Iterator[tuple[str, Step]]:
        """("step X", step) of every step of these types, of all steps when none is given."""
        for index, step in enumerate(self.all):
            if not types or step.get("type") in types:
                yield (f"step {_shown(step['id'])}" if step.get("id") else f"step[{index}]"), step

    def unknown(self, step_id: str) -> bool:
        return step_id not in self.by_id


def _step_ids(steps: _Steps) -> Iterator[str]:
    for index, step in enumerate(steps.all):
        if not step.get("id"):
            yield f"step[{index}] id is required"
    counts: dict[str, int] = {}
    for step in steps.all:
        if step.get("id"):
            counts[step["id"]] = counts.get(step["id"], 0) + 1
    for step_id, count in counts.items():
        if count > 1:
            yield f"duplicate step id {_shown(step_id)} ({count} steps have it)"


def _step_names(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled():
        if not step.get("name"):
            yield f"{label}: name is required"


def _step_types(steps: _Steps) -> Iterator[str]:
    known = ", ".join(StepType)
    for label, step in steps.labelled():
        if step.get("type", "") not in StepType.__members__:
            yield f"{label}: unsupported type {_word(step)}; use one of {known}"


def _service_tasks(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled(StepType.SERVICE_TASK):
        if not step.get("jobType"):
            yield f"{label}: jobType is required"
    for label, step in steps.labelled():
        size = len(step.get("jobType", "").encode())
        if size > JOB_TYPE_BYTES_MAX:
            yield f"{label}: jobType has {size} bytes, at most {JOB_TYPE_BYTES_MAX}"
        if not 0 <= step.get("retryCount", 0) <= RETRY_COUNT_MAX:
            yield f"{label}: retryCount must be 0 to {RETRY_COUNT_MAX}, got {_cut(str(step['retryCount']))}"


def _branches(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled():
        targets = step.get("conditionalNextSteps", {})
        if step.get("type") == StepType.DECISION and not targets:
            yield f"{label}: conditionalNextSteps must not be empty"
        for expression, target in targets.items():
            if steps.unknown(target):
                where = f"conditionalNextSteps[{json.dumps(_cut(expression), ensure_ascii=False)}]"
                yield f"{label}: {where} references unknown step {_shown(target)}"


def _transformations(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled(StepType.TRANSFORMATION):
        if not step.get("nextStep"):
            yield f"{label}: nextStep is required"
        if not step.get("transformations"):
            yield f"{label}: transformations must not be empty"


def _waits_and_joins(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled(StepType.WAIT, StepType.JOIN_GATEWAY):
        if not step.get("nextStep"):
            yield f"{label}: nextStep is required"


def _parallel_gateways(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled(StepType.PARALLEL_GATEWAY):
        if len(step.get("parallelNextSteps", ())) < 2:
            yield f"{label}: parallelNextSteps must have at least 2 entries"
        if not step.get("joinStep"):
            yield f"{label}: joinStep is required"


def _references(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled():
        named = [(field, step[field]) for field in ("nextStep", "joinStep") if step.get(field)]
        named += [(f"parallelNextSteps[{i}]", x) for i, x in enumerate(step.get("parallelNextSteps", ()))]
        for i, event in enumerate(step.get("boundaryEvents", ())):
            if event.get("targetStepId"):
                named.append((f"boundaryEvents[{i}].targetStepId", event["targetStepId"]))
        for field, target in named:
            if steps.unknown(target):
                yield f"{label}: {field} references unknown step {_shown(target)}"


def _joins(steps: _Steps) -> Iterator[str]:
    joined: dict[str, str] = {}
    for label, step in steps.labelled(StepType.PARALLEL_GATEWAY):
        target = steps.by_id.get(step.get("joinStep", ""))
        if target is not None:
            # A join counts the branches of one gateway.
            first = joined.setdefault(target["id"], label)
            if first is not label:
                yield f"{label}: joinStep {_shown(target['id'])} is also that of {first}; give each its own"
            if target.get("type") != StepType.JOIN_GATEWAY:
                yield f"{label}: joinStep {_shown(target['id'])} must be a JOIN_GATEWAY"
    for label, step in steps.labelled(StepType.JOIN_GATEWAY):
        if step.get("id") and step["id"] not in joined:
            yield f"{label}: no PARALLEL_GATEWAY names it as joinStep"


def _boundary_events(steps: _Steps) -> Iterator[str]:
    for label, step in steps.labelled():
        for index, event in enumerate(step.get("boundaryEvents", ())):
            where = f"{label}: boundaryEvents[{index}]"
            if event.get("type") != "TIMER":
                yield f"{where}: unsupported type {_word(event)}; use TIMER"
            if not event.get("duration"):
                yield f"{where}: duration is required"
            else:
                try:
                    duration.parse_duration_s(event["duration"])
                except duration.BadDuration as error:
                    yield f"{where}: {error}"
            if not event.get("targetStepId"):
                yield f"{where}: targetStepId is required"


def _reachability(steps: _Steps) -> Iterator[str]:
    reached = _reached(steps)
    for step_id in steps.by_id:
        if step_id not in reached:
            yield f"step {_shown(step_id)} is unreachable from the first step"
    if not any(steps.by_id[step_id].get("type") == StepType.END for step_id in reached):
        yield "no END step is reachable from the first step"


def _reached(steps: _Steps) -> set[str]:
    """Ids of the steps that can be entered from the first of the list, whether it has an id or not."""
    first = steps.all[0]
    reached = {first["id"]} if first.get("id") else set()
    waiting = [first]
    while waiting:
        for target in _targets(waiting.pop()):
            if target in steps.by_id and target not in reached:
                reached.add(target)
                waiting.append(steps.by_id[target])
    return reached


def _targets(step: Step) -> Iterator[str]:
    yield step.get("nextStep", "")
    yield from step.get("conditionalNextSteps", {}).values()
    yield from step.get("parallelNextSteps", ())
    yield step.get("joinStep", "")
    for event in step.get("boundaryEvents", ()):
        yield event.get("targetStepId", "")


def _word(typed: Mapping[str, Any]) -> str:
    return json.dumps(_cut(typed.get("type", "")), ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"


def _shown(text: str) -> str:
    """Show the text as it is, or quoted if it would not read as one word of a line."""
    cut = _cut(text)
    plain = cut.isprintable() and cut and " " not in cut
    return cut if plain else json.dumps(cut, ensure_ascii=False)


_STEP_RULES = (
    _step_ids,
    _step_names,
    _step_types,
    _service_tasks,
    _branches,
    _transformations,
    _waits_and_joins,
    _parallel_gateways,
    _references,
    _joins,
    _boundary_events,
    _reachability,
)
