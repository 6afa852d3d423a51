"""Spreads the news that jobs may be waiting: to the waiting polls and the relay here, and to the other nodes.

Nothing depends on a hint: each subscriber also looks for jobs at intervals, so a lost one costs only time
(contract 5.5, 6.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from windlass.states import JobStatus
from windlass.store.batch import Batch

ANY_JOB_TYPE = ("",)
"""Sent to other nodes when no type is named: no job has this type, but it wakes their relays."""


class Subscriber(Protocol):
    """A part of this node that brings jobs to workers. Both calls return at once."""

    def wake(self, job_types: Iterable[str]) -> None:
        """Jobs of these types may be waiting."""
        ...

    def wake_all(self) -> None:
        """Hints may have been missed: jobs of any type may be waiting."""
        ...


class Hints:
    """One for a node. `subscribe` the parts and say how to tell other nodes (`forward_to`) before the first hint."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._forward: Callable[[Iterable[str]], None] = lambda _job_types: None

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def forward_to(self, send: Callable[[Iterable[str]], None]) -> None:
        self._forward = send

    def batch_committed(self, batch: Batch) -> None:
        """Called by a lane after each commit."""
        job_types = job_types_waiting(batch)
        if job_types:
            self.jobs_waiting(job_types)

    def jobs_waiting(self, job_types: Iterable[str]) -> None:
        """Jobs of these types were made or freed here: the node's own parts and the other nodes are told."""
        named = tuple(job_types)
        self.heard(named)
        self._forward(named)

    def events_written(self) -> None:
        """Events were written here that another node relays: the others are told, whatever the type."""
        self._forward(ANY_JOB_TYPE)

    def heard(self, job_types: Iterable[str]) -> None:
        """Another node has sent a hint about jobs of these types: the parts of this node are told."""
        named = tuple(job_types)
        for subscriber in self._subscribers:
            subscriber.wake(named)

    def heard_anything(self) -> None:
        for subscriber in self._subscribers:
            subscriber.wake_all()


def job_types_waiting(batch: Batch) -> set[str]:
    """The types of the jobs that wait for a worker because of this batch: new ones, and those put back."""
    writes = batch.writes
    waiting = {job.created.job_type for job in writes.new_jobs.values() if job.status is JobStatus.UNLOCKED}
    if writes.requeued_jobs:
        waiting.update(_job_types_requeued(batch))
    return waiting


def _job_types_requeued(batch: Batch) -> Iterator[str]:
    for job_id in batch.writes.requeued_jobs:
        row = batch.jobs[job_id]
        instance = batch.instances[row.instance_id]
        definition = batch.definitions[instance.definition_id, instance.definition_version]
        step = definition.steps[instance.progress.open[row.execution_id].step_id]
        yield step.job_type or step.id
