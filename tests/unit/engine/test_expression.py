"""The expression language: every rule of contract 4.1 to 4.5 and every example of 4.6."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.definition import expression, parser
from windlass.definition.expression import (
    ExpressionError,
    Work,
    compile_expression,
    evaluate,
    evaluate_decision,
    integral,
    resolve_transformation,
)

ERROR = object()

NESTED: dict[str, Any] = {"a": [1, {"k": 2}], "b": [1, {"k": 2}]}
UNIT_PRICE = {"unit-price": 9, "unit": 3, "price": 1}

#: contract 4.6, the W column where the two differ
EXAMPLES: list[tuple[int, str, dict[str, Any], Any]] = [
    (1, "#points >= 120", {"points": 120}, True),
    (2, "${points} >= 120", {"points": 119}, False),
    (3, "points >= 120", {"points": 120.5}, True),
    (4, "${paid == true}", {"paid": True}, True),
    (5, "#paid == true && #points > 10", {"paid": True, "points": 11}, True),
    (
        6,
        "(#red == true || #blue == true) && !green",
        {"red": False, "blue": True, "green": False},
        True,
    ),
    (7, "red && blue || green", {"red": True, "blue": False, "green": True}, True),
    (8, "#mode == 1", {"mode": 1}, True),
    (9, "#mode == '1'", {"mode": 1}, False),
    (10, "grade == 'GOLD'", {"grade": "GOLD"}, True),
    (11, 'grade == "GOLD"', {"grade": "gold"}, False),
    (12, "grade != 'GOLD'", {"grade": "gold"}, True),
    (13, "${order.total} > 99.5", {"order": {"total": 100}}, True),
    (14, "order.coupon == true", {"order": {"total": 100}}, False),
    (15, "order.coupon > 1", {"order": {"total": 100}}, ERROR),
    (16, "order.ship.city == 'X'", {"order": {}}, ERROR),
    (17, "missing == 1", {}, ERROR),
    (18, "paid == true || missing == 1", {"paid": True}, ERROR),
    (19, "note == nil", {"note": None}, True),
    (20, "note == false", {"note": None}, False),
    (21, "!note", {"note": None}, ERROR),
    (22, "note == null", {"note": None}, True),
    (23, "weight + 2", {"weight": 3}, 5),
    (24, "fname + sname", {"fname": "ab", "sname": "cd"}, "abcd"),
    (25, "fname + 2", {"fname": "ab"}, ERROR),
    (26, "cents / 4", {"cents": 10}, 2.5),
    (27, "9 / 3", {}, 3),
    (28, "2 + 3 * 4", {}, 14),
    (29, "gross - gross * 0.25", {"gross": 80}, 60),
    (30, "cents / 0", {"cents": 10}, ERROR),
    (31, "points > '3'", {"points": 5}, ERROR),
    (32, "contains(tags, 'vip')", {"tags": ["new", "vip"]}, True),
    (33, "contains(who.tags, want)", {"who": {"tags": ["x"]}, "want": "y"}, False),
    (34, '"vip" in tags', {"tags": []}, False),
    (35, "3 in sizes", {"sizes": [1, 2, 3]}, True),
    (36, "contains(grade, 'OL')", {"grade": "GOLD"}, True),
    (37, "len(tags) > 0 && tags[0] == 'new'", {"tags": ["new"]}, True),
    (38, "len(grade)", {"grade": "GOLD"}, 4),
    (39, "len(order)", {"order": {"a": 1, "b": 2}}, 2),
    (40, "len(note)", {"note": None}, ERROR),
    (41, "paid == 'true'", {"paid": True}, False),
    (42, "points == 5 && grade", {"points": 5, "grade": "GOLD"}, "GOLD"),
    (43, "not paid and points > 1", {"paid": False, "points": 5}, True),
    (44, "points = 5", {"points": 5}, ERROR),
    (45, "points >", {"points": 5}, ERROR),
    (46, "grade == 'GO", {"grade": "GOLD"}, ERROR),
    (47, "${points == 5", {"points": 5}, ERROR),
    (48, "count == 5", {"count": 5}, True),
    (49, "#unit-price > 1", UNIT_PRICE, True),
    (50, "a == b", NESTED, True),
    (51, "Paid == true", {"paid": True}, ERROR),
    (52, "true", {}, True),
    (53, "", {}, ERROR),
]


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [pytest.param(*example[1:], id=f"{example[0]}") for example in EXAMPLES],
)
def test_example_of_the_contract(text: str, variables: dict[str, Any], expected: Any) -> None:
    if expected is ERROR:
        with pytest.raises(ExpressionError):
            evaluate(text, variables)
    else:
        _assert_same(expected, evaluate(text, variables))


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        # 4.1: one tokenizer, no rewriting inside literals
        ("'#a ${b} contains(c, d)'", {}, "#a ${b} contains(c, d)"),
        ('"it\'s"', {}, "it's"),
        ("'say \"x\"'", {}, 'say "x"'),
        (r"'a\nb'", {}, r"a\nb"),
        (r'"a\nb\"\\é\ud83d\ude00"', {}, 'a\nb"\\é😀'),
        ("contains([1, 2 + 1], (3))", {}, True),
        ("contains(contains(a, 1) == true, 1) == 1 || true", {"a": [1]}, ERROR),
        ("#order.total", {"order": {"total": 7}}, 7),
        ("${order}.total + ${ order.total }", {"order": {"total": 7}}, 14),
        ("${(a}", {"a": 1}, ERROR),
        ("${a)", {"a": 1}, ERROR),
        ("# a", {"a": 1}, ERROR),
        ("#1", {}, ERROR),
        ("a }", {"a": 1}, ERROR),
        (" \t\r\n1\n", {}, 1),
        # 4.2: levels and associativity
        ("a == 1 == true", {"a": 1}, True),
        ("true == 1 == a", {"a": False}, True),
        ("1 < n < 3", {"n": 2}, True),
        ("1 < n < 3", {"n": 3}, False),
        ("1 < n <= 3 == true", {"n": 3}, True),
        ("3 > n >= 2 > 1", {"n": 2}, True),
        ("n > 5 > 'x'", {"n": 1}, False),
        ("n > 0 > 'x'", {"n": 1}, ERROR),
        ("2 == 2 < 3", {}, ERROR),
        ("10 - 2 - 3", {}, 5),
        ("100 / 10 / 5", {}, 2),
        ("-2 + 3", {}, 1),
        ("- -a", {"a": 4}, 4),
        ("+a * -1", {"a": 4}, -4),
        ("!!a", {"a": True}, True),
        ("not not a", {"a": True}, True),
        ("!a == b", {"a": True, "b": False}, True),
        ("4 not in a", {"a": [1]}, True),
        ("1 not in a == false", {"a": [1]}, True),
        ("a or b and c", {"a": True, "b": False, "c": False}, True),
        ("c ? 1 : 2", {"c": False}, 2),
        ("a ? 1 : b ? 2 : 3", {"a": False, "b": True}, 2),
        ("(a || b) ? 'y' : 'n'", {"a": False, "b": True}, "y"),
        ("1 ? 2 : 3", {}, ERROR),
        ("a ? 1", {"a": True}, ERROR),
        ("[1, 'x', [true]]", {}, [1, "x", [True]]),
        ("[]", {}, []),
        ("[1,]", {}, ERROR),
        ("a[-1]", {"a": [1, 2]}, 2),
        ("a[i]", {"a": [1, 2], "i": 1.0}, 2),
        ("a[0.5]", {"a": [1, 2]}, ERROR),
        ("a[2]", {"a": [1, 2]}, ERROR),
        ("a[-3]", {"a": [1, 2]}, ERROR),
        ("a[true]", {"a": [1, 2]}, ERROR),
        ("a['0']", {"a": [1, 2]}, ERROR),
        ('o["k-1"].x[0]', {"o": {"k-1": {"x": [9]}}}, 9),
        ("o['none']", {"o": {}}, None),
        ("o[1]", {"o": {"1": 1}}, ERROR),
        ("s[0]", {"s": "abc"}, ERROR),
        ("s.x", {"s": "abc"}, ERROR),
        ("o.in.or.true.len", {"o": {"in": {"or": {"true": {"len": 5}}}}}, 5),
        ("o.'x'", {"o": {"x": 1}}, ERROR),
        ("o?.x?.y.z", {"o": {}}, None),
        ("o.x.y", {"o": {"x": None}}, ERROR),
        ("o.x ?? 5", {"o": {}}, 5),
        ("nil ?? a ?? 7", {"a": None}, 7),
        ("0 ?? 5", {}, 0),
        ("c ?.5:2", {"c": True}, 0.5),
        ("1.5e2", {}, 150),
        ("2E-1", {}, 0.2),
        ("1 2", {}, ERROR),
        ("a b", {"a": 1, "b": 2}, ERROR),
        ("(1", {}, ERROR),
        ("a[1", {"a": [1, 2]}, ERROR),
        ("a & b", {"a": True, "b": True}, ERROR),
        ("5 % 2", {}, ERROR),
        ("and", {}, ERROR),
        ("in a", {"a": []}, ERROR),
        ("a not b", {"a": 1, "b": 2}, ERROR),
        # 4.3: values
        ("1 == 1.0", {}, True),
        ("7 / 2", {}, 3.5),
        ("5 == '5'", {}, False),
        ("1 == true", {}, False),
        ("0 == false", {}, False),
        ("[1] == [true]", {}, False),
        ("[1, 2] != [1]", {}, True),
        ("a == b", {"a": {"x": 1.0, "y": [None]}, "b": {"y": [None], "x": 1}}, True),
        ("a == b", {"a": {"x": 1}, "b": {"x": True}}, False),
        ("a == b", {"a": {"x": 1}, "b": {"y": 1}}, False),
        ("nil == null", {}, True),
        ("note == 0", {"note": None}, False),
        ("'a' < 'b'", {}, True),
        ("'Z' < 'a'", {}, True),
        ("'é' > 'z'", {}, True),
        ("'\uffff' < '😀'", {}, True),
        ("'a' < nil", {}, ERROR),
        ("true < false", {}, ERROR),
        ("note > 1", {"note": None}, ERROR),
        ("[1] + [2]", {}, ERROR),
        ("true + 1", {}, ERROR),
        ("-true", {}, ERROR),
        ("+'1'", {}, ERROR),
        ("!1", {}, ERROR),
        ("1 && true", {}, ERROR),
        ("'' || true", {}, ERROR),
        ("true && 5", {}, 5),
        ("false && 5 > 'x'", {}, False),
        ("true || 5 > 'x'", {}, True),
        ("false || nil", {}, None),
        ("true && 5 && true", {}, ERROR),
        ("true || ghost", {}, ERROR),
        ("false ? ghost : 1", {}, ERROR),
        ("ghost ?? 1", {}, ERROR),
        ("note", {"note": None}, None),
        ("len + contains + now + type", {"len": 1, "contains": 2, "now": 3, "type": 4}, 10),
        ("len(len)", {"len": [1, 2]}, 2),
        ("len (a)", {"a": []}, 0),
        ("len(a, a)", {"a": []}, ERROR),
        ("len()", {}, ERROR),
        ("len(1)", {}, ERROR),
        ("len(true)", {}, ERROR),
        ("len('héllo')", {}, 5),
        ("max(1, 2)", {}, ERROR),
        ("contains(a, 1)", {"a": [True, 1.0]}, True),
        ("contains(a, true)", {"a": [1]}, False),
        ("contains(a, b)", {"a": [{"k": [1]}], "b": {"k": [1.0]}}, True),
        ("contains(o, 'k')", {"o": {"k": None}}, True),
        ("contains(o, 1)", {"o": {"k": None}}, ERROR),
        ("contains(nil, 1)", {}, False),
        ("1 not in nil", {}, True),
        ("contains('a1', 1)", {}, ERROR),
        ("contains(1, 1)", {}, ERROR),
        ("contains([1])", {}, ERROR),
        # numbers stay finite and print whole
        ("0.1 + 0.2", {}, 0.1 + 0.2),
        ("1e308 * 10", {}, ERROR),
        ("1e999", {}, ERROR),
        ("0 / 0", {}, ERROR),
        ("1 / 0.0", {}, ERROR),
        ("a * a", {"a": 10**400}, ERROR),
        ("a / 1", {"a": 10**400}, ERROR),
        ("a - 0.5", {"a": 10**400}, ERROR),
        ("9007199254740993 + 1", {}, 9007199254740994),
        ("1234567890123456789 == id", {"id": 1234567890123456788}, False),
        ("12345678901234567890123 == id", {"id": 12345678901234567890123}, True),
        ("9223372036854775807 + 1", {}, 2.0**63),
        ("9" * 9000, {}, ERROR),
        ("x", {"x": {"a": [3.0, {"b": 4.0}], "c": 1.5}}, {"a": [3, {"b": 4}], "c": 1.5}),
        ("x", {"x": math.inf}, ERROR),
        ("[x]", {"x": math.nan}, ERROR),
        # what the database cannot hold
        (r'"\u0000"', {}, ERROR),
        (r'"\ud800"', {}, ERROR),
        (r'"\q"', {}, ERROR),
    ],
)
def test_rule_of_the_contract(text: str, variables: dict[str, Any], expected: Any) -> None:
    if expected is ERROR:
        with pytest.raises(ExpressionError):
            evaluate(text, variables)
    else:
        _assert_same(expected, evaluate(text, variables))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing == 1", 'undefined variable "missing"'),
        ("true || ghost", 'undefined variable "ghost"'),
        ("${points == 5", "unterminated ${"),
        ("'GO", "unterminated string that starts at character 1"),
        ("1 = 5", "write == to compare"),
        ("1 >", "unexpected end, expected a value"),
        ("", "unexpected end, expected a value"),
        ("1 / 0", "division by zero"),
        ("max(1)", 'unknown function "max"'),
        ("1 > '3'", "cannot order number > string"),
        ("'a' + 1", "cannot compute string + number"),
        ("!nil", "! needs a boolean, got null"),
        ("nil.x", 'cannot read field "x" of null'),
        ("len(nil)", "len needs an array, an object or a string, got null"),
    ],
)
def test_message_names_the_fault(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, {})
    assert message in str(caught.value)


class Recording(Mapping[str, Any]):
    """Variables that notice which of them are read."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values_by_name = values
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.read.append(name)
        return self.values_by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self.values_by_name

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("variables must not be listed")

    def __len__(self) -> int:
        raise AssertionError("variables must not be counted")


