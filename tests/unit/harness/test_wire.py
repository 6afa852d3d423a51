"""Captured bytes are TLS from the first to the last, or they are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seatrial.cluster.wire import is_tls, read_wire

RECORDS = st.lists(
    st.tuples(st.sampled_from([20, 21, 22, 23]), st.integers(1, 4), st.binary(min_size=1, max_size=300)),
    max_size=6,
)


def encoded(records: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(bytes([kind, 3, minor]) + len(body).to_bytes(2) + body for kind, minor, body in records)


@given(RECORDS, st.integers(0, 2000))
def test_whole_records_are_tls_and_so_is_one_that_was_cut_short(
    records: list[tuple[int, int, bytes]], cut: int
) -> None:
    stream = encoded(records)
    assert is_tls(stream)
    assert is_tls(stream[: max(0, len(stream) - cut)])


@given(RECORDS, st.binary(min_size=6, max_size=50))
def test_anything_else_behind_them_is_not(records: list[tuple[int, int, bytes]], rest: bytes) -> None:
    if rest[0] not in {20, 21, 22, 23} or rest[1] != 3:
        assert not is_tls(encoded(records) + rest)


def test_a_request_of_kafka_is_no_tls() -> None:
    api_versions = b"\x00\x00\x00\x1c\x00\x12\x00\x03\x00\x00\x00\x01\x00\x08windlass\x00"
    assert not is_tls(api_versions)


def test_a_report_counts_streams_and_words() -> None:
    report = read_wire([encoded([(22, 1, b"hello")]), b"", b"\x00\x00\x00\x05 secret"], ["secret", "absent"])
    assert (report.streams, report.plain_streams, report.needles_seen) == (2, 1, 1)
    assert report.bytes == 10 + 11
