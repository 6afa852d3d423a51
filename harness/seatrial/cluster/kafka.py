"""Apache Kafka itself, one node, in a folder that goes with it; and a cluster of somebody else's in its place.

Three doors, each for one kind of caller. DIRECT is the harness's and the workers': what is seen there is what the
broker holds, whatever is done to the network. ENGINE and SECURED are the engines': the broker advertises the address
of a proxy for each, so all that an engine ever sends goes through it and can be cut, delayed and read.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from seatrial.cluster import ClusterError
from seatrial.cluster.broker import CutMode
from seatrial.cluster.certificate import Authority, new_authority
from seatrial.cluster.kafka_client import Access, KafkaAdmin, Record
from seatrial.cluster.kafka_installation import install_kafka
from seatrial.cluster.port import Ports
from seatrial.cluster.process import Process, tail
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.reaper import Reaper

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 20.0
TOPIC_PREFIX = "workflow.jobs."
GROUP_PREFIX = "workflow.workers."
ENGINE_USER = "windlass"
#: proves itself and may do nothing
STRANGER = "stranger"
#: of the drills' own broker, wherever it runs: one replica of everything, small thread pools, no topic by accident
SETTINGS: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    # The broker's clock, which is the database's: when a record was taken, not when it was made.
    "log.message.timestamp.type": "LogAppendTime",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "log.index.size.max.bytes": "1048576",
}


def secured_listener(keystore: str) -> Mapping[str, str]:
    """Properties of the door SECURED, wherever the broker runs: SCRAM over TLS, and rights for those with a name."""
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "listener.name.secured.sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.secured.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.secured.ssl.keystore.type": "PEM",
        "listener.name.secured.ssl.keystore.location": keystore,
        "listener.name.secured.ssl.client.auth": "none",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Whoever comes in without a name is the harness, its worker or an engine in plaintext mode.
        "super.users": "User:ANONYMOUS",
    }


async def make_users(admin: KafkaAdmin, passwords: Mapping[str, str]) -> None:
    """Those who may come in by SECURED; only the engine's user gets rights."""
    for user, password in passwords.items():
        await admin.put_user(user, password)
    await admin.grant(ENGINE_USER, TOPIC_PREFIX, GROUP_PREFIX)


