"""The table of calls: each kind by the way it went, with how it ended."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest

from seatrial.history import History, Op
from seatrial.report.traffic import Traffic, traffic, traffic_table

NUMBERS = count(1)


def call(
    f: str, transport: Any, end: Any = "ok", took_s: float = 0.01, process: str = "worker-0"
) -> list[Op]:
    number = next(NUMBERS)
    invoke = Op(100.0, process, "invoke", f, number, "replica-0", transport=transport)
    return [invoke] if end is None else [invoke, Op(100.0 + took_s, process, end, f, number, "replica-0")]


def table_of(*calls: list[Op]) -> tuple[Traffic, ...]:
    return traffic(History([op for ops in calls for op in ops]))


def test_calls_are_counted_by_kind_and_transport() -> None:
    rows = table_of(
        *(call("complete", "rest", took_s=0.001 * number) for number in range(1, 101)),
        call("complete", "grpc", "fail"),
        call("complete", "grpc", "info"),
        call("complete", "grpc", None),
        call("poll", "grpc", took_s=5.0),
        call("probe", "rest", process="probe-replica-0"),
        call("kill_replica", None, process="fault-1"),
    )
    assert [(row.f, row.transport, row.calls, row.refused, row.unknown) for row in rows] == [
        ("complete", "grpc", 3, 1, 2),
        ("complete", "rest", 100, 0, 0),
        ("poll", "grpc", 1, 0, 0),
    ]
    assert (rows[0].p50_s, rows[0].p99_s) == (None, None)
    assert (rows[1].p50_s, rows[1].p99_s) == pytest.approx((0.05, 0.099))
    assert rows[2].p50_s is None


def test_the_table_shows_them() -> None:
    html = traffic_table(table_of(call("start", "grpc", took_s=0.012), call("start", "rest", "info")))
    assert html is not None
    rows = [re.findall(r"<td>(?:<b>)?([^<]*)", row) for row in str(html).split("<tr>")[2:]]
    assert rows == [
        ["start", "gRPC", "1", "0", "0", "12 ms", "12 ms"],
        ["start", "REST", "1", "0", "1", "—", "—"],
    ]


def test_a_run_without_calls_has_no_table() -> None:
    assert traffic_table(table_of(call("kill_replica", None))) is None
