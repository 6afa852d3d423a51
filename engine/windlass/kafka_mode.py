"""What only mode kafka_outbox has, composed: `app.py` imports this module in that mode alone.

`check` is the boot sequence of contract 6.5, each line said when it has become true; `start` competes for the relay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from windlass.config import KafkaSettings, Settings
from windlass.dispatch import lag, topics
from windlass.dispatch.event import encode, topic_of
from windlass.dispatch.lag import LagProbe
from windlass.dispatch.leader import Leadership
from windlass.dispatch.plan import OutboxRow
from windlass.dispatch.publisher import Refusal, Scope
from windlass.dispatch.publishers.choice import kafka_publisher
from windlass.dispatch.relay import Hooks, Relay, Settled
from windlass.dispatch.topics import TopicWatch
from windlass.errors import BootRefused, EngineError, Unavailable
from windlass.metrics import Metrics
from windlass.observe import BrokerEvent, Log
from windlass.store.database import Database, Row
from windlass.store.outbox import Outbox
from windlass.store.queries import sql
from windlass.sweep import adoption
from windlass.sweep.adoption import AdoptionSweep
from windlass.sweep.loop import Sweep
from windlass.sweep.redelivery import RedeliverySweep

STOP_WITHIN_S = 5.0
BACKLOG_INTERVAL_S = 1.0
REDELIVERIES_PER_DEADLINE = 6
"""How often within a deadline the redelivery sweep looks; at least every `REDELIVERY_INTERVAL_S_MAX`."""
REDELIVERY_INTERVAL_S_MAX = 5.0


class KafkaMode:
    """`check`, `start`, `stop`. `outbox` is for the lanes and the sweeps, on every node, leading or not.

    With `relays` false, on an api node, it writes events and checks topics; the relay and its sweeps are other nodes'.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        metrics: Metrics,
        log: Log,
        *,
        relays: bool,
        new_id: Callable[[], str],
        nodes: Callable[[], Awaitable[Sequence[Row]]],
        wake_others: Callable[[], None],
    ) -> None:
        assert settings.kafka is not None
        self._kafka: KafkaSettings = settings.kafka
        self._settings = settings
        self._relays = relays
        self._database = database
        self._metrics = metrics
        self._log = log
        self._nodes = nodes
        self._wake_others = wake_others
        self._background: set[asyncio.Task[None]] = set()
        self.outbox = Outbox(database, new_id, encode)
        self._publisher = kafka_publisher(self._kafka, lambda code: metrics.producer_errors(code).inc())
        self._lead = Leadership(
            database,
            holder=settings.node_name,
            term_s=settings.leader_term_s,
            changed=self._lead_changed,
            session_lost=lambda cause: log.warning(BrokerEvent.SESSION_LOST, err=cause),
        )
        self._watch = TopicWatch(
            self._publisher, became_unusable=self._topic_unusable, became_usable=self._topic_usable
        )
        self._relay = Relay(
            database,
            self._publisher,
            self._lead,
            Hooks(self._settled, self._refused, self._cycle_failed, self._relay_state),
            batch_size=self._kafka.outbox_batch_size,
            redelivery_s=settings.redelivery_s,
            audit_enabled=settings.audit_log_enabled,
        )
        self._was_away = False

    # -- boot

    async def check(self) -> None:
        """Raises BootRefused naming the cause; nothing is half usable after it (contract 6.6)."""
        log, kafka = self._log, self._kafka
        secured = kafka.transport == "sasl_scram_tls"
        log.info(BrokerEvent.MODE)
        if secured:
            log.info(BrokerEvent.SECURED.format(mechanism=kafka.sasl_mechanism))
        else:
            log.info(BrokerEvent.PLAINTEXT.format(brokers=",".join(kafka.seed_brokers)))
        await self._publisher.handshake()
        if secured:
            log.info(BrokerEvent.TLS_OK)
            log.info(BrokerEvent.SASL_OK.format(user=kafka.sasl_username))
        await self._check_tables()
        await self._check_topics()
        if self._relays:
            await self._check_lead()
        self._log.info(BrokerEvent.OUTBOX_READY)

    async def _check_tables(self) -> None:
        (tables,) = await self._database.fetch(sql("outbox_has_table"))
        if not (tables["outbox"] and tables["leader"]):
            raise BootRefused(
                "the table dispatch_outbox of migration 0009_dispatch_outbox, or windlass_leader of 0012, is not "
                "there; run windlass migrate"
            )

    async def _check_topics(self) -> None:
        job_types = await self._job_types()
        names = [topic_of(job_type) for job_type in job_types]
        self._log.info(BrokerEvent.VALIDATING_COUNTED, count=len(names), component="dispatch")
        self._log.info(BrokerEvent.VALIDATING.format(topics=",".join(names) or "(none)"))
        try:
            unusable = await self._publisher.unusable(names)
        except Unavailable as err:
            raise BootRefused(f"{err}; check WE_KAFKA_SEED_BROKERS") from err
        if unusable:
            told = ", ".join(f"{topic} ({reason})" for topic, reason in sorted(unusable.items()))
            raise BootRefused(
                f"stored definitions need topics that cannot be published to: {told}; create them, for example with "
                "windlass topics --apply, or let this principal describe and write them"
            )
        self._watch.job_types.update(job_types)
        self._log.info(BrokerEvent.TOPICS_PRESENT)

    async def _check_lead(self) -> None:
        try:
            await self._lead.enter()
        except EngineError as err:
            raise BootRefused(
                f"the advisory lock and the leader's row cannot be used ({err}); grant the role of WE_POSTGRES_DSN the "
                "use of windlass_leader, and give it a session of its own if a pooler is in between"
            ) from err
        self._log.info(BrokerEvent.LOCK_OK)

    async def _job_types(self) -> list[str]:
        return [row["job_type"] for row in await self._database.fetch(sql("outbox_job_types"))]

    # -- life

    def start(self) -> None:
        if self._relays:
            self._lead.start()
            self._relay.start()
            leads = "true" if self._lead.leads() else "false"
            self._log.info(BrokerEvent.RELAY_STARTED.format(leader=leads))
        brokers = ",".join(self._kafka.seed_brokers)
        self._log.info(BrokerEvent.RUNTIME_STARTED, transport=self._kafka.transport, seed_brokers=brokers)

    async def stop(self) -> None:
        """The batch under way ends, the lead is given up, the client says goodbye: within `STOP_WITHIN_S`."""
        await self._relay.stop(STOP_WITHIN_S - 2)
        await self._lead.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._publisher.close()
        self._log.info(BrokerEvent.RUNTIME_STOPPED)

    def sweeps(self, failed: Callable[[str, Exception], None]) -> list[Sweep]:
        found = [
            Sweep("backlog", BACKLOG_INTERVAL_S, self._count_backlog, failed),
            Sweep("topics", topics.INTERVAL_S, self._unless_away(self._look_at_topics), failed),
        ]
        return found + self._sweeps_beside_relay(failed) if self._relays else found

    def _sweeps_beside_relay(self, failed: Callable[[str, Exception], None]) -> list[Sweep]:
        settings, metrics = self._settings, self._metrics
        adopt = AdoptionSweep(
            self.outbox,
            self._lead,
            self._nodes,
            patience_s=settings.redelivery_s,
            adopted=self._adopted,
        )
        probe = LagProbe(
            self._publisher,
            self._lead,
            lambda: self._watch.job_types - self._watch.unusable.keys(),
            metrics.consumer_lag,
            time.monotonic,
        )
        redelivery = RedeliverySweep(self.outbox, redelivered=self._redelivered)
        redelivery_interval_s = min(
            REDELIVERY_INTERVAL_S_MAX, settings.redelivery_s / REDELIVERIES_PER_DEADLINE
        )
        return [
            Sweep("adoption", adoption.INTERVAL_S, adopt.sweep, failed),
            Sweep("redelivery", redelivery_interval_s, redelivery.sweep, failed),
            Sweep("consumer-lag", lag.INTERVAL_S, self._unless_away(probe.look), failed),
        ]

    def _unless_away(self, look: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """A broker that is known to be away need not be reported by everybody who misses it."""

        async def checked() -> None:
            if not self._broker_away():
                await look()

        return checked

    async def _count_backlog(self) -> None:
        self._metrics.outbox_backlog.set(await self.outbox.backlog())

    async def _look_at_topics(self) -> None:
        await self._watch.learn(await self._job_types())
        await self._watch.look_again()

    # -- what the node tells it

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
        """Its topics are looked at in the background: the upload stands whatever comes out (contract 6.6)."""
        task = asyncio.create_task(self._learn(job_types), name="learn-topics")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _learn(self, job_types: Collection[str]) -> None:
        try:
            await self._watch.learn(job_types)
        except Unavailable as err:
            self._log.warning(BrokerEvent.CYCLE_FAILED, err=err)

    # -- what it tells the node

    def degraded(self) -> list[str]:
        """Why jobs do not flow as they should, although calls are answered."""
        away = self._broker_away()
        found = [f"the broker is away: {away}; events wait in dispatch_outbox"] if away else []
        told = {**self._relay.state.topics, **self._watch.unusable}
        return found + [
            f"topic {topic_of(job_type)} cannot be published to: {reason}; its events wait"
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
            "topicsWaiting": sorted(topic_of(job_type) for job_type in self._relay.state.topics),
            "topicsUnusable": sorted(topic_of(job_type) for job_type in self._watch.unusable),
        }

    def _broker_away(self) -> str:
        """Why the relay cannot reach it; empty when it can, or when it is another node's to say."""
        return self._relay.state.broker if self._lead.leads() else ""

    # -- what the parts report

    def _lead_changed(self, leads: bool) -> None:
        self._metrics.relay_leader.set(1 if leads else 0)
        if leads:
            self._log.info(BrokerEvent.LEADER_TAKEN, epoch=self._lead.epoch)
            self._log.info(BrokerEvent.RELAY_RUNS)
        else:
            # What has not left yet is the next leader's to send.
            self._publisher.recall()
            self._log.warning(BrokerEvent.LEADER_LEFT)
            self._log.info(BrokerEvent.RELAY_STOPPED)

    def _settled(self, settled: Settled) -> None:
        if settled.published:
            self._metrics.relay_publish("success").inc(settled.published)
        self._metrics.relay_batch_latency.observe(settled.elapsed_s)
        if settled.dropped:
            self._log.info(BrokerEvent.ROWS_DROPPED, count=settled.dropped)

    def _refused(self, row: OutboxRow, refusal: Refusal) -> None:
        self._metrics.relay_publish("error").inc()
        if refusal.scope is Scope.RECORD:
            self._log.warning(
                BrokerEvent.RECORD_REFUSED, job_id=row.job_id, topic=topic_of(row.job_type), err=refusal.text
            )

    def _cycle_failed(self, err: Exception) -> None:
        self._log.warning(BrokerEvent.CYCLE_FAILED, err=err)

    def _relay_state(self) -> None:
        state = self._relay.state
        if bool(state.broker) != self._was_away:
            self._was_away = bool(state.broker)
            if state.broker:
                self._log.warning(BrokerEvent.BROKER_AWAY, err=state.broker)
            else:
                self._log.info(BrokerEvent.BROKER_BACK)
        for job_type, reason in state.topics.items():
            self._watch.blame(job_type, reason)

    def _topic_unusable(self, job_type: str, reason: str) -> None:
        topic = topic_of(job_type)
        self._metrics.topic_unusable.labels(topic).set(1)
        self._log.warning(BrokerEvent.TOPIC_UNUSABLE, topic=topic, err=reason)

    def _topic_usable(self, job_type: str) -> None:
        topic = topic_of(job_type)
        self._metrics.topic_unusable.labels(topic).set(0)
        self._log.info(BrokerEvent.TOPIC_USABLE, topic=topic)
        self._relay.topic_mended(job_type)

    def _redelivered(self, count: int) -> None:
        self._metrics.redeliveries.inc(count)
        self._log.warning(BrokerEvent.REDELIVERED, count=count)
        self.written()

    def _adopted(self, count: int) -> None:
        self._log.info(BrokerEvent.ADOPTED, count=count)
        self._relay.wake()
