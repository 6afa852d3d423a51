"""A definition as the engine runs it: immutable, parsed once per (id, version) (contract 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StepType(StrEnum):
    SERVICE_TASK = "SERVICE_TASK"
    USER_TASK = "USER_TASK"
    DECISION = "DECISION"
    TRANSFORMATION = "TRANSFORMATION"
    WAIT = "WAIT"
    PARALLEL_GATEWAY = "PARALLEL_GATEWAY"
    JOIN_GATEWAY = "JOIN_GATEWAY"
    END = "END"


@dataclass(frozen=True, slots=True)
class BoundaryEvent:
    duration_s: float
    interrupting: bool
    target_step_id: str


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    name: str
    type: StepType
    next_step: str | None = None
    #: (expression text, target step id) in declaration order; contract 4.4
    branches: tuple[tuple[str, str], ...] = ()
    #: (variable, JSON value as decoded) in declaration order; contract 4.5
    transformations: tuple[tuple[str, Any], ...] = ()
    parallel_next_steps: tuple[str, ...] = ()
    join_step: str | None = None
    job_type: str | None = None
    retry_count: int = 0
    boundary_events: tuple[BoundaryEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Definition:
    id: str
    version: int
    name: str
    description: str | None
    #: set only when autoStartNextWorkflow is true and nextWorkflowId given
    chained_definition_id: str | None
    steps: Mapping[str, Step]
    first_step_id: str
    #: join step id -> the first gateway in the list whose joinStep names it (contract 5.7)
    gateway_of_join: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_types(self) -> Sequence[str]:
        """Distinct job types of its SERVICE_TASK steps, step id where none is given (contract 3.4)."""
        found = (
            step.job_type or step.id for step in self.steps.values() if step.type is StepType.SERVICE_TASK
        )
        return tuple(dict.fromkeys(found))
