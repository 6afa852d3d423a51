"""JSON texts, valid and broken in every way we know, out of a valid value (hypothesis strategies)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

Json = Any
T = TypeVar("T")

#: Deep enough for every stack there is, small enough for many cases.
DEPTHS = (31, 99, 100, 101, 200, 2_000, 20_000)

LONG_CHARS = 100_000
HUGE_NUMBERS = (
    "1e999", "-1e999", "1e-999", "9" * 400, "-" + "9" * 400, "9" * 5_000, "1" + "0" * 308, "9" * 20,
    "18446744073709551616", "-9223372036854775809", "1e308", "0.1e1", "-0", "-0.0", "1E+2", "2147483648",
    "4.9e-324", "1" + "0" * 30 + ".5", "0." + "0" * 500 + "1",
)  # fmt: skip
NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x10", "1e", "--1", "1_000", "1 5")
"""Nowhere in a document, so none with a comma: in an array that is two numbers."""
NO_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80", b"\xf0\x9f\x98")
NO_CHARACTERS = (r"\ud800", r"\udfff\ud800", r"\udc00x", r"\ud83d")
ODD_TEXTS = (
    "\x00", "a\x00b", "", " ", "\u202e", "\ufeff", "\U0001f600", "%00", "%", "_", "../..", "a/b", "'; --", "${x}",
    "\u2028", "null", "$1", "\\", '"', "x" * 3_000, "\u00e9" * 3_000, "\x7f", "\n\r\t", "A" * LONG_CHARS,
)  # fmt: skip


class Text(NamedTuple):
    """A body and what was done to it; `is_no_json` when no reader may take it for JSON in UTF-8."""

    kind: str
    data: bytes
    is_no_json: bool


def encoded(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def pick(items: Sequence[T]) -> st.SearchStrategy[T]:
    """`sampled_from` for items so long that hypothesis should not name them in its words."""
    return st.integers(0, len(items) - 1).map(lambda at: items[at])


def weighted(choices: Mapping[st.SearchStrategy[T], int]) -> st.SearchStrategy[T]:
    """One of these, each as often as its number says."""
    lots = [choice for choice, weight in choices.items() for _ in range(weight)]
    return st.integers(0, len(lots) - 1).flatmap(lambda at: lots[at])


def texts(values: st.SearchStrategy[Json]) -> st.SearchStrategy[Text]:
    """Texts made from these values: some stand as they are, some are mistyped, most are broken."""
    return weighted(
        {
            values.map(lambda value: Text("valid", encoded(value), is_no_json=False)): 4,
            _mistyped(values): 4,
            _spliced(values): 6,
            _truncated(values): 2,
            _repeated_keys(values): 1,
            _nested(values): 2,
            raw: 1,
        }
    )


@st.composite
def _mistyped(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Text:
    """One value of the document replaced by one of another kind, or left out, or one added."""
    value = draw(values)
    places = list(_places(value))
    if not places:
        return Text("valid", encoded(value), is_no_json=False)
    change = draw(st.sampled_from(("replaced", "missing", "unknown field")))
    path = draw(st.sampled_from(places))
    if change == "missing":
        changed = _changed(value, path, None, remove=True)
    elif change == "unknown field" and isinstance(_at(value, path), dict):
        changed = _changed(value, path, {**_at(value, path), draw(pick(ODD_TEXTS)): 1})
    else:
        changed = _changed(value, path, draw(odd_values))
    return Text(change, encoded(changed), is_no_json=False)


#: (what it is, text for a value, whether no reader may take it)
_splices: st.SearchStrategy[tuple[str, bytes, bool]] = weighted(
    {
        pick(HUGE_NUMBERS).map(lambda it: ("huge number", it.encode(), False)): 3,
        pick(NO_NUMBERS).map(lambda it: ("no number", it.encode(), True)): 2,
        pick(NO_UTF8).map(lambda it: ("invalid UTF-8", b'"' + it + b'"', True)): 2,
        pick(NO_CHARACTERS).map(lambda it: ("lone surrogate", f'"{it}"'.encode(), False)): 2,
        pick((rb'"\u0000"', rb'"a\u0000b"', rb'{"\u0000":1}')).map(lambda it: ("U+0000", it, False)): 4,
        pick((b'"a\nb"', b'"\x01"', b"'x'", b"{a:1}", b"[1,]", b'{"a":}', b"tru", b"/**/1")).map(
            lambda it: ("bad syntax", it, True)
        ): 2,
        st.binary(min_size=1, max_size=12).map(lambda it: ("bytes for a value", it, False)): 1,
    }
)


@st.composite
def _spliced(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Text:
    """One value of the document replaced by text that no encoder would write."""
    value = draw(values)
    path = draw(st.sampled_from(list(_places(value)) or [()]))
    mark = "0SPLICE0HERE0"
    whole = encoded(_changed(value, path, mark))
    kind, data, is_no_json = draw(_splices)
    return Text(kind, whole.replace(json.dumps(mark).encode(), data, 1), is_no_json=is_no_json)


@st.composite
def _truncated(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Text:
    whole = encoded(draw(values))
    how = draw(
        st.sampled_from(("cut short", "more behind it", "a byte changed", "UTF-16", "byte order mark"))
    )
    if how == "cut short":
        return Text(how, whole[: draw(st.integers(1, max(1, len(whole) - 1)))], is_no_json=len(whole) > 1)
    if how == "more behind it":
        return Text(
            how, whole + draw(st.sampled_from((b"{}", b"x", b"\0", b",", b"]", b"\xff"))), is_no_json=True
        )
    if how == "UTF-16":
        return Text(how, whole.decode("utf-8", "replace").encode("utf-16"), is_no_json=True)
    if how == "byte order mark":
        return Text(how, b"\xef\xbb\xbf" + whole, is_no_json=False)
    at = draw(st.integers(0, len(whole) - 1))
    return Text(how, whole[:at] + draw(st.binary(min_size=1, max_size=1)) + whole[at + 1 :], is_no_json=False)


@st.composite
def _repeated_keys(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Text:
    whole = encoded(draw(values))
    again = draw(
        st.sampled_from(
            (b'"id":"x",', b'"variables":{"a":1},"variables":{},', b'"workerId":7,"workerId":"w",')
        )
    )
    if not whole.startswith(b"{"):
        return Text("valid", whole, is_no_json=False)
    data = b"{" + again * draw(st.sampled_from((1, 2, 500))) + whole[1:]
    return Text(
        "duplicate keys", data if whole != b"{}" else b"{" + again.rstrip(b",") + b"}", is_no_json=False
    )


@st.composite
def _nested(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Text:
    value = draw(values)
    path = draw(st.sampled_from([place for place in _places(value) if place] or [()]))
    depth = draw(st.sampled_from(DEPTHS))
    opening, inner, closing = draw(
        st.sampled_from(
            ((b"[", b"1", b"]"), (b'{"a":', b"1", b"}"), (b'[{"":', b"[]", b"}]"), (b"[", b"", b""))
        )
    )
    mark = "0SPLICE0HERE0"
    whole = encoded(_changed(value, path, mark))
    data = whole.replace(json.dumps(mark).encode(), opening * depth + inner + closing * depth, 1)
    return Text(f"nested {depth} deep", data, is_no_json=not closing)


def _containers(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


raw: st.SearchStrategy[Text] = st.one_of(
    st.binary(min_size=1, max_size=200).map(lambda data: Text("raw bytes", data, is_no_json=False)),
    st.sampled_from(
        (
            b" ",
            b"\n",
            b"null",
            b"true",
            b"0",
            b'""',
            b"[]",
            b"{}",
            b"{",
            b"\0",
            b"<a/>",
            b"a=1&b=2",
            b"\x1f\x8b\x08",
        )
    ).map(lambda data: Text("another kind of body", data, is_no_json=False)),
)

odd_values: st.SearchStrategy[Json] = st.one_of(
    pick(ODD_TEXTS),
    st.sampled_from(
        (None, True, False, [], {}, [None], [[]], {"": ""}, 0, -1, 1.5, 2**31, 2**63, 2**64, -(2**63) - 1)
    ),
    st.text(max_size=20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), _containers, max_leaves=8),
)


Path = tuple[str | int, ...]


def _places(value: Json, path: Path = ()) -> Sequence[Path]:
    found = [path]
    items: Sequence[tuple[Any, Json]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def _at(value: Json, path: Path) -> Json:
    for key in path:
        value = value[key]
    return value


def _changed(value: Json, path: Path, new: Json, *, remove: bool = False) -> Json:
    if not path:
        return {} if remove else new
    key, rest = path[0], path[1:]
    if isinstance(value, dict):
        if remove and not rest:
            return {name: inner for name, inner in value.items() if name != key}
        return {
            name: _changed(inner, rest, new, remove=remove) if name == key else inner
            for name, inner in value.items()
        }
    if remove and not rest:
        return [inner for index, inner in enumerate(value) if index != key]
    return [
        _changed(inner, rest, new, remove=remove) if index == key else inner
        for index, inner in enumerate(value)
    ]
