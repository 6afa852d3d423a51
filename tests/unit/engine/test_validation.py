"""The 17 rules of contract 3.5 and ours, one by one and all at once."""

import json
from typing import Any

import pytest
from documents import END, FORK, JOIN, TIMER, doc, parse_error, step, task, upload, violations
from hypothesis import given
from hypothesis import strategies as st

from windlass import errors
from windlass.definition.document import compile_definition, parse_upload, with_version
from windlass.definition.model import StepType


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
                (
                    'step a: unsupported type "SCRIPT"; use one of SERVICE_TASK, USER_TASK, DECISION, TRANSFORMATION, '
                    "WAIT, PARALLEL_GATEWAY, JOIN_GATEWAY, END"
                )
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
            doc(
                step("choice", "DECISION", conditionalNextSteps={"x": "fork", "!x": "fork2"}),
                FORK,
                FORK | {"id": "fork2"},
                task("a", "join"),
                task("b", "join"),
                JOIN,
                END,
            ),
            ["step fork2: joinStep join is also that of step fork; give each its own"],
            id="14 one join of two gateways",
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
                (
                    'step a: boundaryEvents[0]: duration "P1M" uses years or months, whose length varies; '
                    "use weeks or days"
                ),
                'step a: boundaryEvents[1]: duration "PT0S" must be longer than zero (at least one microsecond)',
                (
                    'step a: boundaryEvents[2]: duration "5 s" is malformed; '
                    "write ISO-8601 like PT30S, PT1H30M, P7D or P2W"
                ),
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
    found = violations(doc(*[{}] * 5_000))
    assert len(found) == 1001
    assert found[-1] == "and more; these are the first 1000 violations"
    reason = parse_error(json.dumps(doc(*[{"x": 1}] * 5_000)).encode())
    assert reason.endswith("; and 4900 more")
    assert len(reason) < 10_000


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
            "boundaryEvents": st.lists(
                STEP_IDS.map(lambda target: TIMER | {"targetStepId": target}), max_size=2
            ),
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
    except errors.InvalidDefinition:
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
    assert parse_upload(with_version(uploaded.content, 9)) == uploaded
