"""Kafka in the cluster: one broker in one pod, which the drills of a run share.

It has three listeners. The drills' engines use its Service, workers and the harness a port of the nodes, both in
plaintext; the third, SCRAM over TLS, is for releases that follow the chart's overlays. The data ends with the pod.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.broker import CutMode
from seatrial.cluster.certificate import new_authority
from seatrial.cluster.kafka.external import ExternalKafka
from seatrial.cluster.kafka.settings import (
    ENGINE_USER,
    READY_WITHIN_S,
    SETTINGS,
    make_users,
    secured_listener,
)
from seatrial.cluster.kafka.values import KEY, plaintext_lines, plaintext_values
from seatrial.cluster.kind.agent import NodeAgent
from seatrial.cluster.kind.kube import Kube, Object
from seatrial.cluster.kind.network import accept, refuse, sockets
from seatrial.cluster.socket_table import accepted

#: a Service called kafka would put variables into pods that the image takes for settings
NAME = "broker"
_INSIDE_PORT, _CONTROLLER_PORT, _OUTSIDE_PORT, _SECURED_PORT = 9092, 9093, 9094, 9095
_KEYSTORE_FOLDER, _KEYSTORE = "/etc/kafka/tls", "broker.pem"


@dataclass(frozen=True, slots=True)
class SecuredListener:
    """What an operator needs to connect; holds the password, so it is never printed."""

    brokers: tuple[str, ...]
    """host:port as pods find it: all the same broker, by each name that its certificate bears."""
    username: str
    password: str = field(repr=False)
    authority_pem: bytes = field(repr=False)


class KafkaPod(ExternalKafka):
    """`start` ... `close`, in a namespace of the run; deleting that deletes it."""

    def __init__(self, kube: Kube, agent: NodeAgent, namespace: str, *, image: str, address: str) -> None:
        super().__init__("")
        self._kube = kube
        self._agent = agent
        self._namespace = namespace
        self._image = image
        self._address = address
        self._cut_connections = 0
        self._passwords = {ENGINE_USER: secrets.token_urlsafe(18)}
        self._authority = new_authority("Seatrial's authority")
        service = f"{NAME}.{namespace}.svc"
        self._hosts = (f"{service}.cluster.local", service)

    async def start(self) -> None:
        """Returns when it answers, from outside."""
        await self._kube.apply(_service(self._namespace))
        service = await self._kube.get("Service", NAME, self._namespace)
        port = next(each["nodePort"] for each in service["spec"]["ports"] if each["name"] == "outside")
        self._brokers = f"{self._address}:{port}"
        await self._kube.apply(
            _keystore(self._namespace, self._authority.server_pem(self._hosts, [])),
            _pod(self._namespace, self._image, self._hosts[0], self._brokers),
        )
        await self.until_ready(READY_WITHIN_S)
        await make_users(self.admin(), self._passwords)

    async def clear(self) -> None:
        """Also repairs what a drill left broken."""
        await self.mend()
        await super().clear()

    async def cut(self, mode: CutMode, *, delay_s: float = 0.0) -> None:  # noqa: ARG002  only `delay` has one
        """Only `refuse`; workers and the harness use another port."""
        if mode != "refuse":
            raise ClusterError(
                f"cut mode {mode!r} of the broker is not available on Kubernetes; run this drill on --backend local"
            )
        node, address, container_id = await self._where()
        found = await sockets(self._agent, node, container_id)
        self._cut_connections = accepted(found, _INSIDE_PORT)
        await refuse(self._agent, node, address, _INSIDE_PORT)

    async def mend(self) -> None:
        node, address, _ = await self._where()
        await accept(self._agent, node, address, _INSIDE_PORT)

    def dropped_bytes(self) -> int:
        """Always 0: refused bytes are not withheld."""
        return 0

    def cut_connections(self) -> int:
        return self._cut_connections

    async def close(self) -> None:
        await self._kube.delete("Pod", NAME, self._namespace, grace_s=1)

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        if secured:
            raise ClusterError(
                "drills on Kubernetes use the broker only in plaintext; run this drill on --backend local"
            )
        return {KEY: plaintext_values(f"{self._hosts[0]}:{_INSIDE_PORT}")}

    def boot_lines(self, *, secured: bool) -> Sequence[str]:
        return plaintext_lines(str(self.engine_values(secured=secured)[KEY]["seedBrokers"]))

    def secured(self) -> SecuredListener:
        brokers = tuple(f"{host}:{_SECURED_PORT}" for host in self._hosts)
        return SecuredListener(brokers, ENGINE_USER, self._passwords[ENGINE_USER], self._authority.pem())

    def secrets(self) -> Sequence[str]:
        return list(self._passwords.values())

    async def _where(self) -> tuple[str, str, str]:
        """Its node, its address and its container."""
        pod = await self._kube.get("Pod", NAME, self._namespace)
        status = pod["status"]
        container_id = status["containerStatuses"][0]["containerID"].rpartition("/")[2]
        return pod["spec"]["nodeName"], status["podIP"], container_id


def _service(namespace: str) -> Object:
    numbers = {"inside": _INSIDE_PORT, "outside": _OUTSIDE_PORT, "secured": _SECURED_PORT}
    ports = [{"name": name, "port": port} for name, port in numbers.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"type": "NodePort", "selector": {"app": NAME}, "ports": ports},
    }


def _keystore(namespace: str, pem: bytes) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": namespace},
        "stringData": {_KEYSTORE: pem.decode()},
    }


def _pod(namespace: str, image: str, host: str, outside: str) -> Object:
    doors = {"INSIDE": _INSIDE_PORT, "OUTSIDE": _OUTSIDE_PORT, "SECURED": _SECURED_PORT}
    listeners = {**doors, "CONTROLLER": _CONTROLLER_PORT}
    protocols = {**dict.fromkeys(listeners, "PLAINTEXT"), "SECURED": "SASL_SSL"}
    advertised = {name: f"{host}:{port}" for name, port in doors.items()} | {"OUTSIDE": outside}
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@localhost:{_CONTROLLER_PORT}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join(f"{name}://:{port}" for name, port in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
        "inter.broker.listener.name": "INSIDE",
        **secured_listener(f"{_KEYSTORE_FOLDER}/{_KEYSTORE}"),
        **SETTINGS,
    }
    settings = {_variable(name): value for name, value in properties.items()}
    settings["KAFKA_HEAP_OPTS"] = "-Xms128m -Xmx256m"
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in settings.items()],
        "ports": [{"containerPort": port} for port in doors.values()],
        "volumeMounts": [{"name": "tls", "mountPath": _KEYSTORE_FOLDER, "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {"app": NAME}},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [{"name": "tls", "secret": {"secretName": NAME}}],
        },
    }


def _variable(name: str) -> str:
    """The one by which the image is told a property."""
    return "KAFKA_" + name.upper().replace("-", "___").replace(".", "_")
