"""What may be stored as variables, and what is said about the rest."""

from __future__ import annotations

import decimal
import json
import re
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from door import opened
from hypothesis import given
from hypothesis import strategies as st

from windlass import errors
from windlass.api.payload import EXPONENT_DIGITS_MAX, VARIABLES_MAX, variables_of
from windlass.errors import BadRequest
from windlass.instance import decode_variables
from windlass.wire import exponent_digits

UNSTORABLE = [
    (b"[]", "must be a JSON object or null, got an array"),
    (b"true", "got a boolean"),
    (b'{"a":"\\u0000"}', "U+0000"),
    (b'{"\\u0000a":1}', "U+0000"),
    (b'{"a":[{"b":"x\\u0000"}]}', "U+0000"),
    (b'{"a":"\\ud800"}', "lone surrogate"),
    (b'{"a":"\\udc00x"}', "lone surrogate"),
    (b'{"a":NaN}', "not valid JSON"),
    (b'{"a":Infinity}', "not valid JSON"),
    (b'{"a":1e999}', "outside the range"),
    (b'{"a":-1e999}', "outside the range"),
    (
        b'{"a":[' + b",".join([b"1e300"] * (EXPONENT_DIGITS_MAX // 300 + 1)) + b"]}",
        "exponents that stand for",
    ),
    (b'{"a":' + b"9" * 309 + b"}", "outside the range"),
    (b'{"a":[{"b":-' + b"9" * 309 + b"}]}", "outside the range"),
    (b'{"a":' + b"9" * 5000 + b"}", "outside the range"),
    (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "deeper than 100"),
    (b'{"a":' * 101 + b"1" + b"}" * 101, "deeper than 100"),
    (b'{"a":"\xff"}', "not valid UTF-8"),
]


@pytest.mark.parametrize(("raw", "reason"), UNSTORABLE)
@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("/v1/instances", b'{"definitionId":"d","variables":', b"}"),
        ("/v1/jobs/j/complete", b'{"workerId":"w","variables":', b"}"),
        ("/v1/instances/i/user-tasks/s/complete", b'{"result":', b"}"),
        ("/v1/instances/i/signals/s", b"", b""),
    ],
)
async def test_variables_nobody_could_store_are_refused_everywhere(
    path: str, before: bytes, after: bytes, raw: bytes, reason: str
) -> None:
    async with opened() as door:
        status, body = await door.call("POST", path, before + raw + after)
        assert (status, body["error"]) == (400, "bad-request")
        # The outer reader may stumble first over what is no JSON at all; it names the cause in its own words.
        assert reason in body["reason"] or (before and body["reason"].startswith("invalid request body: "))
        assert door.service.asked == []


def test_each_cause_is_named() -> None:
    for raw, reason in UNSTORABLE:
        with pytest.raises(errors.BadRequest) as caught:
            variables_of(raw)
        assert reason in caught.value.reason
        assert caught.value.reason.startswith("invalid request body: variables ")


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        (b"null", b"{}"),
        (b" null ", b"{}"),
        (b'{"a":3.0}', b'{"a":3}'),
        (b'{"a":[1e2,-5.0,-0.0]}', b'{"a":[100,-5,0]}'),
        (b'{"a":1E+3, "b":2.5}', b'{"a":1000, "b":2.5}'),
        (b'{"a":1' + b"0" * 308 + b"}", b'{"a":1' + b"0" * 308 + b"}"),
        (b'{"1.0":"2.0 \\"3.0","a":4.0}', b'{"1.0":"2.0 \\"3.0","a":4}'),
        (b'{"a":1e-20000}', b'{"a":0}'),
        (b'{"a":1e20}', b'{"a":100000000000000000000}'),
        (b'{"a":1e21}', b'{"a":1e21}'),
        (b'{ "spaces" : [ 1 , 2 ] }', b'{ "spaces" : [ 1 , 2 ] }'),
        (b'{"a":12345678901234567890123}', b'{"a":12345678901234567890123}'),
        (b'{"a":"\\\\u0000"}', b'{"a":"\\\\u0000"}'),
        (b'{"a":' + b"[" * 99 + b"]" * 99 + b"}", b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"),
        (b'{"a":"' + b"[{" * 300 + b'"}', b'{"a":"' + b"[{" * 300 + b'"}'),
        (b'{"a":"\\ud83d\\ude00"}', b'{"a":"\\ud83d\\ude00"}'),
    ],
)
def test_variables_pass_as_they_are_but_for_integral_doubles(raw: bytes, stored: bytes) -> None:
    assert bytes(variables_of(raw)) == stored


def members(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":{"a":[0]}' % number for number in range(count)) + b"}"


def test_an_object_has_so_many_members_at_most() -> None:
    variables_of(members(VARIABLES_MAX))
    variables_of(b'{"a":' + members(VARIABLES_MAX + 1) + b"}")
    with pytest.raises(errors.BadRequest, match="has 100001 members, at most 100000"):
        variables_of(members(VARIABLES_MAX + 1))


