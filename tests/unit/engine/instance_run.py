"""An instance in hand, without a database: events go in, effects pile up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec

from windlass import advance
from windlass.definition.document import compile_definition
from windlass.definition.model import Definition
from windlass.effects import (
    Effect,
    StepEntered,
    TimerScheduled,
)
from windlass.instance import Instance, Variables

NOW = "2026-01-02T03:04:05Z"


def around() -> advance.Surroundings:
    numbers = itertools.count(1)
    return advance.Surroundings(lambda: f"id-{next(numbers)}", lambda: NOW)


def define(*steps: dict[str, Any], **top: Any) -> Definition:
    named = [{"name": step["id"], **step} for step in steps]
    return compile_definition("d", 1, json.dumps({"id": "d", "name": "d", "steps": named, **top}).encode())


def service(id_: str, next_: str | None, **more: Any) -> dict[str, Any]:
    step = {"id": id_, "type": "SERVICE_TASK", "jobType": f"do-{id_}", **more}
    return step | ({"nextStep": next_} if next_ else {})


END = {"id": "end", "type": "END"}


def raw(**values: Any) -> Variables:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}


def plain(variables: Variables) -> dict[str, Any]:
    return {name: json.loads(bytes(value)) for name, value in variables.items()}


class Run:
    """An instance in hand: events go in, effects pile up."""

    def __init__(self, definition: Definition, **variables: Any) -> None:
        self.definition = definition
        self.around = around()
        self.effects: list[Effect] = []
        self.instance = self._take(advance.start(definition, "i", raw(**variables), None, self.around))

    def _take(self, decision: advance.Decision) -> Instance:
        self.effects += decision.effects
        self.instance = decision.instance
        return decision.instance

    def at(self, step_id: str) -> str:
        found = self.instance.open_at(step_id)
        assert found is not None, f"{step_id} is not open, but {self.current}"
        return found

    def complete(self, step_id: str, **sent: Any) -> Run:
        self._take(
            advance.complete_job(
                self.definition, self.instance, self.at(step_id), "w", raw(**sent), self.around
            )
        )
        return self

    def fail(self, step_id: str, retries: int, *, retryable: bool, message: str = "broke") -> Run:
        self._take(
            advance.fail_job(
                self.definition,
                self.instance,
                self.at(step_id),
                "w",
                message,
                retries,
                retryable=retryable,
                around=self.around,
            )
        )
        return self

    def user(self, step_id: str, **sent: Any) -> Run:
        self._take(
            advance.complete_user_task(
                self.definition, self.instance, self.at(step_id), "u", raw(**sent), self.around
            )
        )
        return self

    def signal(self, step_id: str, **sent: Any) -> Run:
        self._take(
            advance.signal_wait(self.definition, self.instance, self.at(step_id), raw(**sent), self.around)
        )
        return self

    def timer(self, timer: TimerScheduled) -> Run:
        self._take(
            advance.fire_timer(
                self.definition,
                self.instance,
                timer.execution_id,
                timer.timer_id,
                timer.target_step_id,
                interrupting=timer.interrupting,
                around=self.around,
            )
        )
        return self

    def cancel(self, reason: str) -> Run:
        self._take(advance.cancel(self.definition, self.instance, reason, self.around))
        return self

    @property
    def current(self) -> tuple[str, ...]:
        return self.instance.current_step_ids

    @property
    def status(self) -> str:
        return self.instance.status

    @property
    def variables(self) -> dict[str, Any]:
        return plain(self.instance.variables)

    def all(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def entered(self) -> list[str]:
        return [step.step_id for step in self.all(StepEntered)]
