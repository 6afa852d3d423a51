"""What a scenario acts on: the cluster, its clients and workers, the schedule, and the faults."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, LiteralString, Self, TypeVar

import psycopg

from seatrial.client import Answer, CallFailed, RecordingClient
from seatrial.cluster import Cluster, ClusterError, Replica
from seatrial.cluster.ability import Boots, Credentials, Database
from seatrial.cluster.broker import Broker, BrokerKind, BrokerProcess
from seatrial.cluster.brokers import BROKERS, WITH_BROKER, kind_of_mode
from seatrial.cluster.resources import Resources
from seatrial.cluster.wire import read_wire
from seatrial.deadline import Deadline
from seatrial.fault import Evidence, Fault, inflicted
from seatrial.history import Recorder, TransportName
from seatrial.observe.nodes import nodes
from seatrial.observe.resources import watch_resources
from seatrial.observe.sampler import Sampler
from seatrial.workload import Start, Workload
from seatrial.workload.actor import Actor
from seatrial.workload.pool import WorkerPool
from seatrial.workload.reader import Reader

Ability = TypeVar("Ability")
Result = TypeVar("Result")
Phase = Literal["load", "fault", "heal", "drain", "observe", "end"]

_LOOK_INTERVAL_S = 0.05
_STARTS_IN_FLIGHT_MAX = 64
_START_AGAIN_S = 0.05
_PROBE_TIMEOUT_S = 2.0
_OPEN_STATUSES = ("ACTIVE", "WAITING")
_HTTP_LOOK_INTERVAL_S = 0.25
_SAID_CHARACTERS_MAX = 8000


class NotReached(Exception):
    """A state the scenario needs did not come in time; the drill is then invalid."""


class ScenarioContext:
    """Everything a scripted scenario needs; all of it is recorded, and all of it ends with the scenario.

    A scenario reads like its story:

        async def scenario(context: ScenarioContext) -> None:
            await context.upload(LINEAR)                              # definitions, at any replica
            context.workers.start(LINEAR.worker(lease_s=5), 2)        # two real processes
            load = context.spawn(context.load(context.schedule["starts"]))  # paced by each start's at_s
            context.phase("fault")
            await context.at(3.0)                                     # 3 s after the load began
            await context.fault(KillReplica("replica-0"), hold_s=2.0) # set up, inject, hold, heal
            await load
            context.phase("drain")
            await context.drain(30.0)                                 # False when it is not empty in time

    Scripted calls, with nothing left to chance:

        a, b, c = context.names                                   # replica names
        zombie = context.worker_client("zombie")                  # calls as worker-zombie from this process
        jobs = (await zombie.poll("worker-zombie", ["linear-step-1"], replica=a, lease_s=5)).jobs
        await zombie.complete(jobs[0], "worker-zombie", replica=b)
        answers = await context.race(racers[i].complete(job, "w", replica=name) for i, name in enumerate(...))
        await context.workers.pause(0); ...; await context.workers.resume(0)      # SIGSTOP, SIGCONT of a process
        await context.workers.kill(0); context.workers.restart(0)                 # SIGKILL of a process
        await context.ability(Reconfigure).reconfigure(a, values)     # what the drill's needs name
        rows = await context.query("SELECT count(*) FROM job WHERE status = %s", "LOCKED")   # needs Database
        await context.eventually(lambda: lease_expired(context), within_s=20, what="the lease expires")
        (await context.probe(a, "/ready")).status                 # any status is an answer
        context.watch(a, "/healthz", every_s=0.5)                 # and so on until the scenario's end

    `schedule` is what the drill's `plan` drew from the seed; draw everything random there. `random(label)`
    gives further seeded generators. An exception that leaves the scenario makes the drill invalid; a broken
    promise is not an exception: record what happened and let the checks judge it.
    """

    def __init__(
        self,
        cluster: Cluster,
        recorder: Recorder,
        *,
        folder: Path,
        seed: str,
        run_key: str,
        schedule: Mapping[str, Any],
        parameters: Mapping[str, Any],
        transports: Sequence[TransportName] = ("rest",),
        mode: str = "polling",
    ) -> None:
        self.cluster = cluster
        self.recorder = recorder
        self.folder = folder
        self.schedule = schedule
        self.parameters = parameters
        self.run_key = run_key
        """Begins the key of every instance of this run, so that runs on one cluster stay apart."""
        self._broker_kind = kind_of_mode(mode)
        self._broker = cluster.ability(Broker) if mode != "polling" and cluster.has(Broker) else None
        self.workers = WorkerPool(
            folder,
            cluster.replicas(),
            recorder,
            f"{seed}:workers",
            way="consume" if mode in BROKERS else "poll",
            broker=self._broker.consumer_access() if self._broker else None,
            transports=transports,
        )
        dsn = cluster.ability(Database).dsn if cluster.has(Database) else None
        self._sampler = Sampler(nodes(cluster), dsn, recorder)
        self._seed = seed
        self._transports = tuple(transports)
        self._clients: list[RecordingClient] = []
        self._looker: RecordingClient | None = None
        self._probes: dict[str, RecordingClient] = {}
        self._group = asyncio.TaskGroup()
        self._spawned: set[asyncio.Task[Any]] = set()
        self.started: list[str] = []
        """The ids of the instances whose start by `load` was acknowledged, as they come."""
        self._definition_ids: list[str] = []
        self._faults = 0
        self._zero_s = time.monotonic()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        if self._broker is not None:
            self.spawn(self._sampler.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops everything; raises the error of a worker that crashed or of a spawned task that failed."""
        try:
            for task in self._spawned:
                task.cancel()
            if error is None:
                await self.workers.stop_all()
        finally:
            await self.workers.close()
            try:
                await self._group.__aexit__(kind, error, trace)
            finally:
                await asyncio.gather(*(client.close() for client in self._clients))

    @property
    def replicas(self) -> Sequence[Replica]:
        return self.cluster.replicas()

    @property
    def names(self) -> Sequence[str]:
        return [replica.name for replica in self.cluster.replicas()]

    def ability(self, kind: type[Ability]) -> Ability:
        """The cluster's object of that type: `context.ability(Kill)`. Raises MissingAbility."""
        return self.cluster.ability(kind)

    def random(self, label: str) -> random.Random:
        """A random generator for `label`: the same for the same seed, whatever other generators were used for."""
        return random.Random(f"{self._seed}:{label}")

    def client(self, *, timeout_s: float = 10.0) -> RecordingClient:
        """A fresh logical process `client-<n>`."""
        return self._client(f"client-{len(self._clients)}", send_token=True, timeout_s=timeout_s)

    def clients(self, count: int, *, timeout_s: float = 10.0) -> list[RecordingClient]:
        return [self.client(timeout_s=timeout_s) for _ in range(count)]

    def one_shot_client(self, *, timeout_s: float = 10.0) -> RecordingClient:
        """As `client`, but each of its calls opens a connection of its own, over REST."""
        return self._client(
            f"client-{len(self._clients)}", send_token=True, timeout_s=timeout_s, keeps_connections=False
        )

    def worker_client(
        self, name: str, *, send_token: bool = True, timeout_s: float = 10.0
    ) -> RecordingClient:
        """Makes scripted polls and completions as `worker-<name>`, from this process."""
        return self._client(f"worker-{name}", send_token=send_token, timeout_s=timeout_s)

    def spawn(self, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Runs it beside the scenario, which fails with it; cancelled at the scenario's end."""
        task = self._group.create_task(coroutine)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def phase(self, name: Phase) -> None:
        """Marks the history. `load` also sets the zero of `at` and of every start's `at_s`."""
        self.recorder.info("harness", "phase", {"name": name})
        if name == "load":
            self._zero_s = time.monotonic()

    async def at(self, at_s: float) -> None:
        """Returns `at_s` after the phase `load` (or the context) began; at once when that is past."""
        await asyncio.sleep(max(0.0, self._zero_s + at_s - time.monotonic()))

    async def fault(self, fault: Fault, hold_s: float = 0.0) -> Evidence:
        """Injects, waits for the effect, holds, heals, waits until healed; raises FaultError if it had none."""
        async with self.inflicted(fault) as evidence:
            await asyncio.sleep(hold_s)
        return evidence

    def inflicted(self, fault: Fault) -> contextlib.AbstractAsyncContextManager[Evidence]:
        """The fault holds inside the block: `async with context.inflicted(PauseReplica(a)): ...`."""
        self._faults += 1
        return inflicted(fault, self.cluster, self.recorder, process=f"fault-{self._faults}")

    @property
    def broker(self) -> Broker:
        """Raises ClusterError in a drill whose mode is polling."""
        if self._broker is None:
            raise ClusterError(f"this cluster has no broker; the drill's mode must be {WITH_BROKER}")
        return self._broker

    @property
    def broker_kind(self) -> BrokerKind:
        """Raises ClusterError in a drill whose mode is polling."""
        if self._broker_kind is None:
            raise ClusterError("this drill has no broker; its mode must be a broker's name or both")
        return self._broker_kind

    def destinations(self, *workloads: Workload) -> list[str]:
        """The names of the destinations of these definitions' jobs, as operators know them, sorted."""
        return sorted(map(self.broker.destination, _job_types(workloads)))

    async def leaders(self) -> Sequence[str]:
        """The replicas or schedulers that at present claim to lead the relay."""
        return await self._sampler.leaders()

    async def leader(self, within_s: float = 20.0) -> str:
        """The one replica that claims to lead the relay; raises NotReached if it is not exactly one in time."""
        found: list[str] = []

        async def is_one() -> bool:
            found[:] = await self.leaders()
            return len(found) == 1

        if not await self.reached(is_one, within_s):
            raise NotReached(
                f"not within {within_s:g} s: one replica leads (now {', '.join(found) or 'none'})"
            )
        return found[0]

    async def workers_joined(self, within_s: float = 60.0) -> None:
        """Waits until every running consumer has its share of each of its job types; without a broker, not at all."""
        if self._broker is None:
            return
        broker = self._broker

        async def all_have_theirs() -> bool:
            wanted = self.workers.consumers()
            consumers = await broker.consumers(wanted)
            return all(names <= consumers.get(job_type, set()) for job_type, names in wanted.items())

        await self.eventually(all_have_theirs, within_s, "every worker has its share of the jobs")

    async def boot(
        self,
        case: str,
        values: Mapping[str, Any],
        expected: Sequence[str],
        *,
        bound_s: float,
        serves: bool = False,
        waits: bool = False,
        on: Cluster | None = None,
    ) -> None:
        """Starts one more replica (on another cluster than this: `on`) and records how that went, for BC to judge: it
        `serves`, or `waits` without being ready until `bound_s`, or is refused.
        """
        report = await (on or self.cluster).ability(Boots).boot(values, bound_s=bound_s)
        row = {
            "case": case,
            "serves": serves,
            "waits": waits,
            "ready": report.ready,
            "exit_code": report.exit_code,
            # One that waits says so at first, and then only that it was asked again.
            "stderr": report.output[:_SAID_CHARACTERS_MAX]
            if waits
            else report.output[-_SAID_CHARACTERS_MAX:],
            "expected": list(expected),
            "duration_s": report.duration_s,
            "bound_s": bound_s,
            "processes_left": report.processes_left,
            "leaked": report.leaked,
        }
        self.recorder.info("observer", "boot", row)

    def look_at_wire(self, case: str, *needles: str) -> None:
        """Records the bytes of the broker's secured listener since the last call, and whether a log contains a
        secret.
        """
        broker = self.ability(BrokerProcess)
        wire = read_wire(broker.captured(), [*broker.secrets(), *needles])
        broker.capture()
        logs = [path.read_text(errors="replace") for path in self.folder.glob("**/logs/*.log")]
        row = {
            "case": case,
            "streams": wire.streams,
            "bytes": wire.bytes,
            "plain_streams": wire.plain_streams,
            "needles_seen": wire.needles_seen,
            "logs_with_secrets": sum(any(secret in log for secret in broker.secrets()) for log in logs),
        }
        self.recorder.info("observer", "wire", row)

    async def upload(self, *workloads: Workload, destinations: bool = True) -> None:
        """Where there is a broker, makes the destinations of the jobs first, unless `destinations` is False.

        Raises CallFailed when a definition is not accepted.
        """
        if self._broker is not None and destinations:
            await self._broker.create_destinations(_job_types(workloads))
        client = self.client()
        for workload in workloads:
            for definition in workload.definitions:
                answer = await client.upload(definition)
                if not answer.ok:
                    raise CallFailed(answer)
                self._definition_ids.append(answer.id)

    async def load(
        self, starts: Iterable[Start], *, in_flight_max: int = _STARTS_IN_FLIGHT_MAX, give_up_s: float = 30.0
    ) -> list[str]:
        """Makes each start at its `at_s` (late ones at once); returns the ids of the acknowledged ones.

        A refused connection, or a call refused for load, is tried again at another replica for `give_up_s`; a
        start of unknown outcome is not repeated, since it may have happened.
        """
        clients = self.clients(4)
        room = asyncio.Semaphore(in_flight_max)
        acknowledged: list[str] = []

        async def make(number: int, start: Start) -> None:
            key = f"{self.run_key}/{start.key}"
            try:
                async for _ in Deadline(give_up_s).attempts(_START_AGAIN_S):
                    answer = await clients[number % len(clients)].start(
                        start.definition_id, {**start.variables, "key": key}, business_key=key
                    )
                    if not answer.refused_for_now:
                        break
                if answer.ok:
                    acknowledged.append(answer.id)
                    self.started.append(answer.id)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            for number, start in enumerate(starts):
                await self.at(start.at_s)
                await room.acquire()
                group.create_task(make(number, start))
        return acknowledged

    def people(self) -> asyncio.Task[None]:
        """Starts the people who review and sign the loans, until the scenario's end."""
        return self.spawn(Actor(self.client(), self.run_key).run())

    def readers(self, count: int = 1) -> None:
        """Starts those who look at the instances that `load` has started, until the scenario's end."""
        for client in self.clients(count):
            self.spawn(Reader(client, self.started, self.random(client.process)).run())

    async def probe(self, replica: str, path: str, *, timeout_s: float = _PROBE_TIMEOUT_S) -> Answer:
        """Calls one replica as `probe-<replica>`: its errors do not count as errors of clients."""
        if replica not in self._probes:
            # As a kubelet does, each probe opens a connection of its own.
            self._probes[replica] = self._client(
                f"probe-{replica}", send_token=True, timeout_s=timeout_s, keeps_connections=False
            )
        return await self._probes[replica].probe(replica, path, timeout_s=timeout_s)

    def watch(
        self, replica: str, path: str, *, every_s: float = 0.5, timeout_s: float = _PROBE_TIMEOUT_S
    ) -> asyncio.Task[None]:
        """Probes again and again, until cancelled or until the scenario's end."""

        async def look() -> None:
            while True:
                await self.probe(replica, path, timeout_s=timeout_s)
                await asyncio.sleep(every_s)

        return self.spawn(look())

    async def look_for_secrets(self) -> None:
        """Records, for SK to judge, whether a password appears anywhere."""
        for exposure in await self.ability(Credentials).exposures():
            self.recorder.info("observer", "exposure", asdict(exposure))

    def watch_resources(self, *, every_s: float = 0.5) -> asyncio.Task[None]:
        """Records what the nodes take of the machine, from now until the scenario's end; needs Resources."""
        return self.spawn(watch_resources(self.ability(Resources), self.recorder, every_s))

    def watch_sessions(self) -> asyncio.Task[None]:
        """Counts the engines' connections to the database, from now until the scenario's end; needs Database."""
        return self.spawn(self._sampler.watch_sessions())

    def watch_calls(self) -> asyncio.Task[None]:
        """Counts the gRPC calls that each replica answers, from now until the scenario's end."""
        return self.spawn(self._sampler.watch_calls())

    async def race(self, calls: Iterable[Awaitable[Result]]) -> list[Result]:
        """All at once; the answers in the order of the calls."""
        return list(await asyncio.gather(*calls))

    async def drain(self, within_s: float) -> bool:
        """Waits until no instance of this run is open; False when some are left (the checks say which)."""
        every_s = _LOOK_INTERVAL_S if self.cluster.has(Database) else _HTTP_LOOK_INTERVAL_S
        return await self.reached(self._is_empty, within_s, every_s=every_s)

    async def reached(
        self,
        predicate: Callable[[], bool | Awaitable[bool]],
        within_s: float,
        *,
        every_s: float = _LOOK_INTERVAL_S,
    ) -> bool:
        """Repeats until it is true or the time is over; an unreachable database or a failed call counts as not yet."""
        async for _ in Deadline(within_s).attempts(every_s):
            with contextlib.suppress(psycopg.OperationalError, CallFailed):
                asked = predicate()
                if asked if isinstance(asked, bool) else await asked:
                    return True
        return False

    async def eventually(
        self, predicate: Callable[[], bool | Awaitable[bool]], within_s: float, what: str
    ) -> None:
        """As `reached`; raises NotReached naming `what`."""
        if not await self.reached(predicate, within_s):
            raise NotReached(f"not within {within_s:g} s: {what}")

    async def query(self, sql: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        """Runs one statement on the database directly, without a proxy; [] when it returns no rows."""
        dsn = self.ability(Database).dsn()
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=5
        ) as connection:
            cursor = await connection.execute(sql, parameters or None)
            return await cursor.fetchall() if cursor.description else []

    async def _is_empty(self) -> bool:
        if self.cluster.has(Database):
            rows = await self.query(
                """SELECT count(*) FROM workflow_instance
                    WHERE status IN ('ACTIVE', 'WAITING') AND starts_with(variables->>'key', %s)"""
                if self.cluster.is_shared
                else "SELECT count(*) FROM workflow_instance WHERE status IN ('ACTIVE', 'WAITING')",
                *([self.run_key] if self.cluster.is_shared else []),
            )
            return bool(rows[0][0] == 0)
        self._looker = self._looker or self.client()
        for definition_id in self._definition_ids:
            for status in _OPEN_STATUSES:
                answer = await self._looker.list_instances(definition_id=definition_id, status=status)
                if not answer.ok:
                    raise CallFailed(answer)
                if any(self.is_ours(item["variables"]) for item in answer.body["items"] or []):
                    return False
        return True

    def is_ours(self, variables: Mapping[str, Any]) -> bool:
        return str(variables.get("key", "")).startswith(self.run_key)

    def _client(
        self, process: str, *, send_token: bool, timeout_s: float, keeps_connections: bool = True
    ) -> RecordingClient:
        client = RecordingClient(
            process,
            self.cluster.replicas(),
            self.recorder,
            self.random(f"{process}:{len(self._clients)}"),
            send_token=send_token,
            timeout_s=timeout_s,
            transports=self._transports if keeps_connections else ("rest",),
            keeps_connections=keeps_connections,
        )
        self._clients.append(client)
        return client


def _job_types(workloads: Iterable[Workload]) -> set[str]:
    return {job_type for workload in workloads for job_type in workload.job_types()}