class KafkaServer:
    """`start` ... `close`. Usable again after `stop` and `crash`; ports, topics and records stay.

    The proxies live in the loop that started it.
    """

    def __init__(
        self,
        log_path: Path,
        *,
        names: Sequence[str] = ("localhost",),
        addresses: Sequence[str] = ("127.0.0.1",),
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """`names` and `addresses` are those of its certificate, wherever it listens."""
        self.log_path = log_path
        self._certified = (names, addresses)
        self._say = say
        self._passwords = {user: secrets.token_urlsafe(18) for user in (ENGINE_USER, STRANGER)}
        self._ports = Ports()
        self._reaper: Reaper | None = None
        self._folder: Path | None = None
        self._process: Process | None = None
        self._proxies: dict[bool, Proxy] = {}
        self._direct_port = 0
        self._made: set[str] = set()
        self.authority: Authority = new_authority("Seatrial's authority")

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        return self._runs().pid

    async def start(self) -> None:
        """Returns when it answers. Nothing happens when it runs."""
        if self.running:
            return
        is_new = self._process is None
        process = self._process or await self._prepare()
        process.start()
        await self._answer(process)
        if is_new:
            await make_users(self._admin(), self._passwords)

    async def stop(self) -> None:
        """SIGTERM. Nothing happens when it does not run."""
        if self._process is not None and self._process.running:
            if self._process.paused:
                await self._process.resume()
            await self._process.stop(STOP_WITHIN_S)

    async def crash(self) -> None:
        """SIGKILL; returns when it is gone."""
        await self._runs().kill()

    async def pause(self) -> None:
        await self._runs().pause()

    async def resume(self) -> None:
        await self._runs().resume()

    async def cut(self, mode: CutMode, *, delay_s: float = 0.0) -> None:
        """Between all engines and the broker, as `Partition.cut` does for the database."""
        for proxy in self._proxies.values():
            await proxy.cut(mode, delay_s)

    async def mend(self) -> None:
        for proxy in self._proxies.values():
            await proxy.mend()

    def dropped_bytes(self) -> int:
        return sum(proxy.dropped_bytes for proxy in self._proxies.values())

    def cut_connections(self) -> int:
        return sum(proxy.cut_connections for proxy in self._proxies.values())

    def capture(self) -> None:
        self._proxies[True].capture()

    def captured(self) -> Sequence[bytes]:
        return self._proxies[True].captured()

    def access(self) -> Access:
        return Access(f"127.0.0.1:{self._direct_port}")

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        brokers = f"127.0.0.1:{self._proxies[secured].port}"
        if not secured:
            return {"seedBrokers": brokers, "transport": "plaintext"}
        return {
            "seedBrokers": brokers,
            "transport": "sasl_scram_tls",
            "saslUsername": ENGINE_USER,
            "saslPassword": self._passwords[ENGINE_USER],
            "tlsCaPath": str(self._home() / "ca.crt"),
        }

    def stranger_values(self) -> Mapping[str, Any]:
        """As `engine_values`, for the one who may log in and may do nothing."""
        return {
            **self.engine_values(secured=True),
            "saslUsername": STRANGER,
            "saslPassword": self._passwords[STRANGER],
        }

    def other_authority(self) -> Path:
        return new_authority("Somebody else's authority").write(self._home() / "other-ca.crt")

    def secrets(self) -> Sequence[str]:
        return list(self._passwords.values())

    async def create_topics(self, names: Iterable[str]) -> None:
        """Those that are not there yet."""
        fresh = set(names) - self._made
        if fresh:
            await self._admin().create_topics(fresh)
            self._made |= fresh

    async def delete_topics(self, names: Iterable[str]) -> None:
        await self._admin().delete_topics(names)
        self._made -= set(names)

    async def clear(self) -> None:
        """Also mends what a drill left broken."""
        await self.mend()
        if self._process is not None and self._process.running and self._process.paused:
            await self._process.resume()
        await self.start()
        await self.delete_topics(set(self._made))
        self.capture()

    async def records(self) -> list[Record]:
        return await self._admin().records(self._made)

    async def members(self, groups: Iterable[str]) -> dict[str, dict[str, int]]:
        return await self._admin().members(groups)

    async def close(self) -> None:
        """The broker and its folder are gone afterwards; safe to call twice and half-way."""
        if self._process is not None:
            await self._process.kill()
            self._process = None
        for proxy in self._proxies.values():
            await proxy.close()
        self._proxies = {}
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
        self._ports.close()

    async def _prepare(self) -> Process:
        """Everything up to the first start: files, certificates, ports, proxies."""
        installation = await asyncio.to_thread(install_kafka, self._say)
        self._reaper = self._reaper or Reaper()
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=installation.cache))
        self._reaper.watch_folder(self._folder)
        await asyncio.to_thread(installation.copy_template, self._folder / "data")
        self.authority.write(self._folder / "ca.crt")
        self.authority.write_server(self._folder / "broker.pem", *self._certified)
        self._direct_port, controller, engine, secured = (self._ports.take() for _ in range(4))
        for is_secured, port in ((False, engine), (True, secured)):
            proxy = Proxy(self._ports.take(), port)
            self._proxies[is_secured] = proxy
            await proxy.open()
        properties = self._folder / "server.properties"
        properties.write_text(self._properties(controller, engine, secured))
        self._process = Process(
            "kafka",
            installation.command(
                "kafka.Kafka", str(properties), system=("org.slf4j.simpleLogger.showDateTime=true",)
            ),
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self._folder)},
            log_path=self.log_path,
            reaper=self._reaper,
        )
        return self._process

    def _properties(self, controller: int, engine: int, secured: int) -> str:
        """One node that is broker and controller; what every broker here has in common is in SETTINGS."""
        home = self._home()
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"DIRECT://127.0.0.1:{self._direct_port},ENGINE://127.0.0.1:{engine},"
            f"SECURED://127.0.0.1:{secured},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"DIRECT://127.0.0.1:{self._direct_port},"
            f"ENGINE://127.0.0.1:{self._proxies[False].port},SECURED://127.0.0.1:{self._proxies[True].port}",
            "listener.security.protocol.map": "DIRECT:PLAINTEXT,ENGINE:PLAINTEXT,SECURED:SASL_SSL,"
            "CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "DIRECT",
            **secured_listener(str(home / "broker.pem")),
            "log.dirs": f"{home / 'data'}",
            **SETTINGS,
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    async def _answer(self, process: Process) -> None:
        ready = asyncio.ensure_future(self._admin().until_ready(READY_WITHIN_S))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            cause = f"it exited with {process.exit_code}" if ended.done() else str(ready.exception() or "")
        finally:
            ended.cancel()
            ready.cancel()
        if cause:
            await process.kill()
            raise ClusterError(
                f"Kafka did not start: {cause}; the end of {self.log_path}:\n{tail(self.log_path)}"
            )

    def _admin(self) -> KafkaAdmin:
        return KafkaAdmin(self.access())

    def _home(self) -> Path:
        if self._folder is None:
            raise ClusterError("the broker was never started, or is closed; start it first")
        return self._folder

    def _runs(self) -> Process:
        if self._process is None or not self._process.running:
            raise ClusterError("the broker is not running; start it first")
        return self._process


