"""Variables fit for storing: a JSON object that PostgreSQL and every SDK can represent, or an error with the cause.
The bytes pass through unchanged unless they contain an integral double, which is written as an integer (contract 1.4).

The text is scanned and never made into objects, which would take many times its size.
"""

from __future__ import annotations

import codecs
import re

import msgspec

from windlass.errors import BadRequest
from windlass.wire import EMPTY_OBJECT, RawJson

NESTING_MAX = 100
VARIABLES_MAX = 100_000
"""Of one object; the engine keeps each by itself."""
EXPONENT_DIGITS_MAX = 4 * 1024 * 1024
"""The digits that exponents stand for, in all: the database writes them out, and whoever reads the value gets them."""
#: From here on a double is written with an exponent, as JSON encoders commonly do.
_INTEGRAL_BELOW = 1e21
_SLICE_BYTES = 64 * 1024

#: Digits as one digit, and what makes a number a double as one sign: patterns would take fifty times as long, during
#: which no other thread runs.
_NUMBERS_ALIKE = bytes.maketrans(b"0123456789.eE", b"0000000000...")
#: No shorter integer is outside the range of a double.
_HUGE_CHARS = 309
_HUGE, _DOUBLE = b"0" * _HUGE_CHARS, b"0."
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
#: Of one match, in which no other thread runs: it ends after so many items, and the next one goes on from there.
_ITEMS = rb"{0,5000}+"
#: What is next outside strings. All patterns match everywhere, so no search starts over.
_STRUCTURE = rb")" + _ITEMS + rb"(?:([\[{]++)|([\]}]++)|(:))?"
_OPENED, _CLOSED = 1, 2
_NEXT_STRUCTURE = re.compile(rb'(?:[^"\[\]{}:]++|' + _STRING + _STRUCTURE)
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")" + _ITEMS
_NEXT_STRUCTURE_BUT_FLAT = re.compile(
    rb'(?:[^"\[\]{}:]++|'
    + _STRING
    + rb"|\["
    + _FLAT
    + rb"\]|\{"
    + _FLAT
    + rb"\})"
    + _ITEMS
    + rb"(?:([\[{])|([\]}]++)|(:))?"
)
#: The next number outside strings that is a double, or an integer that may be outside the range of one.
_NEXT_NUMBER = re.compile(
    rb'(?:[^"0-9-]++|'
    + _STRING
    + rb"|-?[0-9]{1,308}+(?![.eE0-9]))"
    + _ITEMS
    + rb"(-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)?"
)
_OUT_OF_RANGE = "contains a number outside the range of a double"
_skim = msgspec.json.Decoder(msgspec.Raw).decode
_KINDS = {
    ord("["): "an array",
    ord('"'): "a string",
    ord("t"): "a boolean",
    ord("f"): "a boolean",
}


def variables_of(raw: RawJson | bytes, *, name: str = "variables") -> RawJson:
    """Return the object fit for storing; null becomes {}. BadRequest names `name` and what is wrong."""
    data = bytes(raw)
    if data in {b"{}", b"null"}:
        return EMPTY_OBJECT
    _check_text(data, name)
    first = data.lstrip()[:1] if data[:1].isspace() else data[:1]
    if first == b"n":
        return EMPTY_OBJECT
    if first != b"{":
        raise _bad(name, f"must be a JSON object or null, got {_KINDS.get(first[0], 'a number')}")
    if data.count(b"{") + data.count(b"[") > NESTING_MAX or data.count(b":") > VARIABLES_MAX:
        _check_shape(data, name)
    if b"\\u0000" in data and _NUL.search(data):
        raise _bad(name, "contains the character U+0000, which cannot be stored; remove it")
    if _may_have_doubles(data):
        stored = _with_integers(data, name)
        if stored is not data:
            return msgspec.Raw(stored)
    return raw if isinstance(raw, msgspec.Raw) else msgspec.Raw(data)


def _may_have_doubles(data: bytes) -> bool:
    """Whether there may be a double, or an integer outside the range of one, also inside of strings."""
    for start in range(0, len(data), _SLICE_BYTES):
        alike = data[start : start + _SLICE_BYTES + _HUGE_CHARS].translate(_NUMBERS_ALIKE)
        if _DOUBLE in alike or _HUGE in alike:
            return True
    return False


def _check_text(data: bytes, name: str) -> None:
    try:
        _skim(data)
        if not data.isascii():
            decode = codecs.getincrementaldecoder("utf-8")().decode
            for start in range(0, len(data), _SLICE_BYTES):
                decode(data[start : start + _SLICE_BYTES], start + _SLICE_BYTES >= len(data))
    except RecursionError:
        raise _bad(name, f"is nested deeper than {NESTING_MAX} levels") from None
    except UnicodeDecodeError:
        raise _bad(name, "is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        if _SURROGATE.search(data):
            raise _bad(name, f"is not valid JSON, perhaps because of a lone surrogate: {error}") from None
        raise _bad(name, f"is not valid JSON: {error}") from None


def _check_shape(data: bytes, name: str) -> None:
    deepest, variables = _shape(data, _NEXT_STRUCTURE_BUT_FLAT)
    if deepest >= NESTING_MAX:
        # Those that hold no other one, of which there may be very many, are a level as well.
        deepest, variables = _shape(data, _NEXT_STRUCTURE)
    if deepest > NESTING_MAX:
        raise _bad(name, f"is nested deeper than {NESTING_MAX} levels")
    if variables > VARIABLES_MAX:
        raise _bad(
            name, f"has {variables} members, at most {VARIABLES_MAX}; put them into one that holds them"
        )


def _shape(data: bytes, next_structure: re.Pattern[bytes]) -> tuple[int, int]:
    """How deep the object is nested, and how many members it has itself."""
    depth = deepest = 1
    variables = 0
    for found in next_structure.finditer(data, data.index(b"{") + 1):
        kind = found.lastindex
        if kind == _OPENED:
            depth += len(found[_OPENED])
            deepest = max(deepest, depth)
        elif kind == _CLOSED:
            depth -= len(found[_CLOSED])
        elif kind is not None and depth == 1:
            variables += 1
    return deepest, variables


def _with_integers(data: bytes, name: str) -> bytes:
    """The same object when there is nothing to change."""
    changed = bytearray()
    done = digits = 0
    for found in _NEXT_NUMBER.finditer(data):
        text = found[1]
        if text is None or (len(text) < _HUGE_CHARS and text.removeprefix(b"-").isdigit()):
            continue
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise _bad(name, _OUT_OF_RANGE)
        if number.is_integer() and abs(number) < _INTEGRAL_BELOW:
            start, end = found.span(1)
            changed += data[done:start]
            changed += b"%d" % int(number)
            done = end
        elif exponent := text.lower().partition(b"e")[2]:
            digits += abs(int(exponent))
    if digits > EXPONENT_DIGITS_MAX:
        raise _bad(
            name,
            f"contains exponents that stand for {digits} digits in all, at most {EXPONENT_DIGITS_MAX} are stored; send "
            "fewer such numbers, or send them as strings",
        )
    if not done:
        return data
    changed += data[done:]
    return bytes(changed)


def _bad(name: str, fault: str) -> BadRequest:
    return BadRequest(f"invalid request body: {name} {fault}")
