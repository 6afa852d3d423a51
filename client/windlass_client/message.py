"""Between what the client takes and answers and the messages of workflow.proto (contract 2.2 to 2.5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from google.protobuf import json_format
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from windlass_client.errors import BadRequest, EngineFault
from windlass_client.gen import workflow_pb2 as pb
from windlass_client.model import Instance, InstanceStatus, Job, StepExecution, StepStatus, StepType, Uploaded

#: Objects and arrays inside each other. An object is three messages deep on the wire and every protobuf library
#: refuses to read past a hundred; the rest is for the messages around it.
NESTING_MAX = 30

#: Integral numbers below it become integers, as over REST: the engine writes larger ones with an exponent.
_INTEGRAL_BELOW = 1e21

Word = TypeVar("Word", bound=StrEnum)


# -- to messages


def struct_of(variables: Mapping[str, Any]) -> Struct:
    """Raises BadRequest for what is no JSON object, and for one nested deeper than `NESTING_MAX`."""
    plain = _plain_json(variables)
    if not isinstance(plain, dict):
        raise BadRequest("variables must be a JSON object")
    if not _is_within(plain, NESTING_MAX):
        raise BadRequest(
            f"variables are nested deeper than {NESTING_MAX} levels, the most gRPC can carry; use REST"
        )
    struct = Struct()
    try:
        struct.update(plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"variables do not fit their message: {error}") from error
    return struct


def definition_message(definition: Mapping[str, Any]) -> pb.WorkflowDefinition:
    """Raises BadRequest for what the message cannot hold. Whether the definition is valid is the engine's to say."""
    plain = _plain_json(definition)
    try:
        fits = all(_is_within(each, NESTING_MAX) for each in _free_form(plain))
        document = {**plain, "steps": [_step(step) for step in _items(plain, "steps")]}
        if fits:
            return json_format.ParseDict(document, pb.WorkflowDefinition(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"the definition does not fit its message: {error}") from error
    raise BadRequest(
        f"the definition is nested deeper than {NESTING_MAX} levels, the most gRPC can carry; use REST"
    )


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    """The step with its enums spelt as protobuf's JSON spells them."""
    events = [
        {**event, "type": f"BOUNDARY_EVENT_TYPE_{event.get('type') or 'UNSPECIFIED'}"}
        for event in _items(step, "boundaryEvents")
    ]
    return {**step, "type": f"STEP_TYPE_{step.get('type') or 'UNSPECIFIED'}", "boundaryEvents": events}


def _free_form(definition: Mapping[str, Any]) -> Iterator[Any]:
    """The parts of a definition that may be any JSON."""
    yield definition.get("metadata")
    for step in _items(definition, "steps"):
        yield from (step.get("transformations") or {}).values()


def _items(document: Mapping[str, Any], key: str) -> Iterable[Any]:
    return document.get(key) or ()


def _plain_json(value: object) -> Any:
    """By way of JSON, as REST sends it: what is no JSON there is refused here too."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the request is not JSON: {error}") from error


def _is_within(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_is_within(each, levels - 1) for each in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_is_within(each, levels - 1) for each in value)
    return True


# -- from messages; each raises EngineFault for what its twin over REST could not say


def uploaded_of(message: pb.UploadDefinitionResponse) -> Uploaded:
    return Uploaded(message.id, message.version, _time(message.uploaded_at))


def instance_of(message: pb.WorkflowInstance) -> Instance:
    return Instance(
        id=message.id,
        definition_id=message.definition_id,
        definition_version=message.definition_version,
        status=_word(InstanceStatus, pb.InstanceStatus, message.status),
        current_step_ids=tuple(message.current_step_ids),
        variables=_object(message.variables),
        started_at=_time(message.started_at),
        completed_at=_time(message.completed_at) if message.HasField("completed_at") else None,
        failure_reason=message.failure_reason or None,
        business_key=message.business_key or None,
    )


def execution_of(message: pb.StepExecution) -> StepExecution:
    return StepExecution(
        id=message.id,
        instance_id=message.instance_id,
        step_id=message.step_id,
        step_type=_word(StepType, pb.StepType, message.step_type),
        attempt_number=message.attempt_number,
        status=_word(StepStatus, pb.StepExecutionStatus, message.status),
        started_at=_time(message.started_at),
        ended_at=_time(message.ended_at) if message.HasField("ended_at") else None,
        failure_reason=message.failure_reason or None,
    )


def job_of(message: pb.Job, worker_id: str) -> Job:
    """The message does not carry the worker's id; REST's answer does."""
    return Job(
        id=message.id,
        instance_id=message.instance_id,
        step_id=message.step_id,
        step_execution_id=message.step_execution_id,
        job_type=message.job_type,
        retries_remaining=message.retries_remaining,
        variables=_object(message.variables),
        lock_expires_at=_time(message.lock_expires_at),
        lease_token=message.lease_token,
        worker_id=worker_id,
        traceparent=message.traceparent or None,
        tracestate=message.tracestate or None,
    )


def _word(words: type[Word], enum: EnumTypeWrapper, number: int) -> Word:
    prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    try:
        return words(enum.Name(number).removeprefix(prefix))
    except ValueError as error:
        raise EngineFault(
            f"the engine answered a {words.__name__} that this client does not know: {error}"
        ) from error


def _object(struct: Struct) -> dict[str, Any]:
    """Keys sorted, since a map has no order on the wire."""
    return {key: _plain(struct.fields[key]) for key in sorted(struct.fields)}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case _:
            return None


def _number(number: float) -> float:
    if not math.isfinite(number):
        raise EngineFault(f"the engine answered the number {number}, which JSON cannot hold")
    return int(number) if number.is_integer() and abs(number) < _INTEGRAL_BELOW else number


def _time(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise EngineFault(f"the engine answered a time that is none: {error}") from error
