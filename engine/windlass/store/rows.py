"""Collects the effects of a batch into sets of rows, so that it is written by one or two statements.

A row created and closed within one batch is written once, in its final state: a statement cannot update what another
part of the same statement inserts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from windlass.definition.model import StepType
from windlass.effects import (
    ChainRequested,
    Effect,
    JobClosed,
    JobCreated,
    JobRequeued,
    Recorded,
    StepClosed,
    StepEntered,
    TimerClosed,
    TimerScheduled,
    UserTaskClosed,
    UserTaskCreated,
)
from windlass.instance import Instance, encode_progress, encode_variables
from windlass.states import JobStatus, StepStatus, UserTaskStatus
from windlass.store.arrays import json_array, text_array

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class NewStep:
    entered: StepEntered
    closed: StepClosed | None = None


@dataclass(slots=True)
class NewJob:
    created: JobCreated
    status: JobStatus = JobStatus.UNLOCKED
    worker_id: str | None = None
    lease_s: float | None = None
    """Set when the job is written already leased to a waiting poll."""
    trace: str | None = None
    """What whoever gets it carries on."""


@dataclass(slots=True)
class NewUserTask:
    created: UserTaskCreated
    status: UserTaskStatus = UserTaskStatus.OPEN


@dataclass(slots=True)
class NewTimer:
    scheduled: TimerScheduled
    fired: bool = False


@dataclass(slots=True)
class WriteSet:
    """Rows by id, so that a later effect on the same row changes it here."""

    audit_enabled: bool
    new_instances: dict[str, Instance] = field(default_factory=dict)
    changed_instances: dict[str, tuple[Instance, bool]] = field(default_factory=dict)
    """Each with whether its variables changed."""
    new_steps: dict[str, NewStep] = field(default_factory=dict)
    closed_steps: dict[str, StepClosed] = field(default_factory=dict)
    new_jobs: dict[str, NewJob] = field(default_factory=dict)
    closed_jobs: dict[str, tuple[JobClosed, int | None]] = field(default_factory=dict)
    """Each with the lease token that the statement compares, if the caller holds the job by one."""
    requeued_jobs: dict[str, tuple[JobRequeued, int | None]] = field(default_factory=dict)
    new_tasks: dict[str, NewUserTask] = field(default_factory=dict)
    closed_tasks: dict[str, UserTaskClosed] = field(default_factory=dict)
    new_timers: dict[str, NewTimer] = field(default_factory=dict)
    closed_timers: dict[str, None] = field(default_factory=dict)
    audit: list[Recorded] = field(default_factory=list)
    entered: Counter[StepType] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def add_new(self, instance: Instance) -> None:
        self.new_instances[instance.id] = instance
        if instance.is_final:
            self.ended[instance.status] += 1

    def add_changed(self, before: Instance, after: Instance) -> None:
        if before.is_final and after.is_final:
            return
        if before.id in self.new_instances:
            self.new_instances[before.id] = after
        else:
            known = self.changed_instances.get(before.id)
            touched = after.variables is not before.variables or (known is not None and known[1])
            self.changed_instances[before.id] = (after, touched)
        if after.is_final:
            self.ended[after.status] += 1

    def add(
        self,
        effects: Sequence[Effect],
        held_job_id: str | None = None,
        lease_token: int | None = None,
        trace: str | None = None,
    ) -> list[ChainRequested]:
        """Folds effects in; `lease_token` guards the write of the held job, not those of jobs that an END or a
        failure closes beside it. New jobs carry on `trace`. Returns the chains to start.
        """
        chains = []
        for effect in effects:
            match effect:
                case StepEntered():
                    self.new_steps[effect.execution_id] = NewStep(effect)
                    self.entered[effect.step_type] += 1
                case StepClosed():
                    self._close_step(effect)
                case JobCreated():
                    self.new_jobs[effect.job_id] = NewJob(effect, trace=trace)
                case JobClosed():
                    if effect.job_id in self.new_jobs:
                        self.new_jobs[effect.job_id].status = effect.status
                    else:
                        self.requeued_jobs.pop(effect.job_id, None)
                        token = lease_token if effect.job_id == held_job_id else None
                        self.closed_jobs[effect.job_id] = (effect, token)
                case JobRequeued():
                    self.requeued_jobs[effect.job_id] = (effect, lease_token)
                case UserTaskCreated():
                    self.new_tasks[effect.task_id] = NewUserTask(effect)
                case UserTaskClosed():
                    if effect.task_id in self.new_tasks:
                        self.new_tasks[effect.task_id].status = effect.status
                    else:
                        self.closed_tasks[effect.task_id] = effect
                case TimerScheduled():
                    self.new_timers[effect.timer_id] = NewTimer(effect)
                case TimerClosed():
                    if effect.timer_id in self.new_timers:
                        self.new_timers[effect.timer_id].fired = True
                    else:
                        self.closed_timers[effect.timer_id] = None
                case ChainRequested():
                    chains.append(effect)
                case Recorded():
                    if self.audit_enabled:
                        self.audit.append(effect)
                case _:
                    assert_never(effect)
        return chains

    def _close_step(self, effect: StepClosed) -> None:
        if effect.execution_id in self.new_steps:
            self.new_steps[effect.execution_id].closed = effect
        else:
            self.closed_steps[effect.execution_id] = effect

    @property
    def is_empty(self) -> bool:
        return not (
            self.new_instances
            or self.changed_instances
            or self.new_steps
            or self.closed_steps
            or self.closed_jobs
            or self.audit
            or self.has_rare
        )

    @property
    def has_rare(self) -> bool:
        """Whether there is anything for `apply_tasks_and_timers`."""
        return bool(
            self.new_tasks or self.closed_tasks or self.new_timers or self.closed_timers or self.requeued_jobs
        )

    def main_arguments(self) -> list[str]:
        """The 47 arrays of `apply_rows`, in its order."""
        closed = self.closed_jobs.values()
        return [
            *_new_instance_columns(list(self.new_instances.values())),
            *_changed_instance_columns(list(self.changed_instances.values())),
            *_new_step_columns(self.new_steps.values()),
            *_closed_step_columns(list(self.closed_steps.values())),
            *_new_job_columns(self.new_jobs.values()),
            json_array([c.job_id for c, _ in closed]),
            json_array([c.status for c, _ in closed]),
            text_array([c.worker_id for c, _ in closed]),
            json_array([token for _, token in closed]),
            text_array([r.actor for r in self.audit]),
            json_array([r.kind for r in self.audit]),
            json_array([r.instance_id for r in self.audit]),
            json_array([_encoder.encode(r.detail).decode() for r in self.audit]),
            text_array([j.trace for j in self.new_jobs.values()]),
        ]

    def rare_arguments(self) -> list[str]:
        """The arrays of `apply_tasks_and_timers` after its first argument, in its order."""
        tasks, timers = self.new_tasks.values(), self.new_timers.values()
        ended, requeued = self.closed_tasks.values(), self.requeued_jobs.values()
        return [
            json_array([t.created.task_id for t in tasks]),
            json_array([t.created.instance_id for t in tasks]),
            json_array([t.created.execution_id for t in tasks]),
            text_array([t.created.step_id for t in tasks]),
            json_array([t.status for t in tasks]),
            json_array([t.created.payload.decode() for t in tasks]),
            json_array([t.task_id for t in ended]),
            json_array([t.status for t in ended]),
            json_array([_text(t.result) for t in ended]),
            json_array([t.scheduled.timer_id for t in timers]),
            json_array([t.scheduled.instance_id for t in timers]),
            json_array([t.scheduled.execution_id for t in timers]),
            text_array([t.scheduled.target_step_id for t in timers]),
            json_array([t.scheduled.delay_s for t in timers]),
            json_array([t.scheduled.interrupting for t in timers]),
            json_array([t.fired for t in timers]),
            json_array(list(self.closed_timers)),
            json_array([r.job_id for r, _ in requeued]),
            json_array([r.retries_remaining for r, _ in requeued]),
            json_array([token for _, token in requeued]),
        ]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()


def _new_instance_columns(rows: Sequence[Instance]) -> list[str]:
    return [
        json_array([i.id for i in rows]),
        json_array([i.definition_id for i in rows]),
        json_array([i.definition_version for i in rows]),
        json_array([i.status for i in rows]),
        text_array([text_array(i.current_step_ids) for i in rows]),
        json_array([encode_variables(i.variables).decode() for i in rows]),
        text_array([i.failure_reason for i in rows]),
        text_array([i.business_key for i in rows]),
        json_array([encode_progress(i.progress) for i in rows]),
    ]


def _changed_instance_columns(rows: Sequence[tuple[Instance, bool]]) -> list[str]:
    return [
        json_array([i.id for i, _ in rows]),
        json_array([i.status for i, _ in rows]),
        text_array([text_array(i.current_step_ids) for i, _ in rows]),
        json_array([encode_variables(i.variables).decode() if touched else None for i, touched in rows]),
        text_array([i.failure_reason for i, _ in rows]),
        json_array([encode_progress(i.progress) for i, _ in rows]),
    ]


def _new_step_columns(steps: Iterable[NewStep]) -> list[str]:
    rows = [(s.entered, s.closed) for s in steps]
    return [
        json_array([e.execution_id for e, _ in rows]),
        json_array([e.instance_id for e, _ in rows]),
        text_array([e.step_id for e, _ in rows]),
        json_array([e.step_type for e, _ in rows]),
        json_array([e.attempt for e, _ in rows]),
        json_array([c.status if c else StepStatus.RUNNING for _, c in rows]),
        json_array([e.input_snapshot.decode() for e, _ in rows]),
        json_array([_text(c.output_snapshot) if c else None for _, c in rows]),
        text_array([c.failure_reason if c else None for _, c in rows]),
    ]


def _closed_step_columns(rows: Sequence[StepClosed]) -> list[str]:
    return [
        json_array([s.execution_id for s in rows]),
        json_array([s.status for s in rows]),
        json_array([_text(s.output_snapshot) for s in rows]),
        text_array([s.failure_reason for s in rows]),
    ]


def _new_job_columns(jobs: Iterable[NewJob]) -> list[str]:
    rows = [(j.created, j) for j in jobs]
    return [
        json_array([c.job_id for c, _ in rows]),
        json_array([c.instance_id for c, _ in rows]),
        json_array([c.execution_id for c, _ in rows]),
        text_array([c.step_id for c, _ in rows]),
        text_array([c.job_type for c, _ in rows]),
        json_array([j.status for _, j in rows]),
        json_array([c.retries_remaining for c, _ in rows]),
        json_array([c.payload.decode() for c, _ in rows]),
        text_array([j.worker_id for _, j in rows]),
        json_array([j.lease_s for _, j in rows]),
    ]