def test_only_needed_variables_are_read_and_each_once() -> None:
    variables = Recording({"a": 1, "b": {"len": 2}, "unread": 3})
    compiled = compile_expression("a + #a + ${b.len} == len('unread') - 2")
    assert compiled.names == {"a", "b"}
    assert compiled.evaluate(variables, Work()) is True
    assert variables.read == ["a", "b"]


def test_a_text_is_compiled_once() -> None:
    assert compile_expression("a + 41") is compile_expression("a + 41")


def test_limits_of_the_text() -> None:
    assert evaluate("1" + "+1" * 4999, {}) == 5000
    assert evaluate("!" * 9990 + "a", {"a": True}) is True
    with pytest.raises(ExpressionError, match="at most 10000"):
        evaluate(" " * 10_000 + "1", {})
    assert evaluate("(" * 100 + "1" + ")" * 100, {}) == 1
    for opening, closing in (("(", ")"), ("[", "]"), ("${", "}"), ("len([", "])"), ("1+(", ")"), ("a[", "]")):
        with pytest.raises(ExpressionError, match="nested deeper"):
            evaluate(opening * 101 + "1" + closing * 101, {"a": [1]})
    with pytest.raises(ExpressionError, match="nested deeper"):
        evaluate("a ? 1 : " * 101 + "1", {"a": False})


