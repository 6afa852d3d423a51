"""What the parts of a node report, as metrics and log lines.

Nothing here changes the engine's state: a part reports what happened, and this module alone knows which series and
which log line show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from windlass.auth.gate import Refusal
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
from windlass.memory import Budget, Use
from windlass.store.batch import Batch
from windlass.store.jobs import PassedOver
from windlass.store.migrate import Blocker
from windlass.store.nodes import Holder
from windlass.store.pooler import Way
from windlass.store.server import Server
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log, error_text
from windlass.telemetry.metrics import WAKE_BUSES, Metrics
from windlass.telemetry.repeats import Repeats
from windlass.tls.watch import HandshakeFault
from windlass.trace_context import exemplar_of
from windlass.wire import InstanceView, JobView, format_time

#: `tx_type` of a transaction, by the command that it carries out (contract 8.1).
_TX_TYPES = {
    "StartInstance": "instance.start",
    "CompleteJob": "instance.complete_job",
    "FailJob": "instance.fail_job",
    "ExhaustJob": "instance.fail_job",
    "CompleteUserTask": "instance.complete_user_task",
    "SignalWait": "instance.signal_wait",
    "CancelInstance": "instance.cancel",
}

_Called = StartInstance | CompleteJob | FailJob | CompleteUserTask | SignalWait | CancelInstance

FIRST_LEASE_TOKEN = "1"  # noqa: S105  tokens count the leases of a job


class NodeTelemetry:
    """One for a node. Every method returns at once and raises nothing."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._metrics = metrics
        self._log = log
        #: why the database could not be used
        self._losses = Repeats()
        self._sheds = Repeats()

    # -- calls

    def definition_uploaded(self) -> None:
        self._metrics.definitions_uploaded.inc()

    def poll_was_empty(self) -> None:
        self._metrics.job_lock_conflicts.inc()

    def jobs_claimed(self, jobs: Sequence[JobView], elapsed_s: float, ages_s: Sequence[float]) -> None:
        """`elapsed_s` is 0 for jobs that were inserted already leased; `ages_s` are since each job's creation."""
        if elapsed_s:
            self._metrics.db_lock_wait_duration("job.poll_skip_locked").observe(elapsed_s)
        for job, age_s in zip(jobs, ages_s, strict=True):
            exemplar = exemplar_of(job.traceparent)
            self._metrics.job_pickup_latency.observe(age_s, exemplar)
            if job.lease_token == FIRST_LEASE_TOKEN:
                self._metrics.job_poll_latency.observe(age_s, exemplar)

    def answer_was_cut(self, answer: str) -> None:
        """`answer`: one of `metrics.ANSWERS`."""
        self._metrics.answers_cut(answer).inc()

    def poll_was_cut(self) -> None:
        self.answer_was_cut("poll")

    def job_passed_over(self, job: PassedOver, job_bytes_max: int) -> None:
        self._metrics.jobs_passed_over.inc()
        self._log.warning(
            Event.JOB_PASSED_OVER,
            job_id=job.job_id,
            instance_id=job.instance_id,
            job_type=job.job_type,
            err=f"it takes up to {job.size_bytes} bytes in an answer, and gRPC polls get at most {job_bytes_max}; poll "
            "for it over REST, or raise WINDLASS_ANSWER_BYTES_MAX and what the clients receive at most",
        )

    # -- tokens

    def authentication_off(self) -> None:
        self._log.warning(
            Event.AUTHENTICATION_OFF,
            hint="set WINDLASS_TOKENS_FILE, see windlass token new --help, or WINDLASS_JWT_ISSUER",
        )

    def call_refused(self, reason: Refusal) -> None:
        self._metrics.auth_refused(reason.value).inc()

    def tokens_read(self, count: int) -> None:
        self._log.info(Event.TOKENS_READ, count=count)

    def tokens_unusable(self, cause: str) -> None:
        self._metrics.tokens_unusable.inc()
        self._log.warning(Event.TOKENS_KEPT, err=cause)

    def keys_read(self, count: int) -> None:
        self._log.info(Event.KEYS_READ, count=count)

    def keys_unusable(self, cause: str, *, are_there: bool, is_new: bool) -> None:
        """`are_there`: some were read before. `is_new`: the cause is not that of the time before."""
        self._metrics.keys_unusable.inc()
        if is_new:
            self._log.warning(Event.KEYS_KEPT if are_there else Event.KEYS_AWAITED, err=cause)

    # -- TLS at the doors

    def certificate_read(self, expires_at_s: float, serial: str) -> None:
        self._metrics.tls_expiry.set(expires_at_s)
        self._metrics.tls_unusable.set(0)
        not_after = format_time(datetime.fromtimestamp(expires_at_s, UTC))
        self._log.info(Event.TLS_READ, serial=serial, not_after=not_after)

    def certificate_unusable(self, cause: str) -> None:
        self._metrics.tls_unusable.set(1)
        self._log.warning(Event.TLS_KEPT, err=cause)

    def handshake_failed(self, fault: HandshakeFault) -> None:
        self._metrics.tls_handshakes_failed(fault.value).inc()

    # -- lanes

    def batch_committed(self, batch: Batch, elapsed_s: float) -> None:
        metrics, writes = self._metrics, batch.writes
        metrics.lane_batch_size.observe(batch.carried_out)
        exemplar = next(filter(None, (exemplar_of(span.own) for span in batch.spans)), None)
        for tx in {tx_type(command) for command in batch.commands}:
            metrics.db_transaction_duration(tx).observe(elapsed_s, exemplar)
            if self._log.enabled("debug"):
                self._log.debug(Event.ENGINE_TX, tx_type=tx, duration=int(elapsed_s * 1e9))
        if batch.lock_wait_s is not None:
            metrics.db_lock_wait_duration("instance.for_update").observe(batch.lock_wait_s)
        if writes.new_instances:
            metrics.instances_started.inc(len(writes.new_instances))
        for status, count in writes.ended.items():
            metrics.instances_completed(status.lower()).inc(count)
        for step_type, count in writes.entered.items():
            metrics.steps_executed(step_type).inc(count)
        if batch.retried:
            metrics.job_retries.inc(batch.retried)
        failed = sum(closed.status == "FAILED" for closed, _ in writes.closed_jobs.values())
        if failed:
            metrics.job_failed.inc(failed)
        self._log_batch(batch)

    def _log_batch(self, batch: Batch) -> None:
        if self._log.enabled("info"):
            traces = _traces(batch)
            for step in batch.writes.new_steps.values():
                entered = step.entered
                instance = batch.instances[entered.instance_id]
                self._log.info(
                    Event.STEP_DISPATCHED,
                    instance_id=entered.instance_id,
                    definition_id=instance.definition_id,
                    definition_version=instance.definition_version,
                    step_id=entered.step_id,
                    step_type=entered.step_type,
                    step_execution_id=entered.execution_id,
                    attempt=entered.attempt,
                    **traces.get(entered.instance_id, {}),
                )
        for stale in batch.stale_fails:
            self._log.warning(
                Event.STALE_FAIL, job_id=stale.job_id, worker_id=stale.worker_id, **_carried(stale)
            )
        for chain in batch.chains_refused:
            self._log.warning(
                Event.CHAIN_REFUSED, instance_id=chain.parent_instance_id, definition_id=chain.definition_id
            )

    def call_shed(self, wait_s: float) -> None:
        """Callers that are refused come again: one line in ten seconds says so, with their number."""
        self._metrics.calls_shed.inc()
        repeated = self._sheds.count("")
        if repeated is not None:
            more = {"repeated": repeated} if repeated else {}
            self._log.warning(Event.CALLS_SHED, wait_s=round(wait_s, 1), **more)

    # -- traces; the first two are called by the thread that exports

    def spans_exported(self, count: int) -> None:
        self._metrics.spans_exported.inc(count)

    def spans_dropped(self, reason: str, count: int) -> None:
        """`reason`: one of `metrics.SPANS_DROPPED`."""
        self._metrics.spans_dropped(reason).inc(count)

    def collector_lost(self, cause: str) -> None:
        self._log.warning(Event.COLLECTOR_LOST, err=cause)

    def collector_back(self) -> None:
        self._log.info(Event.COLLECTOR_BACK)

    # -- memory

    def memory_refused(self, use: Use) -> None:
        self._metrics.memory_refused(use.value).inc()

    def memory_drawn(self, budget: Budget) -> None:
        self._metrics.memory_limit.set(budget.limit_bytes)
        for use in Use:
            self._metrics.memory_drawn(use.value).set(budget.used(use))

    # -- sweeps

    def leases_reclaimed(self, count: int) -> None:
        self._metrics.job_timeouts.inc(count)
        self._log.info(Event.LEASES_RECLAIMED, count=count)

    def timer_fired(self, timer: FireTimer) -> None:
        self._log.info(Event.TIMER_FIRED, **_attributes(timer))

    def timer_failed(self, timer: FireTimer, err: BaseException) -> None:
        self._log.error(Event.TIMER_FAILED, **_attributes(timer), err=err)

    def retention_on(self, older_than_days: float) -> None:
        self._log.info(Event.RETENTION_ON, older_than_days=older_than_days)

    def retention_removed(self, rows: Mapping[str, int]) -> None:
        for table, count in rows.items():
            if count:
                self._metrics.retention_removed(table).inc(count)

    def retention_oldest(self, age_s: float) -> None:
        self._metrics.retention_oldest.set(age_s)

    def sweep_failed(self, name: str, err: Exception) -> None:
        self._log.warning(Event.SWEEP_FAILED, sweep=name, err=err)

    # -- the end of the process

    def stop_step_undone(self, step: str, err: BaseException | None) -> None:
        self._log.warning(Event.STOP_UNDONE, step=step, err=err or "it took too long")

    def stop_forced(self) -> None:
        self._log.error(Event.STOP_FORCED)

    # -- the database and the other nodes

    def migrated(self, applied: Sequence[str], version: int) -> None:
        for name in applied:
            self._log.info(Event.MIGRATION_APPLIED, migration=name)
        self._log.info(Event.SCHEMA_CURRENT, version=version)

    def rights_given(self, role: str, count: int) -> None:
        self._log.info(Event.RIGHTS_GIVEN, role=role, count=count)

    def migration_waits(self, blocker: Blocker, waited_s: float) -> None:
        self._log.warning(
            Event.MIGRATION_WAITS,
            pid=blocker.pid,
            application_name=blocker.application_name,
            since=format_time(blocker.since) if blocker.since else "unknown",
            waited_s=round(waited_s, 1),
        )

    def database_linked(self, way: Way, *, has_sessions: bool) -> None:
        for each in Way:
            self._metrics.database_way(each.value).set(1 if each is way else 0)
        self._metrics.database_sessions.set(1 if has_sessions else 0)
        self._log.info(Event.DATABASE_LINKED, way=way.value, sessions=has_sessions)

    def database_opened(self, server: Server) -> None:
        if server.warning is not None:
            self._log.warning(Event.CONFIG_WARNING, warning=server.warning)

    def database_lost(self, cause: Exception | str) -> None:
        """Every claim and sweep finds it out for itself: one line in ten seconds says so, with their number."""
        text = error_text(cause)
        repeated = self._losses.count(text)
        if repeated is not None:
            self._log.warning(Event.DATABASE_LOST, err=text, **({"repeated": repeated} if repeated else {}))

    def database_back(self) -> None:
        for text, repeated in self._losses.untold():
            self._log.warning(Event.DATABASE_LOST, err=text, repeated=repeated)
        self._log.info(Event.DATABASE_BACK)

    def node_name_shared(self, name: str) -> None:
        self._log.warning(
            Event.CONFIG_WARNING,
            warning=f"another process on this database has the name {name!r} too, and /cluster/info shows the two as "
            "one; give each a WINDLASS_NODE_NAME of its own, or none",
        )

    def node_name_held(self, holder: Holder, within_s: float) -> None:
        self._log.warning(
            Event.NODE_NAME_HELD,
            role=holder.role,
            version=holder.version,
            started_at=format_time(holder.started_at),
            last_seen_at=format_time(holder.last_seen_at),
            within_s=round(within_s, 1),
        )

    def wake_bus_chosen(self, bus: str) -> None:
        for each in WAKE_BUSES:
            self._metrics.wake_bus(each).set(1 if each == bus else 0)

    def wake_degraded(self, degraded: bool, cause: str) -> None:
        self._metrics.wake_degraded.set(1 if degraded else 0)
        if degraded:
            self._log.warning(Event.WAKE_DEGRADED, err=cause)
        else:
            self._log.info(Event.WAKE_RESTORED)


