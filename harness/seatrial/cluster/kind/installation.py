"""One release of the chart with its namespace and its database, and what its pods are doing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from seatrial.cluster import ClusterError, ClusterSpec, Replica
from seatrial.cluster.ability import Build
from seatrial.cluster.broker import BrokerInCluster
from seatrial.cluster.certificate import new_authority
from seatrial.cluster.kind.kube import remove_pods
from seatrial.cluster.kind.reachability import told_by_pods
from seatrial.cluster.kind.release import RELEASE, Release, engine_image
from seatrial.cluster.kind.replica_slots import SERVICE, Pod, ReplicaSlots, place_services
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.mounted_certificate import AUTHORITY, CERTIFICATE, KEY
from seatrial.cluster.tokens import TOKENS_FILE, tokens_file
from seatrial.cluster.values import merge
from seatrial.render import default_chart

READY_WITHIN_S = 60.0
SECRET, SECRET_KEY = "database", "dsn"
TOKENS, TOKEN, TOKEN_KEY = "tokens", "token", "token"
TLS = "certificate"
SERVICE_LABELS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=engine"
_WITH_TOKEN: Mapping[str, Any] = {
    "auth": {"existingSecret": TOKENS, "existingSecretKey": TOKENS_FILE},
    "tests": {"existingSecret": TOKEN, "existingSecretKey": TOKEN_KEY},
}
_PORTS = {"rest": 8080, "grpc": 9090, "metrics": 9091}
_SUFFIX: dict[Build, str] = {"this": "", "next": "-next", "broken": "-broken"}


class Installation:
    """`prepare` ... `remove`. The release is not installed by `prepare`: a drill of boots never installs it."""

    def __init__(
        self, spec: ClusterSpec, shared: SharedServices, *, broker: BrokerInCluster | None, chart: Path | None
    ) -> None:
        self.spec = spec
        self.shared = shared
        self.broker = broker
        self.chart = chart or default_chart()
        self.namespace = f"trial-{secrets.token_hex(4)}"
        self.database = self.namespace.replace("-", "_")
        self.release: Release
        self.slots: ReplicaSlots
        self.replicas: list[Replica] = []
        self.ended: set[str] = set()
        """Ids of containers that a drill has ended, of which the API may still say that they are ready."""
        self._heals: list[Callable[[], Awaitable[None]]] = []
        self._added_values: dict[str, Any] = {}
        self._is_prepared = False
        self._stack = AsyncExitStack()

    def heal_with(self, heal: Callable[[], Awaitable[None]]) -> None:
        """Called by `remove` while the pods are still there. To be given before `prepare`."""
        self._heals.append(heal)

    async def prepare(self) -> None:
        """All that a release needs before it is installed; nothing happens when it is there already."""
        if self._is_prepared:
            return
        self._is_prepared = True
        shared = self.shared
        await shared.server.start()
        # Also what it may be upgraded to, since copying an image takes long on a cluster under load.
        await shared.load(engine_image(self.chart, self.values(build)) for build in _SUFFIX)
        await shared.server.create_database(self.database)
        self._stack.push_async_callback(self._drop_database)
        self._stack.push_async_callback(self._remove_namespace)
        await shared.kube.apply(
            _namespace(self.namespace),
            self.secret(shared.server.engine_dsn(self.database)),
            *self._tokens_secrets(),
            *self._certificate_secrets(),
        )
        places = [] if self.by_service else [f"replica-{number}" for number in range(self.spec.replicas)]
        await shared.kube.apply(*place_services(self.namespace, places, _PORTS))
        self.replicas = [await self._replica(place, place) for place in places]
        self.release = Release(shared.access, self.namespace, self.chart)
        self.slots = ReplicaSlots(
            shared.kube,
            self.namespace,
            places,
            self.spec.folder.resolve() / "logs",
            labels=self.release.labels,
        )
        self.slots.open()
        self._stack.push_async_callback(self.slots.close)
        for heal in self._heals:
            self._stack.push_async_callback(heal)

    async def remove(self) -> None:
        """Heals, then undoes `prepare` in reverse order; safe to call twice."""
        await self._stack.aclose()
        self.replicas = []
        self._is_prepared = False

    @property
    def by_service(self) -> bool:
        return self.spec.entrance == "service"

    def secret(self, dsn: str) -> dict[str, Any]:
        return self._secret(SECRET, {SECRET_KEY: dsn})

    def _secret(self, name: str, contents: Mapping[str, str]) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "stringData": dict(contents),
        }

    def _tokens_secrets(self) -> list[dict[str, Any]]:
        """What engines are told of the run's token, and the token itself for `helm test`."""
        token = self.spec.token
        if token is None:
            return []
        return [
            self._secret(TOKENS, {TOKENS_FILE: tokens_file(token)}),
            self._secret(TOKEN, {TOKEN_KEY: token}),
        ]

    def _certificate_secrets(self) -> list[dict[str, Any]]:
        """As cert-manager makes one, for the nodes' address and for the release's names in the cluster."""
        if not self.spec.tls:
            return []
        authority, service = new_authority("Seatrial"), f"{RELEASE}.{self.namespace}.svc"
        self.spec.folder.mkdir(parents=True, exist_ok=True)
        authority.write(self._ca_file)
        issued = authority.issue([service, f"{service}.cluster.local"], [self.shared.address])
        contents = {CERTIFICATE: issued.certificate, KEY: issued.key, AUTHORITY: authority.pem()}
        secret = self._secret(TLS, {name: content.decode() for name, content in contents.items()})
        return [secret | {"type": "kubernetes.io/tls"}]

    @property
    def _ca_file(self) -> Path:
        return self.spec.folder.resolve() / AUTHORITY

    def add_values(self, values: dict[str, Any]) -> None:
        """For this and all later upgrades."""
        self._added_values = merge(self._added_values, values)

    def values(self, build: Build) -> dict[str, Any]:
        """The spec's, what upgrades added, and what only the harness knows."""
        values = merge(
            merge(self.spec.values, self._added_values),
            {
                "replicaCount": self.spec.replicas,
                "postgresql": {"dsn": "", "existingSecret": SECRET, "existingSecretKey": SECRET_KEY},
                **({"tls": {"existingSecret": TLS}} if self.spec.tls else {}),
                **(_WITH_TOKEN if self.spec.token is not None else {}),
                **({"service": {"type": "NodePort"}} if self.by_service else {}),
                **(self.broker.engine_values(secured=False) if self.broker is not None else {}),
            },
        )
        tag = engine_image(self.chart, values).rpartition(":")[2]
        return merge(values, {"image": {"tag": tag + _SUFFIX[build]}})

    async def open_service(self) -> None:
        """The one address, that of the chart's Service, when it is the entrance."""
        found = await self.shared.kube.list("Service", self.namespace, labels=SERVICE_LABELS)
        service = next(
            each for each in found if any(port["name"] == "rest" for port in each["spec"]["ports"])
        )
        self.replicas = [await self._replica(SERVICE, service["metadata"]["name"])]

    def pod(self, replica: str) -> Pod:
        """The one that runs as this replica. Raises ClusterError."""
        pod = self.slots.pod(replica)
        if pod is None or not pod.is_running:
            raise ClusterError(f"no pod runs as {replica!r}; there are {', '.join(map(str, self.replicas))}")
        return pod

    def staying(self) -> tuple[str, ...]:
        """The unique ids of the pods that are not leaving."""
        return tuple(sorted(pod.uid for pod in self.slots.pods if not pod.is_leaving))

    def ready_count(self) -> int:
        return sum(pod.is_ready for pod in self.slots.pods)

    @contextmanager
    def watching_readiness(self) -> Iterator[Callable[[], int]]:
        """Inside the block, the fewest ready pods that any look has found."""
        counts = [self.ready_count()]

        async def watch() -> None:
            while True:
                await self.slots.change()
                counts.append(self.ready_count())

        watcher = asyncio.create_task(watch())
        try:
            yield lambda: min(counts)
        finally:
            watcher.cancel()

    async def until(self, predicate: Callable[[], bool], within_s: float, what: str) -> None:
        """Asks after every look at the pods. Raises ClusterError naming `what`."""
        try:
            async with asyncio.timeout(within_s):
                while not predicate():
                    await self.slots.change()
        except TimeoutError:
            raise ClusterError(f"not within {within_s:g} s: {what}; {await self.why_not_up()}") from None

    async def why_not_up(self) -> str:
        return await told_by_pods(self.shared.kube, self.namespace, RELEASE)

    @property
    def secrets(self) -> Sequence[str]:
        """The passwords of the database, and the run's token."""
        return [*self.shared.server.secrets, *([self.spec.token] if self.spec.token is not None else ())]

    def without_secret(self, text: str) -> str:
        for secret in filter(None, (*self.secrets, *(self.broker.secrets() if self.broker else ()))):
            text = text.replace(secret, "***")
        return text

    async def _replica(self, name: str, service: str) -> Replica:
        found = await self.shared.kube.get("Service", service, self.namespace)
        ports = {port["name"]: port["nodePort"] for port in found["spec"]["ports"]}
        base = f"{'https' if self.spec.tls else 'http'}://{self.shared.address}"
        metrics = f"{base}:{ports['metrics']}" if "metrics" in ports else None
        return Replica(
            name,
            f"{base}:{ports['rest']}",
            metrics,
            f"{self.shared.address}:{ports['grpc']}",
            self.spec.token,
            str(self._ca_file) if self.spec.tls else None,
        )

    async def _remove_namespace(self) -> None:
        """With all in it."""
        await self.shared.kube.delete("Namespace", self.namespace)
        await remove_pods(self.shared.kube, self.namespace)

    async def _drop_database(self) -> None:
        await self.shared.server.start()
        await self.shared.server.drop_database(self.database)


def _namespace(name: str) -> dict[str, Any]:
    """It enforces the strictest pod security there is, which the chart's pods must fulfil."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
