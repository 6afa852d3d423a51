"""The way through Kafka beside the way by polling, on the same work; and how fast the relay empties an outbox.

Each round plays the same load on both, one after the other, on the same server. On a machine where the broker, the
consumer and the driver share the cores with the engine, CPU seconds per 1000 jobs tell where they go.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
from rig import SHAPE, Bench, Engine, cpu_s, running, told_by_driver

from seatrial.cluster.kafka.names import topic_of
from seatrial.cluster.kafka.server import KafkaServer
from seatrial.deadline import Deadline

DATABASE = "bench_outbox"
#: of jobs per second in polling mode on the same work (issue 5)
RATE_MIN = 1.2
FEED = Path(__file__).with_name("feed.py")
FILLED = "SELECT count(*) = {} FROM dispatch_outbox"
LOOK_S = 0.02
FILL_WITHIN_S = 120.0
DRAIN_WITHIN_S = 120.0


class Outbox:
    """One broker, and a database for each way."""

    def __init__(self, bench: Bench, broker: KafkaServer) -> None:
        self.bench = bench
        self.broker = broker
        self._runs = 0

    @property
    def brokers(self) -> str:
        """The harness's own door: through the engines' one, the drills' proxy would be measured too."""
        return self.broker.access().bootstrap

    def values(self) -> Mapping[str, object]:
        return {
            "engine": {"dispatchMode": "kafka_outbox"},
            "kafka": {"seedBrokers": self.brokers, "transport": "plaintext"},
        }

    async def new_run(self) -> tuple[str, str]:
        """A name for the driver, and the topic of its only job type."""
        self._runs += 1
        name = f"k{self._runs}"
        topic = topic_of(f"bench-{name}-s1")
        await self.broker.admin().create_topics([topic], partitions=8)
        return name, topic

    @contextlib.contextmanager
    def driver(self, engine: Engine, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            self.bench.driver_command([engine], "--feed", "--run", name, *SHAPE, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def feed(self, topic: str, driver: subprocess.Popen[bytes]) -> Iterator[int]:
        """The consumer that brings jobs to the driver; its process id."""
        process = subprocess.Popen([sys.executable, FEED, self.brokers, topic], stdout=driver.stdin)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(15)

    async def jobs(self, engine: Engine, instances: int) -> dict[str, Any]:
        """Starts and completions at once, end to end."""
        name, topic = await self.new_run()
        with (
            self.driver(engine, name, "--instances", str(instances)) as driver,
            self.feed(topic, driver) as pid,
        ):
            before = {"broker": cpu_s(self.broker.pid), "consumer": cpu_s(pid)}
            load = await asyncio.to_thread(_told, driver)
            after = {"broker": cpu_s(self.broker.pid), "consumer": cpu_s(pid)}
        for name, spent_s in after.items():
            load[f"{name}_cpu_s_per_1000_jobs"] = (spent_s - before[name]) / instances * 1000
        return load

    async def drain(self, database: str, messages: int) -> dict[str, float]:
        """The relay alone: an outbox filled by a node that has none, emptied by one that has nothing else to do."""
        name, topic = await self.new_run()
        bench = self.bench
        connection = await asyncpg.connect(bench.server.dsn(database))
        try:
            api = running(
                bench.server, bench.folder / "api.log", database=database, values=self.values(), role="api"
            )
            async with api as node:
                arguments = ("--drain", "--instances", str(messages))
                with self.driver(node, name, *arguments) as driver:
                    await _until(connection, FILLED.format(messages), FILL_WITHIN_S)
                    figures = await self._emptied(connection, database, topic, messages)
                    with self.feed(topic, driver):
                        await asyncio.to_thread(_told, driver)
        finally:
            await connection.close()
        return figures

    async def _emptied(
        self, connection: asyncpg.Connection[asyncpg.Record], database: str, topic: str, messages: int
    ) -> dict[str, float]:
        bench = self.bench
        scheduler = running(
            bench.server,
            bench.folder / "relay.log",
            database=database,
            values=self.values(),
            role="scheduler",
        )
        async with scheduler as relay:
            await _until(connection, "SELECT NOT EXISTS (SELECT FROM dispatch_outbox)", DRAIN_WITHIN_S)
            empty_at_s = time.time()
            spent_s = cpu_s(relay.pid)
        records = await self.broker.admin().records([topic])
        if len(records) != messages:
            sys.exit(f"bench: {len(records)} records of {messages} messages are in {topic}")
        first_at_s = min(record.at_ms for record in records) / 1000
        return {
            "messages_per_s": messages / (empty_at_s - first_at_s),
            # its boot with it: some 0.5 s
            "relay_cpu_s_per_1000_messages": spent_s / messages * 1000,
        }


def _told(driver: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert driver.stdout is not None
    assert driver.stderr is not None
    told, error = driver.stdout.read().decode(), driver.stderr.read().decode()
    return told_by_driver(driver.wait(), told, error)


async def _until(connection: asyncpg.Connection[asyncpg.Record], question: str, within_s: float) -> None:
    async for _ in Deadline(within_s).attempts(LOOK_S):
        if await connection.fetchval(question):
            return
    sys.exit(f"bench: not so within {within_s:.0f} s: {question}")


#: who spends CPU seconds: the driver's names for them, and ours
SPENDERS = {"engine": "engine_cpu_s_per_1000_jobs", "postgres": "pg_cpu_s_per_1000_jobs"}
SPENDERS_OF_KAFKA = {
    **SPENDERS,
    "broker": "broker_cpu_s_per_1000_jobs",
    "consumer": "consumer_cpu_s_per_1000_jobs",
}


async def compare_ways(bench: Bench, rounds: int, instances: int) -> dict[str, Any]:
    """Paired rounds; medians of the ratio count."""
    async with KafkaServer(bench.folder / "kafka.log") as broker:
        ways = Outbox(bench, broker)
        await bench.server.create_database("bench")
        await bench.server.create_database(DATABASE)
        kafka = running(
            bench.server, bench.folder / "kafka-mode.log", database=DATABASE, values=ways.values()
        )
        paired = []
        async with running(bench.server, bench.folder / "engine.log") as polling, kafka as relaying:
            await asyncio.to_thread(bench.drive, [polling], "--instances", "500", *SHAPE)
            await ways.jobs(relaying, 500)
            for number in range(1, rounds + 1):
                by_polling = await asyncio.to_thread(
                    bench.drive, [polling], "--instances", str(instances), *SHAPE
                )
                by_kafka = await ways.jobs(relaying, instances)
                paired.append(_round(by_polling, by_kafka))
                _tell(f"round {number}/{rounds}", paired[-1])
        drained = []
        for number in range(1, rounds + 1):
            drained.append(await ways.drain(DATABASE, instances))
            _tell(f"drain {number}/{rounds}", drained[-1])
    figures = {key: statistics.median(each[key] for each in paired) for key in paired[0]}
    figures |= {key: statistics.median(each[key] for each in drained) for key in drained[0]}
    return {"rounds": paired, "drains": drained, "figures": figures}


def _round(by_polling: dict[str, Any], by_kafka: dict[str, Any]) -> dict[str, float]:
    return {
        "rate": by_kafka["jobs_per_s"] / by_polling["jobs_per_s"],
        "polling_jobs_per_s": by_polling["jobs_per_s"],
        "kafka_jobs_per_s": by_kafka["jobs_per_s"],
        **{f"polling_{who}_cpu_s_per_1000": by_polling[key] for who, key in SPENDERS.items()},
        **{f"kafka_{who}_cpu_s_per_1000": by_kafka[key] for who, key in SPENDERS_OF_KAFKA.items()},
        "polling_driver_cpu_s_per_1000": by_polling["driver_cpu_s"] / by_polling["jobs_completed"] * 1000,
        "kafka_driver_cpu_s_per_1000": by_kafka["driver_cpu_s"] / by_kafka["jobs_completed"] * 1000,
    }


def _tell(what: str, figures: Mapping[str, float]) -> None:
    print(f"{what}: " + "  ".join(f"{key} {value:.3g}" for key, value in figures.items()))
