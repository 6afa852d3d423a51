"""The only reader of the environment. Every variable is declared once, on the field it fills.

Environment beats `/etc/workflow/engine.yaml` beats defaults; an empty variable counts as unset (contract 7).
"""

from __future__ import annotations

import dataclasses
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windlass import consistency
from windlass.access_settings import AccessSettings, read_access
from windlass.cpu import cpu_count
from windlass.dsn import MASK, DatabaseUrl, redact
from windlass.dsn_files import environment_problems
from windlass.kafka_settings import KafkaSettings, read_kafka
from windlass.memory import LIMIT_BYTES_MIN
from windlass.memory_limit import allowed_bytes
from windlass.redis_settings import RedisSettings, read_redis, warn_of_unused
from windlass.secret_values import read_dsn, read_schema
from windlass.tls_settings import TlsSettings, read_tls
from windlass.unknown_variables import unknown
from windlass.variable import Reader, Variable, as_text, declare

YAML_PATH = Path("/etc/workflow/engine.yaml")


class ConfigError(Exception):
    """`problems`: everything that is wrong, one line each, in the order of contract 7.2."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def _db_max_conns() -> int:
    return max(4, 4 * cpu_count())


#: For each mode that goes through a broker, where its workers get their jobs: told to whoever polls (contract 1.7).
BROKER_MODES: Mapping[str, str] = {
    "kafka_outbox": "consume jobs from the Kafka topic workflow.jobs.<jobType>"
}
DISPATCH_MODES = ("polling", *BROKER_MODES)

_PORT: dict[str, Any] = {"minimum": 0, "maximum": 65535}
_COUNT: dict[str, Any] = {"minimum": 1, "maximum": 1_000_000}
_TIME: dict[str, Any] = {"minimum": 0.1, "maximum": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. Names with `_s` are seconds."""

    postgres_dsn: str = declare(
        "WE_POSTGRES_DSN",
        "where PostgreSQL is: a URL, or a keyword string (kept here as a URL)",
        yaml="postgresDSN",
        required_when="always",
        secret=True,
    )
    postgres_session_dsn: str | None = declare(
        "WINDLASS_POSTGRES_SESSION_DSN",
        "a way to the same database that gives sessions, for notifications, the relay's lock and migrations; needed "
        "behind a pooler in transaction mode, where without it jobs are found by polling",
        secret=True,
    )
    postgres_pooler: str = declare(
        "WINDLASS_POSTGRES_POOLER",
        "what is between engine and database; auto finds out, and takes every pooler for one in transaction mode",
        default="auto",
        choices=("auto", "none", "session", "transaction"),
    )
    rest_port: int = declare(
        "WE_REST_PORT", "port of the REST API; 0 = any free one", default=8080, yaml="restPort", **_PORT
    )
    grpc_port: int = declare(
        "WE_GRPC_PORT", "port of the gRPC API; 0 = any free one", default=9090, yaml="grpcPort", **_PORT
    )
    metrics_port: int = declare(
        "WE_METRICS_PORT", "port of /metrics; 0 = any free one", default=9091, yaml="metricsPort", **_PORT
    )
    log_level: str = declare(
        "WE_LOG_LEVEL",
        "least severe line to write; anything unknown counts as info",
        default="info",
        yaml="logLevel",
        choices=("debug", "info", "warn", "error"),
    )
    audit_log_enabled: bool = declare(
        "WE_AUDIT_LOG_ENABLED", "write audit_log rows", default=True, yaml="auditLogEnabled"
    )
    db_max_conns: int = declare(
        "DB_MAX_CONNS",
        "connections of the pool; the default is 4 for each CPU that the process may use (a container's CPU limit, "
        "rounded up), at least 4",
        default=_db_max_conns,
        yaml="dbMaxConns",
        minimum=1,
        maximum=10_000,
    )
    db_min_conns: int = declare(
        "DB_MIN_CONNS",
        "connections kept open when idle, at most DB_MAX_CONNS",
        default=0,
        yaml="dbMinConns",
        minimum=0,
        maximum=10_000,
    )
    dispatch_mode: str = declare(
        "WE_DISPATCH_MODE",
        "how jobs reach workers",
        default="polling",
        yaml="dispatchMode",
        choices=DISPATCH_MODES,
    )
    kafka: KafkaSettings | None = None

    lease_s: float = declare(
        "WINDLASS_LEASE_SECONDS",
        "length of a lease if the poll does not ask for another",
        default=30.0,
        **_TIME,
    )
    lease_sweep_interval_s: float = declare(
        "WINDLASS_LEASE_SWEEP_SECONDS",
        "pause between two checks for expired leases",
        default=15.0,
        minimum=0.05,
        maximum=3600,
    )
    timer_sweep_interval_s: float = declare(
        "WINDLASS_TIMER_SWEEP_SECONDS",
        "pause between two checks for due timers",
        default=5.0,
        minimum=0.05,
        maximum=3600,
    )
    lease_expiries_max: int = declare(
        "WINDLASS_LEASE_EXPIRIES_MAX",
        "a job fails when its lease has expired this often; 0 = no limit",
        default=25,
        minimum=0,
        maximum=1_000_000,
    )
    retention_days: float = declare(
        "WINDLASS_RETENTION_DAYS",
        "how long finished instances are kept, with all their rows, and audit rows of no instance; 0 = for ever",
        default=0.0,
        kind="days",
        minimum=0,
        maximum=36_500,
    )
    redelivery_s: float = declare(
        "WINDLASS_REDELIVERY_SECONDS",
        "how long a job handed to the broker may stay uncompleted before it is dispatched again; doubled each "
        "further time",
        default=300.0,
        minimum=0.1,
        maximum=86_400,
    )
    leader_term_s: float = declare(
        "WINDLASS_LEADER_TERM_SECONDS",
        "how long to wait before a silent relay leader is replaced; one whose session has ended is replaced at once",
        default=3.0,
        minimum=0.5,
        maximum=60,
    )
    shutdown_grace_s: float = declare(
        "WINDLASS_SHUTDOWN_GRACE_SECONDS",
        "longest time of the whole stop after SIGTERM, whatever hangs; calls in progress have most of it",
        default=30.0,
        minimum=0,
        maximum=3600,
    )
    lanes: int = declare(
        "WINDLASS_LANES",
        "lanes that commit commands in parallel; a single one collects the largest batches and costs a quarter less "
        "CPU per job than two, more help if PostgreSQL has free cores",
        default=1,
        minimum=1,
        maximum=64,
    )
    lane_batch_max: int = declare(
        "WINDLASS_LANE_BATCH_MAX",
        "most commands in one transaction",
        default=256,
        minimum=1,
        maximum=10_000,
    )
    queue_s_max: float = declare(
        "WINDLASS_QUEUE_SECONDS_MAX",
        "longest time that a call may have to wait for its turn; while it is longer, starts, signals and user tasks "
        "get 429 at once, over gRPC RESOURCE_EXHAUSTED; completions and fails are always taken. Above "
        "WINDLASS_REQUEST_TIMEOUT_SECONDS it has no effect",
        default=5.0,
        **_TIME,
    )
    body_bytes_max: int = declare(
        "WINDLASS_BODY_BYTES_MAX",
        "largest request body; larger ones get 413, over gRPC RESOURCE_EXHAUSTED",
        default=16 * 1024 * 1024,
        minimum=1024,
        maximum=1024 * 1024 * 1024,
    )
    memory_bytes_max: int = declare(
        "WINDLASS_MEMORY_BYTES_MAX",
        "memory of the process, by which calls in progress are bounded; the default is the memory limit of the "
        "container, else half of the machine's memory",
        default=lambda: max(LIMIT_BYTES_MIN, allowed_bytes()),
        minimum=LIMIT_BYTES_MIN,
        maximum=1024 * 1024 * 1024 * 1024,
    )
    answer_bytes_max: int = declare(
        "WINDLASS_ANSWER_BYTES_MAX",
        "largest answer of a poll, a list or a history: it ends before, and the next call has the rest; over gRPC the "
        "largest job, instance and definition too, so keep it below what the clients receive (4 MiB unless they say "
        "otherwise)",
        default=4_000_000,
        minimum=16 * 1024,
        maximum=1024 * 1024 * 1024,
    )
    head_bytes_max: int = declare(
        "WINDLASS_HEAD_BYTES_MAX",
        "largest head of a REST call, or metadata of a gRPC call; larger ones get 431 or RESOURCE_EXHAUSTED",
        default=32 * 1024,
        minimum=4096,
        maximum=1024 * 1024,
    )
    long_poll_s_max: float = declare(
        "WINDLASS_LONG_POLL_SECONDS_MAX",
        "longest time that a poll with waitMs waits; below WINDLASS_REQUEST_TIMEOUT_SECONDS",
        default=25.0,
        minimum=0,
        maximum=29,
    )
    wake_mode: str = declare(
        "WINDLASS_WAKE_MODE",
        "how waiting polls learn of jobs: notifications and polling, only notifications, only polling",
        default="hybrid",
        choices=("hybrid", "event_driven", "polling"),
    )
    wake_bus: str = declare(
        "WINDLASS_WAKE_BUS",
        "what carries the notifications from node to node: the database, Redis, or nothing, so that each polls",
        default="postgres",
        choices=("postgres", "redis", "none"),
    )
    redis: RedisSettings | None = None
    fallback_poll_interval_s: float = declare(
        "WINDLASS_FALLBACK_POLL_SECONDS",
        "pause between two checks for jobs while no notification comes",
        default=0.5,
        minimum=0.01,
        maximum=60,
    )
    empty_poll_memory_s: float = declare(
        "WINDLASS_EMPTY_POLL_MEMORY_SECONDS",
        "how long an empty answer may be repeated from memory; 0 = never",
        default=0.25,
        minimum=0,
        maximum=60,
    )
    request_timeout_s: float = declare(
        "WINDLASS_REQUEST_TIMEOUT_SECONDS",
        "longest time a call may take before it is answered 504, over gRPC DEADLINE_EXCEEDED",
        default=30.0,
        **_TIME,
    )
    database_timeout_s: float = declare(
        "WINDLASS_DATABASE_TIMEOUT_SECONDS",
        "longest time one statement or connection attempt may take",
        default=10.0,
        **_TIME,
    )
    node_name: str = declare(
        "WINDLASS_NODE_NAME",
        "this replica's name, which no other has; the default is the host's, with six digits that are new at each boot",
        default=lambda: f"{socket.gethostname()}-{secrets.token_hex(3)}",
    )
    #: the name, whichever variable gave it; None when it was made up, and so is unique by itself
    server_id: str | None = declare(
        "WINDLASS_SERVER_ID",
        "another name for WINDLASS_NODE_NAME; while another process on the database has the name that is given here or "
        "there, this one does not start",
    )
    schema: str | None = declare(
        "WINDLASS_SCHEMA",
        "schema of the tables, as it is written in the catalogue; no other is searched; unset = the search path of the "
        "role decides",
    )
    migrate_on_start: bool = declare(
        "WINDLASS_MIGRATE_ON_START", "bring the schema up to date before serving", default=True
    )
    node_heartbeat_interval_s: float = declare(
        "WINDLASS_NODE_HEARTBEAT_SECONDS",
        "pause between two heartbeats, which /cluster/info shows",
        default=5.0,
        **_TIME,
    )
    connections_max: int = declare(
        "WINDLASS_CONNECTIONS_MAX",
        "connections of REST and gRPC each, fewer if the limit of open files is low; beyond it REST closes the one "
        "idle for longest, gRPC the new one",
        default=2000,
        **_COUNT,
    )
    grpc_streams_max: int = declare(
        "WINDLASS_GRPC_STREAMS_MAX",
        "concurrent calls on one gRPC connection; more wait at the client",
        default=1000,
        **_COUNT,
    )
    read_timeout_s: float = declare(
        "WINDLASS_READ_TIMEOUT_SECONDS",
        "longest time for a REST call to arrive before it is answered 408, and for a gRPC or TLS connection to be set "
        "up",
        default=30.0,
        **_TIME,
    )
    write_timeout_s: float = declare(
        "WINDLASS_WRITE_TIMEOUT_SECONDS",
        "longest time a REST caller may leave its answer unread before the connection is cut",
        default=60.0,
        **_TIME,
    )
    idle_timeout_s: float = declare(
        "WINDLASS_IDLE_TIMEOUT_SECONDS",
        "how long a connection without calls is kept, REST and gRPC",
        default=120.0,
        **_TIME,
    )

    access: AccessSettings = dataclasses.field(default_factory=AccessSettings)

    tls: TlsSettings = dataclasses.field(default_factory=TlsSettings)

    strict_settings: bool = declare(
        "WINDLASS_STRICT_SETTINGS",
        "do not start while a WE_* or WINDLASS_* variable is set that this engine does not know",
        default=False,
    )

    #: of the metrics port; like `connections_max`, lowered where few files may be open
    metrics_connections_max: int = 100
    #: unknown WE_* and WINDLASS_* names; Kubernetes service links create such names
    unknown_variables: tuple[str, ...] = ()
    #: by secret variable, the file that its value was read from
    secret_files: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    #: sentences to log once at start, `unknown_variables` included
    warnings: tuple[str, ...] = ()


