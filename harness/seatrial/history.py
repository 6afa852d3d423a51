"""The history of a run: JSON lines, appended as things happen, judged later (Jepsen's vocabulary).

One line is one `Op`. A call to the system is an `invoke` line followed, under the same `call`, by

- `ok`    it happened (the engine answered success),
- `fail`  it certainly did not happen (refused before any effect: 4xx, connection refused),
- `info`  we do not know (time-out, connection lost mid-call, 5xx).

Over gRPC a status counts as the matching HTTP status (client/grpc.py), and a client's invoke says which transport it
used.

Several processes append to one file; each line is one `write` to a descriptor opened with O_APPEND,
so lines never interleave. `t_s` is CLOCK_MONOTONIC, which all processes of one machine share.

Functions (`f`) and their values; ids are the engine's, times are the database's ISO 8601 text:

| process    | f              | invoke value                                          | ok value |
| ---------- | -------------- | ----------------------------------------------------- | -------- |
| harness    | `run`          | info only: the run's header, see `RunHeader`          | |
| client-*   | `upload`       | definition: the document                              | id, version |
| client-*   | `start`        | definition_id, business_key, variables                | instance_id, status |
| client-*   | `signal`       | instance_id, step_id, variables                       | |
| client-*   | `user_task`    | instance_id, step_id, variables                       | |
| client-*   | `cancel`       | instance_id, reason                                   | status |
| client-*   | `register_worker` | worker_id, job_types, version, capacity            | |
| client-*   | `get`          | path of any other read                                | depends; of one instance: id, status, variable_names |
| worker-*   | `poll`         | worker_id, job_types, max_jobs, lease_s, wait_s       | jobs: [Job, ...] |
| worker-*   | `execute`      | info only: job_id, lease_token: the handler ran; dedup_id where the broker brought the job | |
| worker-*   | `deliver`      | info only: a message: job_id, instance_id, step_execution_id, job_type, retries_remaining, dedup_id, destination, partition, position, created_at, repeated: dropped as a repeat | |
| worker-*   | `undecodable`  | info only: destination, partition, position, cause    | |
| worker-*   | `acknowledge`  | info only: destination, partition, position of the message; failed: the error, if it was | |
| worker-*   | `complete`     | job_id, instance_id, worker_id, lease_token, variables| |
| worker-*   | `fail_job`     | job_id, instance_id, worker_id, lease_token, retryable, error_message | |
| fault-*    | fault's name   | invoke: target, parameters; ok: the evidence of its effect; a `heal` pair ends it | |
| probe-*    | `probe`        | node, path                                            | status, body |
| harness    | `phase`        | info only: name in (load, fault, heal, drain, observe, end) | |
| observer   | `instance`     | info only: a final row: id, definition_id, definition_version, status, current_step_ids, variables, failure_reason, business_key, started_at, completed_at | |
| observer   | `step`         | info only: id, instance_id, step_id, step_type, attempt_number, status, started_at, ended_at, failure_reason | |
| observer   | `job`          | info only: id, instance_id, step_execution_id, job_type, status, worker_id, lock_expires_at, retries_remaining, created_at | |
| observer   | `user_task`    | info only: id, instance_id, step_id, status           | |
| observer   | `timer`        | info only: id, instance_id, step_execution_id, target_step_id, fire_at, interrupting, fired | |
| observer   | `audit`        | info only: actor, kind, instance_id, detail, at        | |
| observer   | `table_count`  | info only: table, rows                                | |
| observer   | `outbox_line`  | info only: a row of dispatch_outbox was added or removed: seq, what in (enqueued, removed), dedup_id, job_id, instance_id, job_type, job_status, by_whom, epoch, at | |
| observer   | `outbox_row`   | info only: it still waits: dedup_id, job_id, instance_id, job_type | |
| observer   | `leader_line`  | info only: the lead changed: seq, holder, epoch, at   | |
| observer   | `destination`  | info only: job_type, name: where the broker keeps messages of that type | |
| observer   | `record`       | info only: a message in a destination: destination, partition, position, at, ordering_key, epoch, envelope_dedup_id (beside the body); dedup_id, job_id, instance_id, job_type, or the cause why it is not an event | |
| observer   | `clock`        | info only: at: what the database's clock said at this line's t_s | |
| observer   | `leads`        | info only: node, leads: what its gauge says now; null: no answer | |
| observer   | `outbox_depth` | info only: rows, transaction_age_s: of the oldest open transaction of an engine | |
| observer   | `sessions`     | info only: total, nodes: {node: count}: the connections of engines that the database counts | |
| observer   | `calls`        | info only: nodes: {node: count}: the gRPC calls that each replica that answers has answered so far | |
| observer   | `certificate`  | info only: node, door in (rest, grpc, metrics), serial: what new connections get from now on; null: none came about, and cause says why | |
| observer   | `exposure`     | info only: place, bytes, found: how often an old or new password was found there | |
| observer   | `promotion`    | info only: timeline, parted_at: the LSN where the old primary's timeline was left; no engine could reach the new one yet | |
| observer   | `held_instance` | info only: server in (old, new), id, status, keys: what that primary held at the promotion; keys are names of variables | |
| observer   | `held_job`     | info only: server, id, instance_id, status            | |
| observer   | `held_wal`     | info only: server, at: the LSN at which its log ended | |
| observer   | `metrics`      | info only: node, series: {name{labels}: value}        | |
| observer   | `log_scan`     | info only: node, pattern, matches: [line, ...]        | |
| observer   | `claim_cost`   | info only: waiting, jobs, buffers, rows, polls_ms: what polls cost with so many waiting | |
| observer   | `retention_window` | info only: prunes: a part of the load begins, with retention beside it or without; null: it ends | |
| observer   | `retention`  | info only: kind, instances, goes, rows: {table: of each instance}, left: {table: rows}: what was left of instances that had to go, or to stay | |
| observer   | `pressure`     | info only: on: a part of the load begins, with what presses on the engine (true) or without it (false); null: it ends | |
| pressure-* | `pressed`      | info only: kind, bytes, statuses: {status: count}, at_once: what one source of pressure sent and was told, and at most had in hand at one time | |
| observer   | `soak`         | info only: over_s, started, completed, refused, p99_ms: of the load since the row before; live_rows, dead_rows: what the database counts in all tables | |
| observer   | `soak_end`     | info only: acknowledged, completed, unfinished: instances, after the drain | |
| observer   | `resources`    | info only: node, rss_bytes, rss_peak_bytes, descriptors, log_bytes: of its process at this time | |
| observer   | `memory`       | info only: node, limit_bytes, enforced_by, kills, rss_peak_bytes: null where its last process has ended | |
| observer   | `exit`         | info only: node, exit_code: a run of it that exited by itself; minus the signal's number | |
| observer   | `restarts`     | info only: node, count: how often its kubelet started it again | |
| observer   | `sockets`      | info only: node, peers: [host:port, ...]: what it is connected to besides the database | |
| observer   | `wire`         | info only: case, streams, bytes, plain_streams, needles_seen, logs_with_secrets: what the broker's proxy carried | |
| observer   | `boot`         | info only: case, serves, exit_code, stderr, expected, duration_s, bound_s, processes_left, leaked | |

A Job in a poll's answer: job_id, instance_id, step_id, step_execution_id, job_type, lease_token (None when
the engine gives none), locked_at, lock_expires_at, retries_remaining.

A boot row is one start that must be refused: exit_code is None when it still ran at its bound, expected is the text
(or texts) that stderr must hold, processes_left counts what it left running, leaked tells whether it wrote a secret.
One with `serves` true must succeed: it was ready, and stderr is its log, which must hold the texts in their order.

A worker marks every completion in the variables it sends with one key `done:<job_id>:<nonce>` (value true),
the nonce drawn for each attempt: an accepted completion is visible in the instance's final variables for ever,
so two accepted completions of one job show as two such keys.
"""  # noqa: E501  a table's rows stay whole

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

