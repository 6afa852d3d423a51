"""Definitions: strict upload, the 17 rules and ours (contract 3), the stored text, and what the engine runs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass import errors
from windlass.definition import document
from windlass.definition.document import compile_definition, parse_upload, with_version
from windlass.definition.model import BoundaryEvent, StepType

END: dict[str, Any] = {"id": "end", "name": "End", "type": "END"}


def doc(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A document that is valid as long as its steps are."""
    return {"id": "loan:v1", "name": "Loan", "steps": list(steps) or [END]} | fields


def step(id: str, type: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id.upper(), "type": type} | fields


def task(id: str, next: str, **fields: Any) -> dict[str, Any]:
    return step(id, "SERVICE_TASK", jobType="work", nextStep=next, **fields)


def upload(value: Any) -> document.Upload:
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


TIMER = {"type": "TIMER", "duration": "PT1S", "targetStepId": "end"}
FORK = step("fork", "PARALLEL_GATEWAY", parallelNextSteps=["a", "b"], joinStep="join")
JOIN = step("join", "JOIN_GATEWAY", nextStep="end")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(doc(id=""), ["id is required"], id="1 id missing"),
        pytest.param(
            doc(id="é" * 257),
            [
                "id too long: 257 characters, at most 256",
                "id must match ^[A-Za-z0-9_:-]+$, got " + "é" * 120 + "…",
            ],
            id="1 id too long and bad",
        ),
        pytest.param(doc(id="a b"), ['id must match ^[A-Za-z0-9_:-]+$, got "a b"'], id="1 id charset"),
        pytest.param(doc(id="a\n"), ['id must match ^[A-Za-z0-9_:-]+$, got "a\\n"'], id="1 id line end"),
        pytest.param(doc(name=""), ["name is required"], id="2"),
        pytest.param(
            {"steps": [], "autoStartNextWorkflow": True},
            ["id is required", "name is required", "steps must not be empty"],
            id="3 checking stops",
        ),
        pytest.param(
            doc(autoStartNextWorkflow=True),
            ["nextWorkflowId is required when autoStartNextWorkflow is true"],
            id="4",
        ),
        pytest.param(
            doc(task("a", "end"), END, {"name": "x", "type": "WAIT", "nextStep": "end"}),
            ["step[2] id is required"],
            id="5",
        ),
        pytest.param(doc(task("a", "end"), END, END), ["duplicate step id end (2 steps have it)"], id="6"),
        pytest.param(doc(END | {"name": ""}), ["step end: name is required"], id="7"),
        pytest.param(
            doc(step("a", "SCRIPT", nextStep="end"), END),
            [
                'step a: unsupported type "SCRIPT"; use one of SERVICE_TASK, USER_TASK, DECISION, TRANSFORMATION, '
                "WAIT, PARALLEL_GATEWAY, JOIN_GATEWAY, END"
            ],
            id="8",
        ),
        pytest.param(
            doc(step("a", "SERVICE_TASK", nextStep="end"), END), ["step a: jobType is required"], id="9"
        ),
        pytest.param(
            doc(task("a", "end", retryCount=-1), END),
            ["step a: retryCount must be 0 to 2147483647, got -1"],
            id="9 retryCount negative",
        ),
        pytest.param(
            doc(task("a", "end", retryCount=2**31), END),
            ["step a: retryCount must be 0 to 2147483647, got 2147483648"],
            id="9 retryCount too large",
        ),
        pytest.param(
            doc(step("a", "DECISION", nextStep="end"), END),
            ["step a: conditionalNextSteps must not be empty"],
            id="10 no branches",
        ),
        pytest.param(
            doc(step("a", "DECISION", conditionalNextSteps={"x == 'y'": "gone", "true": "end"}), END),
            ["step a: conditionalNextSteps[\"x == 'y'\"] references unknown step gone"],
            id="10 unknown target",
        ),
        pytest.param(
            doc(step("a", "USER_TASK", nextStep="end", conditionalNextSteps={"true": ""}), END),
            ['step a: conditionalNextSteps["true"] references unknown step ""'],
            id="10 on every type",
        ),
        pytest.param(
            doc(step("a", "TRANSFORMATION", boundaryEvents=[TIMER]), END),
            ["step a: nextStep is required", "step a: transformations must not be empty"],
            id="11",
        ),
        pytest.param(
            doc(step("a", "WAIT", boundaryEvents=[TIMER]), END),
            ["step a: nextStep is required"],
            id="12 WAIT",
        ),
        pytest.param(
            doc(
                FORK,
                task("a", "join"),
                task("b", "join", conditionalNextSteps={"x": "end"}),
                step("join", "JOIN_GATEWAY"),
                END,
            ),
            ["step join: nextStep is required"],
            id="12 JOIN_GATEWAY",
        ),
        pytest.param(
            doc(step("fork", "PARALLEL_GATEWAY", parallelNextSteps=["end"]), END),
            [
                "step fork: parallelNextSteps must have at least 2 entries",
                "step fork: joinStep is required",
            ],
            id="13",
        ),
        pytest.param(
            doc(
                FORK | {"parallelNextSteps": ["end", "p0"], "joinStep": "j0"},
                END | {"nextStep": "n0", "boundaryEvents": [TIMER | {"targetStepId": "t0"}]},
            ),
            [
                "step fork: joinStep references unknown step j0",
                "step fork: parallelNextSteps[1] references unknown step p0",
                "step end: nextStep references unknown step n0",
                "step end: boundaryEvents[0].targetStepId references unknown step t0",
            ],
            id="14",
        ),
        pytest.param(
            doc(FORK | {"joinStep": "end"}, task("a", "end"), task("b", "end"), END),
            ["step fork: joinStep end must be a JOIN_GATEWAY"],
            id="14 joinStep of another type",
        ),
        pytest.param(
            doc(task("a", "join"), JOIN, END),
            ["step join: no PARALLEL_GATEWAY names it as joinStep"],
            id="14 join without a gateway",
        ),
        pytest.param(
            doc(task("a", "end", boundaryEvents=[{"type": "SIGNAL"}, TIMER, {}]), END),
            [
                'step a: boundaryEvents[0]: unsupported type "SIGNAL"; use TIMER',
                "step a: boundaryEvents[0]: duration is required",
                "step a: boundaryEvents[0]: targetStepId is required",
                'step a: boundaryEvents[2]: unsupported type ""; use TIMER',
                "step a: boundaryEvents[2]: duration is required",
                "step a: boundaryEvents[2]: targetStepId is required",
            ],
            id="15",
        ),
        pytest.param(
            doc(
                task("a", "end", boundaryEvents=[TIMER | {"duration": d} for d in ("P1M", "PT0S", "5 s")]),
                END,
            ),
            [
                'step a: boundaryEvents[0]: duration "P1M" uses years or months, whose length varies; '
                "use weeks or days",
                'step a: boundaryEvents[1]: duration "PT0S" must be longer than zero (at least one microsecond)',
                'step a: boundaryEvents[2]: duration "5 s" is malformed; '
                "write ISO-8601 like PT30S, PT1H30M, P7D or P2W",
            ],
            id="15 durations",
        ),
        pytest.param(
            doc(task("a", "end"), END, task("b", "c"), task("c", "b")),
            [
                "step b is unreachable from the first step",
                "step c is unreachable from the first step",
            ],
            id="16",
        ),
        pytest.param(
            doc(task("a", "b"), task("b", "a")), ["no END step is reachable from the first step"], id="17"
        ),
    ],
)
def test_rule(value: dict[str, Any], expected: list[str]) -> None:
    assert list(violations(value)) == expected


