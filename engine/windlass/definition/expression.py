"""The expression language of decisions and transformations (contract 4): text -> closure -> value.

Text is tokenized and compiled once (cached); evaluation looks up only the names the text uses.
Whatever the text or the variables, the only error that leaves here is ExpressionError.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from windlass.definition import operators, parser
from windlass.definition.operators import ExpressionError, Work, integral

__all__ = [
    "Expression",
    "ExpressionError",
    "Work",
    "compile_expression",
    "evaluate",
    "evaluate_decision",
    "integral",
    "resolve_transformation",
]

EXPRESSION_CHARS_MAX = 10_000
#: Units of work per character of an expression: most of it is parsing a text for the first time.
UNITS_PER_CHAR = 20
#: Compiled texts are kept up to this many characters in all; each takes about a hundred bytes.
COMPILED_CHARS_MAX = 500_000

_SHOWN_CHARS_MAX = 200
_NOW = re.compile(r"\$\{\s*now\s*\(\s*\)\s*\}")


class Expression:
    """A compiled text. `names` are its free names: evaluation reads these variables and no others."""

    __slots__ = ("_ordered_names", "_root", "names", "text")

    def __init__(self, text: str, root: parser.Node, ordered_names: tuple[str, ...]) -> None:
        self.text = text
        self.names = frozenset(ordered_names)
        self._ordered_names = ordered_names
        self._root = root

    def evaluate(self, variables: Mapping[str, Any], work: Work) -> Any:
        """Every free name must be defined, even in a part that is not evaluated (contract 4.3).

        Whole numbers come back as int. Raises ExpressionError.
        """
        environment = parser.Environment(work)
        for name in self._ordered_names:
            if name not in variables:
                raise ExpressionError(f'undefined variable "{name}"')
            environment[name] = variables[name]
        try:
            return integral(self._root(environment), work)
        except RecursionError:
            raise ExpressionError("a value is nested too deeply to be compared or returned") from None


class _Compiled:
    """The texts used last, with a bound on their length and not only on their number."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Expression] = OrderedDict()
        self._chars = 0

    def get(self, text: str) -> Expression:
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
            return found
        found = self._kept[text] = Expression(text, *parser.parse(text))
        self._chars += len(text)
        while self._chars > COMPILED_CHARS_MAX:
            oldest, _ = self._kept.popitem(last=False)
            self._chars -= len(oldest)
        return found


_compiled = _Compiled()


def compile_expression(text: str) -> Expression:
    """Compile the text once for all evaluations. Raises ExpressionError when it is not an expression."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ExpressionError(f"the expression has {len(text)} characters; at most {EXPRESSION_CHARS_MAX}")
    return _compiled.get(text)


def evaluate(text: str, variables: Mapping[str, Any], work: Work | None = None) -> Any:
    """Compute the text for these variables, within what `work` has left. Raises ExpressionError."""
    work = work or Work()
    work.spend(UNITS_PER_CHAR * len(text))
    return compile_expression(text).evaluate(variables, work)


def evaluate_decision(text: str, variables: Mapping[str, Any], work: Work | None = None) -> bool:
    """Tell whether a branch is taken. Raises ExpressionError with the failure reason of contract 4.4."""
    try:
        value = evaluate(text, variables, work)
    except ExpressionError as error:
        raise ExpressionError(f"expression eval error: {_quoted(text)}: {error}") from error
    if type(value) is not bool:
        raise ExpressionError(
            f"expression {_quoted(text)} gave {operators.type_name(value)}, not bool; write a comparison"
        )
    return value


def resolve_transformation(
    value: Any, variables: Mapping[str, Any], now_text: Callable[[], str], work: Work | None = None
) -> Any:
    """Compute what a transformation stores for a JSON value: only a whole `"${…}"` string is no plain data.

    `now_text` is called for `${now()}` alone (contract 4.5). Raises ExpressionError.
    """
    if type(value) is not str or not (value.startswith("${") and value.endswith("}")):
        return value
    if _NOW.fullmatch(value):
        return now_text()
    inner = value[2:-1]
    try:
        return evaluate(inner, variables, work)
    except ExpressionError as error:
        if "}" in inner and "${" in inner:
            raise ExpressionError(
                f"{_quoted(value)}: {error}; interpolation is not supported: write one ${{…}} and join with +"
            ) from error
        raise ExpressionError(f"{_quoted(value)}: {error}") from error


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= _SHOWN_CHARS_MAX else f'"{text[:_SHOWN_CHARS_MAX]}…"'
