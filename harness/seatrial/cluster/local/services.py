"""What the local clusters of a run share: one PostgreSQL server, and one broker of each kind."""

from __future__ import annotations

from contextlib import AsyncExitStack

from seatrial.cluster import ClusterSpec
from seatrial.cluster.backend import Say, Services
from seatrial.cluster.broker import Broker, BrokerKind, BrokerProcess
from seatrial.cluster.brokers import DEFAULT, kind_of
from seatrial.cluster.local.cluster import LocalCluster
from seatrial.cluster.options import Options
from seatrial.cluster.postgres import PostgresServer


class LocalServices(Services):
    def __init__(self, options: Options, say: Say) -> None:
        self._options = options
        self._say = say
        self._stack = AsyncExitStack()
        self._postgres: PostgresServer | None = None
        self._own_brokers: dict[str, BrokerProcess] = {}
        self._others_broker: Broker | None = None

    async def check(self) -> None:
        """Such a failure shows only when the first cluster is made."""

    async def cluster(self, spec: ClusterSpec, *, restart: bool, broker: BrokerKind | None) -> LocalCluster:
        """A cluster whose values send jobs through a broker gets the run's broker as well."""
        server = await self._server()
        kind = broker or kind_of(spec.values)
        own, others = None, None
        if kind is not None and self._is_others(kind):
            others = await self._emptied_others_broker(kind)
        elif kind is not None:
            own = await self._emptied_own_broker(kind)
        return LocalCluster(
            spec, postgres=server, broker=others, own_broker=own, chart=self._options.chart, restart=restart
        )

    async def close(self) -> None:
        self._postgres, self._own_brokers, self._others_broker = None, {}, None
        await self._stack.aclose()

    async def _server(self) -> PostgresServer:
        if self._postgres is None:
            log_path = self._options.report_dir / "postgres.log"
            self._postgres = await self._stack.enter_async_context(PostgresServer(log_path))
        return self._postgres

    def _is_others(self, kind: BrokerKind) -> bool:
        """A broker given with --brokers is of the default kind."""
        return self._options.brokers is not None and kind is DEFAULT

    async def _emptied_own_broker(self, kind: BrokerKind) -> BrokerProcess:
        """Started at the first call for its kind; what earlier drills left in it is removed."""
        if kind.name not in self._own_brokers:
            started = kind.new_server(self._options.report_dir / f"{kind.name}.log", self._say)
            self._stack.push_async_callback(started.close)
            await started.start()
            self._own_brokers[kind.name] = started
        await self._own_brokers[kind.name].clear()
        return self._own_brokers[kind.name]

    async def _emptied_others_broker(self, kind: BrokerKind) -> Broker:
        """Checked at the first call; what earlier drills left in it is removed."""
        if self._others_broker is None:
            found = kind.new_external(str(self._options.brokers), self._options.broker_login)
            self._stack.push_async_callback(found.close)
            await found.start()
            self._others_broker = found
        await self._others_broker.clear()
        return self._others_broker