def test_values_cannot_grow_without_bound() -> None:
    half = "x" * (8 * 1024 * 1024)
    assert len(evaluate("s + s", {"s": half})) == 16 * 1024 * 1024
    with pytest.raises(ExpressionError, match="longer than"):
        evaluate("s + s + '.'", {"s": half})
    shared: Any = ["x" * 1024]
    for _ in range(40):
        shared = [shared, shared]
    with pytest.raises(ExpressionError, match="larger than"):
        evaluate("[shared, shared]", {"shared": shared})
    looped: Any = []
    for _ in range(5000):
        looped = [looped]
    with pytest.raises(ExpressionError, match="nested"):
        evaluate("looped", {"looped": looped})
    twin: Any = []
    for _ in range(5000):
        twin = [twin]
    with pytest.raises(ExpressionError, match="nested too deeply"):
        evaluate("looped == twin", {"looped": looped, "twin": twin})


def test_nesting_at_the_limit_works_on_a_stack_half_used() -> None:
    texts = ["(" * 100 + "true" + ")" * 100, "len([" * 49 + "1" + "])" * 49]

    def deeper(frames: int) -> None:
        if frames:
            deeper(frames - 1)
        else:
            for text in texts:
                expression.Expression(text, *parser.parse(text)).evaluate({}, Work())

    used = 0
    frame: Any = sys._getframe()
    while frame is not None:
        used, frame = used + 1, frame.f_back
    deeper(max(0, 300 - used))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(["a", "b", "len", "contains"])
