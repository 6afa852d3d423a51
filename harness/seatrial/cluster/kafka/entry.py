"""Kafka's entry among the brokers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.cluster.broker import (
    Broker,
    BrokerInCluster,
    BrokerKind,
    BrokerLogin,
    BrokerProcess,
    Consumer,
    ConsumerAccess,
)
from seatrial.cluster.kafka import values
from seatrial.cluster.kafka.access import KIND

if TYPE_CHECKING:
    from seatrial.cluster.kind.agent import NodeAgent
    from seatrial.cluster.kind.kube import Kube


def _new_server(log_path: Path, say: Callable[[str], None]) -> BrokerProcess:
    from seatrial.cluster.kafka.server import KafkaServer

    return KafkaServer(log_path, say=say)


def _new_external(address: str, login: BrokerLogin | None) -> Broker:
    from seatrial.cluster.kafka.external import ExternalKafka

    return ExternalKafka(address, login)


def _new_pod(kube: Kube, agent: NodeAgent, namespace: str, *, image: str, address: str) -> BrokerInCluster:
    from seatrial.cluster.kafka.pod import KafkaPod

    return KafkaPod(kube, agent, namespace, image=image, address=address)


def _new_consumer(access: ConsumerAccess, job_type: str, *, name: str, session_timeout_s: float) -> Consumer:
    from seatrial.cluster.kafka.consumer import KafkaConsumer

    return KafkaConsumer(access, job_type, name=name, session_timeout_s=session_timeout_s)


KAFKA = BrokerKind(
    name=KIND,
    dispatch_mode=values.DISPATCH_MODE,
    image="apache/kafka:4.3.1",
    new_server=_new_server,
    new_external=_new_external,
    new_pod=_new_pod,
    new_consumer=_new_consumer,
    secured_values=values.transport_values(),
    is_secured=values.is_secured,
    address_values=values.address_values,
    completing_values=values.completing_values,
)
