"""The facts of a history that checks look up, indexed once: calls by kind, the final state by id, faults, phases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import msgspec

from seatrial.check.lease import Lease, Tenure, lease_of, leased_jobs
from seatrial.history import OBSERVER, Call, History, Op, RunHeader

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
OPEN_JOB = frozenset({"UNLOCKED", "LOCKED"})
DONE_PREFIX = "done:"
CANCELLED_CODE = "cancelled"
"""The caller cancelled its call (a client that is being closed)."""

Value = TypeVar("Value")

_NAMED_IDS = ("id", "job_id", "instance_id", "step_execution_id", "dedup_id")
_WINDOW_END = frozenset({"drain", "observe", "end"})


class MissingParameter(Exception):
    """The run header lacks a bound that a check needs, or it has the wrong type."""


def job_of_done_key(key: str) -> str | None:
    """The job of a `done:<job_id>:<nonce>` variable; None for any other variable."""
    if not key.startswith(DONE_PREFIX):
        return None
    return key[len(DONE_PREFIX) :].rpartition(":")[0] or None


def happened(call: Call) -> bool:
    """False only when the call certainly had no effect."""
    return call.outcome != "fail"


def error_status(call: Call) -> int | None:
    """HTTP status of a call's error, 0 for a lost connection or a time-out; None when no client saw an error.

    That is a call answered ok, one that was not answered before the end of the run, or one that its caller cancelled.
    """
    if call.end is None or call.outcome == "ok":
        return None
    error = call.end.error or {}
    return None if error.get("code") == CANCELLED_CODE else int(error.get("status") or 0)


class Fault(msgspec.Struct, frozen=True):
    name: str
    targets: tuple[str, ...]
    call: Call
    heal: Call | None
    """The one that ended it; None when nothing healed it."""

    @property
    def invoked_s(self) -> float:
        return self.call.invoke.t_s

    @property
    def effective_s(self) -> float | None:
        """Monotonic time at which it was seen to have an effect."""
        return self.call.end.t_s if self.call.end is not None and self.call.outcome == "ok" else None

    @property
    def healed_s(self) -> float | None:
        """Monotonic time at which its heal was answered."""
        return self.heal.end.t_s if self.heal is not None and self.heal.end is not None else None

    def __str__(self) -> str:
        return f"{self.name} of {', '.join(self.targets)}" if self.targets else self.name


class Facts:
    def __init__(self, history: History) -> None:
        self.header: RunHeader = history.header
        self.ops: Sequence[Op] = history.ops
        self.calls: Sequence[Call] = history.calls
        self._calls_of: dict[str, list[Call]] = defaultdict(list)
        self._rows_of: dict[str, list[Op]] = defaultdict(list)
        for call in history.calls:
            self._calls_of[call.invoke.f].append(call)
        for op in history.ops:
            if op.process == OBSERVER:
                self._rows_of[op.f].append(op)

    def calls_of(self, f: str) -> Sequence[Call]:
        return self._calls_of.get(f, ())

    def rows(self, f: str) -> Sequence[Op]:
        return self._rows_of.get(f, ())

    @cached_property
    def reused_call(self) -> Call | None:
        """A call whose process has used its number before, so that the two answers cannot be told apart."""
        seen = set()
        for call in self.calls:
            key = (call.invoke.process, call.invoke.f, call.invoke.call)
            if key in seen:
                return call
            seen.add(key)
        return None

    # -- parameters ----------------------------------------------------------------------------

    def number(self, name: str, default: float | None = None) -> float:
        """Raises MissingParameter when there is neither a value nor a default."""
        return self._parameter(name, float, default)

    def flag(self, name: str, *, default: bool) -> bool:
        return self._parameter(name, bool, default)

    def numbers(self, name: str) -> frozenset[int]:
        return frozenset(self._parameter(name, list[int], []))

    def words(self, name: str) -> frozenset[str]:
        return frozenset(self._parameter(name, list[str], []))

    def word(self, name: str) -> str | None:
        return self._parameter(name, str, "") or None

    def has(self, name: str) -> bool:
        return self.header.parameters.get(name) is not None

    def _parameter(self, name: str, wanted: type[Value], default: Value | None) -> Value:
        value = self.header.parameters.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise MissingParameter(f"parameter {name} is missing from the run header; the drill must set it")
        try:
            return msgspec.convert(value, wanted)
        except msgspec.ValidationError as err:
            raise MissingParameter(f"parameter {name} = {value!r}: {err}") from err

    # -- the end state -------------------------------------------------------------------------

    @cached_property
    def instances(self) -> dict[str, Op]:
        return {op.value["id"]: op for op in self.rows("instance")}

    @cached_property
    def jobs(self) -> dict[str, Op]:
        return {op.value["id"]: op for op in self.rows("job")}

    @cached_property
    def steps(self) -> dict[str, Op]:
        return {op.value["id"]: op for op in self.rows("step")}

    @cached_property
    def steps_of(self) -> dict[str, list[Op]]:
        """Step rows by instance id."""
        return _grouped(self.steps.values(), "instance_id")

    @cached_property
    def jobs_of_step(self) -> dict[str, list[Op]]:
        """Job rows by step execution id."""
        return _grouped(self.jobs.values(), "step_execution_id")

    @cached_property
    def user_tasks_of(self) -> dict[str, list[Op]]:
        """User task rows by instance id."""
        return _grouped({op.value["id"]: op for op in self.rows("user_task")}.values(), "instance_id")

    @cached_property
    def timers_of(self) -> dict[str, list[Op]]:
        """Timer rows by instance id."""
        return _grouped({op.value["id"]: op for op in self.rows("timer")}.values(), "instance_id")

    @cached_property
    def tables_observed(self) -> bool:
        """Jobs, user tasks and timers were read too; over REST alone only instances and steps can be."""
        return any(self.rows(f) for f in ("job", "user_task", "timer", "table_count"))

    def variables(self, instance_id: str) -> Mapping[str, Any]:
        row = self.instances.get(instance_id)
        return (row.value.get("variables") or {}) if row is not None else {}

    @cached_property
    def done_keys(self) -> dict[str, set[str]]:
        """Job id -> the completions seen in any instance's variables (chained children hold copies)."""
        found: dict[str, set[str]] = defaultdict(set)
        for instance_id in self.instances:
            for key in self.variables(instance_id):
                job_id = job_of_done_key(key)
                if job_id is not None:
                    found[job_id].add(key)
        return dict(found)

    # -- what the workers did ------------------------------------------------------------------

    @cached_property
    def tenures(self) -> dict[str, Tenure]:
        """Job id -> its leases; jobs that no answered poll returned are absent."""
        found: dict[str, list[Lease]] = defaultdict(list)
        for poll, job in leased_jobs(self.calls_of("poll")):
            found[job["job_id"]].append(lease_of(poll, job))
        return {job_id: Tenure(leases, self._gave_back(job_id)) for job_id, leases in found.items()}

    def _gave_back(self, job_id: str) -> Iterable[Call]:
        calls = self.fails_of.get(job_id, ())
        return [call for call in calls if happened(call) and call.invoke.value.get("retryable", True)]

    @cached_property
    def completes_of(self) -> dict[str, list[Call]]:
        """Complete calls by job id."""
        return _calls_by_job(self.calls_of("complete"))

    @cached_property
    def fails_of(self) -> dict[str, list[Call]]:
        """`fail_job` calls by job id."""
        return _calls_by_job(self.calls_of("fail_job"))

    @cached_property
    def deliveries_of(self) -> dict[str, list[Op]]:
        """What workers got from the broker, by dedup id."""
        return _grouped((op for op in self.ops if op.f == "deliver"), "dedup_id")

    @cached_property
    def acknowledgements(self) -> Sequence[Op]:
        """Acknowledgements that the broker accepted from workers."""
        return [op for op in self.ops if op.f == "acknowledge" and "failed" not in op.value]

    # -- faults and phases ---------------------------------------------------------------------

    @cached_property
    def faults(self) -> Sequence[Fault]:
        calls = [call for call in self.calls if call.invoke.process.startswith("fault-")]
        heals = [call for call in calls if call.invoke.f == "heal"]
        return [
            Fault(call.invoke.f, _targets(call), call, _heal_of(call, heals))
            for call in calls
            if call.invoke.f != "heal"
        ]

    @cached_property
    def heals(self) -> Sequence[Call]:
        return [call for call in self.calls_of("heal") if call.invoke.process.startswith("fault-")]

    @cached_property
    def phases(self) -> Sequence[tuple[float, str]]:
        """(monotonic time, name) in order."""
        return [
            (op.t_s, str(op.value["name"])) for op in self.ops if op.f == "phase" and op.process == "harness"
        ]

    @cached_property
    def load_window_s(self) -> tuple[float, float]:
        """From the start of the phase `load` to the start of `drain` (monotonic): the time under load. Without
        phases, from the first start or complete to the last.
        """
        begun = next((t_s for t_s, name in self.phases if name == "load"), None)
        ended = next((t_s for t_s, name in self.phases if name in _WINDOW_END), None)
        attempts = [call.invoke.t_s for f in ("start", "complete") for call in self.calls_of(f)]
        if begun is None:
            begun = min(attempts, default=0.0)
        if ended is None:
            ended = max(attempts, default=begun)
        return begun, ended

    # -- what to show beside a violation -------------------------------------------------------

    @cached_property
    def _indexes_of(self) -> dict[str, list[int]]:
        found: dict[str, set[int]] = defaultdict(set)
        for call in self.calls:
            indexes = {call.invoke.index} if call.end is None else {call.invoke.index, call.end.index}
            for op in (call.invoke, call.end):
                for named in _ids(op) if op is not None else ():
                    found[named] |= indexes
        for op in self.ops:
            if op.type == "info" and not op.call:
                for named in _ids(op):
                    found[named].add(op.index)
        return {named: sorted(indexes) for named, indexes in found.items()}

    def around(self, ids: Iterable[str], at: Iterable[int], ops_max: int) -> tuple[int, ...]:
        """At most `ops_max` op indexes: those in `at`, then the ones of the same ids nearest to them."""
        chosen = dict.fromkeys(index for index in at if index >= 0)
        related = sorted({index for named in ids for index in self._indexes_of.get(named, ())})
        centre = next(iter(chosen), related[0] if related else 0)
        for index in sorted(related, key=lambda index: abs(index - centre)):
            chosen.setdefault(index)
        return tuple(sorted(list(chosen)[:ops_max]))


