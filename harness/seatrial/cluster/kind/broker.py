"""Kafka in the cluster: one broker in one pod, which the drills of a run share, plaintext.

It listens twice: engines come in by its Service, workers and the harness by a port of the nodes. The data goes with
the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.kafka import READY_WITHIN_S, ExternalKafka
from seatrial.cluster.kafka_client import KafkaAdmin
from seatrial.cluster.kind.kube import Kube, Object

#: a Service called kafka would put variables into pods that the image takes for settings
NAME = "broker"
_INSIDE_PORT, _CONTROLLER_PORT, _OUTSIDE_PORT = 9092, 9093, 9094


class KafkaPod(ExternalKafka):
    """`start` ... `close`, in a namespace of the run's, which takes it along when it goes."""

    def __init__(self, kube: Kube, namespace: str, *, image: str, address: str) -> None:
        super().__init__("")
        self._kube = kube
        self._namespace = namespace
        self._image = image
        self._address = address

    async def start(self) -> None:
        """Returns when it answers, from outside."""
        await self._kube.apply(_service(self._namespace))
        service = await self._kube.get("Service", NAME, self._namespace)
        port = next(each["nodePort"] for each in service["spec"]["ports"] if each["name"] == "outside")
        self._brokers = f"{self._address}:{port}"
        await self._kube.apply(_pod(self._namespace, self._image, self._inside, self._brokers))
        await KafkaAdmin(self.access()).until_ready(READY_WITHIN_S)

    async def close(self) -> None:
        await self._kube.delete("Pod", NAME, self._namespace, grace_s=1)

    def engine_values(self, *, secured: bool) -> Mapping[str, Any]:
        if secured:
            raise ClusterError(
                "the broker on Kubernetes speaks plaintext only; run this drill on --backend local"
            )
        return {"seedBrokers": self._inside, "transport": "plaintext"}

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
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "HEAP_OPTS": "-Xms128m -Xmx256m",
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
