"""From chart values to a replica that can be started: rendered container, ports, proxy, process, environment."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.cluster import ClusterError, ClusterSpec, Replica
from seatrial.cluster.broker import Broker
from seatrial.cluster.brokers import WITH_BROKER, kind_of
from seatrial.cluster.local.doors import ADDRESS, Doors
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.kubelet import Kubelet
from seatrial.cluster.local.replicas import LocalReplica
from seatrial.cluster.memory_limit import MemoryLimit, limited
from seatrial.cluster.process import Process
from seatrial.cluster.proxy import Proxy
from seatrial.cluster.values import merge
from seatrial.render import ContainerSpec, RenderError, default_chart, render_chart

_PORTS = ("rest", "grpc", "metrics")
_SERVE, _SCHEDULER = ("serve",), ("scheduler",)


class Launcher:
    """Makes replicas on a foundation; starts none."""

    def __init__(
        self, spec: ClusterSpec, foundation: Foundation, *, broker: Broker | None, chart: Path | None
    ) -> None:
        self._spec = spec
        self._foundation = foundation
        self._broker = broker
        self._chart = chart
        self.doors = Doors(spec, foundation)
        self._limits: dict[str, MemoryLimit] = {}

    async def new(self, name: str, values: Mapping[str, Any], *, takes_calls: bool = True) -> LocalReplica:
        """With ports and a proxy of its own, which the foundation's removal closes; one that takes no calls is a
        scheduler. Raises ClusterError.
        """
        foundation = self._foundation
        proxy = Proxy(foundation.ports.take(), foundation.postgres.port)
        await proxy.open()
        foundation.before_removal(proxy.close)
        ports = {part: foundation.ports.take() for part in _PORTS}
        container = self._render(name, proxy.port, values, ports=ports, takes_calls=takes_calls)
        process = self._process(name, container)
        address = Replica(
            name,
            rest_url=f"{self.doors.scheme}://{ADDRESS}:{container.ports['rest']}",
            metrics_url=f"{self.doors.scheme}://{ADDRESS}:{container.ports['metrics']}",
            grpc_address=f"{ADDRESS}:{container.ports['grpc']}" if takes_calls else None,
            token=self._spec.token,
            ca_file=self.doors.ca_file,
        )
        kubelet = self._kubelet(process, container)
        return LocalReplica(
            address, container, process, kubelet, proxy, self._limits.get(name), takes_calls=takes_calls
        )

    def changed(self, replica: LocalReplica, values: Mapping[str, Any]) -> LocalReplica:
        """The same replica on the same ports, with other values."""
        # A scheduler's container names no port for gRPC, though the chart must be told one.
        known = replica.container.ports
        ports = {part: known.get(part) or self._foundation.ports.take() for part in _PORTS}
        container = self._render(
            replica.name, replica.proxy.port, values, ports=ports, takes_calls=replica.takes_calls
        )
        process = self._process(replica.name, container)
        process.unasked_exits += replica.process.unasked_exits
        kubelet = self._kubelet(process, container)
        memory = self._limits.get(replica.name)
        return replace(replica, container=container, process=process, kubelet=kubelet, memory=memory)

    def base_env(self) -> dict[str, str]:
        """The variables that a process gets beside the chart's; none of the harness's own environment."""
        return {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
            "HOME": str(self._foundation.folder),
            "LANG": "C.UTF-8",
        }

    def without_secret(self, text: str) -> str:
        secrets = [self._foundation.postgres.secret, *(self._broker.secrets() if self._broker else ())]
        for secret in filter(None, (*secrets, self._foundation.redis_url, self._spec.token)):
            text = text.replace(secret, "***")
        return text

    def _kubelet(self, process: Process, container: ContainerSpec) -> Kubelet:
        return Kubelet(process, container.probes.get("liveness"), self._foundation.session)

    def _process(self, name: str, container: ContainerSpec) -> Process:
        return Process(
            name,
            self._command(container),
            env={**self.base_env(), **container.env},
            log_path=self._foundation.folder / "logs" / f"{name}.log",
            reaper=self._foundation.reaper,
            memory=self._limit(name, container.memory_bytes_max),
        )

    def _limit(self, name: str, limit_bytes: int | None) -> MemoryLimit | None:
        """One for all the processes of a node, so that it counts over restarts."""
        if limit_bytes is None:
            return None
        if name in self._limits:
            self._limits[name].change(limit_bytes)
        else:
            self._limits[name] = limited(limit_bytes, self._foundation.reaper)
            self._foundation.before_removal(self._give_back_limit, name)
        return self._limits[name]

    async def _give_back_limit(self, name: str) -> None:
        await self._limits.pop(name).remove()

    def _render(
        self,
        name: str,
        database_port: int,
        values: Mapping[str, Any],
        *,
        ports: Mapping[str, int],
        takes_calls: bool,
    ) -> ContainerSpec:
        foundation = self._foundation
        values = merge(
            self._with_wake_bus(self._with_broker(values)),
            {
                **self.doors.values(),
                "replicaCount": self._spec.replicas,
                "engine": {part: {"port": ports[part]} for part in _PORTS},
                "postgresql": {
                    "dsn": foundation.engine_dsn(database_port),
                    "existingSecret": "",
                },
            },
        )
        try:
            rendered = render_chart(self._chart or default_chart(), values)
            found = rendered.containers("Deployment", pod_name=name)
            chosen = next(each for each in found if takes_calls or each.command[1:] == _SCHEDULER)
        except RenderError as err:
            raise ClusterError(f"the chart cannot be rendered: {self.without_secret(str(err))}") from None
        return self.doors.applied(chosen)

    def _with_broker(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Adds the values that name the broker, unless `values` have their own; none in polling mode."""
        kind = kind_of(values)
        if kind is None:
            return values
        if self._broker is None:
            raise ClusterError(f"this cluster has no broker; the drill's mode must be {WITH_BROKER}")
        return merge(self._broker.engine_values(secured=kind.is_secured(values)), values)

    def _with_wake_bus(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Adds the values that name it, once there is one."""
        url = self._foundation.redis_url
        return merge({"engine": {"wakeBus": "redis"}, "redis": {"url": url}}, values) if url else values

    def _command(self, container: ContainerSpec) -> Sequence[str]:
        """The container's, or the operator's in its place, in the container's role where there are several; programs
        are found beside this Python first.
        """
        engine_command, path = self._spec.engine_command, self.base_env()["PATH"]
        try:
            words = shlex.split(engine_command or "") or list(container.command)
        except ValueError as err:
            raise ClusterError(f"engine command {engine_command!r}: {err}") from None
        if engine_command and container.command[1:] != _SERVE:
            words = [*(words[:-1] if words[-1:] == list(_SERVE) else words), *container.command[1:]]
        program = shutil.which(words[0], path=path)
        if program is None:
            raise ClusterError(f"engine command {words[0]!r} is not a program in {path}; give its full path")
        return [program, *words[1:]]
