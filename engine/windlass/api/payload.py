"""Variables fit for storing: a JSON object that PostgreSQL and every SDK can represent, or an error with the cause.
The bytes pass through unchanged unless they may contain a number with a fraction or an exponent: those are doubles,
and an integral double is written as an integer (contract 1.4).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from windlass.errors import BadRequest
from windlass.wire import EMPTY_OBJECT, RawJson

NESTING_MAX = 100
#: From here on a double is written with an exponent, as JSON encoders commonly do.
_INTEGRAL_BELOW = 1e21

#: No shorter integer is outside the range of a double.
_MAYBE_HUGE = re.compile(rb"[0-9]{309}")
_MAYBE_DOUBLE = re.compile(rb"[0-9][.eE]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_OUT_OF_RANGE = "contains a number outside the range of a double"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def variables_of(raw: RawJson | bytes, *, name: str = "variables") -> RawJson:
    """Return the object fit for storing; null becomes {}. BadRequest names `name` and what is wrong."""
    data = bytes(raw)
    if data in {b"{}", b"null"}:
        return EMPTY_OBJECT
    value = _value_of(data, name)
    if value is None:
        return EMPTY_OBJECT
    if not isinstance(value, dict):
        raise _bad(name, f"must be a JSON object or null, got {_kind_of(value)}")
    if data.count(b"{") + data.count(b"[") > NESTING_MAX and _nesting(value) > NESTING_MAX:
        raise _bad(name, f"is nested deeper than {NESTING_MAX} levels")
    if b"\\u0000" in data and _holds_nul(value):
        raise _bad(name, "contains the character U+0000, which cannot be stored; remove it")
    if _MAYBE_HUGE.search(data) and _holds_huge(value):
        raise _bad(name, _OUT_OF_RANGE)
    if _MAYBE_DOUBLE.search(data):
        return msgspec.Raw(_encode(_with_integers(value)))
    return raw if isinstance(raw, msgspec.Raw) else msgspec.Raw(data)


def _value_of(data: bytes, name: str) -> Any:
    try:
        return _decode(data)
    except RecursionError:
        raise _bad(name, f"is nested deeper than {NESTING_MAX} levels") from None
    except UnicodeDecodeError:
        raise _bad(name, "is not valid UTF-8") from None
    except msgspec.ValidationError:
        raise _bad(name, _OUT_OF_RANGE) from None
    except msgspec.DecodeError as error:
        if _SURROGATE.search(data):
            raise _bad(name, f"is not valid JSON, perhaps because of a lone surrogate: {error}") from None
        raise _bad(name, f"is not valid JSON: {error}") from None


def _bad(name: str, fault: str) -> BadRequest:
    return BadRequest(f"invalid request body: {name} {fault}")


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, list):
        return "an array"
    return "a string" if isinstance(value, str) else "a number"


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _nesting(value: object) -> int:
    depth = 0
    level = [value]
    while level:
        containers = [item for item in level if isinstance(item, dict | list)]
        depth += bool(containers)
        level = [child for item in containers for child in _children(item)]
    return depth


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict) and any("\x00" in key for key in value):
        return True
    return any(_holds_nul(child) for child in _children(value))


def _holds_huge(value: object) -> bool:
    if isinstance(value, int):
        return _is_huge(value)
    return any(_holds_huge(child) for child in _children(value))


def _is_huge(number: int) -> bool:
    try:
        float(number)
    except OverflowError:
        return True
    return False


def _with_integers(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < _INTEGRAL_BELOW else value
    if kind is dict:
        return {key: _with_integers(child) for key, child in value.items()}
    if kind is list:
        return [_with_integers(child) for child in value]
    return value
