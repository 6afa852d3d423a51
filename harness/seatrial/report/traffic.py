"""The clients' calls by kind and transport: how many, how they ended, how long the successful ones took."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.history import History, TransportName
from seatrial.report import wording
from seatrial.report.markup import Html, el, join

#: calls that the engine may hold as long as the caller wants: their time tells nothing about the engine
_HELD = frozenset({"poll"})
_ACTORS_MAX = 4


@dataclass(frozen=True, slots=True)
class Traffic:
    """`p50_s` and `p99_s` are of the calls that were answered ok; None where there are none to speak of."""

    f: str
    transport: TransportName
    calls: int
    refused: int
    unknown: int
    p50_s: float | None
    p99_s: float | None


def traffic(history: History) -> tuple[Traffic, ...]:
    ends: dict[tuple[str, TransportName], Counter[str]] = defaultdict(Counter)
    took_s: dict[tuple[str, TransportName], list[float]] = defaultdict(list)
    for call in history.calls:
        if call.invoke.transport is None or call.invoke.process.startswith("probe-"):
            continue
        kind = (call.invoke.f, call.invoke.transport)
        ends[kind][call.outcome] += 1
        if call.end is not None and call.outcome == "ok" and call.invoke.f not in _HELD:
            took_s[kind].append(call.end.t_s - call.invoke.t_s)
    return tuple(
        Traffic(
            f,
            transport,
            calls=ended.total(),
            refused=ended["fail"],
            unknown=ended["info"],
            p50_s=_quantile(took_s[f, transport], 50),
            p99_s=_quantile(took_s[f, transport], 99),
        )
        for (f, transport), ended in sorted(ends.items())
    )


def actors(history: History) -> dict[str, int]:
    """By actor, the rows of the audit log, most first; beyond a few they are one, since each worker has a name."""
    counted = Counter(
        str(op.value["actor"]) for op in history.ops if op.f == "audit" and op.value.get("actor")
    )
    shown = dict(counted.most_common(_ACTORS_MAX))
    rest = counted.total() - sum(shown.values())
    return {**shown, **({f"{len(counted) - len(shown)} others": rest} if rest else {})}


def traffic_table(rows: Sequence[Traffic]) -> Html | None:
    if not rows:
        return None
    names = ("Call", "Transport", "Calls", "Refused", "Outcome unknown", "p50", "p99")
    return join(
        el("h3", "Calls"),
        el(
            "div",
            el(
                "table",
                el("thead", el("tr", *(el("th", name) for name in names))),
                el("tbody", *(_row(row) for row in rows)),
                class_="calls",
            ),
            class_="scroll",
        ),
    )


def _row(row: Traffic) -> Html:
    return el(
        "tr",
        el("td", el("b", row.f)),
        el("td", {"rest": "REST", "grpc": "gRPC"}[row.transport]),
        *(el("td", f"{count:,}") for count in (row.calls, row.refused, row.unknown)),
        *(el("td", "—" if each is None else wording.seconds(each)) for each in (row.p50_s, row.p99_s)),
    )


def _quantile(values: Sequence[float], percent: int) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