@lru_cache(maxsize=1)
def facts_of(history: History) -> Facts:
    """All checks of one history share one index."""
    return Facts(history)


def _grouped(rows: Iterable[Op], field: str) -> dict[str, list[Op]]:
    groups: dict[str, list[Op]] = defaultdict(list)
    for op in rows:
        groups[op.value[field]].append(op)
    return dict(groups)


def _calls_by_job(calls: Iterable[Call]) -> dict[str, list[Call]]:
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.invoke.value["job_id"]].append(call)
    return dict(groups)


def _targets(call: Call) -> tuple[str, ...]:
    target = call.invoke.value.get("target")
    if target is None:
        return ()
    return tuple(str(each) for each in target) if isinstance(target, list | tuple) else (str(target),)


def _heal_of(fault: Call, heals: Iterable[Call]) -> Call | None:
    """A heal ends the fault injected before it by the same process; it may name fault and target."""
    wanted = set(_targets(fault))
    for heal in heals:
        named = set(_targets(heal))
        fits = not wanted or not named or bool(wanted & named)
        fits = fits and heal.invoke.value.get("fault", fault.invoke.f) == fault.invoke.f
        later = heal.invoke.t_s >= fault.invoke.t_s
        if heal.invoke.process == fault.invoke.process and later and fits and heal.outcome == "ok":
            return heal
    return None


def _ids(op: Op) -> Iterable[str]:
    for field in _NAMED_IDS:
        named = op.value.get(field)
        if isinstance(named, str):
            yield named
    for job in op.value.get("jobs") or ():
        if isinstance(job, dict):
            yield from (job[field] for field in _NAMED_IDS if isinstance(job.get(field), str))
