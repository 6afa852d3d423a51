"""What decisions and transformations make of expressions (contract 4.4, 4.5)."""

from typing import Any

import msgspec
import pytest

from windlass.definition.expression import ExpressionError, evaluate_decision, resolve_transformation


def test_decision_accepts_booleans_only() -> None:
    assert evaluate_decision("#points > 3", {"points": 4}) is True
    assert evaluate_decision("#points > 3", {"points": 3}) is False
    with pytest.raises(ExpressionError, match="not bool") as caught:
        evaluate_decision("points == 5 && grade", {"points": 5, "grade": "GOLD"})
    assert "points == 5 && grade" in str(caught.value)
    with pytest.raises(ExpressionError, match="number, not bool"):
        evaluate_decision("1", {})


@pytest.mark.parametrize("text", ["points >", "ghost == 1", "1 / 0 == 1", ""])
def test_decision_error_text(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate_decision(text, {})
    assert str(caught.value).startswith(f'expression eval error: "{text}": ')


@pytest.mark.parametrize(
    "value",
    [0, 1.5, True, None, [1, "${a}"], {"k": "${a}"}, "", "plain", "$a", "x${a}", "${a} ", "${a", "a}"],
)
def test_transformation_stores_plain_values_as_they_are(value: Any) -> None:
    assert resolve_transformation(value, {}, _no_clock) is value


@pytest.mark.parametrize("value", ["${now()}", "${ now() }", "${now( )}", "${ now () }"])
def test_transformation_asks_the_clock(value: str) -> None:
    assert resolve_transformation(value, {}, lambda: "2024-05-06T07:08:09Z") == "2024-05-06T07:08:09Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${a}", 3),
        ("${ a + 1 }", 4),
        ("${note}", None),
        ("${order}", {"total": 5}),
        ("${order.total > 1}", True),
        ("${'a}b'}", "a}b"),
        ("${a / 2}", 1.5),
        ("${#a}", 3),
        ("${now}", "noon"),
        ("${${a} + 1}", 4),
    ],
)
def test_transformation_computes(value: str, expected: Any) -> None:
    variables = {"a": 3.0, "note": None, "order": {"total": 5.0}, "now": "noon"}
    value = resolve_transformation(value, variables, _no_clock)
    assert msgspec.json.encode(value) == msgspec.json.encode(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${a} and ${a}", "interpolation is not supported"),
        ("${a}${a}", "interpolation is not supported"),
        ("${}", "unexpected end"),
        ("${ghost}", 'undefined variable "ghost"'),
        ("${now(1)}", "unknown function"),
        ("${now() + 'x'}", "unknown function"),
    ],
)
def test_transformation_error(value: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        resolve_transformation(value, {"a": True}, _no_clock)
    assert value in str(caught.value)


def _no_clock() -> str:
    raise AssertionError("the clock must not be asked")
