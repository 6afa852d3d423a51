"""Histories written by hand: calls in the order they are made, rows of the end state, a header."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from seatrial.history import HISTORY_FILE, History, Op, RunHeader

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
FIRST = "1"

ONE_STEP: Mapping[str, Any] = {
    "id": "one",
    "name": "One step",
    "steps": [
        {"id": "work", "name": "Work", "type": "SERVICE_TASK", "jobType": "work", "nextStep": "done"},
        {"id": "done", "name": "Done", "type": "END"},
    ],
}


def db_time(at_s: float) -> str:
    """The database's clock `at_s` after the builder's zero; it runs as the monotonic clock does."""
    return (EPOCH + timedelta(microseconds=round(at_s * 1e6))).isoformat()


class Trial:
    """`now_s` is the monotonic clock; each call takes `tick_s`, and `at` sets it."""

    def __init__(self, *checks: str, replicas: int = 3, **parameters: Any) -> None:
        self.header = RunHeader(
            "T1", 7, replicas, "local", "", "2026-11-01T00:00:00Z", checks, {"ops_min": 0, **parameters}
        )
        self.ops: list[Op] = []
        self.now_s = 100.0
        self.tick_s = 0.01
        self._number = 0
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}

    # -- time and raw calls --------------------------------------------------------------------

    def at(self, now_s: float) -> Self:
        self.now_s = now_s
        return self

    def invoke(self, process: str, f: str, **value: Any) -> int:
        self._number += 1
        self.ops.append(Op(self.now_s, process, "invoke", f, self._number, "replica-0", value))
        return self._number

    def end(
        self,
        process: str,
        f: str,
        call: int,
        outcome: Any = "ok",
        value: Mapping[str, Any] | None = None,
        *,
        status: int = 0,
        code: str = "",
    ) -> None:
        error = None if outcome == "ok" else {"status": status, "code": code, "message": f"{f} {outcome}"}
        self.ops.append(Op(self.now_s, process, outcome, f, call, "replica-0", dict(value or {}), error))

    def call(
        self,
        process: str,
        f: str,
        sent: Mapping[str, Any],
        outcome: str = "ok",
        got: Mapping[str, Any] | None = None,
        *,
        took_s: float | None = None,
        status: int = 0,
        code: str = "",
    ) -> None:
        """Outcome `lost` leaves the call without an end."""
        call = self.invoke(process, f, **sent)
        self.now_s += self.tick_s if took_s is None else took_s
        if outcome != "lost":
            self.end(process, f, call, outcome, got, status=status, code=code)

    def note(self, process: str, f: str, **value: Any) -> None:
        self.ops.append(Op(self.now_s, process, "info", f, value=value))

    def phase(self, name: str) -> Self:
        self.note("harness", "phase", name=name)
        return self

    # -- the calls of the wire -----------------------------------------------------------------

    def upload(self, document: Mapping[str, Any], version: int = 1, outcome: str = "ok") -> Self:
        got = {"id": document["id"], "version": version}
        self.call(
            "client-0", "upload", {"definition": dict(document)}, outcome, got if outcome == "ok" else {}
        )
        return self

    def start(
        self,
        instance: str,
        *,
        definition: str = "one",
        key: str | None = None,
        outcome: str = "ok",
        variables: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> Self:
        sent = {"definition_id": definition, "business_key": key, "variables": dict(variables or {})}
        got = {"instance_id": instance, "status": "ACTIVE"} if outcome == "ok" else {}
        self.call("client-0", "start", sent, outcome, got, **rest)
        return self

    def poll(
        self,
        *jobs: str,
        worker: str = "a",
        token: str | None = FIRST,
        locked_s: float | None = None,
        lease_s: float = 30.0,
        instance: str | None = None,
        outcome: str = "ok",
        **rest: Any,
    ) -> Self:
        """`locked_s` is the monotonic time that the database's clock stands for; the time of the poll by default."""
        locked = self.now_s if locked_s is None else locked_s
        leased = [
            {
                "job_id": job,
                "instance_id": instance or job.replace("j", "i", 1),
                "step_id": "work",
                "job_type": "work",
                "lease_token": token,
                "locked_at": db_time(locked),
                "lock_expires_at": db_time(locked + lease_s),
                "retries_remaining": 0,
            }
            for job in jobs
        ]
        sent = {"worker_id": worker, "job_types": ["work"], "max_jobs": 10, "lease_s": lease_s, "wait_s": 0}
        self.call(
            f"worker-{worker}", "poll", sent, outcome, {"jobs": leased} if outcome == "ok" else {}, **rest
        )
        return self

    def execute(self, job: str, *, worker: str = "a", token: str | None = FIRST) -> Self:
        self.note(f"worker-{worker}", "execute", job_id=job, lease_token=token)
        return self

    def complete(
        self,
        job: str,
        nonce: str = "n",
        *,
        worker: str = "a",
        token: str | None = FIRST,
        instance: str | None = None,
        outcome: str = "ok",
        variables: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> Self:
        sent = {
            "job_id": job,
            "instance_id": instance or job.replace("j", "i", 1),
            "worker_id": worker,
            "lease_token": token,
            "variables": {**(variables or {}), done(job, nonce): True},
        }
        self.call(f"worker-{worker}", "complete", sent, outcome, **rest)
        return self

    def fail_job(
        self,
        job: str,
        *,
        worker: str = "a",
        token: str | None = FIRST,
        retryable: bool = True,
        message: str = "boom",
        outcome: str = "ok",
        **rest: Any,
    ) -> Self:
        sent = {
            "job_id": job,
            "instance_id": job.replace("j", "i", 1),
            "worker_id": worker,
            "lease_token": token,
            "retryable": retryable,
            "error_message": message,
        }
        self.call(f"worker-{worker}", "fail_job", sent, outcome, **rest)
        return self

    def cancel(self, instance: str, outcome: str = "ok") -> Self:
        self.call("client-0", "cancel", {"instance_id": instance, "reason": "enough"}, outcome)
        return self

    def resume(
        self,
        f: str,
        instance: str,
        step: str,
        outcome: str = "ok",
        variables: Mapping[str, Any] | None = None,
    ) -> Self:
        sent = {"instance_id": instance, "step_id": step, "variables": dict(variables or {})}
        self.call("client-0", f, sent, outcome)
        return self

    def fault(
        self, name: str, target: str | list[str], outcome: str = "ok", *, process: str = "fault-0"
    ) -> Self:
        self.call(process, name, {"target": target, "parameters": {}}, outcome)
        return self

    def heal(self, target: str | list[str], outcome: str = "ok", *, process: str = "fault-0") -> Self:
        self.call(process, "heal", {"target": target}, outcome)
        return self

    # -- the end state -------------------------------------------------------------------------

    def row(self, f: str, id_: str, **value: Any) -> Self:
        self.rows.setdefault(f, {})[id_] = {"id": id_, **value}
        return self

    def instance(self, instance: str, status: str = "COMPLETED", *keys: str, **value: Any) -> Self:
        defaults = {
            "definition_id": "one",
            "definition_version": 1,
            "status": status,
            "current_step_ids": [] if status in {"COMPLETED", "FAILED", "CANCELLED"} else ["work"],
            "variables": dict.fromkeys(keys, True),
            "failure_reason": None,
            "business_key": None,
            "started_at": db_time(100),
            "completed_at": db_time(200) if status in {"COMPLETED", "FAILED", "CANCELLED"} else None,
        }
        return self.row("instance", instance, **{**defaults, **value})

    def step(self, id_: str, instance: str, step: str, status: str = "COMPLETED", **value: Any) -> Self:
        defaults = {
            "instance_id": instance,
            "step_id": step,
            "step_type": "END" if step == "done" else "SERVICE_TASK",
            "attempt_number": 1,
            "status": status,
            "started_at": db_time(100),
            "ended_at": db_time(200) if status != "RUNNING" else None,
            "failure_reason": None,
        }
        return self.row("step", id_, **{**defaults, **value})

    def job(self, job: str, status: str = "COMPLETED", **value: Any) -> Self:
        defaults = {
            "instance_id": job.replace("j", "i", 1),
            "step_execution_id": job.replace("j", "s", 1),
            "job_type": "work",
            "status": status,
            "worker_id": None,
            "lock_expires_at": None,
            "retries_remaining": 0,
            "created_at": db_time(100),
        }
        return self.row("job", job, **{**defaults, **value})

    def one(self, number: int | str = 1, status: str = "COMPLETED", *keys: str) -> Self:
        """The end state of one instance of `ONE_STEP`: i<number>, step s<number>, job j<number>."""
        states = {
            "COMPLETED": ("COMPLETED", "COMPLETED"),
            "FAILED": ("FAILED", "FAILED"),
            "CANCELLED": ("FAILED", "CANCELLED"),
            "ACTIVE": ("RUNNING", "UNLOCKED"),
        }
        step, job = states[status]
        if status == "COMPLETED":
            self.step(f"e{number}", f"i{number}", "done")
        self.step(f"s{number}", f"i{number}", "work", step)
        self.job(f"j{number}", job)
        return self.instance(f"i{number}", status, *keys)

    def lived(self, number: int | str = 1) -> Self:
        """One instance of `ONE_STEP` from start to end, and its rows."""
        self.start(f"i{number}").poll(f"j{number}").execute(f"j{number}").complete(f"j{number}")
        return self.one(number, "COMPLETED", done(f"j{number}", "n"))

    # -- the history ---------------------------------------------------------------------------

    def all_ops(self) -> list[Op]:
        header = Op(0.0, "harness", "info", "run", value=msgspec.to_builtins(self.header))
        state = [Op(self.now_s, "harness", "info", "phase", value={"name": "observe"})]
        for f, rows in self.rows.items():
            state += [Op(self.now_s, "observer", "info", f, value=row) for row in rows.values()]
        state.append(Op(self.now_s, "harness", "info", "phase", value={"name": "end"}))
        return [header, *self.ops, *state]

    def history(self) -> History:
        return History(self.all_ops())

    def save(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        encoder = msgspec.json.Encoder()
        (folder / HISTORY_FILE).write_bytes(b"".join(encoder.encode(op) + b"\n" for op in self.all_ops()))
        return folder


def done(job: str, nonce: str) -> str:
    return f"done:{job}:{nonce}"
