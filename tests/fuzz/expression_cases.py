"""Cases for expressions: texts of the grammar of contract 4.2, nearly such texts, and anything; with variables."""

from __future__ import annotations

import json

import broken_json
from case import Case
from hypothesis import strategies as st

NAMES = (
    "n",
    "s",
    "b",
    "list",
    "obj",
    "nothing",
    "deep",
    "ghost",
    "len",
    "contains",
    "in",
    "not",
    "true",
    "null",
    "_",
    "N1",
)
LITERALS = (
    "0", "1", "-1", "1.5", "1e308", "1e309", "9" * 309, ".5", "1e-400", "'x'", '"y"', "''", '"\\u0000"', '"\\ud800"',
    '"\\q"', "true", "false", "nil", "null", "[]", "[1,2]", "'\u00e9'", "0." + "1" * 400,
)  # fmt: skip
BINARY = (
    "||",
    "&&",
    "or",
    "and",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "not in",
    "+",
    "-",
    "*",
    "/",
    "??",
    "=",
    "%",
    "&",
    "**",
)
VARIABLES = {
    "n": 5, "s": "text", "b": True, "list": [1, [2], "x"], "obj": {"k": 1, "o": {}}, "nothing": None, "len": 3,
    "N1": 1e300, "deep": json.loads("[" * 90 + "]" * 90), "_": -0.0,
}  # fmt: skip

#: Names that are there most of the time.
_names = st.sampled_from((*VARIABLES, *VARIABLES, *(f"#{name}" for name in VARIABLES), *NAMES))
_leaves = _names | broken_json.pick(LITERALS)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(BINARY), inner).map(" ".join),
        st.tuples(st.sampled_from(("!", "-", "+", "not ", "- -")), inner).map("".join),
        inner.map(lambda it: f"({it})"),
        inner.map(lambda it: "${" + it + "}"),
        st.tuples(inner, inner).map(lambda it: f"contains({it[0]}, {it[1]})"),
        inner.map(lambda it: f"len({it})"),
        st.tuples(inner, inner).map(lambda it: f"{it[0]}[{it[1]}]"),
        st.tuples(inner, st.sampled_from((".k", "?.k", ".o.x", "?.o?.x", "['k']", "[-1]"))).map("".join),
        st.tuples(inner, inner, inner).map(lambda it: f"{it[0]} ? {it[1]} : {it[2]}"),
        st.lists(inner, max_size=4).map(lambda it: f"[{', '.join(it)}]"),
    )


_grammatical = st.recursive(_leaves, _grown, max_leaves=12)
_broken = st.tuples(
    _grammatical,
    st.integers(0, 200),
    st.sampled_from(("", "}", "(", "'", "${", "\0", "\u202e", "..", "?", "#", "\\")),
)
_long = broken_json.pick(
    (
        "1" + "+1" * 4_990, "(" * 99 + "1" + ")" * 99, "(" * 101 + "1" + ")" * 101, "[" * 5_000, "!" * 9_000 + "b",
        "-" * 9_999 + "n", "n" * 9_999, "n" * 10_001, "b && " * 1_900 + "b", "s" + " + s" * 2_400, "1 < 2" * 1_600,
        "b ? " * 90 + "1" + " : 2" * 90, "${" * 100 + "1" + "}" * 100, "obj" + ".k" * 4_900, "list" + "[0]" * 3_300,
        "'" + "x" * 9_990 + "'", "contains(" * 90 + "list" + ", 1)" * 90, "1" + "*1e10" * 40, "deep == deep",
        "[" + "deep," * 1_900 + "1]", "0" * 9_999, '"' + "\\u0041" * 1_600 + '"', "#" * 50 + "n", "n.5", "n?.5:1",
    )
)  # fmt: skip

texts: st.SearchStrategy[str] = broken_json.weighted(
    {
        _grammatical: 6,
        _broken.map(lambda it: it[0][: it[1]] + it[2] + it[0][it[1] :]): 2,
        st.text(max_size=30): 1,
        _long: 1,
    }
)
_variables: st.SearchStrategy[str] = broken_json.weighted(
    {
        st.just(VARIABLES).map(json.dumps): 4,
        st.dictionaries(st.sampled_from(NAMES), broken_json.odd_values).map(json.dumps): 1,
    }
)

cases: st.SearchStrategy[Case] = st.tuples(texts, _variables).map(
    lambda it: Case("expression", "expression", it[0].encode("utf-8", "surrogatepass"), variables=it[1])
)