PIECES = st.sampled_from(
    [
        *(
            "(",
            ")",
            "[",
            "]",
            "${",
            "}",
            ".",
            "?.",
            "?",
            ":",
            "+",
            "-",
            "*",
            "/",
            "<",
            ">=",
            "==",
            "!=",
            "&&",
        ),
        *("||", "!", "??", "#", "'", '"', "\\", "=", "&", "|", "%", "$", ", "),
        *(
            "a",
            "b",
            "len(",
            "contains(",
            "in ",
            "not ",
            "and ",
            "or ",
            "true",
            "nil",
            "1",
            "0.5",
            "1e999",
            " ",
        ),
        "'x'",
        '"\\u0041"',
    ]
)


@given(st.text() | st.lists(PIECES, max_size=25).map("".join), st.dictionaries(NAMES, JSON))
def test_any_text_has_a_storable_value_or_an_expression_error(text: str, variables: dict[str, Any]) -> None:
    for read in (evaluate, evaluate_decision, _transformed):
        try:
            value = read(text, variables)
        except ExpressionError:
            continue
        json.dumps(value, allow_nan=False)


def _transformed(text: str, variables: dict[str, Any]) -> Any:
    return resolve_transformation("${" + text + "}", variables, lambda: "noon")


ARITHMETIC = st.recursive(
    st.integers(0, 99).map(str) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.builds("{} {} {}".format, inner, st.sampled_from("+-*"), inner)
        | inner.map("({})".format)
        | inner.map("-({})".format)
    ),
    max_leaves=12,
)