def tx_type(command: Command) -> str:
    if isinstance(command, FireTimer):
        return "instance.interrupt_boundary" if command.interrupting else "instance.dispatch_boundary"
    return _TX_TYPES[type(command).__name__]


def _attributes(timer: FireTimer) -> dict[str, object]:
    return {
        "event_id": timer.timer_id,
        "instance_id": timer.instance_id,
        "target_step_id": timer.target_step_id,
        "interrupting": timer.interrupting,
    }


def _traces(batch: Batch) -> dict[str, dict[str, str]]:
    """By instance id: what its log lines carry of the call that advanced it."""
    traces: dict[str, dict[str, str]] = {}
    for command, answer in zip(batch.commands, batch.answers, strict=True):
        if isinstance(command, (ExhaustJob, FireTimer)):
            continue
        carried = _carried(command)
        if not carried:
            continue
        match command:
            case StartInstance() if isinstance(answer, InstanceView):
                instance_id = answer.id
            case CompleteJob() | FailJob() if command.job_id in batch.jobs:
                instance_id = batch.jobs[command.job_id].instance_id
            case CompleteUserTask() | SignalWait():
                instance_id = command.instance_id
            case _:
                continue
        traces[instance_id] = carried
    return traces


def _carried(command: _Called) -> dict[str, str]:
    """What the log lines of a call carry: its trace, and its principal."""
    carried = {"traceparent": command.traceparent} if command.traceparent else {}
    if command.caller is not None:
        carried["principal"] = command.caller.name
    return carried
