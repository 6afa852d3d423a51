"""What the outbox mode reports: the relay, its leader, the broker's destinations and the sweeps beside it."""

from __future__ import annotations

from windlass.telemetry.events import BrokerEvent
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Metrics


class OutboxTelemetry:
    """One for a node in that mode. Every method returns at once and raises nothing.

    `topic` is the broker's name of a destination; log and metrics use that word (contract 8.1, 8.4).
    """

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._metrics = metrics
        self._log = log

    # -- boot

    def lock_works(self) -> None:
        self._log.info(BrokerEvent.LOCK_OK)

    def lock_absent(self) -> None:
        self._log.info(BrokerEvent.LOCK_ABSENT)

    def outbox_ready(self) -> None:
        self._log.info(BrokerEvent.OUTBOX_READY)

    def relay_started(self, *, leads: bool) -> None:
        self._log.info(BrokerEvent.RELAY_STARTED.format(leader="true" if leads else "false"))

    # -- the lead

    def lead_taken(self, epoch: int) -> None:
        self._metrics.relay_leader.set(1)
        self._log.info(BrokerEvent.LEADER_TAKEN, epoch=epoch)
        self._log.info(BrokerEvent.RELAY_RUNS)

    def lead_lost(self) -> None:
        self._metrics.relay_leader.set(0)
        self._log.warning(BrokerEvent.LEADER_LEFT)
        self._log.info(BrokerEvent.RELAY_STOPPED)

    def session_lost(self, cause: str) -> None:
        self._log.warning(BrokerEvent.SESSION_LOST, err=cause)

    # -- the relay

    def backlog(self, rows: int) -> None:
        self._metrics.outbox_backlog.set(rows)

    def batch_settled(self, *, published: int, dropped: int, elapsed_s: float) -> None:
        if published:
            self._metrics.relay_publish("success").inc(published)
        self._metrics.relay_batch_latency.observe(elapsed_s)
        if dropped:
            self._log.info(BrokerEvent.ROWS_DROPPED, count=dropped)

    def publish_failed(self) -> None:
        self._metrics.relay_publish("error").inc()

    def message_refused(self, *, job_id: str, topic: str, cause: str) -> None:
        self._log.warning(BrokerEvent.MESSAGE_REFUSED, job_id=job_id, topic=topic, err=cause)

    def cycle_failed(self, err: Exception) -> None:
        self._log.warning(BrokerEvent.CYCLE_FAILED, err=err)

    def broker_away(self, cause: str) -> None:
        self._log.warning(BrokerEvent.BROKER_AWAY, err=cause)

    def broker_back(self) -> None:
        self._log.info(BrokerEvent.BROKER_BACK)

    # -- destinations

    def destination_unusable(self, topic: str, cause: str) -> None:
        self._metrics.destination_unusable.labels(topic).set(1)
        self._log.warning(BrokerEvent.DESTINATION_UNUSABLE, topic=topic, err=cause)

    def destination_usable(self, topic: str) -> None:
        self._metrics.destination_unusable.labels(topic).set(0)
        self._log.info(BrokerEvent.DESTINATION_USABLE, topic=topic)

    # -- sweeps

    def redelivered(self, count: int) -> None:
        self._metrics.redeliveries.inc(count)
        self._log.warning(BrokerEvent.REDELIVERED, count=count)

    def adopted(self, count: int) -> None:
        self._log.info(BrokerEvent.ADOPTED, count=count)
