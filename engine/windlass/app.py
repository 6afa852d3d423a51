"""The composition root: the only place that names concrete parts, starts them in order and stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import uvloop

from windlass.api.grpc import GrpcApp
from windlass.api.metrics import MetricsApp
from windlass.api.rest import RestApp
from windlass.commands import (
    Command,
    CompleteJob,
    CompleteUserTask,
    ExhaustJob,
    FailJob,
    FireTimer,
    SignalWait,
    StartInstance,
)
from windlass.config import Settings
from windlass.dispatch.polling import PollingSettings, WaitingPolls
from windlass.dispatch.wake import WakeUps
from windlass.engine import Engine
from windlass.errors import EngineError
from windlass.ids import UlidSource
from windlass.metrics import Metrics
from windlass.observe import Event, Log, bridge_stdlib
from windlass.store import migrate as schema
from windlass.store.apply import Batch, Transactor
from windlass.store.database import Database
from windlass.store.definitions import DefinitionCache
from windlass.store.lanes import IN_FLIGHT_MAX, Lane, Lanes
from windlass.store.queues import Queues
from windlass.sweep.leases import LeaseSweep
from windlass.sweep.loop import Sweep
from windlass.sweep.nodes import NodeHeartbeat
from windlass.sweep.timers import TimerSweep
from windlass.wire import InstanceView, JobView

if TYPE_CHECKING:
    from windlass.kafka_mode import KafkaMode

GC_THRESHOLDS = (30_000, 20, 50)


_TX_TYPES = {
    "StartInstance": "instance.start",
    "CompleteJob": "instance.complete_job",
    "FailJob": "instance.fail_job",
    "ExhaustJob": "instance.fail_job",
    "CompleteUserTask": "instance.complete_user_task",
    "SignalWait": "instance.signal_wait",
    "CancelInstance": "instance.cancel",
}


def run(role: str, settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    log = Log(settings.log_level, sys.stdout.buffer)
    bridge_stdlib(log)
    try:
        return uvloop.run(Node(role, settings, log).serve())
    except EngineError as err:
        return _fatal(log, err)


def migrate(settings: Settings) -> int:
    """Applies what is missing and ends; returns the exit code."""
    log = Log(settings.log_level, sys.stdout.buffer)
    bridge_stdlib(log)

    async def once() -> None:
        database = Database(settings)
        await database.open()
        try:
            await _migrate(database, log)
        finally:
            await database.close()

    try:
        uvloop.run(once())
    except EngineError as err:
        return _fatal(log, err)
    return 0


def _fatal(log: Log, err: EngineError) -> int:
    log.error(Event.FATAL, err=str(err))
    log.flush()
    sys.stderr.write(f"windlass: {err}\n")
    return 1


async def _migrate(database: Database, log: Log) -> None:
    applied, version = await schema.migrate(database)
    for name in applied:
        log.info(Event.MIGRATION_APPLIED, migration=name)
    log.info(Event.SCHEMA_CURRENT, version=version)


class Node:
    """One running process. Parts are made in `__init__`, brought to life in `serve`."""

    def __init__(self, role: str, settings: Settings, log: Log) -> None:
        self.role = role
        self.settings = settings
        self.log = log
        self.node = settings.node_name
        self.metrics = Metrics(settings.dispatch_mode)
        self.database = Database(settings)
        self.is_draining = False
        self.stop = asyncio.Event()
        serves_api = role in {"serve", "api"}
        recheck_s = None if settings.wake_mode == "event_driven" else settings.fallback_poll_interval_s
        self.polls = WaitingPolls(
            self.database,
            PollingSettings(settings.empty_poll_memory_s, recheck_s),
            claimed=self._jobs_claimed,
            refused=lambda err: log.warning(Event.DATABASE_LOST, err=err),
        )
        self.wake_ups = WakeUps(
            self.database,
            self.node,
            woken=self._woken,
            woken_all=self._woken_by_anything,
            degraded=self._wake_degraded,
            listens=settings.wake_mode != "polling",
        )
        self.heartbeat = NodeHeartbeat(
            self.database,
            node=self.node,
            role=role,
            version=version("windlass"),
            dispatch_mode=settings.dispatch_mode,
            interval_s=settings.node_heartbeat_interval_s,
            counted=self._nodes_counted,
        )
        new_id = UlidSource()
        self.kafka = self._kafka_mode(new_id)
        outbox = self.kafka.outbox if self.kafka else None
        transactor = Transactor(
            DefinitionCache(), self.polls, new_id, audit_enabled=settings.audit_log_enabled, outbox=outbox
        )
        # One connection stays for polls and reads: lanes that took them all would starve those.
        lane_count = max(1, min(settings.lanes, settings.db_max_conns - 1))
        self.lanes = Lanes(
            [
                Lane(
                    self.database,
                    transactor,
                    self._batch_committed,
                    batch_max=settings.lane_batch_max,
                    in_flight_max=max(1, min(IN_FLIGHT_MAX, (settings.db_max_conns - 1) // lane_count)),
                    give_up_s=settings.database_timeout_s,
                )
                for _ in range(lane_count)
            ]
        )
        self.sweeps = [
            Sweep("nodes", settings.node_heartbeat_interval_s, self.heartbeat.beat, self._sweep_failed)
        ]
        if role in {"serve", "scheduler"}:
            self.sweeps += self._repairers()
        if self.kafka:
            self.sweeps += self.kafka.sweeps(self._sweep_failed)
        self.engine = Engine(
            settings=settings,
            database=self.database,
            lanes=self.lanes,
            polls=self.polls,
            wake_ups=self.wake_ups,
            heartbeat=self.heartbeat,
            metrics=self.metrics,
            log=log,
            node=self.node,
            is_draining=lambda: self.is_draining,
            kafka=self.kafka,
        )
        self.rest = RestApp(self.engine, settings, self.metrics, log, serves_api=serves_api)
        self.grpc = GrpcApp(self.engine, settings, self.metrics, log) if serves_api else None
        self.metrics_app = MetricsApp(self.metrics, settings, log, Queues(self.database).length)

    def _kafka_mode(self, new_id: Callable[[], str]) -> KafkaMode | None:
        if self.settings.dispatch_mode != "kafka_outbox":
            return None
        # Imported here: in polling mode no broker's client may be in the process (contract 6.5).
        from windlass.kafka_mode import KafkaMode

        return KafkaMode(
            self.settings,
            self.database,
            self.metrics,
            self.log,
            relays=self.role != "api",
            new_id=new_id,
            nodes=self.heartbeat.nodes,
            wake_others=lambda: self.wake_ups.job_types_waiting(("",)),
        )

    def _repairers(self) -> list[Sweep]:
        settings = self.settings
        leases = LeaseSweep(
            self.database,
            self.lanes.execute,
            expiries_max=settings.lease_expiries_max,
            audit_enabled=settings.audit_log_enabled,
            reclaimed=self._leases_reclaimed,
            outbox=self.kafka.outbox if self.kafka else None,
        )
        timers = TimerSweep(
            self.database, self.lanes.execute, fired=self._timer_fired, failed=self._timer_failed
        )
        return [
            Sweep("leases", settings.lease_sweep_interval_s, leases.sweep, self._sweep_failed),
            Sweep("timers", settings.timer_sweep_interval_s, timers.sweep, self._sweep_failed),
        ]

    # -- life

    async def serve(self) -> int:
        settings, log = self.settings, self.log
        log.info(
            Event.STARTING,
            rest_port=settings.rest_port,
            grpc_port=settings.grpc_port,
            metrics_port=settings.metrics_port,
            role=self.role,
            version=version("windlass"),
        )
        for warning in settings.warnings:
            log.warning(Event.CONFIG_WARNING, warning=warning)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            await self._start_unless_stopped()
            await self.stop.wait()
        finally:
            await self._shut_down()
        log.info(Event.STOPPED)
        log.flush()
        return 0

    async def _start_unless_stopped(self) -> None:
        """A boot may wait long, for the database or another node's migrations; a signal ends that too."""
        starting = asyncio.create_task(self._start(), name="start")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        else:
            await starting

    async def _start(self) -> None:
        await self.database.open()
        if self.settings.migrate_on_start:
            await _migrate(self.database, self.log)
        if self.kafka:
            await self.kafka.check()
        self.lanes.start()
        self.polls.start()
        self.wake_ups.start()
        with contextlib.suppress(EngineError):
            await self.heartbeat.beat()
        for sweep in self.sweeps:
            sweep.start()
        if self.kafka:
            self.kafka.start()
        self.log.info(Event.DISPATCH_READY, mode=self.settings.dispatch_mode)
        await self.metrics_app.start("0.0.0.0", self.settings.metrics_port)
        self.log.info(Event.METRICS_LISTENING, addr=f":{self.metrics_app.port}")
        # REST comes last: its /ready speaks for both doors.
        if self.grpc is not None:
            await self.grpc.start("0.0.0.0", self.settings.grpc_port)
            self.log.info(Event.GRPC_LISTENING, addr=f":{self.grpc.port}")
        await self.rest.start("0.0.0.0", self.settings.rest_port)
        self.log.info(Event.REST_LISTENING, addr=f":{self.rest.port}")
        # What lives from here on is what the requests make; the parts made so far need no more visits.
        # Requests make many short-lived objects and no cycles worth finding soon.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def _shut_down(self) -> None:
        self.is_draining = True
        until_s = time.monotonic() + self.settings.shutdown_grace_s
        await self.polls.stop()
        grace_s = self.settings.shutdown_grace_s
        async with asyncio.TaskGroup() as doors:
            doors.create_task(self.rest.drain(grace_s))
            if self.grpc is not None:
                doors.create_task(self.grpc.drain(grace_s))
        for sweep in self.sweeps:
            await sweep.stop()
        with contextlib.suppress(TimeoutError):
            # One grace for all: what it leaves over, and a moment for what is just committing.
            await asyncio.wait_for(self.lanes.drain(), max(1.0, until_s - time.monotonic()))
        await self.lanes.stop()
        if self.kafka:
            await self.kafka.stop()
        await self.wake_ups.stop()
        with contextlib.suppress(EngineError, TimeoutError):
            await asyncio.wait_for(self.heartbeat.leave(), 2.0)
        await self.metrics_app.drain(1.0)
        await self.database.close()

    def _signalled(self, number: signal.Signals) -> None:
        self.log.info(Event.SHUTDOWN_SIGNAL, signal=number.name)
        self.is_draining = True
        self.stop.set()

    # -- what the parts report

    def _batch_committed(self, batch: Batch, elapsed_s: float) -> None:
        """After each commit: hints, metrics and the step lines of contract 8.4."""
        metrics, writes = self.metrics, batch.writes
        waiting = {job.created.job_type for job in writes.new_jobs.values() if job.status == "UNLOCKED"}
        if writes.requeued_jobs:
            waiting.update(self._job_types_requeued(batch))
        if waiting:
            self._job_types_waiting(waiting)
        metrics.lane_batch_size.observe(len(batch.commands))
        for tx_type in {_tx_type(command) for command in batch.commands}:
            metrics.db_transaction_duration(tx_type).observe(elapsed_s)
            if self.log.enabled("debug"):
                self.log.debug(Event.ENGINE_TX, tx_type=tx_type, duration=int(elapsed_s * 1e9))
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

    def _job_types_waiting(self, job_types: Iterable[str]) -> None:
        """Whoever brings jobs to workers is told, here and on other nodes; polls of other nodes too."""
        self.polls.wake(job_types)
        self.wake_ups.job_types_waiting(job_types)
        if self.kafka:
            self.kafka.wake()

    def _woken(self, job_types: Iterable[str]) -> None:
        self.polls.wake(job_types)
        if self.kafka:
            self.kafka.wake()

    def _woken_by_anything(self) -> None:
        self.polls.wake_all()
        if self.kafka:
            self.kafka.wake()

    def _job_types_requeued(self, batch: Batch) -> Iterable[str]:
        for job_id in batch.writes.requeued_jobs:
            row = batch.jobs[job_id]
            instance = batch.instances[row.instance_id]
            definition = batch.definitions[instance.definition_id, instance.definition_version]
            step = definition.steps[instance.progress.open[row.execution_id].step_id]
            yield step.job_type or step.id

    def _log_batch(self, batch: Batch) -> None:
        if self.log.enabled("info"):
            traces = _traces(batch)
            for step in batch.writes.new_steps.values():
                entered = step.entered
                instance = batch.instances[entered.instance_id]
                self.log.info(
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
            trace = {"traceparent": stale.traceparent} if stale.traceparent else {}
            self.log.warning(Event.STALE_FAIL, job_id=stale.job_id, worker_id=stale.worker_id, **trace)
        for chain in batch.chains_refused:
            self.log.warning(
                Event.CHAIN_REFUSED, instance_id=chain.parent_instance_id, definition_id=chain.definition_id
            )

    def _jobs_claimed(self, jobs: Sequence[JobView], elapsed_s: float, ages_s: Sequence[float]) -> None:
        if elapsed_s:
            self.metrics.db_lock_wait_duration("job.poll_skip_locked").observe(elapsed_s)
        for job, age_s in zip(jobs, ages_s, strict=True):
            self.metrics.job_pickup_latency.observe(age_s)
            if job.lease_token == "1":  # noqa: S105  the first lease of this job
                self.metrics.job_poll_latency.observe(age_s)

    def _leases_reclaimed(self, count: int, job_types: Iterable[str]) -> None:
        types = tuple(job_types)
        self.metrics.job_timeouts.inc(count)
        self.log.info(Event.LEASES_RECLAIMED, count=count)
        self._job_types_waiting(types)

    def _timer_fired(self, timer: FireTimer) -> None:
        self.log.info(
            Event.TIMER_FIRED,
            event_id=timer.timer_id,
            instance_id=timer.instance_id,
            target_step_id=timer.target_step_id,
            interrupting=timer.interrupting,
        )

    def _timer_failed(self, timer: FireTimer, err: BaseException) -> None:
        self.log.error(
            Event.TIMER_FAILED,
            event_id=timer.timer_id,
            instance_id=timer.instance_id,
            target_step_id=timer.target_step_id,
            interrupting=timer.interrupting,
            err=err,
        )

    def _sweep_failed(self, name: str, err: Exception) -> None:
        self.log.warning(Event.SWEEP_FAILED, sweep=name, err=err)

    def _wake_degraded(self, degraded: bool, cause: str) -> None:
        self.metrics.wake_degraded.set(1 if degraded else 0)
        if degraded:
            self.log.warning(Event.WAKE_DEGRADED, err=cause)
        else:
            self.log.info(Event.WAKE_RESTORED)

    def _nodes_counted(self, alive: int) -> None:
        self.wake_ups.is_alone = alive <= 1


def _tx_type(command: Command) -> str:
    if isinstance(command, FireTimer):
        return "instance.interrupt_boundary" if command.interrupting else "instance.dispatch_boundary"
    return _TX_TYPES[type(command).__name__]


def _traces(batch: Batch) -> dict[str, dict[str, str]]:
    """The attribute that each instance's lines bear, where the call that moved it came with a traceparent."""
    traces = {}
    for command, answer in zip(batch.commands, batch.answers, strict=True):
        if isinstance(command, (ExhaustJob, FireTimer)) or command.traceparent is None:
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
        traces[instance_id] = {"traceparent": command.traceparent}
    return traces
