"""Kafka in the cluster: one broker in one pod, which the drills of a run share, plaintext.

It listens twice: engines come in by its Service, workers and the harness by a port of the nodes. The data goes with
the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster import ClusterError, CutMode
from seatrial.cluster.kafka import READY_WITHIN_S, SETTINGS, ExternalKafka
from seatrial.cluster.kafka_client import KafkaAdmin
from seatrial.cluster.kind.agent import NodeAgent
from seatrial.cluster.kind.kube import Kube, Object
from seatrial.cluster.kind.network import accept, accepted, refuse, sockets

#: a Service called kafka would put variables into pods that the image takes for settings
NAME = "broker"
_INSIDE_PORT, _CONTROLLER_PORT, _OUTSIDE_PORT = 9092, 9093, 9094


class KafkaPod(ExternalKafka):
    """`start` ... `close`, in a namespace of the run's, which takes it along when it goes."""

    def __init__(self, kube: Kube, agent: NodeAgent, namespace: str, *, image: str, address: str) -> None:
        super().__init__("")
        self._kube = kube
        self._agent = agent
        self._namespace = namespace
        self._image = image
        self._address = address
        self._cut_connections = 0

    async def start(self) -> None:
        """Returns when it answers, from outside."""
        await self._kube.apply(_service(self._namespace))
        service = await self._kube.get("Service", NAME, self._namespace)
        port = next(each["nodePort"] for each in service["spec"]["ports"] if each["name"] == "outside")
        self._brokers = f"{self._address}:{port}"
        await self._kube.apply(_pod(self._namespace, self._image, self._inside, self._brokers))
        await KafkaAdmin(self.access()).until_ready(READY_WITHIN_S)

    async def clear(self) -> None:
        """Also mends what a drill left broken."""
        await self.mend()
        await super().clear()

    async def cut(self, mode: CutMode, *, delay_s: float = 0.0) -> None:  # noqa: ARG002  only `delay` has one
        """Only `refuse`; workers and the harness come in by another port."""
        if mode != "refuse":
            raise ClusterError(
                f"cut mode {mode!r} of the broker is not to be had on Kubernetes; run this drill on --backend local"
            )
        node, address, container_id = await self._where()
        found = await sockets(self._agent, node, container_id)
        self._cut_connections = accepted(found, _INSIDE_PORT)
        await refuse(self._agent, node, address, _INSIDE_PORT)

    async def mend(self) -> None:
        node, address, _ = await self._where()
        await accept(self._agent, node, address, _INSIDE_PORT)

    def dropped_bytes(self) -> int:
        """None are: what is refused is not swallowed."""
        return 0

    def cut_connections(self) -> int:
        return self._cut_connections

    async def close(self) -> None:
        await self._kube.delete("Pod", NAME, self._namespace, grace_s=1)

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        if secured:
            raise ClusterError(
                "the broker on Kubernetes speaks plaintext only; run this drill on --backend local"
            )
        return {"seedBrokers": self._inside, "transport": "plaintext"}

    async def _where(self) -> tuple[str, str, str]:
        """Its node, its address and its container."""
        pod = await self._kube.get("Pod", NAME, self._namespace)
        status = pod["status"]
        container_id = status["containerStatuses"][0]["containerID"].rpartition("/")[2]
        return pod["spec"]["nodeName"], status["podIP"], container_id

    @property
    def _inside(self) -> str:
        return f"{NAME}.{self._namespace}.svc.cluster.local:{_INSIDE_PORT}"


def _service(namespace: str) -> Object:
    ports = [{"name": "inside", "port": _INSIDE_PORT}, {"name": "outside", "port": _OUTSIDE_PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"type": "NodePort", "selector": {"app": NAME}, "ports": ports},
    }


def _pod(namespace: str, image: str, inside: str, outside: str) -> Object:
    plaintext = ",".join(f"{listener}:PLAINTEXT" for listener in ("CONTROLLER", "INSIDE", "OUTSIDE"))
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": f"1@localhost:{_CONTROLLER_PORT}",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "LISTENERS": f"INSIDE://:{_INSIDE_PORT},OUTSIDE://:{_OUTSIDE_PORT},CONTROLLER://:{_CONTROLLER_PORT}",
        "ADVERTISED_LISTENERS": f"INSIDE://{inside},OUTSIDE://{outside}",
        "LISTENER_SECURITY_PROTOCOL_MAP": plaintext,
        "INTER_BROKER_LISTENER_NAME": "INSIDE",
        "HEAP_OPTS": "-Xms128m -Xmx256m",
        **{name.upper().replace(".", "_"): value for name, value in SETTINGS.items()},
    }
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": f"KAFKA_{name}", "value": value} for name, value in settings.items()],
        "ports": [{"containerPort": _INSIDE_PORT}, {"containerPort": _OUTSIDE_PORT}],
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
        },
    }
