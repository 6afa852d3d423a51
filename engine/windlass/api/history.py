"""A history item with every key twice: in camel case, and capitalised as Rochallor's scripts read it (contract 1.4)."""

from __future__ import annotations

from typing import Any

from windlass.wire import StepExecutionView


def item(row: StepExecutionView) -> dict[str, Any]:
    camel = {
        "id": row.id,
        "instanceId": row.instance_id,
        "stepId": row.step_id,
        "stepType": row.step_type,
        "attemptNumber": row.attempt_number,
        "status": row.status,
        "startedAt": row.started_at,
        "endedAt": row.ended_at,
        "failureReason": row.failure_reason,
        "inputSnapshot": row.input_snapshot,
        "outputSnapshot": row.output_snapshot,
    }
    return camel | {pascal(key): value for key, value in camel.items()}


def pascal(key: str) -> str:
    name = key[0].upper() + key[1:]
    return name[:-2] + "ID" if name.endswith("Id") else name
