"""One drill's section of the page: guarantees, faults, figure, witnesses with their events, logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from seatrial.history import Op, RunHeader
from seatrial.report import store, wording
from seatrial.report.figure import figure, legend
from seatrial.report.markup import Html, el, join
from seatrial.report.timeline import Impact, Timeline
from seatrial.report.traffic import Traffic, traffic_table
from seatrial.report.witness import Events
from seatrial.verdict import DrillResult, Outcome, Verdict, Witness

_WITNESSES_WITH_EVENTS_MAX = 25
_WITNESSES_MAX = 200
_VALUE_MAX = 420
_LOG_TAIL_LINES = 20
_LOG_TAIL_BYTES = 16_384
_LOG_LINE_MAX = 400


@dataclass(frozen=True, slots=True)
class Study:
    """All that the page needs of one drill; the history itself is only held while its section is written."""

    result: DrillResult
    folder: Path
    header: RunHeader | None
    timeline: Timeline | None
    events: Events | None
    zero_s: float
    problem: str
    """Why there is no timeline; empty when there is one."""
    traffic: tuple[Traffic, ...] = ()
    actors: Mapping[str, int] = field(default_factory=dict)
    """How many rows of the audit log each has, as its principal or otherwise."""

    @property
    def anchor(self) -> str:
        return "drill-" + (re.sub(r"[^A-Za-z0-9_-]", "_", self.result.drill) or "_")


def pill(outcome: Outcome, label: str = "") -> Html:
    return el(
        "span",
        el("span", wording.SIGN[outcome], class_="sign", aria_hidden="true"),
        label or outcome.value,
        class_=f"pill {outcome.value}",
        title=f"{label}: {outcome.value}" if label else wording.MEANING[outcome],
    )


def command(text: str) -> Html:
    return el(
        "span",
        el("code", text),
        el("button", "copy", type="button", class_="copy", data_copy=text),
        class_="command",
    )


def section(study: Study, *, is_open: bool) -> Html:
    result = study.result
    recovery_s = wording.recovery_s(result)
    heading = el(
        "summary",
        pill(result.outcome),
        el("h2", el("span", result.drill, class_="id"), " ", result.title),
        el("span", "recovery ", el("b", wording.seconds(recovery_s)), class_="aside")
        if recovery_s is not None
        else None,
        el("span", wording.seconds(result.duration_s), class_="aside"),
    )
    body = el(
        "div",
        el("p", result.promise, class_="promise") if result.promise else None,
        _facts(study),
        el("ul", *(el("li", note) for note in result.notes), class_="notes") if result.notes else None,
        el("h3", "Guarantees"),
        _guarantees(result.verdicts, study.zero_s),
        _figure(study),
        _faults(study),
        traffic_table(study.traffic),
        _witnesses(study),
        _logs(study),
        class_="body",
    )
    return el("details", heading, body, class_=f"drill {result.outcome.value}", id=study.anchor, open=is_open)


def _facts(study: Study) -> Html:
    result, header = study.result, study.header
    pairs = [("re-run", command(wording.rerun_command(result, header))), ("seed", str(result.seed))]
    if result.schedule_hash:
        pairs.append(("schedule", el("code", result.schedule_hash[:16])))
    if header is not None:
        pairs += [
            ("backend", header.backend),
            ("replicas", str(header.replicas)),
            ("transport", header.transport + (" over TLS" if header.tls else "")),
            *([("token of", header.principal or "the caller's own")] if header.principal is not None else []),
            ("started", wording.instant(header.started_at)),
            *((f"image of {name}", el("code", image)) for name, image in header.images.items()),
        ]
    if study.timeline is not None:
        pairs += [
            ("operations", f"{study.timeline.operations:,}"),
            ("starts", f"{study.timeline.accepted['start']:,}"),
            ("completions", f"{study.timeline.accepted['complete']:,}"),
        ]
    if study.actors:
        named = ", ".join(f"{actor} {count:,}" for actor, count in study.actors.items())
        pairs.append(("actors in the audit log", named))
    pairs.append(("history", el("code", str(study.folder))))
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in pairs), class_="facts")


def _guarantees(verdicts: Sequence[Verdict], zero_s: float) -> Html:
    if not verdicts:
        return el("p", "No check was run: the drill ended before it could be judged.", class_="none")
    rows = [
        el(
            "tr",
            el("td", pill(verdict.outcome), data_label="outcome"),
            el("td", el("b", verdict.check), data_label="check"),
            el(
                "td",
                el("span", verdict.guarantee, class_="guarantee"),
                el("span", verdict.summary, class_="summary"),
            ),
            el("td", _figures_of(verdict, zero_s), data_label="figures"),
        )
        for verdict in verdicts
    ]
    head = el("tr", *(el("th", name) for name in ("Outcome", "Check", "Guarantee and finding", "Figures")))
    return el("table", el("thead", head), el("tbody", *rows), class_="guarantees")


def _figures_of(verdict: Verdict, zero_s: float) -> Html:
    pairs = (wording.figure(name, _since(name, value, zero_s)) for name, value in verdict.figures.items())
    return figures(
        (label, value if len(value) <= _VALUE_MAX else value[: _VALUE_MAX - 1] + "…")
        for label, value in pairs
    )


def _since(name: str, value: Any, zero_s: float) -> Any:
    """Instants on CLOCK_MONOTONIC (their names end in _from_s and _at_s) as seconds since the run began."""
    if isinstance(value, Mapping):
        return {key: _since(str(key), inner, zero_s) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_since(name, inner, zero_s) for inner in value]
    is_instant = name.endswith(("_from_s", "_at_s")) and isinstance(value, int | float)
    return round(value - zero_s, 3) if is_instant else value


def figures(pairs: Iterable[tuple[str, str]]) -> Html:
    return el(
        "span",
        *(el("span", el("b", value), " ", label, class_="figure") for label, value in pairs),
        class_="figures",
    )


def _witnesses(study: Study) -> Html | None:
    broken = [verdict for verdict in study.result.verdicts if verdict.witnesses]
    if not broken:
        return None
    return join(el("h3", "Witnesses"), *(_witnesses_of(study, verdict) for verdict in broken))


def _witnesses_of(study: Study, verdict: Verdict) -> Html:
    shown = [
        _witness(study, witness, is_open=number == 0 and verdict.outcome is not Outcome.PASS)
        if number < _WITNESSES_WITH_EVENTS_MAX
        else el("li", _said(witness))
        for number, witness in enumerate(verdict.witnesses[:_WITNESSES_MAX])
    ]
    more = len(verdict.witnesses) - _WITNESSES_MAX
    return join(
        el("p", pill(verdict.outcome, verdict.check), " ", verdict.guarantee, class_="broken"),
        el("ol", *shown, class_="witnesses"),
        el("p", f"and {more:,} more in result.json", class_="none") if more > 0 else None,
    )


def _said(witness: Witness) -> Html:
    return join(
        el("span", witness.text, class_="said"),
        *(join(" ", el("code", id_, class_="id")) for id_ in witness.ids),
    )


def _witness(study: Study, witness: Witness, *, is_open: bool) -> Html:
    ops = study.events.around(witness) if study.events is not None else ()
    if not ops:
        return el("li", _said(witness))
    head = el("tr", *(el("th", name) for name in ("line", "at", "process", "node", "operation", "value")))
    # A check may name all twenty; to mark every row would mark nothing.
    named = set(witness.op_indexes) if any(op.index not in witness.op_indexes for op in ops) else frozenset()
    rows = (_event(op, study.zero_s, frozenset(witness.ids), is_named=op.index in named) for op in ops)
    table = el("div", el("table", el("thead", head), el("tbody", *rows), class_="events"), class_="scroll")
    return el(
        "li",
        el(
            "details",
            el("summary", _said(witness), " ", el("span", f"{len(ops)} events", class_="count")),
            table,
            open=is_open,
        ),
    )


def _event(op: Op, zero_s: float, ids: frozenset[str], *, is_named: bool) -> Html:
    said = dict(op.value)
    if isinstance(jobs := said.get("jobs"), list) and len(jobs) > 1:
        # One poll may bring many jobs; the reader looks for one.
        wanted = [
            job for job in jobs if isinstance(job, dict) and ids & {str(value) for value in job.values()}
        ]
        said["jobs"] = [*wanted, f"and {len(jobs) - len(wanted)} more"]
    if op.error:
        said["error"] = op.error
    value = msgspec.json.encode(said).decode() if said else ""
    if len(value) > _VALUE_MAX:
        value = value[: _VALUE_MAX - 1] + "…"
    return el(
        "tr",
        el("td", str(op.index + 1)),
        el("td", f"{op.t_s - zero_s:.3f} s"),
        el("td", op.process),
        el("td", " ".join(filter(None, (op.node, op.transport)))),
        el(
            "td",
            el("span", op.type, class_=f"type {op.type}"),
            " ",
            op.f,
            f" #{op.call}" if op.call else None,
        ),
        el("td", el("code", value)),
        class_="named" if is_named else None,
    )


def _faults(study: Study) -> Html | None:
    if study.timeline is None or not study.timeline.impacts:
        return None
    names = (
        "Fault",
        "At",
        "Lasted",
        "Evidence of its effect",
        "Completions/s before → during",
        "Longest silence",
    )
    return join(
        el("h3", "Faults"),
        el(
            "table",
            el("thead", el("tr", *(el("th", name) for name in names))),
            el("tbody", *(_fault(impact) for impact in study.timeline.impacts)),
            class_="faults",
        ),
    )


def _fault(impact: Impact) -> Html:
    episode = impact.episode
    rates = " → ".join(
        "—" if rate is None else f"{rate:.1f}" for rate in (impact.before_per_s, impact.during_per_s)
    )
    silence = wording.seconds(impact.silence[1] - impact.silence[0]) if impact.silence else "—"
    lasted = wording.seconds(episode.end_s - episode.start_s)
    return el(
        "tr",
        el(
            "td",
            el("b", episode.name),
            " ",
            ", ".join(episode.targets),
            el("span", episode.detail, class_="summary"),
            data_label="fault",
        ),
        el("td", f"{episode.start_s:.1f} s", class_="labelled", data_label="at"),
        el(
            "td",
            lasted if episode.healed else f"{lasted}, not healed",
            class_="labelled",
            data_label="lasted",
        ),
        el("td", episode.evidence[:_VALUE_MAX], class_="labelled", data_label="evidence of its effect"),
        el("td", rates, class_="labelled", data_label="completions/s before → during"),
        el("td", silence, class_="labelled", data_label="longest silence"),
    )


def _figure(study: Study) -> Html:
    if study.timeline is None:
        return join(el("h3", "Timeline"), el("p", f"No timeline: {study.problem}", class_="none"))
    drawn = figure(study.timeline, _recovery(study))
    # JSON holds no markup once "<" is written as an escape; only then may it stand inside <script>.
    spec = Html(
        drawn.to_json().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )
    keys = (
        el(
            "span",
            el("b", group),
            *(el("span", el("i", style=f"background:{colour}"), name) for _, name, colour in members),
            class_="group",
        )
        for group, members in groupby(legend(), key=lambda entry: entry[0])
    )
    omitted = study.timeline.lease_bars_omitted
    return join(
        el("h3", "Timeline"),
        el("div", *keys, class_="legend"),
        el(
            "p",
            f"{omitted:,} leases are shown only as a number; bars show those that did not end in a completion.",
            class_="none",
        )
        if omitted
        else None,
        el(
            "div",
            class_="figure-box",
            data_figure=f"{study.anchor}-figure",
            role="img",
            aria_label=f"Timeline of {study.result.drill}",
            style=f"height:{int(drawn.layout.height)}px",
        ),
        el("script", spec, type="application/json", id=f"{study.anchor}-figure"),
    )


def _recovery(study: Study) -> tuple[float, float] | None:
    """The gap that RT judged, in seconds since the run began: what the page calls the recovery time."""
    for verdict in study.result.verdicts:
        from_s, length_s = verdict.figures.get("gap_from_s"), verdict.figures.get("recovery_s")
        if isinstance(from_s, int | float) and isinstance(length_s, int | float):
            return from_s - study.zero_s, from_s - study.zero_s + length_s
    return None


def _logs(study: Study) -> Html | None:
    logs = store.logs(study.folder)
    if not logs:
        return None
    with_tail = study.result.outcome is not Outcome.PASS
    return join(
        el("h3", "Logs"),
        el("ul", *(_log(path, with_tail=with_tail) for path in logs), class_="logs"),
    )


def _log(path: Path, *, with_tail: bool) -> Html:
    size_bytes = path.stat().st_size
    name = join(el("code", str(path)), el("span", f" {size_bytes:,} bytes", class_="count"))
    if not with_tail or not size_bytes:
        return el("li", name)
    with path.open("rb") as file:
        file.seek(max(0, size_bytes - _LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    tail = "\n".join(line[:_LOG_LINE_MAX] for line in lines)
    return el("li", el("details", el("summary", name), el("pre", tail)))
