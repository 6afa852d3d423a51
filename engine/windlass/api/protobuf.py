"""Conversion between the engine's data (`wire.py`, JSON) and the messages of workflow.proto (contract 2.2 to 2.5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.struct_pb2 import Struct, Value

from windlass import wire
from windlass.api.gen import workflow_pb2 as pb
from windlass.api.payload import variables_of
from windlass.errors import BadRequest

#: Objects and arrays inside each other. An object is three messages deep on the wire and every protobuf library
#: refuses to read past a hundred; the rest is for the messages around it.
NESTING_MAX = 30

#: From here on a double stays one, as in `payload.py`.
_INTEGRAL_BELOW = 1e21
_INT32_MAX = 2**31 - 1

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Unreadable(Exception):
    """JSON that no protobuf client could read, stored over REST or by another engine: the text says why."""


class TooLarge(Unreadable):
    """More than an answer may have."""


TOO_DEEP = f"nested deeper than {NESTING_MAX} levels"


# -- from messages


def json_of(struct: Struct, *, name: str) -> dict[str, Any]:
    """The object, with sorted keys since protobuf maps have no order. BadRequest names `name` for what JSON cannot
    represent.
    """
    return {key: _plain(struct.fields[key], name) for key in sorted(struct.fields)}


def _plain(value: Value, name: str) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value, name)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return json_of(value.struct_value, name=name)
        case "list_value":
            return [_plain(item, name) for item in value.list_value.values]
        case _:
            return None


def _number(number: float, name: str) -> int | float:
    if not math.isfinite(number):
        raise BadRequest(
            f"{name} holds the number {number}, which JSON cannot represent; send a finite number"
        )
    return int(number) if number.is_integer() and abs(number) < _INTEGRAL_BELOW else number


def variables_in(message: Any, field: str) -> wire.RawJson:
    """The variables of a request fit for storing; an absent Struct is none (contract 2.5)."""
    if not message.HasField(field):
        return wire.EMPTY_OBJECT
    return variables_of(_encode(json_of(getattr(message, field), name=field)), name=field)


def word_of(enum: EnumTypeWrapper, number: int, name: str) -> str:
    """The enum's value without its prefix, "" for UNSPECIFIED. BadRequest for a number it does not have."""
    known = enum.DESCRIPTOR.values_by_number.get(number)
    if known is None:
        raise BadRequest(f"{name}: {number} is no {enum.DESCRIPTOR.name}; send a number of the .proto")
    prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return known.name.removeprefix(prefix) if number else ""


def document_of(definition: pb.WorkflowDefinition) -> bytes:
    """The JSON document of the message; fields at their default are left out."""
    document = {
        "id": definition.id,
        "name": definition.name,
        "description": definition.description,
        "autoStartNextWorkflow": definition.auto_start_next_workflow,
        "nextWorkflowId": definition.next_workflow_id,
        "steps": [_step_document(step, index) for index, step in enumerate(definition.steps)],
    }
    if definition.HasField("metadata"):
        document["metadata"] = json_of(definition.metadata, name="metadata")
    return _encode(document)


def _step_document(step: pb.WorkflowStep, index: int) -> dict[str, Any]:
    where = f"steps[{index}]"
    return {
        "id": step.id,
        "name": step.name,
        "type": word_of(pb.StepType, step.type, f"{where}.type"),
        "description": step.description,
        "nextStep": step.next_step,
        "parallelNextSteps": list(step.parallel_next_steps),
        "joinStep": step.join_step,
        # Maps have no order in protobuf, but branches are tried in order: that of the sorted keys.
        "conditionalNextSteps": {
            key: step.conditional_next_steps[key] for key in sorted(step.conditional_next_steps)
        },
        "transformations": {
            key: _plain(step.transformations[key], f"{where}.transformations")
            for key in sorted(step.transformations)
        },
        "jobType": step.job_type,
        "delegateClass": step.delegate_class,
        "retryCount": step.retry_count,
        "boundaryEvents": [
            {
                "type": word_of(pb.BoundaryEventType, event.type, f"{where}.boundaryEvents[{at}].type"),
                "duration": event.duration,
                "interrupting": event.interrupting,
                "targetStepId": event.target_step_id,
            }
            for at, event in enumerate(step.boundary_events)
        ],
    }


# -- to messages


def fill(struct: Struct, text: wire.RawJson | bytes) -> None:
    """Write a JSON object into `struct`. Unreadable leaves it half written."""
    data = bytes(text)
    # The field is present and empty for {}: for some readers "no variables" differs from "absent".
    struct.SetInParent()
    if data != b"{}":
        _fill(struct, _decode(data), NESTING_MAX)


def _fill(struct: Struct, values: Mapping[str, Any], left: int) -> None:
    if not left:
        raise Unreadable(TOO_DEEP)
    for key, value in values.items():
        _put(struct.fields[key], value, left - 1)


def _put(target: Value, value: Any, left: int) -> None:
    if value is None:
        target.null_value = cast("Any", 0)
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        _fill(target.struct_value, value, left)
    elif isinstance(value, list):
        if not left:
            raise Unreadable(TOO_DEEP)
        target.list_value.SetInParent()
        for item in value:
            _put(target.list_value.values.add(), item, left - 1)
    else:
        try:
            target.number_value = value
        except OverflowError:
            raise Unreadable("with a number outside the range of a double") from None


