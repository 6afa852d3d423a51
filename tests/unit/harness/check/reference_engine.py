"""The contract's execution rules once more, as a toy: every state it reaches is one a right engine may leave behind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from trial_builder import Trial, db_time

PARKING = ("SERVICE_TASK", "USER_TASK", "WAIT")


class Reference:
    """One instance of one definition; each public method is one transaction."""

    def __init__(self, document: Mapping[str, Any], rng: random.Random, instance_id: str = "i1") -> None:
        self.document = document
        self.rng = rng
        self.instance_id = instance_id
        self.plan = {step["id"]: step for step in document["steps"]}
        self.gateway_of: dict[str, Any] = {}
        for step in document["steps"]:
            if step["type"] == "PARALLEL_GATEWAY":
                self.gateway_of.setdefault(step["joinStep"], step)
        self.status = "ACTIVE"
        self.steps: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.timers: list[dict[str, Any]] = []
        self.waiting_joins: Counter[str] = Counter()
        self.parents = 0
        self._enter(document["steps"][0]["id"])

    # -- transactions --------------------------------------------------------------------------

    def running(self) -> list[dict[str, Any]]:
        return [row for row in self.steps if row["status"] == "RUNNING"]

    def act(self) -> bool:
        """One random thing that may happen next; False when the instance is terminal or rests for ever."""
        parked = self.running()
        if self.status not in {"ACTIVE", "WAITING"} or not parked:
            return False
        row = self.rng.choice(parked)
        due = [
            timer for timer in self.timers if timer["step_execution_id"] == row["id"] and not timer["fired"]
        ]
        roll = self.rng.random()
        if roll < 0.02:
            self._end("CANCELLED", "instance cancelled")
        elif roll < 0.06 and row["step_type"] == "SERVICE_TASK":
            self._close(row, "FAILED", "boom", job="FAILED")
            self._end("FAILED", "boom")
        elif due and roll < 0.5:
            self._fire(self.rng.choice(due), row)
        else:
            self._close(row, "COMPLETED", None, job="COMPLETED", task="COMPLETED")
            self._lead_on(self.plan[row["step_id"]])
        return True

    def _fire(self, timer: dict[str, Any], row: dict[str, Any]) -> None:
        timer["fired"] = True
        if timer["interrupting"]:
            self._close(row, "FAILED", "interrupted by boundary timer", job="CANCELLED", task="CANCELLED")
        self._enter(timer["target_step_id"])

    def _lead_on(self, step: Mapping[str, Any]) -> None:
        if step.get("conditionalNextSteps"):
            if self.rng.random() < 0.05:
                self._end("FAILED", "DecisionNoBranchMatched")
            else:
                self._enter(self.rng.choice(list(step["conditionalNextSteps"].values())))
        elif step.get("nextStep"):
            self._enter(step["nextStep"])

    def _enter(self, step_id: str) -> None:
        """Depth first, as the contract tells it; nothing is entered once the instance has ended."""
        if self.status not in {"ACTIVE", "WAITING"}:
            return
        step = self.plan[step_id]
        number = len(self.steps)
        row = {
            "id": f"{self.instance_id}-s{number}",
            "instance_id": self.instance_id,
            "step_id": step_id,
            "step_type": step["type"],
            "attempt_number": 1 + sum(each["step_id"] == step_id for each in self.steps),
            "status": "RUNNING",
            "started_at": db_time(number),
            "ended_at": None,
            "failure_reason": None,
        }
        self.steps.append(row)
        self._park(row, step) if step["type"] in PARKING else self._pass(row, step)

    def _park(self, row: dict[str, Any], step: Mapping[str, Any]) -> None:
        number = len(self.steps)
        if step["type"] == "SERVICE_TASK":
            job = {
                "id": f"{self.instance_id}-j{number}",
                "step_execution_id": row["id"],
                "status": "UNLOCKED",
            }
            self.jobs.append({**job, "instance_id": self.instance_id, "job_type": step["jobType"]})
        if step["type"] == "USER_TASK":
            task = {"id": f"{self.instance_id}-u{number}", "step_id": step["id"], "status": "OPEN"}
            self.tasks.append({**task, "instance_id": self.instance_id, "execution": row["id"]})
        for order, event in enumerate(step.get("boundaryEvents") or ()):
            self.timers.append(
                {
                    "id": f"{self.instance_id}-t{number}-{order}",
                    "instance_id": self.instance_id,
                    "step_execution_id": row["id"],
                    "target_step_id": event["targetStepId"],
                    "interrupting": event["interrupting"],
                    "fired": False,
                }
            )

    def _pass(self, row: dict[str, Any], step: Mapping[str, Any]) -> None:
        if step["type"] == "DECISION" and self.rng.random() < 0.03:
            self._close(row, "FAILED", "DecisionNoBranchMatched")
            self._end("FAILED", "DecisionNoBranchMatched")
            return
        self._close(row, "COMPLETED", None)
        if step["type"] == "END":
            self._end("COMPLETED", None)
        elif step["type"] == "PARALLEL_GATEWAY":
            for target in step["parallelNextSteps"]:
                self._enter(target)
        elif step["type"] == "JOIN_GATEWAY":
            self.waiting_joins[step["id"]] += 1
            if self.waiting_joins[step["id"]] == len(self.gateway_of[step["id"]]["parallelNextSteps"]):
                self.waiting_joins[step["id"]] = 0
                self._enter(step["nextStep"])
        elif step["type"] == "DECISION":
            self._enter(self.rng.choice(list(step["conditionalNextSteps"].values())))
        else:
            self._enter(step["nextStep"])

    def _close(
        self,
        row: dict[str, Any],
        status: str,
        reason: str | None,
        job: str = "CANCELLED",
        task: str = "CANCELLED",
    ) -> None:
        row.update(status=status, failure_reason=reason, ended_at=db_time(len(self.steps)))
        for each in self.jobs:
            if each["step_execution_id"] == row["id"] and each["status"] == "UNLOCKED":
                each["status"] = job
        for each in self.tasks:
            if each["execution"] == row["id"] and each["status"] == "OPEN":
                each["status"] = task
        for each in self.timers:
            if each["step_execution_id"] == row["id"]:
                each["fired"] = True

    def _end(self, status: str, reason: str | None) -> None:
        self.status = status
        for row in self.running():
            self._close(row, "FAILED", reason or "instance completed")

    # -- what is left behind -------------------------------------------------------------------

    def write(self, trial: Trial, **variables: Any) -> Trial:
        current = list(dict.fromkeys(row["step_id"] for row in self.running()))
        current += [join for join, count in self.waiting_joins.items() if count]
        terminal = self.status in {"COMPLETED", "FAILED", "CANCELLED"}
        trial.instance(
            self.instance_id,
            self.status,
            definition_id=self.document["id"],
            current_step_ids=[] if terminal else current,
            variables=variables,
        )
        for f, rows in (
            ("step", self.steps),
            ("job", self.jobs),
            ("user_task", self.tasks),
            ("timer", self.timers),
        ):
            for row in rows:
                trial.row(f, row["id"], **{name: value for name, value in row.items() if name != "id"})
        return trial


def lived_out(document: Mapping[str, Any], seed: int, acts: int, instance_id: str = "i1") -> Reference:
    engine = Reference(document, random.Random(seed), instance_id)
    for _ in range(acts):
        if not engine.act():
            break
    return engine


def _service(id_: str, following: str | None, **rest: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": "SERVICE_TASK", "jobType": id_, "nextStep": following, **rest}


def _step(type_: str, id_: str, following: str | None = None, **rest: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": type_, "nextStep": following, **rest}


def _timer(target: str, *, interrupting: bool) -> dict[str, Any]:
    return {"type": "TIMER", "duration": "PT1S", "interrupting": interrupting, "targetStepId": target}


def _fork(id_: str, join: str, *branches: str) -> dict[str, Any]:
    return {
        "id": id_,
        "name": id_,
        "type": "PARALLEL_GATEWAY",
        "parallelNextSteps": list(branches),
        "joinStep": join,
    }


def _choice(id_: str, *targets: str) -> dict[str, Any]:
    conditions = {f"x == {number}": target for number, target in enumerate(targets)}
    return {"id": id_, "name": id_, "type": "DECISION", "conditionalNextSteps": conditions}


END = _step("END", "end")

DOCUMENTS: dict[str, dict[str, Any]] = {
    "line": {
        "id": "line",
        "steps": [_service("a", "b"), _step("TRANSFORMATION", "b", "c"), _service("c", "end"), END],
    },
    "loop": {
        "id": "loop",
        "steps": [_service("a", "d"), _choice("d", "a", "b", "end"), _service("b", "d"), END],
    },
    "choosy-task": {
        "id": "choosy-task",
        "steps": [_service("a", "end", conditionalNextSteps={"x": "b", "y": "a"}), _service("b", "end"), END],
    },
    "fork": {
        "id": "fork",
        "steps": [
            _service("a", "g"),
            _fork("g", "j", "p", "q"),
            _service("p", "p2"),
            _service("p2", "j"),
            _service("q", "j"),
            _step("JOIN_GATEWAY", "j", "d"),
            _choice("d", "a", "end"),
            END,
        ],
    },
    "fork-to-end": {
        "id": "fork-to-end",
        "steps": [
            _fork("g", "j", "p", "d", "q"),
            _service("p", "j"),
            _choice("d", "end", "j"),
            _service("q", "j"),
            _step("JOIN_GATEWAY", "j", "end"),
            END,
        ],
    },
    "nested": {
        "id": "nested",
        "steps": [
            _fork("g", "j", "h", "q"),
            _fork("h", "k", "r", "s"),
            _service("r", "k"),
            _service("s", "k"),
            _step("JOIN_GATEWAY", "k", "j"),
            _service("q", "j"),
            _step("JOIN_GATEWAY", "j", "end"),
            END,
        ],
    },
    "timers": {
        "id": "timers",
        "steps": [
            _step("USER_TASK", "u", "w", boundaryEvents=[_timer("late", interrupting=True)]),
            _service("late", "w", boundaryEvents=[_timer("nag", interrupting=False)]),
            _service("nag", None),
            _step(
                "WAIT",
                "w",
                "end",
                boundaryEvents=[_timer("nag", interrupting=False), _timer("u", interrupting=True)],
            ),
            END,
        ],
    },
    "dead-end": {
        "id": "dead-end",
        "steps": [_choice("d", "a", "b"), _service("a", None), _service("b", "end"), END],
    },
}
