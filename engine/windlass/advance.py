"""The engine's decisions, pure: (definition, instance, event) -> (instance, effects). Contract 5.

No clock, no I/O, no randomness: ids come from a supply and the time of `${now()}` from the caller, so the same
arguments give the same answer. Deterministic mistakes of a definition (a bad expression, a join outside its gateway)
end in a FAILED instance, never in an exception: the caller's transaction must commit (contract 11 row 24).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from windlass.definition import expression
from windlass.definition.model import Definition, Step, StepType
from windlass.effects import (
    ChainRequested,
    Effect,
    JobClosed,
    JobCreated,
    JobRequeued,
    Recorded,
    StepClosed,
    StepEntered,
    TimerClosed,
    TimerScheduled,
    UserTaskClosed,
    UserTaskCreated,
)
from windlass.instance import (
    Activation,
    Branch,
    Instance,
    OpenStep,
    ParsedVariables,
    Progress,
    Scope,
    Variables,
    encode_variables,
)
from windlass.states import InstanceStatus, JobStatus, StepStatus, UserTaskStatus
from windlass.wire import exponent_digits

STEPS_PER_EVENT_MAX = 1_000
"""A chain of this many steps without waiting is a loop without work in it: the instance fails."""

OPEN_STEPS_MAX = 1_000
"""Jobs, user tasks and waits that are open at the same time: a non-interrupting timer that leads back to its own step
doubles them whenever it fires."""

EVENT_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of variables that the steps of one event may write: each step entered keeps a copy, and all are in memory at
the same time."""

PARSED_BYTES_PER_UNIT = 16
"""Bytes of JSON that are parsed in the time of one unit of `expression.Work`."""

ENGINE = "engine"
INTERRUPTED = "interrupted by boundary timer"
_PARKING = frozenset({StepType.USER_TASK, StepType.WAIT})


class Surroundings(NamedTuple):
    """What a decision may use from outside."""

    new_id: Callable[[], str]
    now_text: Callable[[], str]
    """RFC 3339, whole seconds, UTC: the database's time of this transaction (contract 4.5)."""
    caller: str | None = None
    """The principal whose call this decides; None for the engine's own events, and without authentication."""


class Decision(NamedTuple):
    instance: Instance
    effects: Sequence[Effect]
    bytes_written: int = 0
    """Copies of the variables that the effects hold."""


def start(
    definition: Definition,
    instance_id: str,
    variables: Variables,
    business_key: str | None,
    around: Surroundings,
    trace: str | None = None,
) -> Decision:
    """A new instance, run up to where it first parks."""
    blank = Instance(
        instance_id,
        definition.id,
        definition.version,
        InstanceStatus.ACTIVE,
        (),
        variables,
        Progress(trace=trace),
        business_key,
    )
    run = _Run(definition, blank, around)
    run.record_call(
        "instance-started", None, definition_id=definition.id, definition_version=definition.version
    )
    run.enter(definition.first_step_id, ())
    return run.decision()


def complete_job(
    definition: Definition,
    instance: Instance,
    execution_id: str,
    worker_id: str,
    sent: Variables,
    around: Surroundings,
) -> Decision:
    run = _Run(definition, instance, around)
    job_id = run.open[execution_id].work_id
    run.emit(JobClosed(job_id, JobStatus.COMPLETED, worker_id))
    run.record_call("job-completed", worker_id, job_id=job_id)
    run.leave(execution_id, sent)
    return run.decision()


def fail_job(
    definition: Definition,
    instance: Instance,
    execution_id: str,
    worker_id: str,
    message: str,
    retries_remaining: int,
    *,
    retryable: bool,
    around: Surroundings,
) -> Decision:
    """Re-queued while retries are left, else job, step and instance fail with the same reason (contract 5.4)."""
    run = _Run(definition, instance, around)
    job_id = run.open[execution_id].work_id
    if retryable and retries_remaining > 0:
        run.emit(JobRequeued(job_id, retries_remaining - 1))
        run.record_call("job-retried", worker_id, job_id=job_id, retries_remaining=retries_remaining - 1)
        return run.decision()
    reason = message or "the worker reported a failure without a message"
    run.emit(JobClosed(job_id, JobStatus.FAILED, worker_id))
    run.record_call("job-failed", worker_id, job_id=job_id, reason=reason)
    run.close(execution_id, StepStatus.FAILED, failure_reason=reason)
    run.finish(InstanceStatus.FAILED, reason)
    return run.decision()


