"""The composition root: the only place that names concrete parts, starts them in order and stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

import uvloop

from windlass import allocator, stop_signals
from windlass.api.address import any_address, written
from windlass.api.grpc import GrpcApp
from windlass.api.metrics import MetricsApp
from windlass.api.rest import RestApp
from windlass.auth.access import Access
from windlass.config import Settings
from windlass.descriptors import raise_limit, shared_out
from windlass.dispatch.buses import bus_of
from windlass.dispatch.hints import Hints
from windlass.dispatch.polling import PollingSettings, WaitingPolls
from windlass.dispatch.wake import WakeUps
from windlass.engine import Engine
from windlass.errors import BootRefused, EngineError
from windlass.ids import UlidSource
from windlass.memory import Budget
from windlass.secret_files import LOOK_INTERVAL_S
from windlass.shutdown import FORCED_AFTER_S, Closing, end_by_force
from windlass.store import migrate as schema
from windlass.store.apply import Transactor
from windlass.store.batch import Batch
from windlass.store.database import Database
from windlass.store.definitions import DefinitionCache
from windlass.store.jobs import Jobs
from windlass.store.lanes import IN_FLIGHT_MAX, Lane, Lanes
from windlass.store.nodes import NodeIdentity, Nodes
from windlass.store.outbox import Outbox
from windlass.store.queues import Queues
from windlass.store.retention import Retention
from windlass.store.rights import Rights
from windlass.store.schema import Schema
from windlass.store.timers import Timers
from windlass.store.workers import Workers
from windlass.sweep.leases import LeaseSweep
from windlass.sweep.loop import Sweep
from windlass.sweep.memory import INTERVAL_S as MEMORY_INTERVAL_S
from windlass.sweep.memory import MemoryWatch
from windlass.sweep.nodes import NodeHeartbeat
from windlass.sweep.retention import RetentionSweep, interval_s
from windlass.sweep.timers import TimerSweep
from windlass.sweep.workers import INTERVAL_S as WORKERS_INTERVAL_S
from windlass.sweep.workers import WorkerSweep
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log, bridge_stdlib, fatal
from windlass.telemetry.metrics import Metrics
from windlass.telemetry.node import NodeTelemetry
from windlass.telemetry.output import standard_output
from windlass.tls.watch import CertificateWatch

if TYPE_CHECKING:
    from windlass.outbox_mode import OutboxMode
    from windlass.telemetry.tracing.spans import Traces

GC_THRESHOLDS = (30_000, 20, 50)
DAY_S = 86_400.0


def run(role: str, settings: Settings) -> int:
    """Serves until one of `stop_signals`; returns the exit code."""
    allocator.keep_little()
    log = Log(settings.log_level, standard_output())
    bridge_stdlib(log)
    try:
        settings = shared_out(settings, raise_limit(), doors=1 if role == "scheduler" else 2)
        return uvloop.run(Node(role, settings, log).serve())
    except EngineError as err:
        return fatal(log, err)


class Node:
    """One running process. Its parts are made in `__init__` and started in `serve`."""

    def __init__(self, role: str, settings: Settings, log: Log) -> None:
        self.role = role
        self.settings = settings
        self.log = log
        self.node = settings.node_name
        self.metrics = Metrics(settings.dispatch_mode)
        log.count_dropped = self.metrics.log_lines_dropped.inc
        self.telemetry = NodeTelemetry(self.metrics, log)
        self.traces = self._traces()
        self.memory = Budget(settings.memory_bytes_max)
        self.memory.refused = self.telemetry.memory_refused
        self.hints = Hints()
        self.database = Database(settings, self._database_linked)
        self.is_draining = False
        self.stop = asyncio.Event()
        serves_api = role in {"serve", "api"}
        self.polls = WaitingPolls(
            Jobs(self.database),
            PollingSettings(
                settings.empty_poll_memory_s,
                settings.fallback_poll_interval_s,
                self._rechecks,
                settings.answer_bytes_max,
            ),
            claimed=self.telemetry.jobs_claimed,
            refused=self.telemetry.database_lost,
            passed_over=self.telemetry.job_passed_over,
            cut=self.telemetry.poll_was_cut,
        )
        self.wake_ups = WakeUps(
            bus_of(settings, self.database),
            woken=self.hints.heard,
            woken_all=self.hints.heard_anything,
            degraded=self.telemetry.wake_degraded,
        )
        self.telemetry.wake_bus_chosen(settings.wake_bus if settings.wake_mode != "polling" else "none")
        self.hints.subscribe(self.polls)
        self.hints.forward_to(self.wake_ups.job_types_waiting)
        self.heartbeat = NodeHeartbeat(
            Nodes(self.database),
            NodeIdentity(self.node, role, version("windlass"), settings.dispatch_mode),
            interval_s=settings.node_heartbeat_interval_s,
            counted=self._nodes_counted,
            name_shared=self.telemetry.node_name_shared,
            name_held=self.telemetry.node_name_held,
        )
        new_id = UlidSource()
        self.outbox_mode = self._outbox_mode(new_id)
        if self.outbox_mode:
            self.hints.subscribe(self.outbox_mode)
        self.lanes = self._make_lanes(new_id, self.outbox_mode.outbox if self.outbox_mode else None)
        self.access = Access(settings.access, self.telemetry)
        self.tls = CertificateWatch(settings.tls, self.telemetry) if settings.tls.is_on else None
        self.sweeps = self._watches()
        self.metrics.queue_wait.set_function(lambda: self.lanes.wait_s(0))
        self.retention_days = settings.retention_days if role in {"serve", "scheduler"} else 0.0
        if role in {"serve", "scheduler"}:
            self.sweeps += self._repairers()
        if self.outbox_mode:
            self.sweeps += self.outbox_mode.sweeps(self.telemetry.sweep_failed)
        self.engine = Engine(
            settings=settings,
            database=self.database,
            lanes=self.lanes,
            polls=self.polls,
            wake_ups=self.wake_ups,
            heartbeat=self.heartbeat,
            telemetry=self.telemetry,
            node=self.node,
            role=role,
            is_draining=lambda: self.is_draining,
            outbox_mode=self.outbox_mode,
            traces=self.traces,
        )
        if self.traces:
            for sweep in self.sweeps:
                sweep.wrap(self.traces.sweep)
        self._make_doors(serves_api=serves_api)

    def _traces(self) -> Traces | None:
        if self.settings.traces.otlp_endpoint is None:
            return None
        try:
            # Imported here: it is large, and an extra that need not be installed.
            from windlass.telemetry.tracing.spans import Traces
        except ModuleNotFoundError as err:
            package = (err.name or "").partition(".")[0]
            raise BootRefused(
                f"WINDLASS_OTLP_ENDPOINT is set, but {package} is not installed; install windlass[otel], or unset it"
            ) from err
        return Traces(self.settings.traces, self.telemetry, node=self.node, version=version("windlass"))

    def _watches(self) -> list[Sweep]:
        """Of the node itself, whatever its role."""
        failed = self.telemetry.sweep_failed
        memory = MemoryWatch(self.memory, self.telemetry.memory_drawn)
        access = [Sweep(name, LOOK_INTERVAL_S, look, failed) for name, look in self.access.looks]
        tls = [Sweep("tls", LOOK_INTERVAL_S, self.tls.look, failed)] if self.tls is not None else []
        return [
            Sweep("nodes", self.settings.node_heartbeat_interval_s, self.heartbeat.beat, failed),
            Sweep("memory", MEMORY_INTERVAL_S, memory.look, failed),
            *access,
            *tls,
        ]

    def _make_doors(self, *, serves_api: bool) -> None:
        settings, log, gate, tls = self.settings, self.log, self.access.gate, self.tls
        parts = self.engine, settings, self.metrics, log, self.memory
        self.rest = RestApp(*parts, serves_api=serves_api, gate=gate, tls=tls, traces=self.traces)
        self.grpc = GrpcApp(*parts, gate, tls, self.traces) if serves_api else None
        self.metrics_app = MetricsApp(
            self.metrics,
            settings,
            log,
            Queues(self.database).length,
            gate if settings.access.metrics_tokens else None,
            tls if settings.tls.tls_metrics else None,
        )

    def _outbox_mode(self, new_id: Callable[[], str]) -> OutboxMode | None:
        if self.settings.dispatch_mode == "polling":
            return None
        # Imported here: in polling mode no broker's client may be in the process (contract 6.5).
        from windlass.dispatch.brokers import broker_of
        from windlass.outbox_mode import OutboxMode
        from windlass.telemetry.outbox import OutboxTelemetry

        return OutboxMode(
            self.settings,
            broker_of(self.settings, self.metrics, self.log),
            self.database,
            OutboxTelemetry(self.metrics, self.log),
            relays=self.role != "api",
            new_id=new_id,
            nodes=self.heartbeat.nodes,
            wake_others=self.hints.events_written,
            traces=self.traces,
        )

    def _make_lanes(self, new_id: Callable[[], str], outbox: Outbox | None) -> Lanes:
        settings = self.settings
        transactor = Transactor(
            DefinitionCache(),
            self.polls,
            new_id,
            audit_enabled=settings.audit_log_enabled,
            outbox=outbox,
            traces=self.traces,
        )
        # One connection is kept free for polls and reads, and one is for large commands.
        connections = settings.db_max_conns - 2
        lane_count = max(1, min(settings.lanes, connections))

        def lane(in_flight_max: int, large: Lane | None = None) -> Lane:
            return Lane(
                self.database,
                transactor,
                self._batch_committed,
                self.memory,
                batch_max=settings.lane_batch_max,
                in_flight_max=in_flight_max,
                give_up_s=settings.database_timeout_s,
                large=large,
            )

        large = lane(1)
        in_flight_max = max(1, min(IN_FLIGHT_MAX, connections // lane_count))
        return Lanes([lane(in_flight_max, large) for _ in range(lane_count)], large)

    def _repairers(self) -> list[Sweep]:
        settings = self.settings
        leases = LeaseSweep(
            Jobs(self.database),
            self.lanes.execute,
            expiries_max=settings.lease_expiries_max,
            audit_enabled=settings.audit_log_enabled,
            reclaimed=self._leases_reclaimed,
            outbox=self.outbox_mode.outbox if self.outbox_mode else None,
        )
        timers = TimerSweep(
            Timers(self.database),
            self.lanes.execute,
            fired=self.telemetry.timer_fired,
            failed=self.telemetry.timer_failed,
        )
        repairers = [
            Sweep("leases", settings.lease_sweep_interval_s, leases.sweep, self.telemetry.sweep_failed),
            Sweep("timers", settings.timer_sweep_interval_s, timers.sweep, self.telemetry.sweep_failed),
            Sweep(
                "workers",
                WORKERS_INTERVAL_S,
                WorkerSweep(Workers(self.database)).sweep,
                self.telemetry.sweep_failed,
            ),
        ]
        if self.retention_days:
            older_than_s = self.retention_days * DAY_S
            retention = RetentionSweep(
                Retention(self.database),
                older_than_s,
                removed=self.telemetry.retention_removed,
                oldest=self.telemetry.retention_oldest,
            )
            repairers.append(
                Sweep("retention", interval_s(older_than_s), retention.sweep, self.telemetry.sweep_failed)
            )
        return repairers

    # -- start and stop

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
        for number in stop_signals.heeded():
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
        """A boot may wait long for the database or another node's migrations; a signal must end it too."""
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
        await self.access.begin()
        if self.tls is not None:
            self.tls.begin()
        if self.traces:
            self.traces.start()
        await self.database.open()
        self.telemetry.database_opened(self.database.server)
        await self._check_rights()
        if self.settings.migrate_on_start:
            applied = await schema.migrate(self.database, self.telemetry.migration_waits)
            self.telemetry.migrated(*applied)
        if self.outbox_mode:
            await self.outbox_mode.check()
        self.lanes.start()
        self.polls.start()
        # The row comes first: nodes that are greeted will look for it.
        await self._appear()
        self.wake_ups.start()
        for sweep in self.sweeps:
            sweep.start()
        if self.retention_days:
            self.telemetry.retention_on(self.retention_days)
        if self.outbox_mode:
            self.outbox_mode.start()
        self.log.info(Event.DISPATCH_READY, mode=self.settings.dispatch_mode)
        settings, host = self.settings, self.settings.bind or any_address()
        shown = "" if self.settings.bind is None else written(host, 0).removesuffix(":0")
        await self.metrics_app.start(host, settings.metrics_port)
        self.log.info(Event.METRICS_LISTENING, addr=f"{shown}:{self.metrics_app.port}")
        # REST starts last: its /ready tells that gRPC is up as well.
        if self.grpc is not None:
            await self.grpc.start(host, settings.grpc_port)
            self.log.info(Event.GRPC_LISTENING, addr=f"{shown}:{self.grpc.port}")
        await self.rest.start(host, settings.rest_port)
        self.log.info(Event.REST_LISTENING, addr=f"{shown}:{self.rest.port}")
        # The objects made so far stay until the process ends, so the collector need not visit them again. Requests
        # make many short-lived objects and few cycles, so it may run seldom.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def _appear(self) -> None:
        """A database that cannot be written to is told by /ready, and the heartbeat tries again."""
        try:
            if self.settings.server_id is not None:
                await self.heartbeat.take_name()
            await self.heartbeat.beat()
        except BootRefused:
            raise
        except EngineError:
            return

    async def _check_rights(self) -> None:
        """Raises BootRefused naming the first right that is missing; not to another application's tables."""
        rights = Rights(self.database, removes=self.settings.retention_days > 0)
        right = await rights.first_missing()
        if right is not None and right.is_to_rows:
            with contextlib.suppress(EngineError):
                if (await Schema(self.database).state()).refused:
                    return
        await rights.check()

    async def _shut_down(self) -> None:
        """Within the grace, whatever hangs: the database, a broker, a caller."""
        self.is_draining = True
        closing = Closing(self.settings.shutdown_grace_s, self.telemetry.stop_step_undone)
        self.polls.stop()
        # No door stays open meanwhile: polls are answered empty from now on, and would come back at once.
        async with asyncio.TaskGroup() as doors:
            doors.create_task(self.rest.drain(closing.callers_s))
            if self.grpc is not None:
                doors.create_task(self.grpc.drain(closing.callers_s))
        await closing.step("sweeps", self._stop_sweeps())
        await closing.step("fetch of keys", self.access.stop())
        await closing.step("commits", self.lanes.drain())
        await closing.step("lanes", self.lanes.stop())
        await closing.step("leases to give back", self.polls.drain())
        if self.outbox_mode:
            await closing.step("relay", self.outbox_mode.stop())
        await closing.step("wake-ups", self.wake_ups.stop())
        await closing.step("heartbeat", self.heartbeat.leave())
        await closing.step("metrics", self.metrics_app.drain(min(1.0, closing.left_s / 4)))
        if self.traces:
            await closing.step("traces", self.traces.stop(min(2.0, closing.left_s / 3)))
        await self.database.close(closing.left_s)

    async def _stop_sweeps(self) -> None:
        await asyncio.gather(*(sweep.stop() for sweep in self.sweeps))

    def _signalled(self, number: signal.Signals) -> None:
        self.log.info(Event.SHUTDOWN_SIGNAL, signal=number.name)
        if not self.stop.is_set():
            end_by_force(self.settings.shutdown_grace_s + FORCED_AFTER_S, self._stop_forced)
        self.is_draining = True
        self.stop.set()

    def _stop_forced(self) -> None:
        self.telemetry.stop_forced()
        self.log.flush()

    # -- where a report goes to more than one part

    def _batch_committed(self, batch: Batch, elapsed_s: float) -> None:
        self.hints.batch_committed(batch)
        self.telemetry.batch_committed(batch, elapsed_s)
        if self.traces:
            self.traces.batch_committed(batch, elapsed_s)

    def _leases_reclaimed(self, count: int, job_types: Iterable[str]) -> None:
        self.telemetry.leases_reclaimed(count)
        self.hints.jobs_waiting(job_types)

    def _database_linked(self) -> None:
        self.telemetry.database_linked(self.database.way, has_sessions=self.database.has_sessions)

    def _rechecks(self) -> bool:
        """While no notification can come, also wake mode event_driven has to look."""
        return self.settings.wake_mode != "event_driven" or not self.wake_ups.is_listening

    def _nodes_counted(self, alive: int) -> None:
        self.wake_ups.is_alone = alive <= 1