def test_every_edge_makes_a_step_reachable() -> None:
    waiting = step("w", "WAIT", nextStep="d", boundaryEvents=[TIMER | {"targetStepId": "timer"}])
    choice = step("d", "DECISION", conditionalNextSteps={"x": "fork"})
    steps = [waiting, choice, FORK, task("a", "join"), task("b", "join"), JOIN, task("timer", "end"), END]
    assert len(compile_definition("d", 1, upload(doc(*steps)).content).steps) == 8


def test_all_violations_come_at_once_in_rule_order() -> None:
    broken = {
        "id": "no good",
        "autoStartNextWorkflow": True,
        "steps": [
            {"id": "w", "type": "WAIT", "boundaryEvents": [{"type": "TIMER", "duration": "P1Y"}]},
            {"id": "s", "name": "S", "type": "SERVICE_TASK", "retryCount": -2, "nextStep": "gone"},
            {"id": "s", "name": "S", "type": "TASK"},
        ],
    }
    gists = [
        "id must match",
        "name is required",
        "nextWorkflowId is required",
        "duplicate step id s",
        "step w: name is required",
        "step s: unsupported type",
        "step s: jobType is required",
        "step s: retryCount",
        "step w: nextStep is required",
        "step s: nextStep references unknown step gone",
        "years or months",
        "targetStepId is required",
        "step s is unreachable",
        "no END step is reachable",
    ]
    found = violations(broken)
    assert len(found) == len(gists)
    for gist, violation in zip(gists, found, strict=True):
        assert gist in violation


