"""Rows of the Limits table in engine/README.md that are about running instances: within each limit, and beyond it."""

from __future__ import annotations

from typing import Any

import pytest
from engine_client import EngineClient
from engine_on_trial import StartEngine
from workflow import END, Json, Workflow, decision, fork, join, timer, transformation, user_task, wait

from patience import WITHIN_S, eventually
from windlass import advance
from windlass.definition import expression, operators, parser

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1024 * 1024


async def outcome(workflow: Workflow, **variables: Any) -> str:
    """Empty when the instance completed, else the reason why it failed."""
    instance = await workflow.start(**variables)
    found = await workflow.engine.instance(instance)
    assert found["status"] in {"COMPLETED", "FAILED"}, found
    return "" if found["status"] == "COMPLETED" else str(found["failureReason"])


async def of_expression(engine: EngineClient, text: str, **variables: Any) -> str:
    return await outcome(await engine.define(transformation("t", {"r": "${" + text + "}"}), END), **variables)


@pytest.mark.limit("expression")
async def test_an_expression(engine: EngineClient) -> None:
    most = expression.EXPRESSION_CHARS_MAX
    fits = "1".ljust(most)
    assert await of_expression(engine, fits) == ""
    assert "characters" in await of_expression(engine, fits + " ")
    deep = parser.NESTING_MAX
    assert await of_expression(engine, "(" * deep + "1" + ")" * deep) == ""
    assert "deeper" in await of_expression(engine, "(" * (deep + 2) + "1" + ")" * (deep + 2))


@pytest.mark.limit("value of an expression")
async def test_a_value(engine: EngineClient) -> None:
    half = "x" * (operators.RESULT_BYTES_MAX // 4)
    assert await of_expression(engine, "a + a", a=half) == ""
    assert "longer than" in await of_expression(engine, "(a + a) + (a + a) + '!'", a=half)
    nested: list[object] = []
    for _ in range(90):
        nested = [nested]
    assert await of_expression(engine, "[[a]]", a=nested) == ""
    deep = "[" * 90 + "a" + "]" * 90
    twice = await engine.define(
        transformation("t", {"b": "${" + deep + "}"}, "u"),
        transformation("u", {"c": "${" + deep.replace("a", "b") + "}"}),
        END,
    )
    assert "deeper than" in await outcome(twice, a=nested)


@pytest.mark.limit("what the expressions of one event compute")
async def test_what_is_computed(engine: EngineClient) -> None:
    def branches(count: int) -> Json:
        return decision(
            "d", {f"a == [a[0], {number}] || [a[0]] != a": "end" for number in range(count)} | {"true": "end"}
        )

    row = [["x" * 50] * 5_000]
    assert await outcome(await engine.define(branches(10), END), a=row) == ""
    assert "compute too much" in await outcome(await engine.define(branches(2_000), END), a=row)


@pytest.mark.limit("steps in a row without waiting")
async def test_steps_in_a_row(engine: EngineClient) -> None:
    def row(count: int) -> list[Json]:
        names = [*(f"s{number}" for number in range(count - 1)), "end"]
        return [*(decision(name, {"true": names[at + 1]}) for at, name in enumerate(names[:-1])), END]

    most = advance.STEPS_PER_EVENT_MAX
    assert await outcome(await engine.define(*row(most))) == ""
    assert f"{most} steps ran in a row" in await outcome(await engine.define(*row(most + 1)))


@pytest.mark.limit("steps of an instance that wait at the same time")
async def test_steps_that_wait(start_engine: StartEngine) -> None:
    """A task whose timers enter it twice more: at each sweep there are twice as many."""
    engine = await start_engine(WINDLASS_TIMER_SWEEP_SECONDS="0.1")
    again = [timer("PT0.1S", "a", interrupting=False)] * 2
    workflow = await engine.client.define(user_task("a", boundaryEvents=again), END)
    instance = await workflow.start()
    names = [f"w{number}" for number in range(advance.OPEN_STEPS_MAX - 1)]
    fits = await engine.client.define(
        fork("fork", names, "j"), *(wait(name, "j") for name in names), join("j"), END
    )
    kept = await fits.start()

    async def failed() -> bool:
        return await engine.client.status(instance) == "FAILED"

    await eventually(failed, 2 * WITHIN_S)
    reason = (await engine.client.instance(instance))["failureReason"]
    assert f"{advance.OPEN_STEPS_MAX} steps of the instance wait already" in reason
    assert await engine.client.status(kept) == "WAITING"


@pytest.mark.slow
@pytest.mark.limit("variables that such steps write")
async def test_variables_that_steps_write(engine: EngineClient) -> None:
    def row(count: int) -> list[Json]:
        names = [*(f"s{number}" for number in range(count)), "end"]
        return [*(transformation(name, {"n": 1}, names[at + 1]) for at, name in enumerate(names[:-1])), END]

    text = "x" * MIB
    assert await outcome(await engine.define(*row(20)), a=text) == ""
    more = advance.EVENT_BYTES_MAX // MIB + 10
    assert "bytes of variables in a row" in await outcome(await engine.define(*row(more)), a=text)
