"""A secret is found however it was written down, and nothing else is taken for it."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from seatrial.cluster.exposure import times_found

SECRET = "tX9_q/7:w@Zb-20vLmEo4hQ1"
AROUND = st.binary(max_size=7)


@given(AROUND, AROUND)
def test_it_is_found_plain_and_inside_base64_whatever_stands_around_it(before: bytes, after: bytes) -> None:
    raw = before + SECRET.encode() + after
    assert times_found([SECRET], raw)
    assert times_found([SECRET], b'{"dsn": "' + b64encode(raw) + b'"}')


def test_it_is_found_in_a_url() -> None:
    assert times_found([SECRET], b"postgresql://windlass:tX9_q%2F7%3Aw%40Zb-20vLmEo4hQ1@host/db")


@given(st.binary(max_size=400))
def test_other_bytes_are_not_taken_for_it(text: bytes) -> None:
    assert times_found([SECRET], text) == 0
    assert times_found([SECRET], b64encode(text)) == 0


def test_each_time_counts() -> None:
    assert times_found([SECRET, "another-one-of-24-letters"], f"{SECRET} {SECRET}".encode()) == 2
