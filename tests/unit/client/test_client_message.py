"""What the client writes into messages and reads out of them, where no engine is needed to see it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from windlass_client import BadRequest, EngineFault, InstanceStatus, StepStatus, StepType
from windlass_client.gen import workflow_pb2 as pb
from windlass_client.message import (
    NESTING_MAX,
    definition_message,
    execution_of,
    instance_of,
    struct_of,
    uploaded_of,
)

numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def instance_with(variables: Struct) -> pb.WorkflowInstance:
    message = pb.WorkflowInstance(status="INSTANCE_STATUS_ACTIVE", variables=variables)
    return pb.WorkflowInstance.FromString(message.SerializeToString())


def nested(levels: int) -> Any:
    """Objects and arrays in turn."""
    value: Any = 1
    for level in range(levels, 0, -1):
        value = {"deeper": value} if level % 2 else [value]
    return value


@given(st.dictionaries(texts, values, max_size=4))
def test_variables_arrive_as_they_were_sent(variables: dict[str, Any]) -> None:
    assert instance_of(instance_with(struct_of(variables))).variables == variables


def test_an_integral_number_is_an_integer_again_as_over_rest() -> None:
    read = instance_of(instance_with(struct_of({"n": 3, "x": 1.5, "large": 1e20, "larger": 1e21}))).variables
    assert {name: type(number) for name, number in read.items()} == {
        "n": int,
        "x": float,
        "large": int,
        "larger": float,
    }


def test_variables_may_be_nested_as_deep_as_grpc_carries() -> None:
    assert instance_of(instance_with(struct_of(nested(NESTING_MAX)))).variables == nested(NESTING_MAX)
    with pytest.raises(BadRequest, match=f"deeper than {NESTING_MAX} levels.*use REST"):
        struct_of({"x": nested(NESTING_MAX)})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ([1], "must be a JSON object"),
        ("text", "must be a JSON object"),
        ({"x": object()}, "not JSON"),
        ({"x": 10**400}, "JSON|fit"),
    ],
)
def test_what_is_no_json_object_is_refused(variables: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        struct_of(variables)


@pytest.mark.parametrize("where", ["metadata", "transformations"])
def test_a_definition_may_be_nested_as_deep_as_grpc_carries(where: str) -> None:
    def holding(value: Any) -> dict[str, Any]:
        step = {"id": "a", "type": "TRANSFORMATION", "transformations": {"x": value}}
        return {"id": "d", "steps": [step]} if where == "transformations" else {"id": "d", "metadata": value}

    message = definition_message(holding(nested(NESTING_MAX)))
    assert pb.WorkflowDefinition.FromString(message.SerializeToString()) == message
    with pytest.raises(BadRequest, match=f"deeper than {NESTING_MAX} levels.*use REST"):
        definition_message(holding({"x": nested(NESTING_MAX)}))


@pytest.mark.parametrize(
    "definition",
    [
        [],
        {"id": 5},
        {"id": "d", "steps": 5},
        {"id": "d", "steps": ["a"]},
        {"id": "d", "steps": [{"id": "a", "retryCount": "many"}]},
        {"id": "d", "steps": [{"id": "a", "parallelNextSteps": "b"}]},
        {"id": "d", "steps": [{"id": "a", "transformations": ["b"]}]},
        {"id": "d", "steps": [{"id": "a", "boundaryEvents": ["b"]}]},
        {"id": "d", "metadata": 5},
    ],
)
def test_a_definition_that_its_message_cannot_hold_is_refused(definition: Any) -> None:
    with pytest.raises(BadRequest, match="the definition does not fit its message"):
        definition_message(definition)


def test_a_type_that_the_message_has_no_number_for_is_left_to_the_engine() -> None:
    """It refuses the step and names all other faults of the definition with it."""
    step = {"id": "a", "type": "DANCE", "boundaryEvents": [{"type": "ALARM", "targetStepId": "b"}]}
    message = definition_message({"id": "d", "steps": [step]})
    assert message.steps[0].type == pb.STEP_TYPE_UNSPECIFIED
    assert message.steps[0].boundary_events[0].type == pb.BOUNDARY_EVENT_TYPE_UNSPECIFIED


def test_every_word_of_the_client_has_its_number() -> None:
    for status in InstanceStatus:
        assert instance_of(pb.WorkflowInstance(status=f"INSTANCE_STATUS_{status}")).status is status
    for step_type in StepType:
        message = pb.StepExecution(step_type=f"STEP_TYPE_{step_type}", status="STEP_EXECUTION_STATUS_RUNNING")
        assert execution_of(message).step_type is step_type
    for step_status in StepStatus:
        message = pb.StepExecution(step_type="STEP_TYPE_END", status=f"STEP_EXECUTION_STATUS_{step_status}")
        assert execution_of(message).status is step_status


@pytest.mark.parametrize("number", [0, pb.STEP_EXECUTION_STATUS_SKIPPED, 99])
def test_a_status_that_the_client_does_not_know_is_a_fault_of_the_engine(number: Any) -> None:
    with pytest.raises(EngineFault, match="StepStatus that this client does not know"):
        execution_of(pb.StepExecution(step_type="STEP_TYPE_END", status=number))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_cannot_hold_is_a_fault_of_the_engine(number: float) -> None:
    variables = Struct()
    variables["x"] = number
    with pytest.raises(EngineFault, match=f"{number}, which JSON cannot hold"):
        instance_of(instance_with(variables))


def test_a_time_that_is_none_is_a_fault_of_the_engine() -> None:
    message = pb.UploadDefinitionResponse(id="d", version=1)
    message.uploaded_at.seconds = 10**15
    with pytest.raises(EngineFault, match="a time that is none"):
        uploaded_of(message)
