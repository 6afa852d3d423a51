"""One batch: what one transaction is asked, knows and has decided so far, and how much work it may take on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from windlass.advance import Decision
from windlass.commands import Command, FailJob, StartInstance
from windlass.definition.model import Definition, StepType
from windlass.effects import ChainRequested
from windlass.errors import BadRequest, Conflict, EngineError, NotFound
from windlass.instance import Instance, decode_progress, decode_variables
from windlass.states import InstanceStatus
from windlass.store.driver import Row
from windlass.store.lease import JobRow
from windlass.store.reservation import LeaseReservation
from windlass.store.rows import NewJob, WriteSet
from windlass.wire import InstanceView

EFFECT_BYTES = 512
"""A row to write takes the database about as long as so many bytes of variables."""
WRITES = 3
"""Copies of its variables that an ordinary command writes: instance, step and job."""
LARGE_BYTES = 512 * 1024
"""Work of a command that small ones do not wait for."""
BATCH_BYTES_MAX = 1024 * 1024
"""Work of a batch of small commands: a tenth of a second."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes of work, an estimate: variables that are read and written, and `EFFECT_BYTES` for each row."""

    command_bytes_max: int
    """A command of more is put aside before anything of it is written."""
    batch_bytes_max: int
    """Once this much is decided, the other commands are left to the next batch."""
    payload_bytes_max: int
    """A command about a job of more is put aside before the job's instance is locked or read."""


SMALL = Bounds(LARGE_BYTES, BATCH_BYTES_MAX, LARGE_BYTES // WRITES)
UNBOUNDED = Bounds(2**62, 2**62, 2**62)


class PutAside(Exception):
    """`work_bytes`: its work as far as it is known; 0 = as before, there was only no place left in the batch."""

    def __init__(self, work_bytes: int) -> None:
        super().__init__(work_bytes)
        self.work_bytes = work_bytes


Answer = InstanceView | None | EngineError | PutAside


class CommandSpan(NamedTuple):
    """What one command did in a batch, in the trace of its instance."""

    command: Command
    instance_id: str
    parent: str | None
    own: str
    linked: str | None
    """The call or the sweep that it came from, if that is in another trace."""


@dataclass(slots=True)
class Batch:
    """Filled by `apply.Transactor.run`."""

    commands: Sequence[Command]
    writes: WriteSet
    bounds: Bounds = UNBOUNDED
    instances: dict[str, Instance] = field(default_factory=dict)
    started_at: dict[str, datetime] = field(default_factory=dict)
    completed_at: dict[str, datetime | None] = field(default_factory=dict)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    large_jobs: dict[str, int] = field(default_factory=dict)
    """Jobs whose instances were left alone, each with its payload's size in bytes."""
    latest: dict[str, int | None] = field(default_factory=dict)
    definitions: dict[tuple[str, int], Definition] = field(default_factory=dict)
    chains: list[ChainRequested] = field(default_factory=list)
    reservations: list[tuple[LeaseReservation, NewJob]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    stale_fails: list[FailJob] = field(default_factory=list)
    chains_refused: list[ChainRequested] = field(default_factory=list)
    retried: int = 0
    now: datetime = _NEVER
    lock_wait_s: float | None = None
    committing: bool = False
    """From here on a lost connection leaves the outcome unknown."""
    decided: Callable[[], None] = lambda: None
    """Called when every command is decided and only writing and the commit remain: the next batch may begin."""
    work_bytes: int = 0
    """Of what is decided so far."""
    read_bytes: dict[str, int] = field(default_factory=dict)
    """By instance, its variables as they were read."""
    sent_bytes: int = 0
    """Variables of the command that is being decided."""
    put_aside: int = 0
    """How many commands were."""
    spans: list[CommandSpan] = field(default_factory=list)
    """With tracing on, those to record once it is committed."""

    def take_on(self, decision: Decision) -> None:
        """Counts the work of a decision, before it is kept. Raises PutAside for more than one command may have."""
        instance = decision.instance
        work_bytes = (
            decision.bytes_written
            + EFFECT_BYTES * len(decision.effects)
            + self.read_bytes.get(instance.id, 0)
            + self.sent_bytes
        )
        if work_bytes > self.bounds.command_bytes_max:
            raise PutAside(work_bytes)
        self.work_bytes += work_bytes

    @property
    def carried_out(self) -> int:
        """How many of the commands were not put aside."""
        return len(self.answers) - self.put_aside


def versions(batch: Batch) -> set[tuple[str, int]]:
    """Every existing definition that this batch's commands run or start."""
    wanted = {(i.definition_id, i.definition_version) for i in batch.instances.values()}
    for command in batch.commands:
        if isinstance(command, StartInstance):
            version = command.version or batch.latest[command.definition_id]
            if version is not None:
                wanted.add((command.definition_id, version))
    return wanted


def find_job(job_id: str, batch: Batch) -> JobRow:
    if job_id in batch.large_jobs:
        raise PutAside(WRITES * batch.large_jobs[job_id])
    job = batch.jobs.get(job_id)
    if job is None or job.instance_id not in batch.instances:
        raise NotFound(f"job {job_id} not found")
    return job


def of_job(job: JobRow, batch: Batch) -> tuple[Instance, Definition]:
    return find_instance(job.instance_id, batch)


def find_instance(instance_id: str, batch: Batch) -> tuple[Instance, Definition]:
    instance = batch.instances.get(instance_id)
    if instance is None:
        raise NotFound(f"instance {instance_id} not found")
    definitions: Mapping[tuple[str, int], Definition] = batch.definitions
    return instance, definitions[instance.definition_id, instance.definition_version]


def parked_at(
    instance: Instance,
    definition: Definition,
    step_id: str,
    kind: StepType,
    missing: type[NotFound | Conflict],
) -> str:
    """The open execution of that step, after the checks of contract 1.6 in their order; `missing` is raised for a
    step that is unknown or not open.
    """
    step = definition.steps.get(step_id)
    if step is None:
        raise missing(f"{step_id} is not a step of definition {definition.id} version {definition.version}")
    if step.type is not kind:
        raise BadRequest(f"step {step_id} is a {step.type}, not a {kind}")
    refuse_final(instance)
    execution_id = instance.open_at(step_id)
    if execution_id is None:
        raise missing(f"instance {instance.id} is not waiting at {kind} step {step_id}")
    return execution_id


def refuse_final(instance: Instance) -> None:
    if instance.is_final:
        raise Conflict(f"instance {instance.id} is {instance.status} and takes no more changes")


def instance_of(row: Row) -> Instance:
    return Instance(
        row["id"],
        row["definition_id"],
        row["version"],
        InstanceStatus(row["status"]),
        tuple(row["current_step_ids"]),
        decode_variables(row["variables"]),
        decode_progress(row["progress"] or "{}"),
        row["business_key"],
        row["failure_reason"],
    )
