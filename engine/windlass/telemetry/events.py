"""Every `msg` of the log, named once with its attributes (contract 8.4)."""

from __future__ import annotations

from typing import Final


class Event:
    """Every `msg`. Operators search for these texts and attribute names, so they do not change."""

    # Life of the process: rest_port, grpc_port, metrics_port; addr; err.
    STARTING: Final = "engine: starting"
    DISPATCH_READY: Final = "engine: dispatch runtime ready"  # mode
    REST_LISTENING: Final = "engine: REST listening"
    METRICS_LISTENING: Final = "engine: metrics listening"
    GRPC_LISTENING: Final = "engine: gRPC listening"
    SHUTDOWN_SIGNAL: Final = "engine: shutdown signal received"  # signal
    STOP_UNDONE: Final = "engine: part of the stop was left undone"  # step, err
    STOP_FORCED: Final = "engine: stop outlived its grace, ending by force"
    STOPPED: Final = "engine: stopped"
    FATAL: Final = "engine: fatal"
    CONFIG_WARNING: Final = "config: warning"  # warning
    LINES_DROPPED: Final = "log: lines dropped"  # count

    # Who may call.
    AUTHENTICATION_OFF: Final = "auth: off, whoever reaches the ports may do everything"  # hint
    TOKENS_READ: Final = "auth: tokens read"  # count
    TOKENS_KEPT: Final = "auth: the tokens file cannot be used, the tokens read before stay good"  # err
    KEYS_READ: Final = "auth: the issuer's keys read"  # count
    KEYS_KEPT: Final = "auth: the issuer's keys cannot be read, those read before stay good"  # err
    KEYS_AWAITED: Final = (
        "auth: the issuer's keys cannot be read, JWTs are answered 503 until they are"  # err
    )

    TLS_READ: Final = "tls: certificate read"  # serial, not_after
    TLS_KEPT: Final = "tls: the certificate files cannot be used, the certificate read before stays"  # err

    # The wire: method, path (pattern), status, bytes, duration (ns), remote, err, stack; with authentication on, the
    # principal is in every line of a call.
    REST_REQUEST: Final = "rest request"
    REST_HANDLER_BROKE: Final = "rest: handler broke"
    REST_CUT: Final = "rest: calls outlived the grace and were cut"  # connections
    GRPC_REQUEST: Final = "grpc request"  # method, code, duration (ns), err
    GRPC_HANDLER_BROKE: Final = "grpc: handler broke"
    GRPC_CUT: Final = "grpc: calls outlived the grace and were cut"  # calls
    GRPC_JOB_UNREADABLE: Final = "grpc: job withheld, no protobuf client can read its variables"  # job_id

    COLLECTOR_LOST: Final = "traces: the collector takes no spans, they are dropped and counted"  # err
    COLLECTOR_BACK: Final = "traces: the collector takes spans again"

    CALLS_SHED: Final = "calls: refused, too much waits before them"  # wait_s, repeated

    # Work: tx_type, duration (ns), err; instance_id, definition_id, definition_version, step_id, step_type,
    # step_execution_id, attempt, job_id, worker_id.
    ENGINE_TX: Final = "engine tx"
    STEP_DISPATCHED: Final = "step dispatched"
    JOB_PASSED_OVER: Final = "job: too large for gRPC polls"  # job_id, instance_id, job_type, err
    STALE_FAIL: Final = "job: stale fail ignored"
    LEASES_RECLAIMED: Final = "lease sweeper: reclaimed expired jobs"  # count
    TIMER_FIRED: Final = "timer sweeper: fired boundary event"  # event_id, target_step_id, interrupting
    TIMER_FAILED: Final = "timer sweeper: dispatch failed"
    CHAIN_REFUSED: Final = "chain: not started"  # instance_id, definition_id
    RETENTION_ON: Final = "retention: finished instances are removed"  # older_than_days
    SWEEP_FAILED: Final = "sweep: cycle failed"  # sweep, err

    #: role, version, started_at, last_seen_at: of the process that had the name; within_s: the wait, at most
    NODE_NAME_HELD: Final = "node: waiting until the name is free"

    # The database and waking.
    MIGRATION_APPLIED: Final = "migrate: applied"  # migration
    MIGRATION_WAITS: Final = "migrate: waiting for a lock"  # pid, application_name, since, waited_s
    SCHEMA_CURRENT: Final = "migrate: schema is current"  # version
    DATABASE_LINKED: Final = "engine: database connected"  # way, sessions
    RIGHTS_GIVEN: Final = "migrate: rights given"  # role, count
    DATABASE_LOST: Final = (
        "database: unreachable"  # err, repeated: how often since the last line with this err
    )
    DATABASE_BACK: Final = "database: reachable again"
    WAKE_DEGRADED: Final = "wake: degraded to polling"  # err
    WAKE_RESTORED: Final = "wake: notifications restored"

    #: `msg` of a line that came through Python's own logging: logger, text
    LIBRARY: Final = "library"


class BrokerEvent:
    """Every `msg` of the outbox mode that is the same for all brokers; the first are boot lines of contract 6.5.

    Lines that only one broker has are in its folder below `dispatch/`.
    """

    LOCK_OK: Final = "[dispatch] advisory-lock handshake ok"
    LOCK_ABSENT: Final = "[dispatch] no session for the advisory lock; the leader's row decides alone"
    OUTBOX_READY: Final = "[dispatch] migration 0009_dispatch_outbox applied"
    RELAY_STARTED: Final = "[dispatch] relay started; this replica is leader={leader}"

    LEADER_TAKEN: Final = "dispatch: became relay leader"  # epoch
    LEADER_LEFT: Final = "dispatch: no longer relay leader"
    SESSION_LOST: Final = "dispatch: advisory lock session lost"  # err
    RELAY_RUNS: Final = "dispatch: relay started"
    RELAY_STOPPED: Final = "dispatch: relay stopped"
    CYCLE_FAILED: Final = "dispatch: relay cycle error"  # err
    MESSAGE_REFUSED: Final = "dispatch: record refused by the broker"  # job_id, topic, err
    ROWS_DROPPED: Final = "dispatch: dropped events that nobody waits for"  # count
    BROKER_AWAY: Final = "dispatch: broker unreachable"  # err
    BROKER_BACK: Final = "dispatch: broker reachable again"
    DESTINATION_UNUSABLE: Final = "dispatch: topic cannot be published to"  # topic, err
    DESTINATION_USABLE: Final = "dispatch: topic can be published to again"  # topic
    REDELIVERED: Final = "dispatch: dispatched jobs again that nobody completed in time"  # count
    ADOPTED: Final = "dispatch: dispatched jobs left waiting by polling mode"  # count