OpType = Literal["invoke", "ok", "fail", "info"]
TransportName = Literal["rest", "grpc"]

HISTORY_FILE = "history.jsonl"
OBSERVER = "observer"
"""The process of statements about the system that are no answer to a call: the rows of its final state, and samples."""


class Op(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `call` pairs an invoke with its end (unique per process); `node` is the replica asked."""

    t_s: float
    process: str
    type: OpType
    f: str
    call: int = 0
    node: str | None = None
    value: dict[str, Any] = {}
    error: dict[str, Any] | None = None
    """code (stable kebab-case), status (HTTP, or the HTTP twin of gRPC's, or 0), message."""
    index: int = -1
    """Line number from 0; set by the reader, never written."""
    transport: TransportName | None = None
    """The transport of a client's call; part of its invoke."""


class RunHeader(msgspec.Struct, frozen=True):
    """What checks need besides the operations; written first, as the value of `run`."""

    drill: str
    seed: int
    replicas: int
    backend: str
    engine_command: str
    started_at: str
    checks: tuple[str, ...]
    parameters: dict[str, Any]
    """Bounds and facts the checks read, units in the names: lease_s, lease_sweep_interval_s,
    recovery_bound_s, duplicates_max, error_statuses_allowed, ..."""
    schedule_hash: str = ""
    transport: str = "rest"
    """What the clients and workers spoke: rest, grpc or both."""
    images: dict[str, str] = {}
    """What the cluster ran, by the names of its parts; empty where it ran no images."""
    tls: bool = False
    """Whether engines and callers spoke TLS."""
    principal: str | None = None
    """Whom the engines took the callers for, by their token; empty where that is not known, because the engines ran
    already; None without a token."""


class BrokenHistory(Exception):
    """The file cannot be judged: names the file, the line and the cause."""


class Recorder:
    """Appends ops to `folder/history.jsonl`; one per operating-system process, safe to use together with others."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(folder / HISTORY_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._encoder = msgspec.json.Encoder()
        self._calls = 0

    def _write(self, op: Op) -> None:
        os.write(self._fd, self._encoder.encode(op) + b"\n")

    def invoke(
        self,
        process: str,
        f: str,
        value: Mapping[str, Any],
        node: str | None = None,
        transport: TransportName | None = None,
    ) -> int:
        """Returns the call number that its end must carry."""
        self._calls += 1
        self._write(
            Op(time.monotonic(), process, "invoke", f, self._calls, node, dict(value), transport=transport)
        )
        return self._calls

    def end(
        self,
        process: str,
        type_: OpType,
        f: str,
        call: int,
        value: Mapping[str, Any] | None = None,
        node: str | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        self._write(
            Op(
                time.monotonic(),
                process,
                type_,
                f,
                call,
                node,
                dict(value or {}),
                dict(error) if error else None,
            )
        )

    def info(self, process: str, f: str, value: Mapping[str, Any], node: str | None = None) -> None:
        """A line that is not a call (call 0)."""
        self._write(Op(time.monotonic(), process, "info", f, 0, node, dict(value)))

    def close(self) -> None:
        os.close(self._fd)


class Call(msgspec.Struct, frozen=True):
    """An invoke with its end; `end` is None when the run stopped first (judge it as info)."""

    invoke: Op
    end: Op | None

    @property
    def outcome(self) -> OpType:
        return self.end.type if self.end is not None else "info"


class History:
    """All ops of a run in file order, indexed, with the pairings the checks ask for."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.ops = tuple(msgspec.structs.replace(op, index=number) for number, op in enumerate(ops))
        ends = {(op.process, op.f, op.call): op for op in self.ops if op.type != "invoke" and op.call}
        self.calls = tuple(
            Call(op, ends.get((op.process, op.f, op.call))) for op in self.ops if op.type == "invoke"
        )

    @classmethod
    def load(cls, folder: Path) -> History:
        """Raises BrokenHistory for a missing file, a line that is not an op, or an unfinished header."""
        path = folder / HISTORY_FILE
        try:
            lines = path.read_bytes().splitlines()
        except OSError as err:
            raise BrokenHistory(f"{path}: {err.strerror}; give the folder of one run") from err
        decoder = msgspec.json.Decoder(Op)
        ops = []
        for number, line in enumerate(lines, 1):
            try:
                ops.append(decoder.decode(line))
            except (msgspec.DecodeError, msgspec.ValidationError) as err:
                raise BrokenHistory(f"{path}:{number}: not an operation: {err}") from err
        history = cls(ops)
        history.header  # noqa: B018  a history without its header cannot be judged: say so now
        return history

    @property
    def header(self) -> RunHeader:
        for op in self.ops:
            if op.f == "run" and op.process == "harness":
                try:
                    return msgspec.convert(op.value, RunHeader)
                except msgspec.ValidationError as err:
                    raise BrokenHistory(f"{HISTORY_FILE}:{op.index + 1}: bad run header: {err}") from err
        raise BrokenHistory(f"{HISTORY_FILE}: no run header; the run ended before it began")

    def calls_of(self, f: str) -> Iterator[Call]:
        return (call for call in self.calls if call.invoke.f == f)

    def rows(self, f: str) -> Iterator[Op]:
        """The observer's final rows of one kind (`instance`, `job`, `step`, ...)."""
        return (op for op in self.ops if op.process == OBSERVER and op.f == f)