class ExternalKafka:
    """A cluster that runs already. Only topics that a drill made are ever deleted.

    `username` None is plaintext; else SASL_SSL with SCRAM. Engines and workers take the same way to it.
    """

    def __init__(
        self,
        brokers: str,
        *,
        username: str | None = None,
        password: str | None = None,
        mechanism: str = "SCRAM-SHA-512",
        ca_path: str | None = None,
    ) -> None:
        self._brokers = brokers
        self._username = username
        self._password = password
        self._mechanism = mechanism
        self._ca_path = ca_path
        self._made: set[str] = set()

    async def start(self) -> None:
        """Raises ClusterError when it does not answer."""
        await self._admin().until_ready(READY_WITHIN_S / 3)

    async def close(self) -> None:
        await self._admin().delete_topics(self._made)
        self._made.clear()

    def access(self) -> Access:
        if self._username is None:
            return Access(self._brokers)
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": self._mechanism,
            "sasl.username": self._username,
            "sasl.password": self._password or "",
        }
        if self._ca_path:
            options["ssl.ca.location"] = self._ca_path
        return Access(self._brokers, options)

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        if secured and self._username is None:
            raise ClusterError(
                f"the drill speaks to the broker by SASL over TLS, and {self._brokers} was given without credentials; "
                "set SEATRIAL_KAFKA_USERNAME and SEATRIAL_KAFKA_PASSWORD"
            )
        if self._username is None:
            return {"seedBrokers": self._brokers, "transport": "plaintext"}
        return {
            "seedBrokers": self._brokers,
            "transport": "sasl_scram_tls",
            "saslMechanism": self._mechanism,
            "saslUsername": self._username,
            "saslPassword": self._password,
            "tlsCaPath": self._ca_path or "",
        }

    def secrets(self) -> Sequence[str]:
        return [self._password] if self._password else []

    async def create_topics(self, names: Iterable[str]) -> None:
        """Refuses a topic that is there and not of our making: its records are somebody's."""
        fresh = set(names) - self._made
        if taken := fresh & await self._admin().topics():
            raise ClusterError(
                f"{self._brokers} has the topics {', '.join(sorted(taken))} already, and a drill must know every "
                "record of its topics; delete them, or give --brokers a cluster without them"
            )
        if fresh:
            await self._admin().create_topics(fresh)
            self._made |= fresh

    async def delete_topics(self, names: Iterable[str]) -> None:
        ours = set(names) & self._made
        await self._admin().delete_topics(ours)
        self._made -= ours

    async def clear(self) -> None:
        await self.delete_topics(set(self._made))

    async def records(self) -> list[Record]:
        return await self._admin().records(self._made)

    async def members(self, groups: Iterable[str]) -> dict[str, dict[str, int]]:
        return await self._admin().members(groups)

    def _admin(self) -> KafkaAdmin:
        return KafkaAdmin(self.access())