def complete_user_task(
    definition: Definition,
    instance: Instance,
    execution_id: str,
    worker_id: str | None,
    sent: Variables,
    around: Surroundings,
) -> Decision:
    run = _Run(definition, instance, around)
    task_id = run.open[execution_id].work_id
    run.emit(UserTaskClosed(task_id, UserTaskStatus.COMPLETED, encode_variables(sent)))
    run.record_call("user-task-completed", worker_id, user_task_id=task_id)
    run.leave(execution_id, sent)
    return run.decision()


def signal_wait(
    definition: Definition, instance: Instance, execution_id: str, sent: Variables, around: Surroundings
) -> Decision:
    run = _Run(definition, instance, around)
    run.record_call("wait-signalled", None, step_id=run.open[execution_id].step_id)
    run.leave(execution_id, sent)
    return run.decision()


def fire_timer(
    definition: Definition,
    instance: Instance,
    execution_id: str,
    timer_id: str,
    target_step_id: str,
    *,
    interrupting: bool,
    around: Surroundings,
) -> Decision:
    """No effect unless the instance runs, the parent is open and the timer has not fired (contract 5.6)."""
    run = _Run(definition, instance, around)
    parent = run.open.get(execution_id)
    run.emit(TimerClosed(timer_id))
    if instance.is_final or parent is None or timer_id not in parent.timer_ids:
        return run.decision()
    run.record("timer-fired", None, timer_id=timer_id, target_step_id=target_step_id)
    if interrupting:
        run.abandon(execution_id, INTERRUPTED, except_timer=timer_id)
    else:
        left = tuple(other for other in parent.timer_ids if other != timer_id)
        run.open[execution_id] = msgspec.structs.replace(parent, timer_ids=left)
    run.enter(target_step_id, parent.scope)
    return run.decision()


def cancel(definition: Definition, instance: Instance, reason: str, around: Surroundings) -> Decision:
    run = _Run(definition, instance, around)
    run.finish(InstanceStatus.CANCELLED, reason or None, closing="instance cancelled")
    return run.decision()