def number_of(enum: EnumTypeWrapper, word: str) -> Any:
    """The number of an engine's word, 0 for one that the messages do not have."""
    prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = enum.DESCRIPTOR.values_by_name.get(prefix + word)
    return known.number if known else 0


def instance_message(
    view: wire.InstanceView, bytes_max: int, *, unreadable_is_left_out: bool = False
) -> pb.WorkflowInstance:
    """With `unreadable_is_left_out` variables that no client could read, or that make the message larger than
    `bytes_max`, are left out; else Unreadable or TooLarge is raised.
    """
    message = pb.WorkflowInstance(
        id=view.id,
        definition_id=view.definition_id,
        definition_version=view.definition_version,
        status=number_of(pb.InstanceStatus, view.status),
        current_step_ids=view.current_step_ids,
        failure_reason=view.failure_reason or "",
        business_key=view.business_key or "",
    )
    message.started_at.FromJsonString(view.started_at)
    if view.completed_at is not None:
        message.completed_at.FromJsonString(view.completed_at)
    try:
        _refuse_larger(len(bytes(view.variables)), bytes_max)
        fill(message.variables, view.variables)
        _refuse_larger(message.ByteSize(), bytes_max)
    except Unreadable:
        if not unreadable_is_left_out:
            raise
        message.ClearField("variables")
    return message


def _refuse_larger(size_bytes: int, bytes_max: int) -> None:
    if size_bytes > bytes_max:
        raise TooLarge(f"{size_bytes} bytes, and an answer has at most {bytes_max}")


def execution_message(view: wire.StepExecutionView) -> pb.StepExecution:
    message = pb.StepExecution(
        id=view.id,
        instance_id=view.instance_id,
        step_id=view.step_id,
        step_type=number_of(pb.StepType, view.step_type),
        attempt_number=view.attempt_number,
        status=number_of(pb.StepExecutionStatus, view.status),
        failure_reason=view.failure_reason or "",
    )
    message.started_at.FromJsonString(view.started_at)
    if view.ended_at is not None:
        message.ended_at.FromJsonString(view.ended_at)
    return message


def write_job(message: pb.Job, view: wire.JobView) -> None:
    message.id = view.id
    message.job_type = view.job_type
    message.instance_id = view.instance_id
    message.step_id = view.step_id
    message.step_execution_id = view.step_execution_id
    message.retries_remaining = view.retries_remaining
    message.lease_token = view.lease_token
    message.locked_at.FromJsonString(view.locked_at)
    message.lock_expires_at.FromJsonString(view.lock_expires_at)
    if view.traceparent is not None:
        message.traceparent = view.traceparent
        message.tracestate = view.tracestate or ""
    fill(message.variables, view.variables)


def summary_message(view: wire.DefinitionSummary, bytes_max: int) -> pb.WorkflowDefinition:
    """Without the texts when no client could receive them."""
    message = pb.WorkflowDefinition(
        id=view.id, version=view.version, name=view.name, description=view.description or ""
    )
    for text in ("description", "name"):
        if message.ByteSize() > bytes_max:
            message.ClearField(text)
    return message


def definition_message(text: bytes) -> pb.WorkflowDefinition:
    """The whole stored document; it may be another engine's, so null and absent are the same."""
    document = _decode(text)
    message = pb.WorkflowDefinition(
        id=document["id"],
        version=document["version"],
        name=document.get("name") or "",
        description=document.get("description") or "",
        auto_start_next_workflow=document.get("autoStartNextWorkflow") or False,
        next_workflow_id=document.get("nextWorkflowId") or "",
    )
    for step in _items(document, "steps"):
        _write_step(message.steps.add(), step)
    metadata = document.get("metadata")
    if metadata is not None:
        message.metadata.SetInParent()
        _fill(message.metadata, metadata, NESTING_MAX)
    return message


def _write_step(message: pb.WorkflowStep, step: Mapping[str, Any]) -> None:
    message.id = step.get("id") or ""
    message.name = step.get("name") or ""
    message.type = number_of(pb.StepType, step.get("type") or "")
    message.description = step.get("description") or ""
    message.next_step = step.get("nextStep") or ""
    message.parallel_next_steps.extend(_items(step, "parallelNextSteps"))
    message.join_step = step.get("joinStep") or ""
    for key, target in (step.get("conditionalNextSteps") or {}).items():
        message.conditional_next_steps[key] = target
    for key, value in (step.get("transformations") or {}).items():
        _put(message.transformations[key], value, NESTING_MAX)
    message.job_type = step.get("jobType") or ""
    message.delegate_class = step.get("delegateClass") or ""
    message.retry_count = max(-_INT32_MAX, min(step.get("retryCount") or 0, _INT32_MAX))
    for event in _items(step, "boundaryEvents"):
        message.boundary_events.add(
            type=number_of(pb.BoundaryEventType, event.get("type") or ""),
            duration=event.get("duration") or "",
            interrupting=event.get("interrupting") or False,
            target_step_id=event.get("targetStepId") or "",
        )


def _items(document: Mapping[str, Any], key: str) -> Iterable[Any]:
    return document.get(key) or ()
