"""W3C trace context: what is one, what is kept of it, and how attempts are told apart."""

from __future__ import annotations

import pytest

from windlass.trace_context import (
    FIRST,
    STATE_CHARS_MAX,
    attempt,
    exemplar_of,
    is_sampled,
    parent_and_state,
    span_id_of,
    trace_id_of,
    trace_of,
    with_span,
)

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", f"00-{TRACE_ID}-{SPAN_ID}-00"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01", PARENT),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-will-be-like", PARENT),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01.what", None),
        (f"{PARENT}-more", None),
        (f"ff-{TRACE_ID}-{SPAN_ID}-01", None),
        (f"00-{'0' * 32}-{SPAN_ID}-01", None),
        (f"00-{TRACE_ID}-{'0' * 16}-01", None),
        (PARENT.upper(), None),
        (f" {PARENT}", None),
        ("00-1-2-01", None),
        ("", None),
    ],
)
def test_what_is_a_traceparent(traceparent: str, kept: str | None) -> None:
    """The cases of the standard's chapters 3.2 and 4."""
    assert trace_of(traceparent) == kept


@pytest.mark.parametrize(
    ("tracestate", "kept"),
    [
        ("a=1,b=2", "a=1,b=2"),
        (" a=1 ", "a=1"),
        ("", None),
        ("a" * STATE_CHARS_MAX, "a" * STATE_CHARS_MAX),
        ("a" * (STATE_CHARS_MAX + 1), None),
        ("a=é", None),
        ("a=1\r\nX-Evil: 1", None),
    ],
)
def test_what_is_kept_of_a_tracestate(tracestate: str, kept: str | None) -> None:
    trace = trace_of(PARENT, tracestate)
    assert parent_and_state(trace) == (PARENT, kept)


def test_a_trace_goes_on_at_another_span_and_keeps_its_state() -> None:
    trace = with_span(f"{PARENT} a=1", "b" * 16)
    assert trace == f"00-{TRACE_ID}-{'b' * 16}-01 a=1"
    assert (trace_id_of(trace), span_id_of(trace)) == (TRACE_ID, "b" * 16)
    assert parent_and_state(None) == (None, None)


def test_attempts_of_a_job_differ_and_the_first_is_known_without_a_record() -> None:
    first = attempt(PARENT, "job-1", FIRST)
    assert attempt(PARENT, "job-1", FIRST) == first
    others = {attempt(PARENT, "job-1", "2"), attempt(PARENT, "job-2", FIRST), first, PARENT}
    assert len(others) == 4
    assert trace_of(first) == first


def test_a_sample_names_recorded_spans_alone() -> None:
    assert exemplar_of(PARENT) == {"trace_id": TRACE_ID, "span_id": SPAN_ID}
    assert is_sampled(f"00-{TRACE_ID}-{SPAN_ID}-03")
    assert exemplar_of(f"00-{TRACE_ID}-{SPAN_ID}-02") is None
    assert exemplar_of(None) is None
