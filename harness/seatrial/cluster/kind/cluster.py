"""A release of the chart on Kubernetes, in a namespace and with a database of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg

from seatrial.cluster import (
    UPGRADE_WITHIN_S,
    BootReport,
    Build,
    ClusterError,
    ClusterSpec,
    Drained,
    Exposure,
    Replica,
    Rollout,
    Scaled,
)
from seatrial.cluster.broker import Broker, BrokerInCluster
from seatrial.cluster.kind.boots import observed_boot
from seatrial.cluster.kind.eviction import evict_all
from seatrial.cluster.kind.exposures import exposures
from seatrial.cluster.kind.kube import remove_pods
from seatrial.cluster.kind.network import opened, sockets
from seatrial.cluster.kind.reachability import told_by_pods, until_answers
from seatrial.cluster.kind.release import RELEASE, Release, ReleaseFailed, engine_image
from seatrial.cluster.kind.replica_slots import CONTAINER, SERVICE, Pod, ReplicaSlots, place_services
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.values import merge
from seatrial.render import default_chart

INSTALL_WITHIN_S = 180
READY_WITHIN_S = 60.0
SIGNAL_WITHIN_S = 20.0
SCALE_WITHIN_S = 120.0
SECRET, SECRET_KEY = "database", "dsn"
SERVICE_LABELS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=engine"
_PORTS: Mapping[str, int] = {"rest": 8080, "grpc": 9090, "metrics": 9091}
_TERMINATED_WITHIN_MS = 5_000
_SUFFIX: Mapping[Build, str] = {"this": "", "next": "-next", "broken": "-broken"}


class KindCluster:
    """Has the abilities Kill, Pause, Database, Logs, Aliases, Sockets, Restarts, Siblings, RollingReconfigure, Boots,
    Upgrade, Scale, Credentials and Nodes, and with a `broker` Kafka and KafkaNetwork.

    A killed replica is started again by its kubelet at once, so `start` only waits for it.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        shared: SharedServices,
        *,
        broker: BrokerInCluster | None = None,
        chart: Path | None = None,
    ) -> None:
        if spec.replicas < 1:
            raise ClusterError(f"replicas must be at least 1, got {spec.replicas}")
        if spec.engine_command is not None:
            raise ClusterError(
                "an engine command runs processes of this machine; on Kubernetes name an image in a values file"
            )
        self.spec = spec
        self.shared = shared
        self.namespace = f"trial-{secrets.token_hex(4)}"
        self.release: Release
        self.slots: ReplicaSlots
        self._broker = broker
        self._chart = chart or default_chart()
        self._database = self.namespace.replace("-", "_")
        self._values: dict[str, Any] = {}
        self._replicas: list[Replica] = []
        self._cordoned: set[str] = set()
        self._paused: set[str] = set()
        self._ended: set[str] = set()
        self._ready_min: list[int] = []
        self._boots = 0
        self._is_up = False
        self._has_foundations = False
        self._stack = AsyncExitStack()

    async def up(self) -> None:
        if self._is_up:
            raise ClusterError("the cluster is already up; take it down first")
        self._is_up = True
        try:
            await self._lay_foundations()
            await self.release.install(self._all_values("this"), within_s=INSTALL_WITHIN_S)
            if self.spec.entrance == "service":
                await self._open_service()
            await asyncio.gather(*(until_answers(replica, READY_WITHIN_S) for replica in self._replicas))
        except ReleaseFailed as err:
            cause = await self._why_not_up()
            await self.down()
            raise ClusterError(f"{err}; {cause}") from None
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        await self._stack.aclose()
        self._replicas = []
        self._is_up = self._has_foundations = False

    def replicas(self) -> Sequence[Replica]:
        return list(self._replicas)

    async def kill(self, replica: str) -> None:
        """SIGKILL to its processes; returns when they are gone. Its kubelet starts the container again."""
        pod = self._pod(replica)
        await self.shared.agent.signal(pod.node, pod.container_id, "KILL")
        self._ended.add(pod.container_id)

    async def stop(self, replica: str) -> int:
        """SIGTERM to its processes, and no other sign: a container that ends so is started again, too."""
        pod = self._pod(replica)
        await self.shared.agent.signal(pod.node, pod.container_id, "TERM")
        await self._until(lambda: not self._holds(replica, pod), READY_WITHIN_S, f"{replica} stops")
        self._ended.add(pod.container_id)
        after = self.slots.pod(replica)
        return after.last_exit_code if after is not None and after.last_exit_code is not None else 0

    async def start(self, replica: str, *, wait_ready: bool = True) -> None:
        if not wait_ready:
            return
        if self.spec.entrance == "service":
            await self._until(
                lambda: self._ready_count() >= self.spec.replicas, READY_WITHIN_S, "all pods are ready"
            )
        else:
            await self._until(lambda: self._is_ready(replica), READY_WITHIN_S, f"{replica} is ready")
        await until_answers(next(each for each in self._replicas if each.name == replica), READY_WITHIN_S)

    async def pause(self, replica: str) -> None:
        pod = self._pod(replica)
        self._paused.add(replica)
        await self.shared.agent.signal(pod.node, pod.container_id, "STOP")
        await self._until_state(pod, lambda states: set(states) == {"T"}, f"{replica} is stopped")

    async def resume(self, replica: str) -> None:
        pod = self._pod(replica)
        await self.shared.agent.signal(pod.node, pod.container_id, "CONT")
        await self._until_state(pod, lambda states: "T" not in states, f"{replica} goes on")
        self._paused.discard(replica)

    def dsn(self) -> str:
        """The superuser's, past the engine. Holds a password."""
        return self.shared.server.dsn(self._database)

    async def crash_database(self) -> None:
        await self.shared.server.crash()

    async def stop_database(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        if mode == "immediate":
            await self.shared.server.crash()
        await self.shared.server.stop()

    async def start_database(self) -> None:
        await self.shared.server.start()

    async def terminate_sessions(self, replica: str) -> int:
        """Those that come from its pod; returns when they are gone from the database."""
        pod = self._pod(replica)
        try:
            async with await psycopg.AsyncConnection.connect(self.dsn(), autocommit=True) as connection:
                found = await connection.execute(
                    "SELECT count(pg_terminate_backend(pid, %s)) FROM pg_stat_activity"
                    " WHERE client_addr = %s::inet AND datname = %s",
                    (_TERMINATED_WITHIN_MS, pod.address, self._database),
                )
                row = await found.fetchone()
        except psycopg.Error as err:
            raise ClusterError(f"the sessions of {replica} cannot be terminated: {err}") from err
        return int(row[0]) if row else 0

    def log_path(self, replica: str) -> Path:
        return self.slots.log_path(replica)

    def aliases(self) -> Mapping[str, str]:
        """An engine knows its pod's name and not its place."""
        return self.slots.places

    def run_began_at(self, replica: str) -> int:
        began_at = self.slots.run_began_at(replica)
        if began_at is None:
            raise ClusterError(f"no line of {replica}'s present run was read yet")
        return began_at

    async def peers(self, replica: str) -> Sequence[str]:
        pod = self._pod(replica)
        found = opened(await sockets(self.shared.agent, pod.node, pod.container_id))
        return [peer for peer in found if peer != self.shared.server.inside]

    def restarts(self, replica: str) -> int:
        if self.spec.entrance == "service":
            return sum(pod.restarts for pod in self.slots.pods)
        return self.slots.restarts(replica)

    def sibling(self, folder: Path, *, replicas: int, values: Mapping[str, object]) -> KindCluster:
        spec = dataclasses.replace(self.spec, folder=folder, replicas=replicas, values=values)
        return KindCluster(spec, self.shared, broker=self._broker, chart=self._chart)

    def broker(self) -> Broker:
        return self.broker_network()

    def broker_network(self) -> BrokerInCluster:
        if self._broker is None:
            raise ClusterError("this cluster has no broker; the drill's mode must be kafka or both")
        return self._broker

    async def run_command(self, replica: str, *words: str) -> None:
        pod = self._pod(replica)
        found = await self.shared.kube.get("Pod", pod.name, self.namespace)
        program = next(each for each in found["spec"]["containers"] if each["name"] == CONTAINER)["command"][
            0
        ]
        await self.shared.kube.execute(self.namespace, pod.name, CONTAINER, [program, *words])

    async def upgrade(
        self, build: Build, values: Mapping[str, object] | None = None, *, within_s: int = UPGRADE_WITHIN_S
    ) -> Rollout:
        """Raises ClusterError when the build's image is nowhere."""
        self._values = merge(self._values, values or {})
        asked = self._all_values(build)
        await self.shared.load([engine_image(self._chart, asked)])
        return await self._roll(lambda: self.release.upgrade(asked, within_s=within_s))

    async def rollback(self) -> Rollout:
        return await self._roll(lambda: self.release.rollback(within_s=INSTALL_WITHIN_S))

    async def reconfigure_all(self, values: Mapping[str, object]) -> None:
        rollout = await self.upgrade("this", values)
        if rollout.message:
            raise ClusterError(rollout.message)
        await self._until(
            lambda: all(self.slots.run_began_at(each.name) is not None for each in self._replicas),
            READY_WITHIN_S,
            "every new pod has its place",
        )
        await asyncio.gather(*(self.start(each.name) for each in self._replicas))

    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        """Its time counts from the start of the container."""
        await self._lay_foundations()
        self._boots += 1
        release = Release(self.shared.access, self.namespace, self._chart, name=f"boot-{self._boots}")
        asked = merge(self._all_values("this"), {**values, "replicaCount": 1})
        return await observed_boot(
            self.shared, release, asked, bound_s=bound_s, without_secret=self._without_secret
        )

    async def scale(self, replicas: int) -> Scaled:
        before = self._staying()
        await self.shared.kube.patch("Deployment", RELEASE, {"spec": {"replicas": replicas}}, self.namespace)
        await self._until(
            lambda: len(self._staying()) == self._ready_count() == replicas,
            SCALE_WITHIN_S,
            f"{replicas} pods take calls",
        )
        return Scaled(before, self._staying())

    async def rotate_password(self) -> None:
        await self.shared.server.rotate_engine_password()
        await self.shared.kube.apply(self._secret(self.shared.server.engine_dsn(self._database)))

    async def opens_with_old_password(self) -> bool:
        return await self.shared.server.opens_with_old_password()

    async def exposures(self) -> Sequence[Exposure]:
        return await exposures(
            self.shared.kube, self.release, self.namespace, self.spec.folder, self.shared.server.secrets
        )

    def placement(self) -> Mapping[str, int]:
        nodes = [pod.node for pod in self.slots.pods if pod.is_ready and pod.node not in self._cordoned]
        return {node: nodes.count(node) for node in nodes}

    async def drain(self, node: str) -> Drained:
        self._cordoned.add(node)
        await self.shared.kube.patch("Node", node, {"spec": {"unschedulable": True}})
        with self._watching_readiness() as ready_min:
            gone, refused = await evict_all(
                self.shared.kube,
                self.namespace,
                node,
                lambda: [pod for pod in self.slots.pods if pod.node == node],
            )
            await self._until(
                lambda: self._ready_count() >= self.spec.replicas,
                READY_WITHIN_S,
                "every evicted pod has been replaced",
            )
            return Drained(gone, refused, ready_min())

    async def uncordon(self, node: str) -> None:
        await self.shared.kube.patch("Node", node, {"spec": {"unschedulable": None}})
        self._cordoned.discard(node)

    async def _lay_foundations(self) -> None:
        """All that a release needs before it is installed; `down` gives it back in reverse order."""
        if self._has_foundations:
            return
        self._has_foundations = True
        shared = self.shared
        await shared.server.start()
        # Also what it may be upgraded to, since copying an image takes long on a cluster under load.
        await shared.load(engine_image(self._chart, self._all_values(build)) for build in _SUFFIX)
        await shared.server.create_database(self._database)
        self._stack.push_async_callback(self._drop_database)
        self._stack.push_async_callback(self._remove)
        await shared.kube.apply(
            _namespace(self.namespace), self._secret(shared.server.engine_dsn(self._database))
        )
        by_service = self.spec.entrance == "service"
        places = [] if by_service else [f"replica-{number}" for number in range(self.spec.replicas)]
        await shared.kube.apply(*place_services(self.namespace, places, _PORTS))
        self._replicas = [await self._replica(place, place) for place in places]
        self.release = Release(shared.access, self.namespace, self._chart)
        self.slots = ReplicaSlots(
            shared.kube,
            self.namespace,
            places,
            self.spec.folder.resolve() / "logs",
            labels=self.release.labels,
        )
        self.slots.open()
        self._stack.push_async_callback(self.slots.close)
        self._stack.push_async_callback(self._heal)

    async def _heal(self) -> None:
        for node in list(self._cordoned):
            await self.uncordon(node)
        for replica in list(self._paused):
            with suppress(ClusterError):
                await self.resume(replica)

    async def _remove(self) -> None:
        """The namespace with all in it."""
        await self.shared.kube.delete("Namespace", self.namespace)
        await remove_pods(self.shared.kube, self.namespace)

    async def _drop_database(self) -> None:
        await self.shared.server.start()
        await self.shared.server.drop_database(self._database)

    def _secret(self, dsn: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": self.namespace},
            "stringData": {SECRET_KEY: dsn},
        }

    def _all_values(self, build: Build) -> dict[str, Any]:
        """The spec's, what upgrades added, and what only the harness knows."""
        values = merge(
            merge(self.spec.values, self._values),
            {
                "replicaCount": self.spec.replicas,
                "postgresql": {"dsn": "", "existingSecret": SECRET, "existingSecretKey": SECRET_KEY},
                **({"service": {"type": "NodePort"}} if self.spec.entrance == "service" else {}),
                **(self._broker.engine_values(secured=False) if self._broker is not None else {}),
            },
        )
        tag = engine_image(self._chart, values).rpartition(":")[2]
        return merge(values, {"image": {"tag": tag + _SUFFIX[build]}})

    async def _open_service(self) -> None:
        found = await self.shared.kube.list("Service", self.namespace, labels=SERVICE_LABELS)
        service = next(
            each for each in found if any(port["name"] == "rest" for port in each["spec"]["ports"])
        )
        self._replicas = [await self._replica(SERVICE, service["metadata"]["name"])]

    async def _replica(self, name: str, service: str) -> Replica:
        found = await self.shared.kube.get("Service", service, self.namespace)
        ports = {port["name"]: port["nodePort"] for port in found["spec"]["ports"]}
        base = f"http://{self.shared.address}"
        metrics = f"{base}:{ports['metrics']}" if "metrics" in ports else None
        return Replica(name, f"{base}:{ports['rest']}", metrics, f"{self.shared.address}:{ports['grpc']}")

    async def _roll(self, change: Callable[[], Awaitable[None]]) -> Rollout:
        before = self._staying()
        message = ""
        with self._watching_readiness() as ready_min:
            try:
                await change()
            except ReleaseFailed as err:
                message = str(err)
            revision = await self.release.revision()
            await self.slots.change()
            after = [pod for pod in self.slots.pods if not pod.is_leaving]
            return Rollout(
                revision=revision.number,
                status=revision.status,
                pods_before=before,
                pods_after=tuple(sorted(pod.uid for pod in after)),
                image_after=", ".join(sorted({pod.image for pod in after})),
                ready_min=ready_min(),
                message=message,
            )

    @contextmanager
    def _watching_readiness(self) -> Iterator[Callable[[], int]]:
        """Inside the block, the fewest ready pods that any look has found."""
        counts = [self._ready_count()]

        async def watch() -> None:
            while True:
                await self.slots.change()
                counts.append(self._ready_count())

        watcher = asyncio.create_task(watch())
        try:
            yield lambda: min(counts)
        finally:
            watcher.cancel()

    def _staying(self) -> tuple[str, ...]:
        return tuple(sorted(pod.uid for pod in self.slots.pods if not pod.is_leaving))

    def _ready_count(self) -> int:
        return sum(pod.is_ready for pod in self.slots.pods)

    def _is_ready(self, replica: str) -> bool:
        pod = self.slots.pod(replica)
        return pod is not None and pod.is_ready and pod.container_id not in self._ended

    def _holds(self, replica: str, before: Pod) -> bool:
        pod = self.slots.pod(replica)
        return pod is not None and pod.container_id == before.container_id and pod.is_running

    def _pod(self, replica: str) -> Pod:
        pod = self.slots.pod(replica)
        if pod is None or not pod.is_running:
            raise ClusterError(
                f"no pod runs as {replica!r}; there are {', '.join(map(str, self.replicas()))}"
            )
        return pod

    async def _until(self, predicate: Callable[[], bool], within_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not predicate():
                    await self.slots.change()
        except TimeoutError:
            raise ClusterError(f"not within {within_s:g} s: {what}; {await self._why_not_up()}") from None

    async def _until_state(self, pod: Pod, predicate: Callable[[str], bool], what: str) -> None:
        give_up_at_s = time.monotonic() + SIGNAL_WITHIN_S
        while not predicate(states := await self.shared.agent.states(pod.node, pod.container_id)):
            if time.monotonic() > give_up_at_s:
                raise ClusterError(f"not within {SIGNAL_WITHIN_S:g} s: {what}; its processes are {states!r}")

    def _without_secret(self, text: str) -> str:
        for secret in (*self.shared.server.secrets, *(self._broker.secrets() if self._broker else ())):
            text = text.replace(secret, "***")
        return text

    async def _why_not_up(self) -> str:
        return await told_by_pods(self.shared.kube, self.namespace, RELEASE)


def _namespace(name: str) -> dict[str, Any]:
    """The strictest pod security there is is in force: what the chart makes must bear it."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
