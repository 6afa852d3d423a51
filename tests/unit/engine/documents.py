"""Definition documents for tests, and the two ways an upload is refused."""

import json
from typing import Any

import pytest

from windlass import errors
from windlass.definition.document import Upload, parse_upload

END: dict[str, Any] = {"id": "end", "name": "End", "type": "END"}
TIMER = {"type": "TIMER", "duration": "PT1S", "targetStepId": "end"}


def doc(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A document that is valid as long as its steps are."""
    return {"id": "loan:v1", "name": "Loan", "steps": list(steps) or [END]} | fields


def step(id: str, type: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id.upper(), "type": type} | fields


def task(id: str, next: str, **fields: Any) -> dict[str, Any]:
    return step(id, "SERVICE_TASK", jobType="work", nextStep=next, **fields)


FORK = step("fork", "PARALLEL_GATEWAY", parallelNextSteps=["a", "b"], joinStep="join")
JOIN = step("join", "JOIN_GATEWAY", nextStep="end")


def upload(value: Any) -> Upload:
    return parse_upload(json.dumps(value).encode())


def violations(value: Any) -> tuple[str, ...]:
    with pytest.raises(errors.InvalidDefinition) as caught:
        upload(value)
    assert caught.value.reason == "validation error:\n" + "\n".join(caught.value.violations)
    return tuple(caught.value.violations)


def parse_error(body: bytes) -> str:
    with pytest.raises(errors.BadRequest) as caught:
        parse_upload(body)
    assert caught.value.reason.startswith("parse error: ")
    caught.value.reason.encode()
    return caught.value.reason
