"""What the operators and functions of the expression language do with JSON values (contract 4.3).

Values are what a JSON decoder yields: None, bool, int, float, str, list, dict. `bool` is never a number here.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

#: A computed value may take this many bytes, each nested value counted as VALUE_COST_BYTES.
RESULT_BYTES_MAX = 16 * 1024 * 1024
VALUE_COST_BYTES = 16

#: Containers nested deeper than this are refused as a result: they could not be encoded safely.
RESULT_NESTING_MAX = 200

#: `Work` of one event: less than a second.
WORK_MAX = 5_000_000

#: In one unit of work about this many characters of a string are moved, compared or searched, or bytes of JSON are
#: parsed.
CHARS_PER_UNIT = 128
SEARCHED_CHARS_PER_UNIT = 32

#: Copying a value costs as much as comparing this many.
_COPY_UNITS = 5

#: Every integer of at most this many digits is within the range of a double.
INTEGER_DIGITS_MAX = 308

#: Integers outside 64 bits continue as doubles, as every JSON number does in other engines (contract 4.3).
_INTEGER_LIMIT = 2**63

_TYPE_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class ExpressionError(Exception):
    """The expression cannot be read or has no value for these variables; the message says why."""


class Work:
    """The work that one event's expressions may still do, in units of some 100 ns; other calls wait for it."""

    __slots__ = ("left",)

    def __init__(self, left: int = WORK_MAX) -> None:
        self.left = left

    def spend(self, units: int) -> None:
        """Raises ExpressionError when that is too much."""
        self.left -= units
        if self.left < 0:
            raise ExpressionError(
                "the expressions evaluated in a row compute too much; use smaller variables or shorter expressions"
            )


