"""Properties and users of a Kafka of the run's own, as a process or as a pod."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.cluster.kafka.admin import KafkaAdmin
from seatrial.cluster.kafka.names import GROUP_PREFIX, TOPIC_PREFIX

READY_WITHIN_S = 90.0
ENGINE_USER = "windlass"
#: may log in, but has no rights
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
    """Properties of the listener SECURED, as process and as pod: SCRAM over TLS, and rights for named users."""
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "listener.name.secured.sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.secured.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.secured.ssl.keystore.type": "PEM",
        "listener.name.secured.ssl.keystore.location": keystore,
        "listener.name.secured.ssl.client.auth": "none",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Clients without a name are the harness, its workers and engines in plaintext mode.
        "super.users": "User:ANONYMOUS",
    }


async def make_users(admin: KafkaAdmin, passwords: Mapping[str, str]) -> None:
    """The users of SECURED; only the engine's gets rights."""
    for user, password in passwords.items():
        await admin.put_user(user, password)
    await admin.grant(ENGINE_USER, TOPIC_PREFIX, GROUP_PREFIX)
