"""Definitions: strict reading, the stored text, and what the engine runs (contract 3)."""

import json
from typing import Any

import pytest
from documents import END, FORK, JOIN, TIMER, doc, parse_error, step, task, upload
from hypothesis import example, given
from hypothesis import strategies as st

from windlass import errors
from windlass.definition.document import compile_definition, parse_upload, with_version
from windlass.definition.model import BoundaryEvent, StepType

EVERYTHING = doc(
    task("start", "pick", retryCount=3, delegateClass="x.Y", description="first"),
    step("pick", "DECISION", conditionalNextSteps={"z > 1": "fork", "a > 1": "sum", "true": "wait"}),
    step("fork", "PARALLEL_GATEWAY", parallelNextSteps=["left", "right"], joinStep="join"),
    task("left", "join"),
    step("right", "USER_TASK", nextStep="join", jobType="label"),
    step("join", "JOIN_GATEWAY", nextStep="sum"),
    step(
        "sum", "TRANSFORMATION", nextStep="end", transformations={"zz": "${b}", "aa": {"k": None}, "mm": 1.5}
    ),
    step(
        "wait",
        "WAIT",
        nextStep="start",
        boundaryEvents=[
            {"type": "TIMER", "duration": "PT2S", "targetStepId": "end"},
            {"interrupting": True, "type": "TIMER", "duration": "P7D", "targetStepId": "sum"},
        ],
    ),
    END,
    description="all step types",
    autoStartNextWorkflow=True,
    nextWorkflowId="LOS::next",
    metadata={"ui": {"empty": {}, "zero": 0, "none": None, "list": [1, [], ""]}},
)


def test_upload_is_compiled_in_source_order() -> None:
    uploaded = upload(EVERYTHING)
    assert uploaded.definition_id == "loan:v1"
    assert uploaded.name == "Loan"
    assert uploaded.description == "all step types"
    assert uploaded.chained_definition_id == "LOS::next"
    definition = compile_definition("loan:v1", 4, uploaded.content)
    assert (definition.id, definition.version, definition.name) == ("loan:v1", 4, "Loan")
    assert definition.description == "all step types"
    assert definition.chained_definition_id == "LOS::next"
    assert list(definition.steps) == [s["id"] for s in EVERYTHING["steps"]]
    assert definition.first_step_id == "start"
    assert definition.gateway_of_join == {"join": "fork"}
    assert definition.job_types == ("work",)
    steps = definition.steps
    assert steps["start"].retry_count == 3
    assert steps["start"].job_type == "work"
    assert steps["pick"].branches == (("z > 1", "fork"), ("a > 1", "sum"), ("true", "wait"))
    assert steps["fork"].parallel_next_steps == ("left", "right")
    assert steps["fork"].join_step == "join"
    assert steps["sum"].transformations == (("zz", "${b}"), ("aa", {"k": None}), ("mm", 1.5))
    assert steps["wait"].boundary_events == (
        BoundaryEvent(duration_s=2.0, interrupting=False, target_step_id="end"),
        BoundaryEvent(duration_s=604_800.0, interrupting=True, target_step_id="sum"),
    )
    assert steps["end"].type is StepType.END
    assert steps["end"].next_step is None


def test_stored_text_is_canonical() -> None:
    body = b"""{"steps": [
        {"type": "USER_TASK", "id": "u", "name": "U", "nextStep": "end", "description": "", "retryCount": 0,
         "boundaryEvents": [{"duration": "PT1S", "type": "TIMER", "targetStepId": "end"}],
         "conditionalNextSteps": {}, "parallelNextSteps": [], "jobType": "", "transformations": null},
        {"type": "END", "name": "\\u00c9nd", "id": "end", "boundaryEvents": []}],
        "version": 7, "autoStartNextWorkflow": false, "nextWorkflowId": "", "description": "",
        "name": "N", "id": "d", "metadata": {"z": {}, "a": ["", 0, null, 2.50, 3.0, 1e2]}}"""
    uploaded = parse_upload(body)
    assert uploaded.content.decode() == (
        '{"steps":[{"type":"USER_TASK","id":"u","name":"U","nextStep":"end",'
        '"boundaryEvents":[{"duration":"PT1S","type":"TIMER","targetStepId":"end","interrupting":false}]},'
        '{"type":"END","name":"Énd","id":"end"}],'
        '"name":"N","id":"d","metadata":{"z":{},"a":["",0,null,2.5,3,100]}}'
    )
    assert uploaded.description is None
    assert uploaded.chained_definition_id is None