def type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def equal(left: Any, right: Any, work: Work) -> bool:
    """Deep equality; values of different types are unequal, never an error."""
    left_type, right_type = type(left), type(right)
    if left_type is not right_type:
        return is_number(left) and is_number(right) and bool(left == right)
    if left_type is list:
        if len(left) != len(right):
            return False
        work.spend(2 * len(left))
        return all(map(equal, left, right, itertools.repeat(work)))
    if left_type is dict:
        work.spend(3 * len(left))
        return left.keys() == right.keys() and all(
            equal(value, right[key], work) for key, value in left.items()
        )
    if left_type is str:
        work.spend(len(left) // CHARS_PER_UNIT)
    return bool(left == right)


def compare(symbol: str, left: Any, right: Any, work: Work) -> bool:
    """Orders two numbers or two strings (by code point, which is UTF-8's byte order)."""
    if is_number(left) and is_number(right):
        return _ORDERINGS[symbol](left, right)
    if type(left) is str and type(right) is str:
        work.spend(len(left) // CHARS_PER_UNIT)
        return _ORDERINGS[symbol](left, right)
    raise ExpressionError(f"cannot order {type_name(left)} {symbol} {type_name(right)}")


def arithmetic(symbol: str, left: Any, right: Any, work: Work) -> Any:
    """`+` also joins two strings; division is real; every numeric result is finite."""
    if is_number(left) and is_number(right):
        try:
            return _finite(_ARITHMETIC[symbol](left, right))
        except ZeroDivisionError:
            raise ExpressionError("division by zero") from None
        except OverflowError:
            raise ExpressionError(f"the result of {symbol} is outside the range of a number") from None
    if symbol == "+" and type(left) is str and type(right) is str:
        if len(left) + len(right) > RESULT_BYTES_MAX:
            raise ExpressionError(f"the joined string is longer than {RESULT_BYTES_MAX} characters")
        work.spend((len(left) + len(right)) // CHARS_PER_UNIT)
        return left + right
    raise ExpressionError(f"cannot compute {type_name(left)} {symbol} {type_name(right)}")


def negate(value: Any) -> Any:
    return -require_number("-", value)


def require_number(symbol: str, value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError(f"{symbol} needs a number, got {type_name(value)}")
    return value


def require_boolean(symbol: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ExpressionError(f"{symbol} needs a boolean, got {type_name(value)}")
    return value


def contains(haystack: Any, needle: Any, work: Work) -> bool:
    """Membership of an array, a key of an object, a substring of a string; null contains nothing."""
    if haystack is None:
        return False
    if type(haystack) is list:
        work.spend(2 * len(haystack))
        return any(map(equal, haystack, itertools.repeat(needle), itertools.repeat(work)))
    if type(haystack) is dict or type(haystack) is str:
        if type(needle) is not str:
            raise ExpressionError(f"{type_name(haystack)} can contain only a string, got {type_name(needle)}")
        if type(haystack) is str:
            work.spend(len(haystack) // SEARCHED_CHARS_PER_UNIT)
        return needle in haystack
    raise ExpressionError(
        f"{type_name(haystack)} cannot contain anything; use an array, an object or a string"
    )


def length(value: Any, work: Work) -> int:  # noqa: ARG001 - all functions take it
    """Items of an array, keys of an object, code points of a string."""
    if type(value) in (list, dict, str):
        return len(value)
    raise ExpressionError(f"len needs an array, an object or a string, got {type_name(value)}")


def field(value: Any, name: str) -> Any:
    """Read the object's value under `name`, null when the key is missing."""
    if type(value) is not dict:
        raise ExpressionError(f'cannot read field "{name}" of {type_name(value)}')
    return value.get(name)


def item(value: Any, key: Any) -> Any:
    """`object["key"]`, or `array[n]` where a negative n counts from the end."""
    if type(value) is dict and type(key) is str:
        return value.get(key)
    if type(value) is list and is_number(key):
        if key != key // 1:
            raise ExpressionError("an array index must be a whole number")
        if not -len(value) <= key < len(value):
            raise ExpressionError(f"the index is outside an array of {len(value)}")
        return value[int(key)]
    raise ExpressionError(f"cannot index {type_name(value)} with {type_name(key)}")


def integral(value: Any, work: Work) -> Any:
    """Turn every whole float into an int, so that it prints `3`, not `3.0` (contract 1.4); copies containers.

    Raises ExpressionError for NaN and infinity, and past RESULT_BYTES_MAX or RESULT_NESTING_MAX.
    """
    if type(value) is float:
        return whole(value)
    if type(value) is list or type(value) is dict:
        return _Copy(work).of(value, 0)
    return value


class _Copy:
    """One walk over a result, which must end although parts of it may be shared many times."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.left_bytes = RESULT_BYTES_MAX

    def of(self, value: Any, depth: int) -> Any:
        kind = type(value)
        self.left_bytes -= VALUE_COST_BYTES + (len(value) if kind is str else 0)
        if self.left_bytes < 0:
            raise ExpressionError(f"the result is larger than {RESULT_BYTES_MAX} bytes")
        if depth > RESULT_NESTING_MAX:
            raise ExpressionError(f"the result is nested deeper than {RESULT_NESTING_MAX} levels")
        if kind is float:
            return whole(value)
        if kind is list or kind is dict:
            self.work.spend(_COPY_UNITS * len(value))
        if kind is list:
            return [self.of(part, depth + 1) for part in value]
        if kind is dict:
            self.left_bytes -= sum(map(len, value))
            return {key: self.of(part, depth + 1) for key, part in value.items()}
        return value


def whole(value: float) -> int | float:
    """Turn a whole number of at most 64 bits into an int. Raises ExpressionError for NaN and infinity."""
    if not math.isfinite(value):
        raise ExpressionError("the result is not a finite number")
    return int(value) if value.is_integer() and abs(value) < _INTEGER_LIMIT else value


def _finite(value: int | float) -> int | float:  # noqa: PYI041 - both are met and both are told apart
    if type(value) is int and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return value
    number = float(value)
    if not math.isfinite(number):
        raise OverflowError
    return number
