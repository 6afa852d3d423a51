"""Contract 4.4 and 4.5 over the wire; the expressions themselves are in tests/unit/engine/test_expression.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from engine_client import EngineClient
from workflow import END, Json, decision, service, transformation, wait

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ran(engine: EngineClient, *steps: Json, **variables: Any) -> Json:
    return await (await engine.define(*steps, wait("w"), END)).start(**variables)


async def decided(engine: EngineClient, *conditions: str, **variables: Any) -> Json:
    """Each condition leads to a wait named by its number."""
    waits = [wait(str(number)) for number in range(len(conditions))]
    branches = {condition: str(number) for number, condition in enumerate(conditions)}
    workflow = await engine.define(decision("d", branches), *waits, END)
    return await workflow.start(**variables)


# -- decisions ------------------------------------------------------------------------------------


async def test_branches_are_tried_in_the_order_they_were_written(engine: EngineClient) -> None:
    """Names that sort otherwise: a database that keeps the document as jsonb would reorder them."""
    conditions = ("zz == 1", "zz > 0", "a == 1", "true", "false")
    for variables, chosen in (({"zz": 1, "a": 1}, "0"), ({"zz": 2, "a": 1}, "1"), ({"zz": 0, "a": 1}, "2"),
                              ({"zz": 0, "a": 0}, "3")):  # fmt: skip
        instance = await decided(engine, *conditions, **variables)
        assert instance["currentStepIds"] == [chosen]


async def test_no_match_fails_the_instance(engine: EngineClient) -> None:
    instance = await decided(engine, "x > 1", "x > 2", x=0)
    assert instance["status"] == "FAILED"
    assert "DecisionNoBranchMatched" in instance["failureReason"]
    (step,) = await engine.history(instance)
    assert (step["status"], step["failureReason"]) == ("FAILED", instance["failureReason"])


@pytest.mark.parametrize(
    ("condition", "gist"),
    [
        ("ghost == 1", "expression eval error"),
        ("x > '3'", "expression eval error"),
        ("x = 5", "expression eval error"),
        ("x >", "expression eval error"),
        ("${x == 5", "expression eval error"),
        ("x / 0 > 1", "expression eval error"),
        ("true || ghost", "expression eval error"),
        ("", "expression eval error"),
        ("x", "not bool"),
        ("true && 5", "not bool"),
    ],
)
async def test_a_condition_that_is_no_yes_or_no_fails_at_once(
    engine: EngineClient, condition: str, gist: str
) -> None:
    instance = await decided(engine, condition, "true", x=5)
    assert instance["status"] == "FAILED"
    assert gist in instance["failureReason"]


@pytest.mark.parametrize(
    ("condition", "variables"),
    [
        ("#points >= 120", {"points": 120}),
        ("${order.total} > 99.5", {"order": {"total": 100}}),
        ("contains(tags, 'vip') && len(tags) == 2", {"tags": ["new", "vip"]}),
        ("not paid and points > 1", {"paid": False, "points": 5}),
        ("count == 5 && type != null", {"count": 5, "type": "x"}),
        ("grade == 'GOLD'", {"grade": "GOLD"}),
    ],
)
async def test_conditions_read_the_instance_s_variables(
    engine: EngineClient, condition: str, variables: Json
) -> None:
    assert (await decided(engine, condition, **variables))["currentStepIds"] == ["0"]


async def test_a_decision_reads_what_a_worker_sent(engine: EngineClient) -> None:
    workflow = await engine.define(
        service("a", "d"), decision("d", {"score >= 700": "good", "true": "bad"}), wait("good"), wait("bad"), END
    )  # fmt: skip
    for score, chosen in ((700, "good"), (699.5, "bad")):
        instance = await workflow.start(score=0)
        await workflow.work_off("a", score=score)
        assert (await engine.instance(instance))["currentStepIds"] == [chosen]


# -- transformations ------------------------------------------------------------------------------


async def test_values_are_kept_or_computed(engine: EngineClient) -> None:
    changes = {
        "number": 1.5,
        "nothing": None,
        "deep": {"kept": "${x}", "list": ["${x}"]},
        "text": "plain ${x",
        "sum": "${x + 2}",
        "real": "${x / 2}",
        "whole": "${9 / 3}",
        "path": "${who.name}",
        "missing": "${who.nobody}",
        "flag": "${x > 2}",
    }
    instance = await ran(engine, transformation("t", changes, "w"), x=3, who={"name": "ann"}, text="old")
    assert instance["variables"] == {
        "x": 3,
        "who": {"name": "ann"},
        "number": 1.5,
        "nothing": None,
        "deep": {"kept": "${x}", "list": ["${x}"]},
        "text": "plain ${x",
        "sum": 5,
        "real": 1.5,
        "whole": 3,
        "path": "ann",
        "missing": None,
        "flag": True,
    }
    answer = await engine.get(f"/v1/instances/{instance['id']}")
    assert b'"whole": 3,' in answer.body or b'"whole":3,' in answer.body


async def test_later_keys_read_earlier_results(engine: EngineClient) -> None:
    instance = await ran(
        engine, transformation("t", {"z": "${x + 1}", "a": "${z + 1}", "x": "${a + 1}"}, "w"), x=1
    )
    assert instance["variables"] == {"x": 4, "z": 2, "a": 3}


@pytest.mark.parametrize("now", ["${now()}", "${ now() }"])
async def test_now_is_the_time_in_whole_seconds(engine: EngineClient, now: str) -> None:
    instance = await ran(engine, transformation("t", {"at": now}, "w"))
    text = instance["variables"]["at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()) < 60


@pytest.mark.parametrize(
    "value", ["${ghost}", "${x +}", "${x} and ${x}", "${x / 0}", "${who.name.first}", "${x + 'a'}"]
)
async def test_an_error_keeps_nothing_of_the_step(engine: EngineClient, value: str) -> None:
    instance = await ran(engine, transformation("t", {"first": 1, "second": value}, "w"), x=1, who={})
    assert instance["status"] == "FAILED"
    assert 'transformation "second"' in instance["failureReason"]
    assert instance["variables"] == {"x": 1, "who": {}}
    (step,) = await engine.history(instance)
    assert (step["stepId"], step["status"]) == ("t", "FAILED")