def test_a_violation_never_breaks_its_line() -> None:
    found = violations(doc(task("a\nb", "x\ny", conditionalNextSteps={"c\nd": "\n"}), END))
    assert len(found) > 2
    assert not any("\n" in violation for violation in found)


def test_endless_faults_get_a_bounded_answer() -> None:
    found = violations(doc(*[{}] * 50_000))
    assert len(found) == 1001
    assert found[-1] == "and 149002 more violations"
    reason = parse_error(json.dumps(doc(*[{"x": 1}] * 50_000)).encode())
    assert reason.endswith("; and 49900 more")
    assert len(reason) < 10_000


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
        (b'{"metadata": {"a": NaN}}', "NaN is no JSON value"),
        (b'{"metadata": {"a": -Infinity}}', "-Infinity is no JSON value"),
        (b'{"metadata": {"a": 1e999}}', "1e999 is out of"),
        (b'{"metadata": {"a": ' + b"9" * 309 + b"}}", "is out of"),
        (b'{"metadata": {"a": ' + b"9" * 9999 + b"}}", "is out of"),
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
    "id version name description autoStartNextWorkflow nextWorkflowId steps metadata type nextStep jobType "
    "conditionalNextSteps transformations parallelNextSteps joinStep delegateClass retryCount boundaryEvents "
    "duration interrupting targetStepId other".split()
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
def test_any_document_is_accepted_or_rejected(value: Any) -> None:
    try:
        upload(value)
    except errors.Rejected:
        return
    raise AssertionError("a document needs an id, a name and an END: none was generated")


@given(st.binary(max_size=40))
def test_any_bytes_are_rejected(body: bytes) -> None:
    assert parse_error(body)


STEP_IDS = st.sampled_from(["a", "b", "c", "d"])
GRAPHS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from([*StepType])},
        optional={
            "nextStep": STEP_IDS,
            "joinStep": STEP_IDS,
            "jobType": st.just("work"),
            "parallelNextSteps": st.lists(STEP_IDS, max_size=3),
            "conditionalNextSteps": st.dictionaries(st.sampled_from(["x", "y"]), STEP_IDS),
            "transformations": st.dictionaries(st.sampled_from(["x", "y"]), st.integers(), max_size=2),
            "boundaryEvents": st.lists(STEP_IDS.map(lambda id: TIMER | {"targetStepId": id}), max_size=2),
            "retryCount": st.integers(-1, 2),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(GRAPHS)
def test_an_accepted_graph_is_closed_and_comes_back_the_same(shapes: list[dict[str, Any]]) -> None:
    steps = [shape | {"id": id, "name": id} for shape, id in zip(shapes, "abcd", strict=False)]
    try:
        uploaded = upload(doc(*steps))
    except errors.InvalidDefinition as error:
        assert error.violations
        return
    definition = compile_definition("d", 1, uploaded.content)
    for one in definition.steps.values():
        targets = [
            one.next_step,
            one.join_step,
            *one.parallel_next_steps,
            *(target for _, target in one.branches),
        ]
        targets += [event.target_step_id for event in one.boundary_events]
        assert {target for target in targets if target} <= set(definition.steps)
    assert parse_upload(uploaded.content) == uploaded
    assert parse_upload(with_version(uploaded.content, 9)).content == uploaded.content.replace(
        b'"name"', b'"name"'
    )