def test_document_with_version_keeps_the_order() -> None:
    content = upload(EVERYTHING).content
    document = with_version(content, 12)
    assert document.startswith(b'{"id":"loan:v1","version":12,"name":"Loan","steps":[')
    numbered = json.loads(document)
    assert numbered.pop("version") == 12
    assert json.dumps(numbered) == json.dumps(json.loads(content))
    assert with_version(document, 13) == document.replace(b'"version":12', b'"version":13')


def test_content_does_not_depend_on_the_given_version() -> None:
    assert upload(EVERYTHING | {"version": 5}) == upload(EVERYTHING) == upload(EVERYTHING | {"version": None})


def test_next_workflow_without_the_flag_is_kept_but_unused() -> None:
    uploaded = upload(doc(nextWorkflowId="other"))
    assert uploaded.chained_definition_id is None
    assert b'"nextWorkflowId":"other"' in uploaded.content
    assert compile_definition("x", 1, uploaded.content).chained_definition_id is None


@pytest.mark.parametrize(
    "value",
    [
        doc(END),
        doc(task("a", "a", conditionalNextSteps={"not an ( expression": "end"}), END),
        doc(step("a", "SERVICE_TASK", jobType="x", nextStep=None, boundaryEvents=None), name="n")
        | {"steps": [task("a", "b"), task("b", "a", conditionalNextSteps={"x": "end"}), END]},
        doc(END | {"nextStep": "end", "jobType": "odd but harmless"}),
        doc(
            task("a", "step with spaces"),
            step("step with spaces", "WAIT", nextStep="é\n"),
            END | {"id": "é\n"},
        ),
        doc(id="A" * 256),
    ],
)
def test_accepted(value: dict[str, Any]) -> None:
    assert compile_definition("d", 1, upload(value).content).first_step_id == value["steps"][0]["id"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Expecting value at line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{"id": "a",}', "line 1"),
        (b"{'id': 1}", "line 1"),
        (b"{} {}", "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"id": "\xff"}', "not UTF-8 at byte 8"),
        (b'{"id": "\xed\xa0\x80"}', "not UTF-8"),
        ('{"id": "é"}'.encode("utf-16"), "not UTF-8"),
        (b'{"id": "a\nb"}', "control character"),
        (b'{"metadata": {"a": NaN}}', "NaN is not a JSON value"),
        (b'{"metadata": {"a": -Infinity}}', "-Infinity is not a JSON value"),
        (b'{"metadata": {"a": 1e999}}', "1e999 is outside"),
        (b'{"metadata": {"a": ' + b"9" * 309 + b"}}", "is outside"),
        (b'{"metadata": {"a": ' + b"9" * 9999 + b"}}", "is outside"),
        (b'{"id": "a", "id": "a"}', 'duplicate key "id"'),
        (b'{"metadata": {"a": {"\\u0062": 1, "b": 2}}}', 'duplicate key "b"'),
        (b'{"metadata": {"a": "x\\u0000"}}', "metadata.a: the character U+0000"),
        (b'{"metadata": {"a": ["\xc3\xa9\\u0000"]}}', "metadata.a[0]: the character U+0000"),
        (b'{"metadata": {"\\u0000": 1}}', 'metadata["\\u0000"]: the character U+0000'),
        (b'{"metadata": {"a": "\\ud800"}}', "metadata.a: half a surrogate pair"),
        (b'{"metadata": {"\\udc00": 1}}', 'metadata["\\udc00"]: half a surrogate pair'),
        (b'{"\\udc00": 1}', 'unknown field "\\udc00"'),
        (b'{"\\udc00": 1, "\\udc00": 1}', 'duplicate key "\\udc00"'),
        (b'{"metadata": {"a": ' + b"[" * 99 + b"]" * 99 + b"}}", "nested deeper than 100"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 100"),
        (b'{"a":' * 100_000, "nested deeper than 100"),
        (b"null", "the document: expected an object, got null"),
        (b"[]", "the document: expected an object, got an array"),
        (b'"x"', "the document: expected an object, got a string"),
        (b'{"extra": 1}', 'extra: unknown field "extra"'),
        (b'{"ID": "a"}', 'unknown field "ID"'),
        (b'{"steps": [{"next": "a"}]}', 'steps[0].next: unknown field "next"'),
        (b'{"steps": [{}, {"boundaryEvents": [{"a b": 1}]}]}', 'steps[1].boundaryEvents[0]["a b"]: unknown'),
        (b'{"id": 1}', "id: expected a string, got an integer"),
        (b'{"version": "1"}', "version: expected an integer, got a string"),
        (b'{"version": true}', "version: expected an integer, got true or false"),
        (b'{"steps": {}}', "steps: expected an array, got an object"),
        (b'{"steps": [null]}', "steps[0]: expected an object, got null"),
        (b'{"steps": [{"retryCount": 1.5}]}', "steps[0].retryCount: expected an integer, got a number with"),
        (b'{"steps": [{"retryCount": "3"}]}', "steps[0].retryCount: expected an integer, got a string"),
        (b'{"steps": [{"parallelNextSteps": ["a", 1]}]}', "steps[0].parallelNextSteps[1]: expected a string"),
        (
            b'{"steps": [{"conditionalNextSteps": {"x > 1": 2}}]}',
            'steps[0].conditionalNextSteps["x > 1"]: expected a string, got an integer',
        ),
        (b'{"steps": [{"transformations": []}]}', "steps[0].transformations: expected an object"),
        (
            b'{"steps": [{"boundaryEvents": [{"interrupting": 1}]}]}',
            "boundaryEvents[0].interrupting: expected true",
        ),
        (b'{"metadata": []}', "metadata: expected an object"),
        (b'{"autoStartNextWorkflow": "yes"}', "autoStartNextWorkflow: expected true or false, got a string"),
    ],
)
def test_unreadable(body: bytes, message: str) -> None:
    assert message in parse_error(body)


def test_all_faults_of_form_come_at_once() -> None:
    reason = parse_error(
        b'{"id": 1, "foo": 2, "steps": [{"name": [], "bar": 3}], "metadata": {"a": "\\u0000"}}'
    )
    for fault in ("id: expected", '"foo"', "steps[0].name: expected", '"bar"', "metadata.a: the character"):
        assert fault in reason


def test_nesting_at_the_limit_is_stored() -> None:
    deep: Any = 1
    for _ in range(98):
        deep = [deep]
    uploaded = upload(doc(metadata={"deep": deep}))
    assert json.loads(with_version(uploaded.content, 1))["metadata"] == {"deep": deep}


def stored(*steps: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps(doc(*steps, **fields)).encode()


def test_rows_of_another_engine_are_tolerated() -> None:
    content = stored(
        {"id": "a", "type": "SERVICE_TASK", "retryCount": -3, "nextStep": "", "delegateClass": "x"},
        step("b", "END", boundaryEvents=[{"type": "TIMER", "duration": "P1Y", "targetStepId": "a"}], later=1),
        version=3,
        description="",
        autoStartNextWorkflow=True,
        unknown={"a": 1},
    )
    definition = compile_definition("old", 3, content)
    assert definition.steps["a"].job_type is None
    assert definition.steps["a"].retry_count == 0
    assert definition.steps["a"].next_step is None
    assert definition.steps["b"].boundary_events == ()
    assert definition.job_types == ("a",)
    assert definition.description is None
    assert definition.chained_definition_id is None


def test_first_gateway_of_the_list_owns_a_join() -> None:
    forks = [FORK | {"id": f"fork{i}"} for i in range(2)]
    definition = compile_definition("d", 1, stored(*forks, JOIN))
    assert definition.gateway_of_join == {"join": "fork0"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stored(step("a", "SCRIPT")), "Invalid enum value 'SCRIPT'"),
        (stored(step("a", "WAIT", boundaryEvents=[TIMER | {"duration": "P1M"}])), "years or months"),
        (b'{"steps": []}', "length >= 1"),
        (b'{"steps": [{"type": "END"}]}', "missing required field `id`"),
        (b"{", "truncated"),
    ],
)
def test_a_row_that_cannot_run_is_named(content: bytes, message: str) -> None:
    with pytest.raises(errors.InvalidDefinition) as caught:
        compile_definition("old", 3, content)
    assert 'stored definition "old" version 3: ' in caught.value.reason
    assert message in caught.value.reason


KEYS = st.sampled_from(
    [
        "id",
        "version",
        "name",
        "description",
        "autoStartNextWorkflow",
        "nextWorkflowId",
        "steps",
        "metadata",
        "type",
        "nextStep",
        "jobType",
        "conditionalNextSteps",
        "transformations",
        "parallelNextSteps",
        "joinStep",
        "delegateClass",
        "retryCount",
        "boundaryEvents",
        "duration",
        "interrupting",
        "targetStepId",
        "other",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b", "END", "TIMER", "PT1S"])
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


@given(DOCUMENTS)
def test_any_document_runs_or_is_rejected(value: Any) -> None:
    try:
        uploaded = upload(value)
    except errors.Rejected:
        return
    assert compile_definition("d", 1, uploaded.content).steps


@given(st.binary(max_size=40))
@example(b"{}")
def test_any_bytes_are_rejected(body: bytes) -> None:
    with pytest.raises(errors.Rejected):
        parse_upload(body)
