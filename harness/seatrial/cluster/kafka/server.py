"""Apache Kafka as a process on this machine, one node, in a folder that goes with it.

Three listeners, each for one kind of client. DIRECT is for the harness and the workers: it shows what the broker
holds, whatever is done to the network. ENGINE and SECURED are for the engines: the broker advertises the address of a
proxy for each, so all that an engine sends goes through the proxy and can be cut, delayed and read.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.broker import BootCase, BrokerLogin, CutMode
from seatrial.cluster.certificate import Authority, new_authority
from seatrial.cluster.kafka import logins
from seatrial.cluster.kafka.access import KafkaAccess
from seatrial.cluster.kafka.broker import KafkaTopics
from seatrial.cluster.kafka.installation import install_kafka
from seatrial.cluster.kafka.names import topic_of
from seatrial.cluster.kafka.settings import (
    ENGINE_USER,
    READY_WITHIN_S,
    SETTINGS,
    STRANGER,
    make_users,
    secured_listener,
)
from seatrial.cluster.kafka.values import (
    KEY,
    plaintext_lines,
    plaintext_values,
    secured_lines,
    secured_values,
)
from seatrial.cluster.port import Ports
from seatrial.cluster.process import Process, tail
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.startable import Startable

STOP_WITHIN_S = 20.0


class KafkaServer(KafkaTopics, Startable):
    """`start` ... `close`. Usable again after `stop` and `crash`; ports, topics and records stay.

    The proxies run in the event loop that started it.
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
        super().__init__()
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
        self.authority: Authority = new_authority("Seatrial's authority")

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
            await make_users(self.admin(), self._passwords)

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

    def access(self) -> KafkaAccess:
        return KafkaAccess(f"127.0.0.1:{self._direct_port}")

    def kafka_values(self, *, secured: bool) -> Mapping[str, Any]:
        """What stands below the chart's key `kafka`."""
        return self._values_of(ENGINE_USER) if secured else plaintext_values(self._address(secured=False))

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        return {KEY: self.kafka_values(secured=secured)}

    def boot_lines(self, *, secured: bool) -> Sequence[str]:
        return secured_lines(ENGINE_USER) if secured else plaintext_lines(self._address(secured=False))

    def refused_logins(self, job_types: Iterable[str]) -> Sequence[BootCase]:
        return logins.refused(
            self.kafka_values(secured=True),
            stranger=self.stranger_values(),
            other_authority=self.other_authority(),
            topics=map(topic_of, job_types),
        )

    def accepted_logins(self) -> Sequence[BootCase]:
        return logins.accepted(self.kafka_values(secured=True))

    def stranger_values(self) -> Mapping[str, Any]:
        """As `kafka_values`, for a user who may log in but has no rights."""
        return self._values_of(STRANGER)

    def other_authority(self) -> Path:
        """A CA file that did not sign the broker's certificate."""
        return new_authority("Somebody else's authority").write(self._home() / "other-ca.crt")

    def secrets(self) -> Sequence[str]:
        return list(self._passwords.values())

    async def clear(self) -> None:
        """Also mends what a drill left broken."""
        await self.mend()
        if self._process is not None and self._process.running and self._process.paused:
            await self._process.resume()
        await self.start()
        await super().clear()
        self.capture()

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
        ready = asyncio.ensure_future(self.until_ready(READY_WITHIN_S))
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

    def _address(self, *, secured: bool) -> str:
        return f"127.0.0.1:{self._proxies[secured].port}"

    def _values_of(self, user: str) -> Mapping[str, Any]:
        login = BrokerLogin(user, self._passwords[user], ca_path=str(self._home() / "ca.crt"))
        return secured_values(self._address(secured=True), login)

    def _home(self) -> Path:
        if self._folder is None:
            raise ClusterError("the broker was never started, or is closed; start it first")
        return self._folder

    def _runs(self) -> Process:
        if self._process is None or not self._process.running:
            raise ClusterError("the broker is not running; start it first")
        return self._process