class _Run:
    """One event's way through a definition; a private, mutable copy of the instance."""

    def __init__(self, definition: Definition, instance: Instance, around: Surroundings) -> None:
        self.definition = definition
        self.before = instance
        self.around = around
        self.status = instance.status
        self.failure_reason = instance.failure_reason
        self.variables = instance.variables
        self.visits = dict(instance.progress.visits)
        self.open = dict(instance.progress.open)
        self.activations = dict(instance.progress.activations)
        self.effects: list[Effect] = []
        self.bytes_written = 0
        self.work = expression.Work()
        self._parsed: ParsedVariables | None = None
        self._snapshot: bytes | None = None

    # -- what every event uses

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def record(self, kind: str, actor: str | None = None, **detail: str | int | None) -> None:
        self.effects.append(Recorded(kind, actor or ENGINE, self.before.id, detail))

    def record_call(self, kind: str, worker_id: str | None, **detail: str | int | None) -> None:
        """What a caller asked for: its actor is the principal, or without one the name that the caller gave itself."""
        if self.around.caller is None:
            self.record(kind, worker_id, **detail)
        else:
            self.record(kind, self.around.caller, **detail, **({"worker_id": worker_id} if worker_id else {}))

    def snapshot(self) -> bytes:
        """The current variables as JSON, encoded once per change."""
        if self._snapshot is None:
            self._snapshot = encode_variables(self.variables)
        self.bytes_written += len(self._snapshot)
        return self._snapshot

    def merge(self, sent: Variables) -> None:
        """Shallow: sent keys overwrite, absent keys stay, null is stored (contract 5.3)."""
        if sent:
            self.variables = {**self.variables, **sent}
            self._snapshot = self._parsed = None

    def decision(self) -> Decision:
        if self.status in {InstanceStatus.ACTIVE, InstanceStatus.WAITING}:
            parked = any(self.definition.steps[s.step_id].type in _PARKING for s in self.open.values())
            self.status = InstanceStatus.WAITING if parked else InstanceStatus.ACTIVE
        current = dict.fromkeys(step.step_id for step in self.open.values())
        current.update(dict.fromkeys(a.join_step_id for a in self.activations.values() if a.arrived))
        after = Instance(
            self.before.id,
            self.before.definition_id,
            self.before.definition_version,
            self.status,
            tuple(current),
            self.variables,
            Progress(self.visits, self.open, self.activations, self.before.progress.trace),
            self.before.business_key,
            self.failure_reason,
        )
        return Decision(after, self.effects, self.bytes_written)

    # -- ending things

    def close(
        self,
        execution_id: str,
        status: StepStatus,
        output: bytes | None = None,
        failure_reason: str | None = None,
        except_timer: str | None = None,
    ) -> None:
        """Ends an execution and its timers; its token is no longer here."""
        step = self.open.pop(execution_id)
        self.emit(StepClosed(execution_id, status, output, failure_reason))
        for timer_id in step.timer_ids:
            if timer_id != except_timer:
                self.emit(TimerClosed(timer_id))

    def abandon(self, execution_id: str, reason: str, except_timer: str | None = None) -> None:
        """Ends an execution that did not finish, with the work it was waiting for."""
        step = self.open[execution_id]
        kind = self.definition.steps[step.step_id].type
        if kind is StepType.SERVICE_TASK:
            self.emit(JobClosed(step.work_id, JobStatus.CANCELLED))
        elif kind is StepType.USER_TASK:
            self.emit(UserTaskClosed(step.work_id, UserTaskStatus.CANCELLED))
        self.close(execution_id, StepStatus.FAILED, failure_reason=reason, except_timer=except_timer)

    def finish(self, status: InstanceStatus, reason: str | None = None, closing: str | None = None) -> None:
        """A terminal status, with everything still open closed in the same transaction (contract 5.8)."""
        self.status = status
        self.failure_reason = reason
        text = closing or f"instance {status.lower()}"
        for execution_id in tuple(self.open):
            self.abandon(execution_id, text)
        self.activations.clear()
        # Only a caller cancels; the other ends are the engine's own.
        record = self.record_call if status is InstanceStatus.CANCELLED else self.record
        record(f"instance-{status.lower()}", None, reason=reason)

    def fail(self, execution_id: str, reason: str) -> None:
        """A mistake in the definition, found while a step was entered."""
        self.emit(StepClosed(execution_id, StepStatus.FAILED, None, reason))
        self.finish(InstanceStatus.FAILED, reason)

    # -- moving on

    def leave(self, execution_id: str, sent: Variables) -> None:
        """A parked step's work is done: merge its variables and continue (contract 5.3)."""
        token = self.open[execution_id]
        step = self.definition.steps[token.step_id]
        self.close(execution_id, StepStatus.COMPLETED, encode_variables(sent))
        self.merge(sent)
        if step.branches:
            try:
                target = self._choose(step)
            except expression.ExpressionError as err:
                self.finish(InstanceStatus.FAILED, str(err))
                return
            self.enter(target, token.scope)
        elif step.next_step is not None:
            self.enter(step.next_step, token.scope)

    def enter(self, step_id: str, scope: Scope) -> None:
        """Runs from here until every token parks, depth first in array order (contract 5.2, 5.7)."""
        pending: list[tuple[str, Scope]] = [(step_id, scope)]
        for _ in range(STEPS_PER_EVENT_MAX):
            if not pending or self.status not in {InstanceStatus.ACTIVE, InstanceStatus.WAITING}:
                return
            here, around = pending.pop()
            if self.bytes_written > EVENT_BYTES_MAX:
                reason = f"step {here}: those before it wrote more than {EVENT_BYTES_MAX} bytes of variables in a row"
                self.finish(InstanceStatus.FAILED, reason)
                return
            pending.extend(reversed(self._enter_one(here, around)))
        if pending:
            self.finish(
                InstanceStatus.FAILED,
                f"step {pending[-1][0]}: {STEPS_PER_EVENT_MAX} steps ran in a row and none waited for work: "
                "the definition loops without a SERVICE_TASK, USER_TASK or WAIT in the loop",
            )

    def _enter_one(self, step_id: str, scope: Scope) -> list[tuple[str, Scope]]:
        step = self.definition.steps[step_id]
        execution_id = self.around.new_id()
        attempt = self.visits[step_id] = self.visits.get(step_id, 0) + 1
        self.emit(StepEntered(execution_id, self.before.id, step_id, step.type, attempt, self.snapshot()))
        match step.type:
            case StepType.SERVICE_TASK | StepType.USER_TASK | StepType.WAIT:
                self._park(step, execution_id, scope)
                return []
            case StepType.DECISION:
                return self._decide(step, execution_id, scope)
            case StepType.TRANSFORMATION:
                return self._transform(step, execution_id, scope)
            case StepType.PARALLEL_GATEWAY:
                return self._fork(step, execution_id, scope)
            case StepType.JOIN_GATEWAY:
                return self._join(step, execution_id, scope)
            case StepType.END:
                self._end(execution_id)
                return []

    def _park(self, step: Step, execution_id: str, scope: Scope) -> None:
        if len(self.open) >= OPEN_STEPS_MAX:
            self.fail(
                execution_id,
                f"step {step.id}: {OPEN_STEPS_MAX} steps of the instance wait already: a timer that does not interrupt "
                "may lead back to its own step, or a loop may fork faster than it joins",
            )
            return
        work_id = ""
        if step.type is StepType.SERVICE_TASK:
            work_id = self.around.new_id()
            job_type = step.job_type or step.id
            self.emit(
                JobCreated(
                    work_id,
                    self.before.id,
                    execution_id,
                    step.id,
                    job_type,
                    step.retry_count,
                    self.snapshot(),
                )
            )
            self.record("job-dispatched", None, job_id=work_id, job_type=job_type)
        elif step.type is StepType.USER_TASK:
            work_id = self.around.new_id()
            self.emit(UserTaskCreated(work_id, self.before.id, execution_id, step.id, self.snapshot()))
        timer_ids = []
        for event in step.boundary_events:
            timer_id = self.around.new_id()
            timer_ids.append(timer_id)
            self.emit(
                TimerScheduled(
                    timer_id,
                    self.before.id,
                    execution_id,
                    event.target_step_id,
                    event.duration_s,
                    event.interrupting,
                )
            )
        self.open[execution_id] = OpenStep(step.id, work_id, scope, tuple(timer_ids))

    def _parsing(self, size: int) -> None:
        self.work.spend(size // PARSED_BYTES_PER_UNIT)

    def _choose(self, step: Step) -> str:
        """Declaration order, first true wins (contract 4.4)."""
        if self._parsed is None:
            self._parsed = ParsedVariables(self.variables, self._parsing)
        for condition, target in step.branches:
            if expression.evaluate_decision(condition, self._parsed, self.work):
                return target
        raise expression.ExpressionError(
            f"DecisionNoBranchMatched: step {step.id}: none of its {len(step.branches)} conditions is true"
        )

    def _decide(self, step: Step, execution_id: str, scope: Scope) -> list[tuple[str, Scope]]:
        try:
            target = self._choose(step)
        except expression.ExpressionError as err:
            self.fail(execution_id, str(err))
            return []
        self.emit(StepClosed(execution_id, StepStatus.COMPLETED))
        return [(target, scope)]

    def _transform(self, step: Step, execution_id: str, scope: Scope) -> list[tuple[str, Scope]]:
        """Later keys see earlier results; on an error nothing of this step is kept (contract 4.5)."""
        changed = dict(self.variables)
        parsed = ParsedVariables(changed, self._parsing)
        size = 0
        for name, value in step.transformations:
            try:
                result = expression.resolve_transformation(value, parsed, self.around.now_text, self.work)
                encoded = msgspec.json.encode(result)
                size += len(encoded) + exponent_digits(encoded)
                if size > EVENT_BYTES_MAX:
                    raise ValueError(f"the step's values are larger than {EVENT_BYTES_MAX} bytes")
                changed[name] = msgspec.Raw(encoded)
                parsed.forget(name)
            except (expression.ExpressionError, ValueError, TypeError) as err:
                self.fail(execution_id, f'transformation "{name}": {err}')
                return []
        self.variables, self._parsed = changed, parsed
        self._snapshot = None
        self.emit(StepClosed(execution_id, StepStatus.COMPLETED, self.snapshot()))
        return [(step.next_step, scope)] if step.next_step is not None else []

    def _fork(self, step: Step, execution_id: str, scope: Scope) -> list[tuple[str, Scope]]:
        """The execution's id names the activation its branches belong to."""
        branches = len(step.parallel_next_steps)
        self.activations[execution_id] = Activation(step.join_step or "", branches, (), scope)
        self.emit(StepClosed(execution_id, StepStatus.COMPLETED))
        return [
            (target, (*scope, Branch(execution_id, step.id, number)))
            for number, target in enumerate(step.parallel_next_steps)
        ]

    def _join(self, step: Step, execution_id: str, scope: Scope) -> list[tuple[str, Scope]]:
        """Arrivals are counted per activation; the last distinct branch continues with the gateway's own scope."""
        gateway = self.definition.gateway_of_join.get(step.id)
        here = next((branch for branch in reversed(scope) if branch.gateway_step_id == gateway), None)
        if here is None:
            self.fail(execution_id, f"step {step.id}: a token reached this join without passing its gateway")
            return []
        self.emit(StepClosed(execution_id, StepStatus.COMPLETED))
        activation = self.activations.get(here.activation_id)
        if activation is None or here.number in activation.arrived:
            return []
        arrived = (*activation.arrived, here.number)
        if len(arrived) < activation.branches:
            self.activations[here.activation_id] = msgspec.structs.replace(activation, arrived=arrived)
            return []
        del self.activations[here.activation_id]
        return [(step.next_step, activation.scope)] if step.next_step is not None else []

    def _end(self, execution_id: str) -> None:
        self.emit(StepClosed(execution_id, StepStatus.COMPLETED))
        self.finish(InstanceStatus.COMPLETED)
        if self.definition.chained_definition_id is not None:
            self.emit(ChainRequested(self.before.id, self.definition.chained_definition_id, self.variables))
