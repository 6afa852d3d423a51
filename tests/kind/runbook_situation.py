"""A release to which each thing has happened that a runbook looks for, and whose reader can type."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml
from kafka_consumer import a_kafka_worker, emptied_kafka
from typed_shell import DATABASE_SECRET, Shell, a_shell

from patience import eventually
from seatrial.cluster.kafka import pod as broker_pod
from seatrial.cluster.kafka.pod import KafkaPod
from seatrial.cluster.kind import server
from seatrial.cluster.kind.release import serving
from seatrial.cluster.kind.shared import SharedServices
from seatrial.workload.linear import linear
from windlass_client import Client

RELEASE, POOL = "windlass", "windlass-outbox"
BLANKS = re.compile(r"\b(BROKER|JOBTYPE|PID|POD|RELEASE)\b")
FAILING, LEFT, STRANDED, CONSUMED = (
    linear(1, name=name) for name in ("failing", "left", "stranded", "consumed")
)
WITHIN_S = 60.0
_KAFKA_SCRIPTS = "/opt/kafka/bin"


@dataclass(frozen=True)
class Situation:
    shell: Shell
    blanks: Mapping[str, str]
    """Words in capitals -> what is meant here."""
    server_namespace: str

    def query(self, text: str) -> str:
        """In psql, as the database's superuser."""
        return self.shell.type(self._psql, given=self._filled(text))

    def type_each(self, text: str) -> list[str]:
        """Kafka's scripts are typed where they are, at the broker."""
        return self.shell.type_each([self._placed(line) for line in self._filled(text).splitlines()])

    async def until_some(self, query: str) -> None:
        await self.shell.until(self._psql, "(1 row)", given=query)

    def _placed(self, line: str) -> str:
        if not line.startswith("kafka-"):
            return line
        there = shlex.quote(f"PATH=$PATH:{_KAFKA_SCRIPTS} {line}")
        return f"kubectl exec -n {self.server_namespace} {broker_pod.NAME} -- bash -c {there}"

    def _filled(self, text: str) -> str:
        return BLANKS.sub(lambda found: self.blanks[found[1]], text)

    @property
    def _psql(self) -> str:
        return (
            f"kubectl exec -i -n {self.server_namespace} {server.NAME}-0 --"
            f" psql -X -v ON_ERROR_STOP=1 -U postgres {_database(self.shell)}"
        )


@asynccontextmanager
async def a_situation(shared: SharedServices, folder: Path) -> AsyncIterator[Situation]:
    """One pool polls and one sends by Kafka. A pod has crashed; a job has failed, one was left by its worker, one has
    no topic; a worker consumes; a session waits for another's lock.
    """
    broker = await emptied_kafka(shared)
    await broker.create_destinations(CONSUMED.job_types())
    async with AsyncExitStack() as stack:
        shell = await stack.enter_async_context(a_shell(shared, folder))
        _install(shell, broker)
        pod = await _crashed(shared, shell.namespace)
        holder = await stack.enter_async_context(_a_session_waits(shared.server.dsn(_database(shell))))
        polled = stack.enter_context(shell.reached(f"deployment/{RELEASE}"))
        sent = stack.enter_context(shell.reached(f"deployment/{POOL}"))
        await stack.enter_async_context(a_kafka_worker(CONSUMED, sent, broker, folder / "worker"))
        (job_type,) = CONSUMED.handlers
        blanks = {
            "BROKER": "localhost:9092", "JOBTYPE": job_type, "PID": holder, "POD": pod, "RELEASE": RELEASE,
        }  # fmt: skip
        situation = Situation(shell, blanks, shared.server.namespace)
        await _work(polled, sent)
        await situation.until_some("SELECT 1 FROM job WHERE lease_expiries > 0")
        await situation.until_some("SELECT 1 FROM dispatch_outbox WHERE job_type = 'stranded-step-1'")
        await _until_consumed(broker, job_type)
        yield situation


def _database(shell: Shell) -> str:
    return shell.namespace.replace("-", "_")


def _install(shell: Shell, broker: KafkaPod) -> None:
    """Twice, so that there is something to roll back to."""
    values = {
        "postgresql": {"existingSecret": "windlass-db"},
        **broker.engine_values(secured=False),
        "pools": [{"name": POOL.removeprefix("windlass-"), "dispatchMode": "kafka_outbox", "replicas": 1}],
        "extraEnv": [{"name": "WINDLASS_LEASE_SWEEP_SECONDS", "value": "1"}],
    }
    shell.hold("situation.yaml", yaml.safe_dump(values))
    shell.type_each(
        [
            DATABASE_SECRET,
            *2 * [f"helm upgrade --install {RELEASE} charts/windlass -f situation.yaml"],
            *(f"kubectl rollout status deployment/{name} --timeout 180s" for name in (RELEASE, POOL)),
        ]
    )


async def _crashed(shared: SharedServices, namespace: str) -> str:
    """The name of the polling pool's pod, which serves again."""
    found = await shared.kube.list("Pod", namespace, labels=serving(RELEASE))
    (pod,) = [each for each in found if not each["metadata"]["name"].startswith(POOL)]
    status = pod["status"]["containerStatuses"][0]
    await shared.agent.signal(pod["spec"]["nodeName"], status["containerID"].rpartition("/")[2], "KILL")
    name = str(pod["metadata"]["name"])

    async def serves_again() -> bool:
        now = await shared.kube.get("Pod", name, namespace)
        (status,) = now["status"]["containerStatuses"]
        return bool(status["restartCount"] and status["ready"])

    await eventually(serves_again, WITHIN_S, every_s=0.2)
    return name


@asynccontextmanager
async def _a_session_waits(dsn: str) -> AsyncIterator[str]:
    """The id of the one that holds what it waits for, which a runbook may end."""
    holder = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    waiter = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with holder, waiter:
        await holder.execute("SELECT pg_advisory_lock(1)")
        waiting = asyncio.create_task(waiter.execute("SELECT pg_advisory_lock(1)"))
        yield str(holder.info.backend_pid)
        await holder.close()
        await waiting


async def _work(polled: str, sent: str) -> None:
    async with Client(polled) as of_polling, Client(sent) as of_kafka:
        for work in (FAILING, LEFT, STRANDED, CONSUMED):
            await of_polling.upload(work.definitions[0])
        await of_polling.start("failing-1")
        (job,) = await of_polling.poll("reader", list(FAILING.handlers), wait_s=10)
        await of_polling.fail(job, "the bank is away")
        await of_polling.start("left-1")
        assert await of_polling.poll("reader", list(LEFT.handlers), lease_s=1, wait_s=10)
        await of_kafka.start("stranded-1")
        consumed = await of_kafka.start("consumed-1")
        await of_kafka.wait_for_end(consumed.id, timeout_s=WITHIN_S)


async def _until_consumed(broker: KafkaPod, job_type: str) -> None:
    async def has_consumers() -> bool:
        return bool((await broker.consumers([job_type])).get(job_type))

    await eventually(has_consumers, WITHIN_S, every_s=0.2)
