"""What the local clusters of a run share: one PostgreSQL server, and one broker."""

from __future__ import annotations

from contextlib import AsyncExitStack

from seatrial.cluster import ClusterSpec
from seatrial.cluster.backend import Say, Services
from seatrial.cluster.broker import Broker, BrokerProcess
from seatrial.cluster.local.cluster import LocalCluster
from seatrial.cluster.postgres import PostgresServer
from seatrial.options import Options


class LocalServices(Services):
    def __init__(self, options: Options, say: Say) -> None:
        self._options = options
        self._say = say
        self._stack = AsyncExitStack()
        self._postgres: PostgresServer | None = None
        self._own_broker: BrokerProcess | None = None
        self._others_broker: Broker | None = None

    async def check(self) -> None:
        """Only the first cluster shows it."""

    async def cluster(self, spec: ClusterSpec, *, restart: bool, broker: bool) -> LocalCluster:
        """One whose values send jobs through a broker has the run's as well."""
        server = await self._server()
        engine = spec.values.get("engine")
        sends = isinstance(engine, dict) and engine.get("dispatchMode") == "kafka_outbox"
        if broker or sends:
            await self._prepare_broker()
        return LocalCluster(
            spec,
            postgres=server,
            broker=self._others_broker if broker or sends else None,
            own_broker=self._own_broker if broker or sends else None,
            chart=self._options.chart,
            restart=restart,
        )

    async def close(self) -> None:
        self._postgres, self._own_broker, self._others_broker = None, None, None
        await self._stack.aclose()

    async def _server(self) -> PostgresServer:
        if self._postgres is None:
            log_path = self._options.report_dir / "postgres.log"
            self._postgres = await self._stack.enter_async_context(PostgresServer(log_path))
        return self._postgres

    async def _prepare_broker(self) -> None:
        """It answers, and is without what earlier drills left."""
        if self._own_broker is None and self._others_broker is None:
            await self._start_broker()
        for broker in (self._own_broker, self._others_broker):
            if broker is not None:
                await broker.clear()

    async def _start_broker(self) -> None:
        from seatrial.cluster.kafka import ExternalKafka, KafkaServer

        login = self._options.broker_login
        if self._options.brokers is None:
            own = KafkaServer(self._options.report_dir / "kafka.log", say=self._say)
            self._stack.push_async_callback(own.close)
            await own.start()
            self._own_broker = own
            return
        if login is None:
            others = ExternalKafka(self._options.brokers)
        else:
            others = ExternalKafka(
                self._options.brokers,
                username=login.username,
                password=login.password,
                mechanism=login.mechanism,
                ca_path=login.ca_path,
            )
        self._stack.push_async_callback(others.close)
        await others.start()
        self._others_broker = others
