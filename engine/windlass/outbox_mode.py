"""Composes the parts that only the mode with an outbox and a broker has; `app.py` imports this module only then.

`check` runs the boot sequence of contract 6.5, and logs each line once it is true; `start` begins to compete for the
lead of the relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from windlass.config import Settings
from windlass.dispatch import watch
from windlass.dispatch.broker import Broker, Refusal, Scope
from windlass.dispatch.leader import Leadership
from windlass.dispatch.relay import Hooks, PublishTraces, Relay, Settled
from windlass.dispatch.watch import DestinationWatch
from windlass.errors import BootRefused, EngineError, Unavailable
from windlass.job_event import OutboxRow
from windlass.store.catalog import Catalog
from windlass.store.database import Database
from windlass.store.nodes import NodeRecord
from windlass.store.outbox import Outbox
from windlass.store.session import SessionFailed
from windlass.sweep import adoption
from windlass.sweep.adoption import AdoptionSweep
from windlass.sweep.loop import Sweep
from windlass.sweep.redelivery import RedeliverySweep
from windlass.telemetry.outbox import OutboxTelemetry

STOP_WITHIN_S = 5.0
BACKLOG_INTERVAL_S = 1.0
REDELIVERIES_PER_DEADLINE = 6
"""Redelivery sweeps in the time after which a job is redelivered; at least one every `REDELIVERY_INTERVAL_S_MAX`."""
REDELIVERY_INTERVAL_S_MAX = 5.0


class OutboxMode:
    """`check`, `start`, `stop`. `outbox` is for the lanes and the sweeps, on every node, leading or not.

    With `relays` false, on an api node, it only writes events and checks destinations; the relay and its sweeps run on
    other nodes.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        database: Database,
        telemetry: OutboxTelemetry,
        *,
        relays: bool,
        new_id: Callable[[], str],
        nodes: Callable[[], Awaitable[Sequence[NodeRecord]]],
        wake_others: Callable[[], None],
        traces: PublishTraces | None = None,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._relays = relays
        self._database = database
        self._catalog = Catalog(database)
        self._telemetry = telemetry
        self._nodes = nodes
        self._wake_others = wake_others
        self._background: set[asyncio.Task[None]] = set()
        self.outbox = Outbox(database, new_id, broker.encode)
        self._lead = Leadership(
            database,
            holder=settings.node_name,
            term_s=settings.leader_term_s,
            changed=self._lead_changed,
            session_lost=telemetry.session_lost,
        )
        self._watch = DestinationWatch(
            broker, became_unusable=self._destination_unusable, became_usable=self._destination_usable
        )
        self._relay = Relay(
            self.outbox,
            broker,
            self._lead,
            Hooks(self._settled, self._refused, telemetry.cycle_failed, self._relay_state),
            batch_size=broker.batch_size,
            redelivery_s=settings.redelivery_s,
            audit_enabled=settings.audit_log_enabled,
            traces=traces,
        )
        self._was_away = False

    # -- boot

    async def check(self) -> None:
        """Raises BootRefused naming the cause; the node must not serve then (contract 6.6)."""
        await self._broker.check()
        await self._check_tables()
        await self._check_destinations()
        if self._relays:
            await self._check_lead()
        self._telemetry.outbox_ready()

    async def _check_tables(self) -> None:
        if not await self.outbox.is_installed():
            raise BootRefused(
                "the table dispatch_outbox of migration 0009_dispatch_outbox, or windlass_leader of 0012, is not "
                "there; run windlass migrate"
            )

    async def _check_destinations(self) -> None:
        job_types = await self._catalog.job_types()
        await self._broker.check_destinations(job_types)
        self._watch.job_types.update(job_types)

    async def _check_lead(self) -> None:
        try:
            await self._lead.enter()
        except EngineError as err:
            known = err.remedy if isinstance(err, SessionFailed) else ""
            remedy = known or (
                "grant the role of WE_POSTGRES_DSN the use of windlass_leader, and give it a session of its own if a "
                "pooler is in between"
            )
            raise BootRefused(
                f"the advisory lock and the leader's row cannot be used ({err}); {remedy}"
            ) from err
        if self._database.has_sessions:
            self._telemetry.lock_works()
        else:
            self._telemetry.lock_absent()

    # -- start and stop

    def start(self) -> None:
        if self._relays:
            self._lead.start()
            self._relay.start()
            self._telemetry.relay_started(leads=self._lead.leads())
        self._broker.report_started()

    async def stop(self) -> None:
        """Lets the current batch end, gives up the lead and closes the broker's client, within `STOP_WITHIN_S`."""
        await self._relay.stop(STOP_WITHIN_S - 2)
        await self._lead.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._broker.close()

    def sweeps(self, failed: Callable[[str, Exception], None]) -> list[Sweep]:
        found = [
            Sweep("backlog", BACKLOG_INTERVAL_S, self._count_backlog, failed),
            Sweep("topics", watch.INTERVAL_S, self._unless_away(self._look_at_destinations), failed),
        ]
        return found + self._sweeps_beside_relay(failed) if self._relays else found

    def _sweeps_beside_relay(self, failed: Callable[[str, Exception], None]) -> list[Sweep]:
        settings = self._settings
        adopt = AdoptionSweep(
            self.outbox,
            self._lead,
            self._nodes,
            patience_s=settings.redelivery_s,
            adopted=self._adopted,
        )
        probes = self._broker.probes(
            self._lead.leads, lambda: self._watch.job_types - self._watch.unusable.keys()
        )
        redelivery = RedeliverySweep(self.outbox, redelivered=self._redelivered)
        redelivery_interval_s = min(
            REDELIVERY_INTERVAL_S_MAX, settings.redelivery_s / REDELIVERIES_PER_DEADLINE
        )
        return [
            Sweep("adoption", adoption.INTERVAL_S, adopt.sweep, failed),
            Sweep("redelivery", redelivery_interval_s, redelivery.sweep, failed),
            *(Sweep(name, interval_s, self._unless_away(look), failed) for name, interval_s, look in probes),
        ]

    def _unless_away(self, look: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """An absent broker is reported once, not by every sweep that needs it."""

        async def checked() -> None:
            if not self._broker_away():
                await look()

        return checked

    async def _count_backlog(self) -> None:
        self._telemetry.backlog(await self.outbox.backlog())

    async def _look_at_destinations(self) -> None:
        await self._watch.learn(await self._catalog.job_types())
        await self._watch.look_again()

    # -- called by the node

    def wake(self, job_types: Iterable[str]) -> None:  # noqa: ARG002 - the relay looks at all types together
        """Events have been written, here or elsewhere."""
        self._relay.wake()

    def wake_all(self) -> None:
        self._relay.wake()

    def written(self) -> None:
        """Events have been written here."""
        self._relay.wake()
        if not self._lead.leads():
            self._wake_others()

    def definition_uploaded(self, job_types: Collection[str]) -> None:
        """Its destinations are checked in the background: the upload is accepted anyway (contract 6.6)."""
        task = asyncio.create_task(self._learn(job_types), name="learn-destinations")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _learn(self, job_types: Collection[str]) -> None:
        try:
            await self._watch.learn(job_types)
        except Unavailable as err:
            self._telemetry.cycle_failed(err)

    # -- asked by the node

    def degraded(self) -> list[str]:
        """Why jobs are not delivered as they should be, although calls are answered."""
        away = self._broker_away()
        found = [f"the broker is unreachable: {away}; events wait in dispatch_outbox"] if away else []
        told = {**self._relay.state.destinations, **self._watch.unusable}
        return found + [
            f"topic {self._broker.destination(job_type)} cannot be published to: {reason}; its events wait"
            for job_type, reason in sorted(told.items())
        ]

    def details(self) -> dict[str, object]:
        leads, broker = self._lead.leads(), "away"
        if not self._broker_away():
            broker = "reachable" if leads else "not asked"
        return {
            "leader": leads,
            "epoch": self._lead.epoch,
            "broker": broker,
            "topicsWaiting": sorted(
                self._broker.destination(job_type) for job_type in self._relay.state.destinations
            ),
            "topicsUnusable": sorted(self._broker.destination(job_type) for job_type in self._watch.unusable),
        }

    def _broker_away(self) -> str:
        """Why the relay cannot reach the broker; empty when it can, and when another node runs the relay."""
        return self._relay.state.broker if self._lead.leads() else ""

    # -- where a report of one part changes another

    def _lead_changed(self, leads: bool) -> None:
        if leads:
            self._telemetry.lead_taken(self._lead.epoch)
        else:
            # Messages that have not left this process are sent by the next leader.
            self._broker.recall()
            self._telemetry.lead_lost()

    def _settled(self, settled: Settled) -> None:
        self._telemetry.batch_settled(
            published=settled.published, dropped=settled.dropped, elapsed_s=settled.elapsed_s
        )

    def _refused(self, row: OutboxRow, refusal: Refusal) -> None:
        self._telemetry.publish_failed()
        if refusal.scope is Scope.MESSAGE:
            self._telemetry.message_refused(
                job_id=row.job_id, topic=self._broker.destination(row.job_type), cause=refusal.text
            )

    def _relay_state(self) -> None:
        state = self._relay.state
        if bool(state.broker) != self._was_away:
            self._was_away = bool(state.broker)
            if state.broker:
                self._telemetry.broker_away(state.broker)
            else:
                self._telemetry.broker_back()
        for job_type, reason in state.destinations.items():
            self._watch.blame(job_type, reason)

    def _destination_unusable(self, job_type: str, reason: str) -> None:
        self._telemetry.destination_unusable(self._broker.destination(job_type), reason)

    def _destination_usable(self, job_type: str) -> None:
        self._telemetry.destination_usable(self._broker.destination(job_type))
        self._relay.destination_mended(job_type)

    def _redelivered(self, count: int) -> None:
        self._telemetry.redelivered(count)
        self.written()

    def _adopted(self, count: int) -> None:
        self._telemetry.adopted(count)
        self._relay.wake()
