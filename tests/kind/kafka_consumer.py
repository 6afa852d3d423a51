"""The run's Kafka, and Seatrial's worker of it beside a release that a test has installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from seatrial.cluster import Replica
from seatrial.cluster.brokers import BROKERS
from seatrial.cluster.kafka.pod import KafkaPod
from seatrial.cluster.kind.shared import SharedServices
from seatrial.history import Recorder
from seatrial.workload import Workload
from seatrial.workload.pool import WorkerPool


async def emptied_kafka(shared: SharedServices) -> KafkaPod:
    """Without topics, and shared by all tests."""
    broker = await shared.emptied_broker(BROKERS["kafka"])
    assert isinstance(broker, KafkaPod)
    return broker


@asynccontextmanager
async def a_kafka_worker(work: Workload, url: str, broker: KafkaPod, folder: Path) -> AsyncIterator[None]:
    """It reads the topics of the work and answers at `url`."""
    recorder = Recorder(folder)
    pool = WorkerPool(
        folder,
        [Replica("service", url, None)],
        recorder,
        "kind",
        way="consume",
        broker=broker.consumer_access(),
    )
    try:
        pool.start(work.worker())
        yield
        await pool.stop_all()
    finally:
        await pool.close()
        recorder.close()