@given(ARITHMETIC, st.integers(-50, 50), st.integers(-50, 50))
def test_arithmetic_agrees_with_an_oracle(text: str, a: int, b: int) -> None:
    expected = eval(text, {"a": a, "b": b})  # noqa: S307 - Python reads these operators the same way
    if abs(expected) < 2**53:
        assert evaluate(text, {"a": a, "b": b}) == expected


LOGIC = st.recursive(
    st.sampled_from(["p", "q", "n < 3", "n == 2", "1 < n < 4", "n in [1, 2]"]),
    lambda inner: (
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or"]), inner)
        | inner.map("({})".format)
        | inner.map("not ({})".format)
    ),
    max_leaves=12,
)


@given(LOGIC, st.booleans(), st.booleans(), st.integers(0, 4))
def test_logic_agrees_with_an_oracle_in_words_and_in_signs(text: str, p: bool, q: bool, n: int) -> None:
    variables: dict[str, Any] = {"p": p, "q": q, "n": n}
    expected = eval(text, dict(variables))  # noqa: S307 - Python reads these operators the same way
    signs = text.replace(" and ", " && ").replace(" or ", " || ").replace("not ", "!")
    assert evaluate(text, variables) is expected
    assert evaluate_decision(signs, variables) is expected


@given(JSON)
def test_equality_is_deep_and_integral_keeps_it(value: Any) -> None:
    try:
        copied = integral(value, Work())
    except ExpressionError:
        return
    assert evaluate("x == y", {"x": value, "y": copied}) is True
    assert evaluate("contains([x], y)", {"x": value, "y": copied}) is True
    assert b".0," not in msgspec.json.encode([copied, 1])


def _assert_same(expected: Any, value: Any) -> None:
    """Equal with types told apart, as they are on the wire: 3 is not 3.0 and true is not 1."""
    assert msgspec.json.encode(value) == msgspec.json.encode(expected)
