"""Results from people and other systems: completing user tasks, signalling waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from windlass.api.openapi.instances import INSTANCE_ID, NO_INSTANCE
from windlass.api.openapi.operation import FAILS_OR_SHED, Operation, path_id
from windlass.api.openapi.shape import Schema, or_null, record, text, variables

_WRONG_STEP = "The call is malformed, or the step is of another type. Nothing was changed."

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="completeUserTask",
        method="post",
        path="/v1/instances/{instanceId}/user-tasks/{userTaskId}/complete",
        tag="parked steps",
        summary="Complete a user task",
        description="userTaskId is the id of the USER_TASK step.",
        path_schemas={"instanceId": INSTANCE_ID, "userTaskId": path_id("The step's id.")},
        body="CompleteUserTask",
        body_required=False,
        body_examples={"approved": {"workerId": "ada", "variables": {"approved": True}}},
        status=204,
        refused={
            400: _WRONG_STEP,
            404: "There is no such instance or step, or it is not waiting there.",
            409: "The instance has ended.",
        },
        fails=FAILS_OR_SHED,
    ),
    Operation(
        id="signalWait",
        method="post",
        path="/v1/instances/{instanceId}/signals/{waitStepId}",
        tag="parked steps",
        summary="Signal a waiting instance",
        description="waitStepId is the id of the WAIT step. The body is the map of variables itself.",
        path_schemas={"instanceId": INSTANCE_ID, "waitStepId": path_id("The step's id.")},
        body="Signal",
        body_required=False,
        body_examples={"paid": {"amount": 12}},
        status=204,
        refused={
            400: _WRONG_STEP,
            404: NO_INSTANCE,
            409: "There is no such step, it is not waiting there, or the instance has ended.",
        },
        fails=FAILS_OR_SHED,
    ),
)


SCHEMAS: Mapping[str, Schema] = {
    "CompleteUserTask": record(
        (),
        {
            "variables": variables("Merged into the instance's variables, key by key."),
            "result": variables("Used if variables is absent or null."),
            "workerId": or_null(text("Who did it, for the audit log.")),
            "completedBy": or_null(text("Used if workerId is absent, null or empty.")),
        },
        fails=FAILS_OR_SHED,
    ),
    "Signal": variables("The body is the map itself: merged into the instance's variables, key by key."),
}
