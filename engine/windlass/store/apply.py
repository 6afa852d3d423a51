"""One batch of commands, one transaction: read and lock, decide each, write sets, commit.

A command that is refused changes nothing and does not affect the others of its batch. A job's lease is checked after
the job has been read (`store/lease.py`), and its token is compared again in the statement that writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from windlass import advance
from windlass.commands import (
    CancelInstance,
    Command,
    CompleteJob,
    CompleteUserTask,
    ExhaustJob,
    FailJob,
    FireTimer,
    SignalWait,
    StartInstance,
)
from windlass.definition.model import StepType
from windlass.effects import JobClosed, JobRequeued, Recorded
from windlass.errors import Conflict, Defect, EngineError, NotFound
from windlass.instance import Instance, encode_variables
from windlass.states import JobStatus
from windlass.store.arrays import text_array
from windlass.store.batch import (
    LARGE_BYTES,
    SMALL,
    UNBOUNDED,
    Answer,
    Batch,
    Bounds,
    CommandSpan,
    PutAside,
    find_instance,
    find_job,
    instance_of,
    of_job,
    parked_at,
    refuse_final,
    versions,
)
from windlass.store.definitions import DefinitionCache
from windlass.store.driver import Connection
from windlass.store.lease import JobRow, Lease, job_row, judge_completion, judge_failure, lease_lost
from windlass.store.outbox import Outbox
from windlass.store.queries import sql
from windlass.store.reservation import LeaseReservation, LeaseReservations
from windlass.store.rows import NewJob, WriteSet
from windlass.store.scope import require_scope
from windlass.trace_context import BatchTraces, parent_and_state, trace_id_of
from windlass.wire import InstanceView, JobView, RawJson, answer_bytes, format_time

CHAINED_STARTS_MAX = 25
"""Definitions that chain into each other without ever waiting for work would never end."""

_LARGE_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '15s'"
"""Between two statements much may be computed, and nobody waits for rows of these but calls on the same instances."""


async def _begin(connection: Connection, batch: Batch) -> None:
    await connection.execute(connection.begin_text)
    if batch.bounds is not SMALL:
        await connection.execute(_LARGE_IDLE)


class Transactor:
    """Runs batches. One object serves all lanes; it keeps no state of its own but the definitions."""

    def __init__(
        self,
        definitions: DefinitionCache,
        reservations: LeaseReservations,
        new_id: Callable[[], str],
        *,
        audit_enabled: bool,
        outbox: Outbox | None = None,
        traces: BatchTraces | None = None,
    ) -> None:
        self._traces = traces
        self._definitions = definitions
        self._reservations = reservations
        self._new_id = new_id
        self._audit_enabled = audit_enabled
        self._outbox = outbox

    def batch(
        self, commands: Sequence[Command], decided: Callable[[], None], bounds: Bounds = UNBOUNDED
    ) -> Batch:
        return Batch(commands, WriteSet(self._audit_enabled), bounds, decided=decided)

    async def run(self, connection: Connection, batch: Batch) -> None:
        """Fills `batch.answers`, one for each command, after the commit.

        Raises the driver's errors. Nothing has been written then, unless `batch.committing` is set.
        """
        # Starts alone need no transaction, unless only a transaction has the engine's settings.
        transactional = connection.is_shared or any(
            not isinstance(command, StartInstance) for command in batch.commands
        )
        try:
            if transactional:
                await _begin(connection, batch)
            await self._read(connection, batch)
            around = advance.Surroundings(self._new_id, lambda: _whole_seconds(batch.now))
            decided = [self._decide_one(command, batch, around) for command in batch.commands]
            await self._chain(connection, batch, around)
            self._lease_at_insert(batch)
            if not transactional and (batch.writes.has_rare or (self._outbox and batch.writes.new_jobs)):
                await _begin(connection, batch)
                transactional = True
            batch.decided()
            await self._write(connection, batch, transactional=transactional)
            if transactional:
                batch.committing = True
                await connection.execute("COMMIT")
        except BaseException:
            self._reservations.abandon([reservation for reservation, _ in batch.reservations])
            raise
        batch.answers = [self._answer(each, batch) for each in decided]
        if batch.reservations:
            self._reservations.deliver(
                [
                    (reservation, self._job_view(reservation, job, batch))
                    for reservation, job in batch.reservations
                ]
            )

    # -- reading

    async def _read(self, connection: Connection, batch: Batch) -> None:
        instance_ids, job_ids, definition_ids = set(), set(), set()
        for command in batch.commands:
            match command:
                case CompleteJob() | FailJob() | ExhaustJob():
                    job_ids.add(command.job_id)
                case CompleteUserTask() | SignalWait() | FireTimer() | CancelInstance():
                    instance_ids.add(command.instance_id)
                case StartInstance():
                    definition_ids.add(command.definition_id)
        began = time.monotonic()
        rows = await connection.fetch(
            sql("instance_read_for_commands"),
            text_array(instance_ids),
            text_array(job_ids),
            text_array(definition_ids),
            batch.bounds.payload_bytes_max,
        )
        if instance_ids or job_ids:
            batch.lock_wait_s = time.monotonic() - began
        for row in rows:
            batch.now = row["now"]
            match row["kind"]:
                case "definition":
                    batch.latest[row["id"]] = row["version"]
                case "job":
                    job = job_row(row)
                    batch.jobs[job.id] = job
                case "large job":
                    batch.large_jobs[row["id"]] = row["lease_token"]
                case _:
                    batch.instances[row["id"]] = instance_of(row)
                    batch.read_bytes[row["id"]] = len(row["variables"])
                    batch.started_at[row["id"]] = row["started_at"]
                    batch.completed_at[row["id"]] = row["completed_at"]
        batch.definitions.update(await self._definitions.load(connection, versions(batch)))

    # -- deciding

    def _decide_one(
        self, command: Command, batch: Batch, around: advance.Surroundings
    ) -> EngineError | PutAside | str | None:
        """The error, or the id of the instance whose view answers the command, or nothing to show."""
        if batch.work_bytes >= batch.bounds.batch_bytes_max:
            batch.put_aside += 1
            return PutAside(0)
        try:
            if command.caller is not None:
                require_scope(command.caller, command, batch.jobs, batch.instances, batch.definitions)
                around = around._replace(caller=command.caller.name)
            return self._decide(command, batch, around)
        except EngineError as err:
            return err
        except PutAside as err:
            batch.put_aside += 1
            return err
        except Exception as err:
            defect = Defect(f"internal error: {type(err).__name__}: {err}")
            defect.__cause__ = err
            return defect

    def _decide(self, command: Command, batch: Batch, around: advance.Surroundings) -> str | None:
        batch.sent_bytes = command.sent_bytes
        match command:
            case StartInstance():
                return self._start(command, batch, around)
            case CompleteJob():
                self._complete_job(command, batch, around)
            case FailJob() | ExhaustJob():
                self._fail_job(command, batch, around)
            case CompleteUserTask():
                self._complete_user_task(command, batch, around)
            case SignalWait():
                self._signal_wait(command, batch, around)
            case FireTimer():
                self._fire_timer(command, batch, around)
            case CancelInstance():
                return self._cancel(command, batch, around)
        return None

    def _start(self, command: StartInstance, batch: Batch, around: advance.Surroundings) -> str:
        version = command.version or batch.latest.get(command.definition_id)
        definition = batch.definitions.get((command.definition_id, version)) if version else None
        if definition is None:
            wanted = f" version {command.version}" if command.version else ""
            raise NotFound(f"definition {command.definition_id}{wanted} not found; upload it first")
        instance_id = self._new_id()
        trace, span = self._traced(command, instance_id, None)
        decision = advance.start(
            definition, instance_id, command.variables, command.business_key, around, trace
        )
        batch.take_on(decision)
        batch.spans += span
        batch.instances[instance_id] = decision.instance
        batch.writes.add_new(decision.instance)
        batch.chains += batch.writes.add(decision.effects, trace=trace)
        return instance_id

    def _complete_job(self, command: CompleteJob, batch: Batch, around: advance.Surroundings) -> None:
        job = find_job(command.job_id, batch)
        match judge_completion(job, command.worker_id, command.lease_token):
            case Lease.OVER:
                return
            case Lease.LOST:
                raise Conflict(lease_lost(job, command.worker_id))
            case Lease.HELD:
                instance, definition = of_job(job, batch)
                if instance.is_final:
                    return
                if job.execution_id not in instance.progress.open:
                    raise Conflict(
                        f"job {job.id} belongs to instance {instance.id}, which another engine started on this "
                        "database and this one cannot continue; nothing was changed"
                    )
                decision = advance.complete_job(
                    definition, instance, job.execution_id, command.worker_id, command.variables, around
                )
                self._keep(command, batch, instance, decision, job)

    def _fail_job(self, command: FailJob | ExhaustJob, batch: Batch, around: advance.Surroundings) -> None:
        job = find_job(command.job_id, batch)
        worker_id, message, retryable = "", "", False
        if isinstance(command, FailJob):
            worker_id, message, retryable = command.worker_id, command.error_message, command.retryable
            verdict = judge_failure(job, worker_id, command.lease_token, leased_by_poll=self._outbox is None)
            if verdict is not Lease.HELD:
                if verdict is Lease.LOST:
                    batch.stale_fails.append(command)
                return
        else:
            message = command.reason
            if job.status is not JobStatus.LOCKED or job.lease_is_live:
                return
        instance, definition = of_job(job, batch)
        if job.execution_id not in instance.progress.open:
            return
        decision = advance.fail_job(
            definition,
            instance,
            job.execution_id,
            worker_id,
            message,
            job.retries_remaining,
            retryable=retryable,
            around=around,
        )
        self._keep(command, batch, instance, decision, job)

    def _complete_user_task(
        self, command: CompleteUserTask, batch: Batch, around: advance.Surroundings
    ) -> None:
        instance, definition = find_instance(command.instance_id, batch)
        execution_id = parked_at(instance, definition, command.step_id, StepType.USER_TASK, NotFound)
        decision = advance.complete_user_task(
            definition, instance, execution_id, command.worker_id, command.variables, around
        )
        self._keep(command, batch, instance, decision)

    def _signal_wait(self, command: SignalWait, batch: Batch, around: advance.Surroundings) -> None:
        instance, definition = find_instance(command.instance_id, batch)
        execution_id = parked_at(instance, definition, command.step_id, StepType.WAIT, Conflict)
        decision = advance.signal_wait(definition, instance, execution_id, command.variables, around)
        self._keep(command, batch, instance, decision)

    def _fire_timer(self, command: FireTimer, batch: Batch, around: advance.Surroundings) -> None:
        instance, definition = find_instance(command.instance_id, batch)
        decision = advance.fire_timer(
            definition,
            instance,
            command.execution_id,
            command.timer_id,
            command.target_step_id,
            interrupting=command.interrupting,
            around=around,
        )
        self._keep(command, batch, instance, decision)

    def _cancel(self, command: CancelInstance, batch: Batch, around: advance.Surroundings) -> str:
        instance, definition = find_instance(command.instance_id, batch)
        refuse_final(instance)
        self._keep(command, batch, instance, advance.cancel(definition, instance, command.reason, around))
        return instance.id

    def _traced(
        self, command: Command, instance_id: str, known: str | None
    ) -> tuple[str | None, Sequence[CommandSpan]]:
        """What new jobs of this command carry on, and the span to record. `known`: the trace of the instance."""
        call = command.trace
        if self._traces is None:
            return known or (call if isinstance(command, StartInstance) else None), ()
        is_same = known is None or call is None or trace_id_of(known) == trace_id_of(call)
        parent = (call or known) if is_same else known
        own = self._traces.below(parent)
        return own, (CommandSpan(command, instance_id, parent, own, None if is_same else call),)

    def _keep(
        self,
        command: Command,
        batch: Batch,
        before: Instance,
        decision: advance.Decision,
        job: JobRow | None = None,
    ) -> None:
        """The next command of this batch sees what this one decided."""
        batch.take_on(decision)
        trace, span = self._traced(command, before.id, before.progress.trace)
        batch.spans += span
        batch.instances[before.id] = decision.instance
        batch.writes.add_changed(before, decision.instance)
        batch.chains += batch.writes.add(
            decision.effects, job.id if job else None, job.lease_token if job else None, trace
        )
        for effect in decision.effects:
            if isinstance(effect, JobClosed) and effect.job_id in batch.jobs:
                batch.jobs[effect.job_id].status = effect.status
            elif isinstance(effect, JobRequeued):
                batch.retried += 1
                row = batch.jobs[effect.job_id]
                row.status, row.retries_remaining, row.worker_id = (
                    JobStatus.UNLOCKED,
                    effect.retries_remaining,
                    None,
                )

    async def _chain(self, connection: Connection, batch: Batch, around: advance.Surroundings) -> None:
        """Starts chained definitions in the same transaction; one that cannot start is recorded, not fatal."""
        started = 0
        while batch.chains:
            chain = batch.chains.pop(0)
            rows = await connection.fetch(
                sql("definition_latest_versions"), text_array([chain.definition_id])
            )
            key = (chain.definition_id, rows[0]["version"] or 0)
            definition = (await self._definitions.load(connection, [key])).get(key)
            if definition is None or started >= CHAINED_STARTS_MAX * max(1, len(batch.commands)):
                batch.chains_refused.append(chain)
                detail: dict[str, str | int | None] = {"definition_id": chain.definition_id}
                batch.writes.add([Recorded("chain-failed", advance.ENGINE, chain.parent_instance_id, detail)])
                continue
            started += 1
            instance_id = self._new_id()
            trace = batch.instances[chain.parent_instance_id].progress.trace
            decision = advance.start(definition, instance_id, dict(chain.variables), None, around, trace)
            batch.instances[instance_id] = decision.instance
            batch.writes.add_new(decision.instance)
            batch.chains += batch.writes.add(decision.effects, trace=trace)

    def _lease_at_insert(self, batch: Batch) -> None:
        for job in batch.writes.new_jobs.values():
            if job.status is JobStatus.UNLOCKED:
                size_bytes = answer_bytes(job.created.payload) + len(job.trace or "")
                held = self._reservations.reserve(job.created.job_type, size_bytes)
                if held is not None:
                    job.status, job.worker_id, job.lease_s = JobStatus.LOCKED, held.worker_id, held.lease_s
                    batch.reservations.append((held, job))

    # -- writing

    async def _write(self, connection: Connection, batch: Batch, *, transactional: bool) -> None:
        writes = batch.writes
        if writes.is_empty:
            return
        if not transactional:
            batch.committing = True
        main = await _arguments(batch, writes.main_arguments)
        row = await connection.fetchrow(sql("apply_rows"), *main)
        batch.now = row["now"]
        expected = [len(writes.changed_instances), len(writes.closed_steps), len(writes.closed_jobs)]
        touched = [row["instances"], row["steps"], row["jobs"]]
        if writes.has_rare:
            arguments = await _arguments(batch, writes.rare_arguments)
            rare = await connection.fetchrow(sql("apply_tasks_and_timers"), batch.now, *arguments)
            expected += [len(writes.closed_tasks), len(writes.requeued_jobs)]
            touched += [rare["tasks"], rare["requeued"]]
        if touched != expected:
            raise Defect(
                f"internal error: a guarded write touched {touched} rows instead of {expected}; rolled back"
            )
        if self._outbox is not None:
            await self._outbox.append(connection, writes, batch.now)

    # -- answering

    def _answer(self, decided: EngineError | PutAside | str | None, batch: Batch) -> Answer:
        if not isinstance(decided, str):
            return decided
        instance = batch.instances[decided]
        return instance_view(
            instance,
            batch.started_at.get(decided, batch.now),
            (batch.completed_at.get(decided) or batch.now) if instance.is_final else None,
        )

    def _job_view(self, reservation: LeaseReservation, job: NewJob, batch: Batch) -> JobView:
        created = job.created
        at = format_time(batch.now)
        traceparent, tracestate = parent_and_state(job.trace)
        return JobView(
            id=created.job_id,
            instance_id=created.instance_id,
            step_id=created.step_id,
            step_execution_id=created.execution_id,
            job_type=created.job_type,
            status=JobStatus.LOCKED,
            worker_id=reservation.worker_id,
            locked_at=at,
            lock_expires_at=format_time(batch.now + timedelta(seconds=reservation.lease_s)),
            retries_remaining=created.retries_remaining,
            variables=RawJson(created.payload),
            created_at=at,
            lease_token="1",  # noqa: S106  the first acquisition of this job
            traceparent=traceparent,
            tracestate=tracestate,
        )


async def _arguments(batch: Batch, of: Callable[[], list[str]]) -> list[str]:
    """Those of much work are made in a thread, so that small calls do not wait for all of it."""
    return await asyncio.to_thread(of) if batch.work_bytes > LARGE_BYTES else of()


def instance_view(instance: Instance, started_at: datetime, completed_at: datetime | None) -> InstanceView:
    return InstanceView(
        id=instance.id,
        definition_id=instance.definition_id,
        definition_version=instance.definition_version,
        status=instance.status,
        current_step_ids=instance.current_step_ids,
        variables=RawJson(encode_variables(instance.variables)),
        started_at=format_time(started_at),
        completed_at=format_time(completed_at) if completed_at else None,
        failure_reason=instance.failure_reason,
        business_key=instance.business_key,
    )


def _whole_seconds(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
