"""Seatrial's worker of Kafka beside a release that a test has installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from seatrial.cluster import Replica
from seatrial.cluster.kafka.pod import KafkaPod
from seatrial.history import Recorder
from seatrial.workload import Workload
from seatrial.workload.pool import WorkerPool


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
