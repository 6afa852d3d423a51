"""Contract 4: expressions, through the steps that evaluate them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from workflow import END, Json, decision, transformation, wait

from suite import contract
from suite.case import REST, add, contains, holds, same, shows
from suite.context import CaseContext
from suite.doors import Door

ERROR = object()
Example = tuple[str, Mapping[str, Any], Any]
"""An expression, the variables, and its value or ERROR."""


async def evaluated(door: Door, expression: str, variables: Mapping[str, Any], expected: Any) -> None:
    """As a transformation's value; a boolean also as a decision's only branch."""
    what = f"{expression} with {dict(variables)}"
    as_value = transformation(
        "t", {"result": f"${{{expression}}}"}, "d" if isinstance(expected, bool) else "end"
    )
    steps = (
        [as_value, decision("d", {expression: "end"}), END] if isinstance(expected, bool) else [as_value, END]
    )
    instance = await door.run(*steps, variables=variables)
    if expected is ERROR:
        same(f"status after {what}", instance["status"], "FAILED")
        (step,) = await door.trail(instance)
        same(f"the step of {what}", (step["stepId"], step["status"]), ("t", "FAILED"))
        return
    holds(f"{what} has a value", "result" in instance["variables"], instance.get("failureReason"))
    same(what, instance["variables"]["result"], expected)
    if expected is False:
        contains(f"{what} as a branch", instance.get("failureReason"), "DecisionNoBranchMatched")
    else:
        same(f"status after {what}", instance["status"], "COMPLETED")


def _example(row: contract.Row) -> None:
    async def run(context: CaseContext) -> None:
        data = row.data
        await evaluated(context.door, data["expression"], data["variables"], data.get("result", ERROR))

    add(row.key, run=run, shown_by=evaluated.__name__)


for section in contract.sections():
    if section.number == "4.6":
        for row in section.rows:
            _example(row)


RULES: Mapping[str, Sequence[Example]] = {
    "4.1 unterminated": [("1 + ${a", {"a": 1}, ERROR)],
    "4.1 group": [("${a} + ${ b.c }", {"a": 1, "b": {"c": 2}}, 3), ("${${a} + 1}", {"a": 1}, 2)],
    "4.1 hash-path": [("#a.b.c", {"a": {"b": {"c": 7}}}, 7)],
    "4.1 single-quotes": [(r"'a\nb'", {}, r"a\nb"), ("'say \"x\"'", {}, 'say "x"')],
    "4.1 literals-untouched": [("'#a ${b} contains(c, d)'", {}, "#a ${b} contains(c, d)")],
    "4.1 contains-nested": [("contains([1, 2 + 1], (3))", {}, True)],
    "4.2 ternary": [("a ? 'yes' : 'no'", {"a": True}, "yes"), ("a > 1 ? 1 : 2", {"a": 1}, 2)],
    "4.2 or": [("a or b", {"a": False, "b": True}, True), ("a || b", {"a": False, "b": False}, False)],
    "4.2 and": [("a and b", {"a": True, "b": True}, True), ("a && b", {"a": True, "b": False}, False)],
    "4.2 relations-one-level": [("a == 1 == true", {"a": 1}, True)],
    "4.2 relations-chain": [("1 < n < 3", {"n": 2}, True), ("1 < n < 3", {"n": 3}, False)],
    "4.2 in": [("1 in a", {"a": [1]}, True), ("1 not in a", {"a": [1]}, False)],
    "4.2 precedence": [("1 + 2 * 3 == 7 && true || false", {}, True), ("false && false || true", {}, True)],
    "4.2 unary": [
        ("!a", {"a": False}, True),
        ("not a", {"a": True}, False),
        ("-a + +b", {"a": 1, "b": 3}, 2),
    ],
    "4.2 postfix": [('a["k"][0]', {"a": {"k": [5, 6]}}, 5), ("a[-1]", {"a": [5, 6]}, 6)],
    "4.2 primary": [("[1, 'b']", {}, [1, "b"]), ("nil", {}, None), ("(1.5)", {}, 1.5), ("false", {}, False)],
    "4.3 numbers": [("1 == 1.0", {}, True), ("a / b", {"a": 7, "b": 2}, 3.5)],
    "4.3 division-by-zero": [("1 / a", {"a": 0}, ERROR)],
    "4.3 strings": [("'a' + 'b'", {}, "ab"), ("'a' < 'b'", {}, True), ("'a' + 1", {}, ERROR)],
    "4.3 equality": [
        ("5 == '5'", {}, False),
        ("1 == true", {}, False),
        ("a == b", {"a": {"k": [1]}, "b": {"k": [1]}}, True),
    ],
    "4.3 relation": [("5 > '3'", {}, ERROR), ("a > true", {"a": 1}, ERROR)],
    "4.3 booleans": [("true && 5", {}, 5), ("5 && true", {}, ERROR), ("!1", {}, ERROR)],
    "4.3 null": [
        ("a == nil", {"a": None}, True),
        ("a == null", {"a": None}, True),
        ("!a", {"a": None}, ERROR),
    ],
    "4.3 undefined": [("true || ghost", {}, ERROR), ("false && ghost", {}, ERROR)],
    "4.3 missing-key": [("a.b == nil", {"a": {}}, True), ("a.b.c", {"a": {}}, ERROR)],
    "4.3 names": [("count + len + max", {"count": 1, "len": 2, "max": 3}, 6), ("len(len)", {"len": [1]}, 1)],
    "4.3 contains": [
        ("contains(a, 1)", {"a": [1.0]}, True),
        ("contains(a, 'k')", {"a": {"k": None}}, True),
        ("contains(a, 1)", {"a": None}, False),
        ("contains(a, 'OL')", {"a": "GOLD"}, True),
    ],
    "4.3 len": [
        ("len(a)", {"a": "h\u00e9llo"}, 5),
        ("len(a)", {"a": {"k": 1}}, 1),
        ("len(a)", {"a": 5}, ERROR),
    ],
}


def _rule(key: str, examples: Sequence[Example]) -> None:
    async def run(context: CaseContext) -> None:
        for example in examples:
            await evaluated(context.door, *example)

    add(key, run=run, shown_by="RULES")


for key, examples in RULES.items():
    _rule(key, examples)


@shows("4.3 division-by-zero")
async def reason_of_a_division(context: CaseContext) -> None:
    instance = await context.door.run(transformation("t", {"x": "${1 / 0}"}), END)
    same("status", instance["status"], "FAILED")
    contains("reason", instance["failureReason"].lower(), "zero")


# -- decisions


@shows("4.4 declaration-order", over=REST)
async def first_true_branch(context: CaseContext) -> None:
    names = ("zebra", "apple", "mango", "10", "9")
    for first in names:
        order = [first, *(name for name in names if name != first)]
        ways = {f"'{name}' == '{name}'": name for name in order}
        instance = await context.door.run(decision("d", ways), *(wait(name) for name in names), END)
        same(f"step after {order}", instance["currentStepIds"], [first])


async def _decided(door: Door, ways: Mapping[str, str], variables: Json | None = None) -> Json:
    """The instance after such a decision; its targets are waits."""
    steps = [wait(name) for name in dict.fromkeys(ways.values()) if name != "end"]
    return await door.run(decision("d", ways), *steps, END, variables=variables)


@shows("4.4 error-at-once", over=REST)
async def later_branches_are_not_tried(context: CaseContext) -> None:
    for broken in ("ghost == 1", "5"):
        instance = await _decided(context.door, {broken: "a", "true": "b"})
        same(f"status after {broken}", instance["status"], "FAILED")


@shows("4.4 default", over=REST)
async def default_branch(context: CaseContext) -> None:
    same(
        "step", (await _decided(context.door, {"n > 5": "a", "true": "b"}, {"n": 1}))["currentStepIds"], ["b"]
    )


@shows("4.4 no-match")
async def no_branch(context: CaseContext) -> None:
    instance = await _decided(context.door, {"n > 5": "a", "n > 6": "b"}, {"n": 1})
    same("status", instance["status"], "FAILED")
    contains("reason", instance["failureReason"], "DecisionNoBranchMatched")


@shows("4.4 reason-error")
async def reason_of_an_error(context: CaseContext) -> None:
    instance = await _decided(context.door, {"ghost == 1": "a"})
    reason = instance.get("failureReason", "")
    holds('the reason begins "expression eval error: "', reason.startswith("expression eval error: "), reason)


@shows("4.4 reason-not-bool")
async def reason_of_another_type(context: CaseContext) -> None:
    reason = (await _decided(context.door, {"n + 1": "a"}, {"n": 1})).get("failureReason")
    contains("reason", reason, "n + 1")
    contains("reason", reason, "not bool")


@shows("4.4 step-failed")
async def failed_decision(context: CaseContext) -> None:
    """The start itself is answered well; so is a signal that leads there."""
    at_once = await _decided(context.door, {"ghost == 1": "a"})
    later = await context.door.run(wait("w", "d"), decision("d", {"ghost == 1": "end"}), END)
    (await context.door.signal(later["id"], "w")).ok("signal")
    for instance in (at_once, await context.door.read(later)):
        step = (await context.door.trail(instance))[-1]
        same("the decision's row", (step["stepId"], step["status"], step["failureReason"]),
             ("d", "FAILED", instance["failureReason"]))  # fmt: skip


# -- transformations


async def _transformed(door: Door, changes: Mapping[str, Any], variables: Json | None = None) -> Json:
    return await door.run(transformation("t", changes), END, variables=variables)


@shows("4.5 literal")
async def literals(context: CaseContext) -> None:
    values = {"n": 1.5, "b": False, "none": None, "list": [1, "${1 + 1}"], "object": {"deep": "${ghost}"}}
    same("variables", (await _transformed(context.door, values))["variables"], values)


@shows("4.5 plain-string")
async def plain_strings(context: CaseContext) -> None:
    values = {"a": "text", "b": "${open", "c": "closed}", "d": "x ${1}", "e": "${1} x", "f": ""}
    same("variables", (await _transformed(context.door, values))["variables"], values)


@shows("4.5 now")
async def now(context: CaseContext) -> None:
    for text in ("${now()}", "${ now() }"):
        value = (await _transformed(context.door, {"at": text}))["variables"].get("at")
        holds("whole seconds, Z", re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(value)), value)


@shows("4.5 expression")
async def any_type(context: CaseContext) -> None:
    instance = await _transformed(
        context.door, {"x": "${a}", "y": "${b.c}"}, {"a": [1, {"k": None}], "b": {}}
    )
    same("x and y", (instance["variables"]["x"], instance["variables"]["y"]), ([1, {"k": None}], None))


@shows("4.5 interpolation", "4.5 error")
async def interpolation(context: CaseContext) -> None:
    instance = await _transformed(context.door, {"a": 1, "b": "${n} and ${n}"}, {"n": 1})
    same("status", instance["status"], "FAILED")
    contains("reason", instance["failureReason"], 'transformation "b":')
    same("variables", instance["variables"], {"n": 1})


@shows("4.5 order", over=REST)
async def order_of_keys(context: CaseContext) -> None:
    instance = await _transformed(context.door, {"z": "${n + 1}", "a": "${z + 1}", "m": "${a + z}"}, {"n": 1})
    same("variables", instance["variables"], {"n": 1, "z": 2, "a": 3, "m": 5})


@shows("4.5 overwrite")
async def top_level_only(context: CaseContext) -> None:
    instance = await _transformed(context.door, {"a": {"new": 1}}, {"a": {"old": 1}, "b": 2})
    same("variables", instance["variables"], {"a": {"new": 1}, "b": 2})
