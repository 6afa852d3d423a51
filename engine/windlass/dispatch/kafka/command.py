"""The command `windlass topics`: which topics definitions need, and with `--apply` their creation.

The engine itself never creates a topic; this command is for preparing a cluster, by hand or in a pipeline.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from windlass.config import ConfigError, kafka_settings_from_env
from windlass.definition.document import compile_definition, parse_upload
from windlass.dispatch.kafka.choice import kafka_publisher
from windlass.dispatch.kafka.topics import LEGAL_NAME, topic_of
from windlass.errors import EngineError
from windlass.kafka_settings import KafkaSettings

PARTITIONS, REPLICATION_FACTOR = 8, 3
"""The values that contract 12.1 recommends."""

_EPILOG = """\
With --apply the brokers are those of WE_KAFKA_SEED_BROKERS, contacted with WE_KAFKA_TRANSPORT and its settings.
A topic that exists is left as it is, so the command may be repeated.

examples:
  windlass topics --definitions workflows/*.json
  WE_KAFKA_SEED_BROKERS=kafka:9092 WE_KAFKA_TRANSPORT=plaintext windlass topics --definitions workflows/*.json --apply
"""


def run(words: Sequence[str]) -> int:
    """Returns the exit code: 0 done, 1 failed with a message. A wrong command line ends the process with 2."""
    parser = argparse.ArgumentParser(
        prog="windlass topics",
        description="Print the topics that definitions need, one for each job type; create those that are missing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--definitions", nargs="+", required=True, type=Path, metavar="FILE", help="definitions as JSON"
    )
    parser.add_argument(
        "--partitions",
        type=_count,
        default=PARTITIONS,
        help=f"partitions of a new topic (default {PARTITIONS})",
    )
    parser.add_argument(
        "--replication-factor",
        type=_count,
        default=REPLICATION_FACTOR,
        help=f"replicas of a new topic (default {REPLICATION_FACTOR})",
    )
    parser.add_argument("--apply", action="store_true", help="create what is missing")
    given = parser.parse_args(words)
    try:
        topics = needed(given.definitions)
        if not given.apply:
            _say(f"{topic}  {_shape(given.partitions, given.replication_factor)}" for topic in topics)
            return 0
        settings = kafka_settings_from_env(os.environ)
        return asyncio.run(_apply(settings, topics, given.partitions, given.replication_factor))
    except (ConfigError, EngineError) as err:
        sys.stderr.write(f"{err}\n")
        return 1


def needed(paths: Iterable[Path]) -> list[str]:
    """The topics of these documents' job types, each once, in order of names. Raises EngineError naming the file."""
    found: dict[str, Path] = {}
    for path in paths:
        try:
            upload = parse_upload(path.read_bytes())
            definition = compile_definition(upload.definition_id, 1, upload.content)
        except OSError as err:
            raise EngineError(f"{path}: cannot be read: {err.strerror}; give files of definitions") from err
        except EngineError as err:
            raise EngineError(f"{path}: {err.reason}") from err
        found.update((topic_of(job_type), path) for job_type in definition.job_types)
    for topic, path in found.items():
        if not LEGAL_NAME.fullmatch(topic):
            raise EngineError(
                f"{path}: {topic!r} cannot be a topic: a name has 1 to 249 letters, digits, dots, underscores and "
                "hyphens; rename the job type"
            )
    return sorted(found)


async def _apply(
    settings: KafkaSettings, topics: Sequence[str], partitions: int, replication_factor: int
) -> int:
    broker = kafka_publisher(settings, errors=lambda _: None)
    try:
        await broker.handshake()
        before = await broker.partitions(topics)
        missing = [topic for topic in topics if topic not in before]
        refused = await broker.create(missing, partitions, replication_factor) if missing else {}
    finally:
        await broker.close()
    _say(_outcome(topic, before, refused, partitions, replication_factor) for topic in topics)
    if refused:
        sys.stderr.write(
            f"{len(refused)} of {len(topics)} topics could not be created; the reasons are above\n"
        )
    return 1 if refused else 0


def _outcome(
    topic: str,
    before: Mapping[str, int],
    refused: Mapping[str, str],
    partitions: int,
    replication_factor: int,
) -> str:
    if topic in before:
        note = "" if before[topic] == partitions else f", not {partitions}: left as it is"
        return f"{topic}  exists with {before[topic]} partitions{note}"
    if topic in refused:
        return f"{topic}  refused: {refused[topic]}"
    return f"{topic}  created, {_shape(partitions, replication_factor)}"


def _shape(partitions: int, replication_factor: int) -> str:
    return f"partitions={partitions} replication-factor={replication_factor}"


def _say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 10000, got {text!r}")
    return int(text)