def variables() -> Sequence[Variable]:
    """List every variable once, in the order of `Settings`, with the broker's at the place of the mode."""
    return tuple(variable for _, variable in _declared(Settings))


#: each in a module of its own; a broker's and Redis' are read only when they apply
_NESTED: Mapping[str, type] = {
    "kafka": KafkaSettings,
    "redis": RedisSettings,
    "access": AccessSettings,
    "tls": TlsSettings,
}


def _declared(kind: type) -> Iterator[tuple[str, Variable]]:
    for field in dataclasses.fields(kind):
        if field.name in _NESTED:
            yield from _declared(_NESTED[field.name])
        elif "variable" in field.metadata:
            yield field.name, field.metadata["variable"]


def settings_from_env(env: Mapping[str, str], yaml_path: Path = YAML_PATH) -> Settings:
    """Read and check everything; ConfigError reports all problems at once."""
    reader = Reader(env, yaml_path)
    values: dict[str, Any] = {}
    database = DatabaseUrl("")
    for field in dataclasses.fields(Settings):
        if field.name == "kafka":
            values["kafka"] = read_kafka(reader) if values["dispatch_mode"] == "kafka_outbox" else None
        elif "variable" in field.metadata:
            values[field.name] = reader.read(field.metadata["variable"])
        if field.name == "postgres_dsn" and values["postgres_dsn"] is not None:
            reader.problems.extend(environment_problems(env))
            database = read_dsn(reader, env, "WE_POSTGRES_DSN", values["postgres_dsn"])
            values["postgres_dsn"] = database.url
        elif field.name == "postgres_session_dsn" and values["postgres_session_dsn"] is not None:
            session_dsn = values["postgres_session_dsn"]
            values["postgres_session_dsn"] = read_dsn(
                reader, env, "WINDLASS_POSTGRES_SESSION_DSN", session_dsn
            ).url
        elif field.name == "schema":
            values["schema"] = read_schema(reader, field.metadata["variable"], values["schema"], database)
        elif field.name == "db_min_conns":
            consistency.judge_pool(reader, values)
        elif field.name == "server_id":
            consistency.settle_name(reader, Settings.__dataclass_fields__["node_name"].default, values)
        elif field.name == "access":
            values["access"] = read_access(reader)
        elif field.name == "tls":
            values["tls"] = read_tls(reader)
        elif field.name == "redis":
            values["redis"] = read_redis(reader) if values["wake_bus"] == "redis" else None
    consistency.judge(reader, values)
    if values["redis"] is None:
        warn_of_unused(reader, values["wake_bus"])
    polling = values["kafka"] is None
    strangers = list(unknown(env, variables(), polling=polling))
    if values["strict_settings"]:
        reader.problems.extend(each.problem for each in strangers if not each.is_service_link)
    if reader.problems:
        raise ConfigError(reader.problems)
    warnings = [
        *reader.warnings,
        *(each.warning for each in strangers),
        *reader.unknown_yaml_keys(variables(), silent_below="kafka." if polling else None),
    ]
    return Settings(
        **values,
        unknown_variables=tuple(each.name for each in strangers),
        secret_files=reader.files,
        warnings=tuple(warnings),
    )


def kafka_settings_from_env(env: Mapping[str, str], yaml_path: Path = YAML_PATH) -> KafkaSettings:
    """Only the broker's settings, whatever the mode; for commands that need no database."""
    reader = Reader(env, yaml_path)
    settings = read_kafka(reader)
    if reader.problems:
        raise ConfigError(reader.problems)
    return settings


def resolved(settings: Settings) -> Iterator[tuple[Variable, str]]:
    """Yield each variable that applies with its effective value, passwords masked."""
    nested = [getattr(settings, name) for name in _NESTED]
    for field, variable in _declared(Settings):
        holder = next((each for each in (settings, *nested) if hasattr(each, field)), None)
        if holder is None:
            continue
        value = getattr(holder, field)
        text = "" if value is None else as_text(value)
        if variable.secret and text:
            text = redact(text) if "://" in text else MASK
        yield variable, text
