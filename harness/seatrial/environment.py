"""Where clusters are built: one backend per run, and the one PostgreSQL server its drills share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yaml

from seatrial.cluster import Cluster, ClusterSpec, Entrance, KafkaFaults, KafkaNetwork
from seatrial.cluster.broker import Broker, BrokerKind, BrokerLogin
from seatrial.cluster.brokers import DEFAULT, kind_of
from seatrial.cluster.values import merge

if TYPE_CHECKING:
    from seatrial.cluster.kind.shared import SharedServices
    from seatrial.cluster.postgres import PostgresServer


#: abilities of a broker that the run has started itself
_OF_OUR_BROKER = frozenset({KafkaFaults, KafkaNetwork})


class Misuse(Exception):
    """The request cannot be carried out: names the thing, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run's choices; `replicas` None takes each drill's own number."""

    seed: int
    report_dir: Path
    backend: str = "local"
    replicas: int | None = None
    engine_command: str | None = None
    attach: tuple[str, ...] = ()
    attach_grpc: tuple[str, ...] = ()
    """host:port of the same replicas, in the same order."""
    chart: Path | None = None
    values: tuple[Path, ...] = ()
    transport: str = "rest"
    """What clients and workers speak, a name of `seatrial.client.TRANSPORTS`."""
    brokers: str | None = None
    """A broker that runs already: host:port,host:port; None for one of the run's own."""
    broker_login: BrokerLogin | None = None
    node_image: str | None = None
    context: str | None = None


class Environment:
    """`async with Environment(options) as environment`: it creates clusters, and ends the shared servers. `say` is
    called with lines of progress.
    """

    def __init__(self, options: Options, *, say: Callable[[str], None] = lambda _line: None) -> None:
        self.options = options
        self._say = say
        self._values = read_values(options.values)
        self._stack = AsyncExitStack()
        self._postgres: PostgresServer | None = None
        self._brokers: dict[str, Broker] = {}
        self._shared: SharedServices | None = None

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._postgres, self._brokers, self._shared = None, {}, None
        await self._stack.__aexit__(kind, error, trace)

    @property
    def backend_class(self) -> type:
        """The class of the clusters, whose methods are their abilities."""
        if self.options.attach:
            from seatrial.cluster.attach import AttachedCluster

            return AttachedCluster
        if self.options.backend == "kind":
            from seatrial.cluster.kind.cluster import KindCluster

            return KindCluster
        from seatrial.cluster.local import LocalCluster

        return LocalCluster

    def lacks(self, needs: Sequence[type]) -> list[str]:
        """The names of the abilities that this backend lacks."""
        return [
            need.__name__
            for need in needs
            if not issubclass(self.backend_class, need) or (need in _OF_OUR_BROKER and self.options.brokers)
        ]

    async def cluster(
        self,
        folder: Path,
        *,
        replicas: int,
        values: Mapping[str, Any],
        restart: bool = False,
        broker: BrokerKind | None = None,
        entrance: Entrance = "replicas",
    ) -> Cluster:
        """Creates one that is not yet up; `values` override the run's values files. Raises ClusterError.

        With `broker`, or values that send jobs through one, it has the run's own, emptied of what was there.
        """
        if self.options.attach:
            from seatrial.cluster.attach import AttachedCluster

            return AttachedCluster(self.options.attach, self.options.attach_grpc, folder=folder)
        merged = merge(self._values, values)
        spec = ClusterSpec(
            replicas=self.options.replicas or replicas,
            values=merged,
            engine_command=self.options.engine_command,
            folder=folder,
            entrance=entrance,
        )
        if self.options.backend == "kind":
            from seatrial.cluster.kind.cluster import KindCluster

            shared = await self.shared()
            pod = await shared.emptied_broker(broker) if broker is not None else None
            return KindCluster(spec, shared, broker=pod, chart=self.options.chart)
        from seatrial.cluster.local import LocalCluster

        server = await self._server()
        kind = broker or kind_of(merged)
        between = await self._emptied_broker(kind) if kind is not None else None
        return LocalCluster(spec, postgres=server, broker=between, chart=self.options.chart, restart=restart)

    async def _emptied_broker(self, kind: BrokerKind) -> Broker:
        """Made at the first call for its kind."""
        if kind.name not in self._brokers:
            broker = self._new_broker(kind)
            self._stack.push_async_callback(broker.close)
            await broker.start()
            self._brokers[kind.name] = broker
        await self._brokers[kind.name].clear()
        return self._brokers[kind.name]

    def _new_broker(self, kind: BrokerKind) -> Broker:
        """What --brokers names is of the default kind."""
        if self.options.brokers is None or kind is not DEFAULT:
            return kind.new_server(self.options.report_dir / f"{kind.name}.log", self._say)
        return kind.new_external(self.options.brokers, self.options.broker_login)

    async def shared(self) -> SharedServices:
        """What clusters on Kubernetes share; made at the first call. Raises ClusterError."""
        if self._shared is None:
            from seatrial.cluster.kind.nodes import Images
            from seatrial.cluster.kind.shared import SharedServices

            images = Images.from_env(node=self.options.node_image)
            shared = SharedServices(images=images, context=self.options.context)
            self._stack.push_async_callback(shared.down)
            await shared.up(self._engine_image())
            self._shared = shared
        return self._shared

    def _engine_image(self) -> str:
        from seatrial.cluster.kind.release import engine_image
        from seatrial.render import default_chart

        return engine_image(self.options.chart or default_chart(), self._values)

    async def _server(self) -> PostgresServer:
        if self._postgres is None:
            from seatrial.cluster.postgres import PostgresServer

            log_path = self.options.report_dir / "postgres.log"
            self._postgres = await self._stack.enter_async_context(PostgresServer(log_path))
        return self._postgres


def engine_variables(**variables: float | str) -> dict[str, Any]:
    """Chart values that set engine variables: `engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1)`."""
    return {"extraEnv": [{"name": name, "value": str(value)} for name, value in variables.items()]}


def read_values(files: Sequence[Path]) -> dict[str, Any]:
    """As helm's -f, given several times. Raises Misuse for a file that is not a YAML mapping."""
    merged: dict[str, Any] = {}
    for path in files:
        try:
            found = yaml.safe_load(path.read_text())
        except OSError as err:
            raise Misuse(f"--values {path}: {err.strerror}; give a readable YAML file") from err
        except yaml.YAMLError as err:
            raise Misuse(f"--values {path}: not YAML: {' '.join(str(err).split())}") from err
        if not isinstance(found, dict | None):
            raise Misuse(f"--values {path}: holds a {type(found).__name__}; a values file is a mapping")
        merged = merge(merged, found or {})
    return merged
