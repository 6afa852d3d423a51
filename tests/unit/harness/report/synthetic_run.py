"""A realistic run written by hand: load, one replica killed, a gap, recovery, a paused worker, one broken promise."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from seatrial.history import HISTORY_FILE, Op, RunHeader
from seatrial.report import store
from seatrial.verdict import DrillResult, Outcome, Verdict, Witness

LEASE_S = 5.0
STARTED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@dataclass
class Synthetic:
    """A discrete-event run. Times are seconds since its start; `t0_s` is what CLOCK_MONOTONIC showed then."""

    drill: str = "L5"
    seed: int = 7
    duration_s: float = 60.0
    starts_per_s: float = 40.0
    workers: int = 6
    killed: tuple[float, float] | None = (20.0, 32.0)
    gap_s: float = 2.4
    paused: tuple[float, float] | None = (40.0, 48.0)
    t0_s: float = 5_000.0
    ops: list[tuple[float, Op]] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def add(self, at_s: float, process: str, type_: Any, f: str, value: dict[str, Any], **rest: Any) -> None:
        self.ops.append((at_s, Op(self.t0_s + at_s, process, type_, f, value=value, **rest)))

    def call(
        self,
        at_s: float,
        took_s: float,
        process: str,
        f: str,
        sent: dict[str, Any],
        got: dict[str, Any] | None = None,
        *,
        node: str | None = None,
        end: str = "ok",
        error: dict[str, Any] | None = None,
    ) -> None:
        self.calls += 1
        self.add(at_s, process, "invoke", f, sent, call=self.calls, node=node)
        self.add(at_s + took_s, process, end, f, got or {}, call=self.calls, node=node, error=error)

    def answer_at(self, at_s: float) -> float:
        """When a call sent at `at_s` is answered: a few ms, or after the gap that follows the kill."""
        took_s = self.random.lognormvariate(-4.9, 0.45)
        if self.killed and self.killed[0] <= at_s < self.killed[0] + self.gap_s:
            return self.killed[0] + self.gap_s + took_s * 6
        return at_s + took_s

    def node(self, at_s: float) -> str:
        number = self.random.randrange(3)
        if number == 1 and self.killed and self.killed[0] <= at_s < self.killed[1]:
            number = self.random.choice((0, 2))
        return f"replica-{number}"

    def load(self) -> None:
        ready: list[tuple[float, int, str]] = []
        for number in range(int((self.duration_s - 6) * self.starts_per_s)):
            at_s = 1.0 + number / self.starts_per_s
            answered_s = self.answer_at(at_s)
            instance = f"inst-{number:06d}"
            self.call(
                at_s,
                answered_s - at_s,
                f"client-{number % 4}",
                "start",
                {
                    "definition_id": "linear",
                    "business_key": f"order-{number}",
                    "variables": {"amount": number},
                },
                {"instance_id": instance, "status": "ACTIVE"},
                node=self.node(at_s),
            )
            heapq.heappush(ready, (answered_s, number, instance))
        free = [(1.0, worker) for worker in range(self.workers)]
        while ready:
            created_s, number, instance = heapq.heappop(ready)
            free_s, worker = heapq.heappop(free)
            heapq.heappush(
                free, (self.work(max(created_s, free_s) + 0.004, worker, number, instance), worker)
            )
        if self.killed:
            for number in range(18):
                at_s = self.killed[0] + 0.01 * number
                self.call(
                    at_s,
                    0.002,
                    f"client-{number % 4}",
                    "start",
                    {"definition_id": "linear", "business_key": f"refused-{number}"},
                    node="replica-1",
                    end="fail",
                    error={"code": "connection-refused", "status": 0, "message": "connection refused"},
                )

    def work(self, at_s: float, worker: int, number: int, instance: str) -> float:
        if self.paused and worker == 3 and self.paused[0] - 0.1 <= at_s < self.paused[1]:
            return self.zombie(at_s, number, instance)
        token = f"tok-{number}"
        job = self.poll(at_s, worker, number, instance, token)
        done_s = self.answer_at(at_s + 0.01 + self.random.expovariate(1 / 0.04))
        self.complete(done_s - 0.006, 0.006, worker, job, token)
        return done_s

    def zombie(self, at_s: float, number: int, instance: str) -> float:
        """Worker 3 stops mid-lease, worker 4 takes the job over, worker 3 wakes up and is refused."""
        assert self.paused
        job = self.poll(at_s, 3, number, instance, f"tok-{number}-a")
        again_s = at_s + LEASE_S + 0.4
        taken = self.poll(again_s, 4, number, instance, f"tok-{number}-b")
        self.complete(again_s + 0.05, 0.006, 4, taken, f"tok-{number}-b")
        self.complete(
            self.paused[1] + 0.02,
            0.004,
            3,
            job,
            f"tok-{number}-a",
            end="fail",
            error={
                "code": "lease-lost",
                "status": 409,
                "message": f"job {job['job_id']} is leased by another",
            },
        )
        return self.paused[1] + 0.1

    def poll(self, at_s: float, worker: int, number: int, instance: str, token: str) -> dict[str, Any]:
        locked = STARTED + timedelta(seconds=at_s)
        job = {
            "job_id": f"job-{number:06d}",
            "instance_id": instance,
            "step_id": "charge",
            "job_type": "charge-card",
            "lease_token": token,
            "locked_at": locked.isoformat(),
            "lock_expires_at": (locked + timedelta(seconds=LEASE_S)).isoformat(),
            "retries_remaining": 3,
        }
        sent = {"worker_id": f"w{worker}", "job_types": ["charge-card"], "max_jobs": 1, "lease_s": LEASE_S}
        self.call(
            at_s - 0.003, 0.003, f"worker-{worker}", "poll", sent, {"jobs": [job]}, node=self.node(at_s)
        )
        return job

    def complete(
        self, at_s: float, took_s: float, worker: int, job: dict[str, Any], token: str, **rest: Any
    ) -> None:
        sent = {
            "job_id": job["job_id"],
            "instance_id": job["instance_id"],
            "worker_id": f"w{worker}",
            "lease_token": token,
        }
        self.call(at_s, took_s, f"worker-{worker}", "complete", sent, node=self.node(at_s), **rest)

    def faults(self) -> None:
        if self.killed:
            start_s, end_s = self.killed
            target = {"target": "replica-1"}
            self.call(start_s, 0.03, "fault-kill", "kill-replica", target, {"exit": -9, "pid": 4242})
            self.call(end_s - 1.1, 1.1, "fault-kill", "heal", target, {"ready_after_s": 1.1})
        if self.paused:
            target = {"target": "worker-3"}
            self.call(self.paused[0], 0.01, "fault-pause", "pause-worker", target, {"state": "T"})
            self.call(self.paused[1], 0.01, "fault-pause", "heal", target, {"state": "S"})

    def phases(self) -> None:
        marks = [
            (0.5, "load"),
            (self.duration_s - 5, "drain"),
            (self.duration_s - 1, "observe"),
            (self.duration_s, "end"),
        ]
        if self.killed:
            marks += [(self.killed[0], "fault"), (self.killed[1], "heal")]
        for at_s, name in marks:
            self.add(at_s, "harness", "info", "phase", {"name": name})

    def write(self, folder: Path) -> None:
        header = RunHeader(
            self.drill,
            self.seed,
            3,
            "local",
            "",
            STARTED.isoformat(),
            ("NL", "LX", "FN", "RT"),
            {"lease_s": LEASE_S},
            "9f2c41d07be8a35c",
        )
        self.add(0.0, "harness", "info", "run", msgspec.to_builtins(header))
        self.phases()
        self.faults()
        self.load()
        self.ops.sort(key=lambda entry: entry[0])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / HISTORY_FILE).open("wb") as file:
            file.writelines(msgspec.json.encode(op) + b"\n" for _, op in self.ops)

    def index_of(self, **wanted: Any) -> int:
        """The line of the first op whose fields and values are these."""
        for index, (_, op) in enumerate(self.ops):
            if all(getattr(op, name, op.value.get(name)) == value for name, value in wanted.items()):
                return index
        raise AssertionError(f"no op with {wanted}")


def passing(report_dir: Path, drill: str = "F8", **options: Any) -> DrillResult:
    """A drill that passes, written to disk."""
    run = Synthetic(drill=drill, paused=None, **options)
    run.write(report_dir / drill)
    return _saved(
        report_dir,
        DrillResult(
            drill=drill,
            title="all replicas killed, restarted",
            promise="Killing every replica loses no accepted start and no accepted completion.",
            outcome=Outcome.PASS,
            seed=run.seed,
            schedule_hash="77ab01c2d3e4f501",
            duration_s=run.duration_s,
            folder=str(report_dir / drill),
            verdicts=(
                Verdict(
                    "NL",
                    "Nothing that was accepted is lost.",
                    Outcome.PASS,
                    "2,160 starts, all terminal",
                    (),
                    {"lost": 0, "starts": 2160},
                ),
                Verdict(
                    "RT",
                    "Clients are served again within the bound.",
                    Outcome.PASS,
                    "one gap",
                    (),
                    {"recovery_s": 2.41, "recovery_bound_s": 10},
                ),
            ),
        ),
    )


def failing(report_dir: Path, **options: Any) -> DrillResult:
    """A drill that lost one job, written to disk with logs."""
    run = Synthetic(**options)
    run.write(report_dir / run.drill)
    logs = report_dir / run.drill / store.LOGS_FOLDER
    logs.mkdir(exist_ok=True)
    for number in range(3):
        lines = (
            f'{{"msg":"lease.expired","job":"job-{line:06d}","replica":{number}}}\n' for line in range(60)
        )
        (logs / f"replica-{number}.log").write_text("".join(lines))
    return _saved(
        report_dir,
        DrillResult(
            drill=run.drill,
            title="non-sticky lease under a replica kill",
            promise="A job leased through one replica can be completed through any other.",
            outcome=Outcome.FAIL,
            seed=run.seed,
            schedule_hash="9f2c41d07be8a35c",
            duration_s=run.duration_s,
            folder=str(report_dir / run.drill),
            verdicts=_mixed_verdicts(run),
            notes=("one worker was paused beyond its lease on purpose",),
        ),
    )


def _mixed_verdicts(run: Synthetic) -> tuple[Verdict, ...]:
    starts = len([op for _, op in run.ops if op.f == "start" and op.type == "ok"])
    ids = ("job-000820", "inst-000820")
    sent = run.index_of(type="invoke", f="complete", job_id=ids[0])
    lost = Witness(
        f"job {ids[0]} was completed, yet instance {ids[1]} is still ACTIVE", ids, (sent, sent + 1)
    )
    twice = Witness(
        "job job-001200 was completed twice",
        ("job-001200",),
        (run.index_of(type="invoke", f="complete", job_id="job-001200"),),
    )
    gap_from_s = run.t0_s + run.killed[0] if run.killed else None
    return (
        Verdict(
            "NL",
            "Nothing that was accepted is lost.",
            Outcome.FAIL,
            "2 violations: a completion is not in its instance",
            (lost, twice),
            {"lost": 2, "starts_acked": starts},
        ),
        Verdict(
            "LX",
            "A job has one holder at a time.",
            Outcome.PASS,
            f"{starts + 1} leases, no overlap",
            (),
            {"leases": starts + 1, "leased_again": 1, "violations": 0},
        ),
        Verdict(
            "FN", "A stale lease is refused.", Outcome.PASS, "1 stale completion", (), {"stale_refused": 1}
        ),
        Verdict(
            "AV",
            "Only allowed errors reach clients.",
            Outcome.VACUOUS,
            "no call failed",
            (),
            {"p95_ms": 17.25},
        ),
        Verdict(
            "RT",
            "Clients are served again within the bound.",
            Outcome.PASS,
            "longest gap 2.4 s",
            (),
            {"recovery_s": 2.412, "recovery_bound_s": 10, "gap_from_s": gap_from_s},
        ),
    )


def _saved(report_dir: Path, result: DrillResult) -> DrillResult:
    store.write_result(report_dir / result.drill, result)
    return result
