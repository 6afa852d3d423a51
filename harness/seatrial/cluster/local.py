"""The embedded default: PostgreSQL from a wheel and the engine's replicas as processes on this machine.

Nothing is configured here. The chart is rendered once per replica; the container's command, variables, ports
and probes are what runs. Only the port numbers and the database's address are the machine's own, and they too
go in as chart values.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import aiohttp
import psutil
import psycopg

from seatrial.cluster import BootReport, ClusterError, ClusterSpec, Replica
from seatrial.cluster.boot import observed_boot
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess, CutMode
from seatrial.cluster.brokers import kind_of
from seatrial.cluster.kubelet import Kubelet
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.probe import failure
from seatrial.cluster.process import Process, tail
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.values import merge
from seatrial.render import ContainerSpec, RenderError, default_chart, render_chart

READY_WITHIN_S = 30.0
#: at the end of a drill nobody waits for a graceful stop any longer than this
DOWN_GRACE_S = 2.0
_READY_INTERVAL_S = 0.05
_TERMINATED_WITHIN_MS = 5_000
_SAID_CHARACTERS_MAX = 1000
_PORTS = ("rest", "grpc", "metrics")


@dataclass(frozen=True, slots=True)
class _Node:
    """One replica, and the path between it and the database."""

    replica: Replica
    container: ContainerSpec
    process: Process
    kubelet: Kubelet
    proxy: Proxy


class LocalCluster:
    """Has every ability: Kill, Pause, Partition, Database, Logs, Sockets, Restarts, Siblings, Reconfigure,
    RollingReconfigure, Boots, and with a `broker` Kafka, KafkaNetwork and KafkaFaults.

    In a `postgres` of somebody else's it makes and drops one database; without, it has a server of its own.
    With `restart` each replica has a kubelet that starts it again when it ends and kills it when its liveness
    probe fails; a replica that was stopped with `stop` stays down until `start`.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        *,
        postgres: PostgresServer | None = None,
        broker: Broker | None = None,
        chart: Path | None = None,
        restart: bool = False,
    ) -> None:
        if spec.replicas < 1:
            raise ClusterError(f"replicas must be at least 1, got {spec.replicas}")
        self.spec = spec
        self._folder = spec.folder.resolve()
        self._broker = broker
        self._chart = chart
        self._restart = restart
        self._is_own_postgres = postgres is None
        self._postgres = postgres or PostgresServer(self._folder / "logs" / "postgres.log")
        self._database = f"trial_{secrets.token_hex(4)}"
        self._nodes: dict[str, _Node] = {}
        self._boots = 0
        self._has_foundations = False
        self._stack = AsyncExitStack()
        self._ports = Ports()
        self._reaper: Reaper
        self._session: aiohttp.ClientSession

    async def up(self) -> None:
        """Returns when every replica's readiness probe passes; on an error everything is taken down again."""
        if self._nodes:
            raise ClusterError("the cluster is already up; take it down first")
        try:
            await self._lay_foundations()
            for number in range(self.spec.replicas):
                name = f"replica-{number}"
                self._nodes[name] = await self._make_node(name, self.spec.values)
                self._stack.push_async_callback(self._take_down, name)
            async with asyncio.TaskGroup() as starts:
                for name in self._nodes:
                    starts.create_task(self.start(name))
        except BaseExceptionGroup as errors:
            await self.down()
            raise errors.exceptions[0] from None
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        await self._stack.aclose()
        self._nodes = {}
        self._has_foundations = False

    def replicas(self) -> Sequence[Replica]:
        return [node.replica for node in self._nodes.values()]

    async def kill(self, replica: str) -> None:
        await self._node(replica).process.kill()

    async def stop(self, replica: str) -> int:
        node = self._node(replica)
        await node.kubelet.unwatch()
        return await node.process.stop(node.container.termination_grace_s)

    async def start(self, replica: str, *, wait_ready: bool = True) -> None:
        """A replica that runs is not started again, but waited for."""
        node = self._node(replica)
        if not node.process.running:
            node.process.start()
        if wait_ready:
            await self._until_ready(node)
        if self._restart:
            node.kubelet.watch()

    async def reconfigure(
        self, replica: str, values: Mapping[str, object], *, wait_ready: bool = True
    ) -> None:
        await self.stop(replica)
        node = self._node(replica)
        container = self._render(
            replica, node.proxy.port, merge(self.spec.values, values), ports=node.container.ports
        )
        process = self._process(replica, container)
        process.unasked_exits += node.process.unasked_exits
        self._nodes[replica] = replace(
            node,
            container=container,
            process=process,
            kubelet=Kubelet(process, container.probes.get("liveness"), self._session),
        )
        await self.start(replica, wait_ready=wait_ready)

    async def reconfigure_all(self, values: Mapping[str, object]) -> None:
        for name in self._nodes:
            await self.reconfigure(name, values)

    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        await self._lay_foundations()
        self._boots += 1
        node = await self._make_node(f"boot-{self._boots}", merge(self.spec.values, values))
        try:
            return await observed_boot(
                node.process, node.container, self._session, bound_s, self._without_secret
            )
        finally:
            await node.process.kill()
            await node.proxy.close()

    def broker(self) -> Broker:
        if self._broker is None:
            raise ClusterError("this cluster has no broker; the drill's mode must be kafka or both")
        return self._broker

    def broker_network(self) -> BrokerNetwork:
        return self.broker_process()

    def broker_process(self) -> BrokerProcess:
        broker = self.broker()
        if not isinstance(broker, BrokerProcess):
            raise ClusterError(
                "the broker was given with --brokers, and drills must not break it; leave --brokers out"
            )
        return broker

    def restarts(self, replica: str) -> int:
        """How often its kubelet started it again."""
        return self._node(replica).kubelet.restarts

    async def pause(self, replica: str) -> None:
        await self._node(replica).process.pause()

    async def resume(self, replica: str) -> None:
        await self._node(replica).process.resume()

    async def cut(self, replica: str, mode: CutMode, *, delay_s: float = 0.0) -> None:
        await self._node(replica).proxy.cut(mode, delay_s)

    async def mend(self, replica: str) -> None:
        await self._node(replica).proxy.mend()

    def dropped_bytes(self, replica: str) -> int:
        return self._node(replica).proxy.dropped_bytes

    def cut_connections(self, replica: str) -> int:
        return self._node(replica).proxy.cut_connections

    def dsn(self) -> str:
        """The superuser's, over the Unix socket: sees all sessions, holds no secret."""
        return self._postgres.dsn(self._database)

    async def crash_database(self) -> None:
        await self._postgres.crash()

    async def stop_database(self, mode: Literal["immediate", "fast"] = "immediate") -> None:
        await self._postgres.stop(mode)

    async def start_database(self) -> None:
        await self._postgres.start()

    async def terminate_sessions(self, replica: str) -> int:
        """Returns when they are gone from the database."""
        ports = list(self._node(replica).proxy.database_side_ports())
        try:
            async with await psycopg.AsyncConnection.connect(self.dsn(), autocommit=True) as connection:
                found = await connection.execute(
                    "SELECT count(pg_terminate_backend(pid, %s)) FROM pg_stat_activity"
                    " WHERE client_port = ANY(%s) AND datname = %s",
                    (_TERMINATED_WITHIN_MS, ports, self._database),
                )
                row = await found.fetchone()
        except psycopg.Error as err:
            raise ClusterError(f"the sessions of {replica} cannot be terminated: {err}") from err
        return int(row[0]) if row else 0

    def log_path(self, replica: str) -> Path:
        return self._node(replica).process.log_path

    def run_began_at(self, replica: str) -> int:
        return self._node(replica).process.run_began_at

    def unasked_exits(self, replica: str) -> Sequence[int]:
        return self._node(replica).process.unasked_exits

    async def peers(self, replica: str) -> Sequence[str]:
        node = self._node(replica)
        if not node.process.running:
            return []
        sockets = psutil.Process(node.process.pid).net_connections(kind="tcp")
        listening = {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}
        return [
            f"{each.raddr.ip}:{each.raddr.port}"
            for each in sockets
            if each.raddr and each.laddr.port not in listening and each.raddr.port != node.proxy.port
        ]

    def sibling(self, folder: Path, *, replicas: int, values: Mapping[str, object]) -> LocalCluster:
        spec = ClusterSpec(replicas, values, self.spec.engine_command, folder)
        return LocalCluster(
            spec, postgres=self._postgres, broker=self._broker, chart=self._chart, restart=self._restart
        )

    async def run_command(self, replica: str, *words: str) -> None:
        """Always the chart's program: an engine command says nothing about other words than its own."""
        node = self._node(replica)
        program = shutil.which(node.container.command[0], path=self._base_env()["PATH"])
        command = [program or node.container.command[0], *words]
        ran = await asyncio.create_subprocess_exec(
            *command,
            env={**self._base_env(), **node.container.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await ran.communicate()
        if ran.returncode:
            text = self._without_secret(said.decode(errors="replace"))[-_SAID_CHARACTERS_MAX:]
            raise ClusterError(f"{' '.join(command)} exited with {ran.returncode}: {text}")

    async def _lay_foundations(self) -> None:
        """All that the replicas share; what is made here is given back by `down` in reverse order."""
        if self._has_foundations:
            return
        self._has_foundations = True
        self._stack.callback(self._ports.close)
        if self._is_own_postgres:
            self._stack.push_async_callback(self._postgres.close)
        # Also mends a shared server that a drill left crashed.
        await self._postgres.start()
        await self._postgres.create_database(self._database)
        if not self._is_own_postgres:
            self._stack.push_async_callback(self._drop_database)
        self._reaper = Reaper()
        self._stack.callback(self._reaper.close)
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())

    async def _drop_database(self) -> None:
        await self._postgres.start()
        await self._postgres.drop_database(self._database)

    async def _make_node(self, name: str, values: Mapping[str, Any]) -> _Node:
        proxy = Proxy(self._ports.take(), self._postgres.port)
        await proxy.open()
        self._stack.push_async_callback(proxy.close)
        ports = {part: self._ports.take() for part in _PORTS}
        container = self._render(name, proxy.port, values, ports=ports)
        process = self._process(name, container)
        return _Node(
            Replica(
                name,
                rest_url=f"http://127.0.0.1:{container.ports['rest']}",
                metrics_url=f"http://127.0.0.1:{container.ports['metrics']}",
                grpc_address=f"127.0.0.1:{container.ports['grpc']}",
            ),
            container,
            process,
            Kubelet(process, container.probes.get("liveness"), self._session),
            proxy,
        )

    def _process(self, name: str, container: ContainerSpec) -> Process:
        return Process(
            name,
            self._command(container),
            env={**self._base_env(), **container.env},
            log_path=self._folder / "logs" / f"{name}.log",
            reaper=self._reaper,
        )

    def _render(
        self, name: str, database_port: int, values: Mapping[str, Any], *, ports: Mapping[str, int]
    ) -> ContainerSpec:
        values = merge(
            self._with_broker(values),
            {
                "replicaCount": self.spec.replicas,
                "engine": {part: {"port": ports[part]} for part in _PORTS},
                "postgresql": {
                    "dsn": self._postgres.engine_dsn(self._database, database_port),
                    "existingSecret": "",
                },
            },
        )
        try:
            rendered = render_chart(self._chart or default_chart(), values)
            return rendered.containers("Deployment", pod_name=name)[0]
        except RenderError as err:
            raise ClusterError(f"the chart cannot be rendered: {self._without_secret(str(err))}") from None

    def _with_broker(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Where the broker is, unless the values say otherwise; nothing of it in polling mode."""
        kind = kind_of(values)
        if kind is None:
            return values
        return merge(self.broker().engine_values(secured=kind.is_secured(values)), values)

    def _command(self, container: ContainerSpec) -> Sequence[str]:
        """The container's, or the operator's in its place; programs are found beside this Python first."""
        try:
            words = shlex.split(self.spec.engine_command or "") or list(container.command)
        except ValueError as err:
            raise ClusterError(f"engine command {self.spec.engine_command!r}: {err}") from None
        program = shutil.which(words[0], path=self._base_env()["PATH"])
        if program is None:
            raise ClusterError(
                f"engine command {words[0]!r} is not a program in {self._base_env()['PATH']}; give its full path"
            )
        return [program, *words[1:]]

    def _base_env(self) -> dict[str, str]:
        """All a process gets besides what the chart gives it; nothing of the harness's own environment."""
        return {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
        }

    async def _until_ready(self, node: _Node) -> None:
        probe = node.container.probes.get("readiness")
        give_up_at_s = time.monotonic() + READY_WITHIN_S
        cause: str | None = "its readiness probe was never called"
        while node.process.running and time.monotonic() < give_up_at_s:
            cause = await failure(self._session, probe) if probe else None
            if cause is None:
                return
            await asyncio.sleep(_READY_INTERVAL_S)
        state = (
            f"is not ready after {READY_WITHIN_S:g} s"
            if node.process.running
            else f"exited with {node.process.exit_code} before it was ready"
        )
        log = self._without_secret(tail(node.process.log_path))
        raise ClusterError(
            f"{node.replica.name} {state}: {cause}; the end of {node.process.log_path}:\n{log}"
        )

    def _without_secret(self, text: str) -> str:
        for secret in (self._postgres.secret, *(self._broker.secrets() if self._broker else ())):
            text = text.replace(secret, "***")
        return text

    async def _take_down(self, name: str) -> None:
        node = self._nodes[name]
        await node.kubelet.unwatch()
        await node.proxy.mend()
        if node.process.paused:
            await node.process.resume()
        if node.process.running:
            await node.process.stop(DOWN_GRACE_S)

    def _node(self, replica: str) -> _Node:
        try:
            return self._nodes[replica]
        except KeyError:
            names = ", ".join(self._nodes) or "none: the cluster is not up"
            raise ClusterError(f"no replica {replica!r}; there are {names}") from None