@pytest.mark.parametrize(
    "part", [b"[]", b"{}", b'""', b"1", b"1.5", b"2e1", b"9" * 308, b'"\\\\"', b'{"a":[1]}', b'"\xc3\xa9"']
)
def test_many_small_values_take_little_memory_and_time(part: bytes) -> None:
    """Made into objects, empty arrays take thirty times the size of their text."""
    data = b'{"a":[' + b",".join([part] * (300_000 // len(part))) + b"]}"
    tracemalloc.start()
    began_s = time.process_time()
    try:
        variables_of(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(data)
    assert time.process_time() - began_s < 5


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.e1", max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text("xyz", max_size=4), JSON_VALUES, max_size=5), st.booleans())
def test_variables_keep_their_value_and_lose_their_integral_fractions(
    value: dict[str, Any], ascii_only: bool
) -> None:
    stored = json.loads(bytes(variables_of(json.dumps(value, ensure_ascii=ascii_only).encode())))
    assert stored == value

    def no_integral_double(part: Any) -> bool:
        if isinstance(part, float):
            return not part.is_integer() or abs(part) >= 1e21
        children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return all(no_integral_double(child) for child in children)

    assert no_integral_double(stored)


def fastest_s(work: Callable[[bytes], object], data: bytes) -> float:
    times = []
    for _ in range(5):
        began_s = time.perf_counter()
        work(data)
        times.append(time.perf_counter() - began_s)
    return min(times)


def test_a_large_text_is_read_about_as_fast_as_it_is_parsed() -> None:
    """While a pattern runs over it no other call is served: it took 150 times as long."""
    data = b'{"a":"' + b"x" * 4_000_000 + b'"}'
    assert fastest_s(variables_of, data) < 40 * fastest_s(msgspec.json.decode, data)
    assert fastest_s(decode_variables, data) < 10 * fastest_s(msgspec.json.decode, data)


@pytest.mark.parametrize("before", [0, 65_530, 65_536, 131_000])
def test_a_number_past_a_double_is_found_wherever_it_stands(before: int) -> None:
    data = b'{"a":"' + b"x" * before + b'","n":' + b"9" * 309 + b"}"
    with pytest.raises(BadRequest, match="range of a double"):
        variables_of(data)


@pytest.mark.parametrize("before", range(65_520, 65_540))
def test_an_integral_double_is_found_wherever_it_stands(before: int) -> None:
    head = b'{"a":"' + b"x" * before + b'","n":'
    assert bytes(variables_of(head + b"2.0}")) == head + b"2}"


@pytest.mark.parametrize("item", ["[]", '""', "-0", "12345678901234567", "1.5", '{"a":[]}', "[[1]]"])
@pytest.mark.parametrize("more", range(4_997, 5_003))
def test_many_values_are_each_looked_at_once(item: str, more: int) -> None:
    """They are read in parts of 5,000."""
    for count in (more // 2, more):
        items = ",".join([item] * count)
        stored = bytes(variables_of(f'{{"a":[{items},2.0,{items},3e0]}}'.encode()))
        assert stored.decode() == f'{{"a":[{items},2,{items},3]}}'


@pytest.mark.parametrize("deep", [100, 101])
def test_depth_is_counted_through_many_values(deep: int) -> None:
    many = '[],"",' * 4_000
    data = '{"a":' + f"[{many}" * (deep - 3) + f"[{many}[]" + "]" * (deep - 2) + "}"
    if deep <= 100:
        variables_of(data.encode())
    else:
        with pytest.raises(BadRequest, match="nested deeper than 100 levels"):
            variables_of(data.encode())


@pytest.mark.parametrize("part", [b"[]", b'{"a":1}', b"10", b'""'])
def test_other_threads_run_while_many_small_values_are_read(part: bytes) -> None:
    """A pattern's match lets no other thread run, and the event loop is in one."""
    data = b'{"a":[' + b",".join([part] * (4_000_000 // len(part))) + b",1.5]}"
    assert min(longest_pause_share(lambda: variables_of(data)) for _ in range(4)) < 0.4


def longest_pause_share(work: Callable[[], object]) -> float:
    """Of another thread, as a part of the time that the work takes."""
    with ThreadPoolExecutor(1) as threads:
        began_s = last_s = time.perf_counter()
        working = threads.submit(work)
        longest_s = 0.0
        while not working.done():
            time.sleep(0.001)
            now_s = time.perf_counter()
            longest_s, last_s = max(longest_s, now_s - last_s), now_s
        working.result()
        return longest_s / (last_s - began_s)


_numbers = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(("", "-")),
    st.integers(0, 10**20),
    st.sampled_from(("", ".0", ".25", ".000001")),
    st.sampled_from(("", "e0", "E+7", "e-7", "e300", "e-300", "E45")),
)
_documents = st.recursive(
    _numbers | st.sampled_from(('""', '"1e300"', '"\\\\"', '"\\"1e300"', '"e1"', "true", "null", "false")),
    lambda inner: (
        st.lists(inner, max_size=5).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(inner, max_size=5).map(
            lambda parts: "{" + ",".join(f'"1e9":{part}' for part in parts) + "}"
        )
    ),
)


@given(_documents)
def test_the_digits_of_exponents_are_all_that_a_number_grows_by(document: str) -> None:
    """`1e9` is the name of every member, and no number."""
    numbers = re.findall(r"-?[0-9][0-9.]*[eE][+-]?[0-9]+", re.sub(r'"(?:[^"\\]|\\.)*"', "", document))
    assert exponent_digits(document.encode()) == sum(abs(int(re.split("[eE]", each)[1])) for each in numbers)
    for each in numbers:
        assert len(f"{decimal.Decimal(each):f}") <= len(each) + exponent_digits(each.encode())
