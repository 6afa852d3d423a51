"""A timeline as one plotly figure: lanes, throughput strip and latency strip over a single time axis.

Colours are mid-tones of the Okabe-Ito palette, legible on light and dark backgrounds and told apart by people
with colour vision deficiencies; the page's script sets the ink, the grid and the font.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import plotly.graph_objects as go

from seatrial.report import wording
from seatrial.report.markup import clean
from seatrial.report.timeline import Bar, Lane, Timeline, packed

BLUE, GREEN, VERMILION, AMBER, PURPLE, SKY, GREY = (
    (47, 134, 201),
    (0, 158, 115),
    (213, 94, 0),
    (230, 159, 0),
    (170, 110, 190),
    (86, 180, 233),
    (128, 138, 150),
)
Colour = tuple[int, int, int]

STATE_COLOURS: Mapping[str, Colour] = {
    "down": VERMILION,
    "paused": AMBER,
    "cut": PURPLE,
    "fault": AMBER,
    "completed": GREEN,
    "failed": AMBER,
    "refused": VERMILION,
    "expired": PURPLE,
    "open": GREY,
}
_TEXT_COLOURS = {GREY: "rgb(116,126,138)", AMBER: "rgb(40,26,0)"}
_LEADERS = (BLUE, GREEN, PURPLE, SKY, AMBER)
_PATTERNS = {"paused": "/", "cut": "x", "fault": "."}
_RATES = (("starts", BLUE), ("completes", GREEN), ("refused", VERMILION))
_QUANTILES = (("p50", SKY), ("p95", AMBER), ("p99", PURPLE))

_LANE_PX = 25
_LEASE_ROW_PX = 9
_LEASE_ROWS_MAX = 14
_FAULT_ROWS_MAX = 4
_STRIP_PX = 132
_GAP_PX = 40
_TOP_PX, _BOTTOM_PX, _LEFT_PX, _RIGHT_PX = 8, 40, 112, 22
_PLOT_PX = 1_060
"""Width of the plot at 1280 px, to tell which texts fit."""
_CHARACTER_PX = 7.0
_TEXT_MAX = 160
_NAME_MAX = 18
_SILENCE_MIN_S = 0.2


def figure(timeline: Timeline, recovery: tuple[float, float] | None = None) -> go.Figure:
    """`recovery`: the gap in service to mark, in seconds since the run began; silences of other faults besides."""
    canvas = _Canvas(timeline)
    canvas.lanes()
    canvas.strips()
    canvas.faults(recovery)
    canvas.layout()
    return canvas.figure


class _Canvas:
    """Collects traces top down; one vertical unit is one lane."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.figure = go.Figure()
        self._y = 0.0
        self._ticks: list[tuple[float, str]] = []
        self._shapes: list[dict[str, object]] = []
        self._notes: list[dict[str, object]] = []
        has_calls = any(any(values) for values in timeline.rates.values())
        self._strips = 2 if has_calls else 0

    def lanes(self) -> None:
        timeline = self.timeline
        if timeline.phases:
            self._bars(
                timeline.phases,
                self._lane("phase"),
                GREY,
                alpha=0.22,
                texts=[bar.text for bar in timeline.phases],
            )
        self._fault_rows()
        self._rule()
        y = self._lane("database")
        self._bars([Bar(0.0, timeline.duration_s, "up", "up")], y, BLUE, alpha=0.28)
        self._states(timeline.database, y)
        self._relay()
        self._rule()
        self._heat_lanes(timeline.replicas, BLUE, "calls answered")
        if timeline.workers:
            self._rule()
            self._heat_lanes(timeline.workers, GREEN, "jobs reported")
        if any(timeline.leases_held):
            self._rule()
            self._heat(
                Lane("leases held", timeline.leases_held),
                PURPLE,
                max(timeline.leases_held),
                "%{z:.1f} leases held",
            )
            self._lease_rows()

    def strips(self) -> None:
        if not self._strips:
            return
        timeline = self.timeline
        times = [round((number + 0.5) * timeline.bin_s, 3) for number in range(len(timeline.rates["starts"]))]
        for name, colour in _RATES:
            self.figure.add_scatter(
                x=times,
                y=timeline.rates[name],
                yaxis="y2",
                name=f"{name}/s",
                mode="lines",
                line={"color": _rgba(colour), "width": 1.8, "dash": "dot" if name == "refused" else "solid"},
                fill="tozeroy" if name == "completes" else None,
                fillcolor=_rgba(colour, 0.13),
                hovertemplate="%{y:.1f}/s at %{x:.1f} s",
            )
        for name, colour in _QUANTILES:
            self.figure.add_scatter(
                x=times,
                y=timeline.latency_ms[name],
                yaxis="y3",
                name=name,
                mode="lines+markers",
                line={"color": _rgba(colour), "width": 1.6},
                marker={"size": 3},
                hovertemplate="%{y:.1f} ms at %{x:.1f} s",
            )

    def faults(self, recovery: tuple[float, float] | None) -> None:
        """Bands through all rows, and the recovery as a bracket in the throughput strip."""
        for impact in self.timeline.impacts:
            episode = impact.episode
            self._shapes.append(
                {
                    "type": "rect",
                    "x0": episode.start_s,
                    "x1": max(episode.end_s, episode.start_s + self._hairline_s()),
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "fillcolor": _rgba(VERMILION, 0.10),
                    "line": {"width": 0},
                    "layer": "below",
                }
            )
        if not self._strips:
            return
        gaps = [recovery] if recovery else []
        for silence in {impact.silence for impact in self.timeline.impacts if impact.silence}:
            if all(silence[1] <= left_s or silence[0] >= right_s for left_s, right_s in gaps):
                gaps.append(silence)
        for left_s, right_s in gaps:
            if right_s - left_s >= max(_SILENCE_MIN_S, self.timeline.duration_s / 500):
                self._recovery(left_s, right_s)

    def layout(self) -> None:
        lanes_px = max(self._y, 1.0) * _LANE_PX
        inner_px = lanes_px + self._strips * (_STRIP_PX + _GAP_PX)
        strip, gap = _STRIP_PX / inner_px, _GAP_PX / inner_px
        self._title("latency in ms (log scale)", strip)
        top_per_s, peak_per_s = self._rate_scale()
        beyond = f" (peak {peak_per_s:,.0f})" if peak_per_s > top_per_s else ""
        self._title(f"calls per second{beyond}", 2 * strip + gap)
        plain = {"fixedrange": True, "zeroline": False, "showline": False, "ticks": ""}
        axes: dict[str, object] = {
            "xaxis": {
                "range": [0, self.timeline.duration_s],
                "anchor": "y3" if self._strips else "y",
                "ticksuffix": " s",
                "ticks": "",
                "zeroline": False,
                "showspikes": True,
                "spikemode": "across",
                "spikesnap": "cursor",
                "spikethickness": 1,
                "spikedash": "dot",
            },
            "yaxis": {
                **plain,
                "domain": [1 - lanes_px / inner_px, 1],
                "range": [self._y, 0],
                "tickvals": [y for y, _ in self._ticks],
                "ticktext": [name for _, name in self._ticks],
                "showgrid": False,
            },
        }
        if self._strips:
            domain = [strip + gap, 2 * strip + gap]
            axes["yaxis2"] = {**plain, "domain": domain, "range": [0, top_per_s], "nticks": 5}
            axes["yaxis3"] = {
                **plain,
                "domain": [0, strip],
                "type": "log",
                "dtick": 1,
                "exponentformat": "none",
            }
        self.figure.update_layout(
            template=go.layout.Template(),
            height=inner_px + _TOP_PX + _BOTTOM_PX,
            margin={"l": _LEFT_PX, "r": _RIGHT_PX, "t": _TOP_PX, "b": _BOTTOM_PX},
            barmode="overlay",
            bargap=0,
            hovermode="closest",
            hoverlabel={"align": "left", "namelength": -1},
            showlegend=False,
            uniformtext={"minsize": 9, "mode": "hide"},
            shapes=self._shapes,
            annotations=self._notes,
            **axes,
        )

    def _rate_scale(self) -> tuple[float, float]:
        """The strip's top and the true peak: the burst after a gap must not flatten all the rest."""
        values = sorted(value for series in self.timeline.rates.values() for value in series if value)
        if not values:
            return 1.0, 0.0
        usual = values[min(len(values) - 1, int(len(values) * 0.95))]
        return min(values[-1] * 1.25, usual * 3), values[-1]

    def _lane(self, name: str, height: float = 1.0) -> float:
        """The middle of a new lane."""
        y = self._y + height / 2
        self._y += height
        if name:
            self._ticks.append((y, _label(name, _NAME_MAX)))
        return y

    def _rule(self) -> None:
        self._y += 0.15
        self._shapes.append(
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "yref": "y",
                "y0": self._y,
                "y1": self._y,
                "line": {"width": 1, "color": _rgba(GREY, 0.25)},
                "layer": "below",
            }
        )
        self._y += 0.15

    def _fault_rows(self) -> None:
        faults = [
            Bar(
                impact.episode.start_s,
                impact.episode.end_s,
                impact.episode.state,
                " ".join((impact.episode.name, ", ".join(impact.episode.targets))),
            )
            for impact in self.timeline.impacts
        ]
        rows: dict[int, list[Bar]] = {}
        with_text = {replace(bar, end_s=self._text_end_s(bar)): bar for bar in faults}
        for row, bar in packed(with_text, _FAULT_ROWS_MAX):
            rows.setdefault(row, []).append(with_text[bar])
        for row in sorted(rows):
            y = self._lane("" if row else "faults")
            texts = [bar.text for bar in rows[row]]
            self._bars(rows[row], y, VERMILION, texts=texts, places=self._places(rows[row]))

    def _places(self, bars: Sequence[Bar]) -> list[str]:
        """Where each text of a row goes: into its bar, else beside it if it ends before the next one begins."""
        nexts_s = [bar.start_s for bar in bars[1:]] + [self.timeline.duration_s]
        places = []
        for bar, next_s in zip(bars, nexts_s, strict=True):
            text_end_s = self._text_end_s(bar)
            if text_end_s <= bar.end_s:
                places.append("inside")
            else:
                places.append("outside" if text_end_s <= next_s else "none")
        return places

    def _text_end_s(self, bar: Bar) -> float:
        """Where on the time axis its text ends: in the bar when it fits there, else beside it."""
        text_s = len(bar.text) * _CHARACTER_PX / _PLOT_PX * self.timeline.duration_s
        return bar.end_s if text_s <= bar.end_s - bar.start_s else bar.end_s + text_s

    def _heat_lanes(self, lanes: Sequence[Lane], colour: Colour, what: str) -> None:
        most = max((max(lane.heat, default=0.0) for lane in lanes), default=0.0)
        for lane in lanes:
            y = self._heat(lane, colour, most, f"%{{z:.1f}} {what} per second")
            self._states(lane, y)

    def _heat(self, lane: Lane, colour: Colour, most: float, hover: str) -> float:
        y = self._lane(lane.name)
        scale = [[0, _rgba(colour, 0.10)], [0.001, _rgba(colour, 0.28)], [1, _rgba(colour, 1)]]
        self.figure.add_heatmap(
            x0=self.timeline.bin_s / 2,
            dx=self.timeline.bin_s,
            y=[y],
            dy=1,
            z=[lane.heat],
            zmin=0,
            zmax=most or 1,
            ygap=5,
            colorscale=scale,
            showscale=False,
            name=_label(lane.name),
            hovertemplate=hover + " at %{x:.1f} s",
        )
        return y

    def _states(self, lane: Lane, y: float) -> None:
        for state in sorted({bar.state for bar in lane.bars}):
            bars = [bar for bar in lane.bars if bar.state == state]
            colour = STATE_COLOURS.get(state, AMBER)
            texts = [f"{state} {wording.seconds(bar.end_s - bar.start_s)}" for bar in bars]
            self._bars(bars, y, colour, texts=texts, pattern=_PATTERNS.get(state, ""))

    def _relay(self) -> None:
        """The broker, the leaders, each in a colour of its own, and the rows that wait."""
        timeline = self.timeline
        if timeline.broker is not None:
            y = self._lane("broker")
            self._bars([Bar(0.0, timeline.duration_s, "up", "up")], y, BLUE, alpha=0.28)
            self._states(timeline.broker, y)
        if timeline.leaders:
            y = self._lane("leader")
            for number, node in enumerate(sorted({led.node for led in timeline.leaders})):
                bars = [
                    Bar(led.start_s, led.end_s, node, led.text)
                    for led in timeline.leaders
                    if led.node == node
                ]
                colour = _LEADERS[number % len(_LEADERS)]
                self._bars(bars, y, colour, alpha=0.75, texts=[node] * len(bars))
        if any(timeline.outbox):
            most = max(timeline.outbox)
            self._heat(Lane("outbox", timeline.outbox), AMBER, most, "%{z:.0f} rows in the outbox")

    def _lease_rows(self) -> None:
        height = _LEASE_ROW_PX / _LANE_PX
        rows = packed(self.timeline.lease_bars, _LEASE_ROWS_MAX)
        if not rows:
            return
        top, count = self._y, max(row for row, _ in rows) + 1
        self._y += max(count * height, 0.8)
        name = "leases" if not self.timeline.lease_bars_omitted else "not completed"
        self._ticks.append(((top + self._y) / 2, name))
        for state in sorted({bar.state for _, bar in rows}):
            chosen = [(top + (row + 0.5) * height, bar) for row, bar in rows if bar.state == state]
            self._bars(
                [bar for _, bar in chosen],
                [y for y, _ in chosen],
                STATE_COLOURS[state],
                alpha=0.6 if state == "completed" else 1.0,
                width=height * 0.72,
            )

    def _bars(
        self,
        bars: Sequence[Bar],
        y: float | Sequence[float],
        colour: Colour,
        *,
        alpha: float = 1.0,
        width: float = 0.72,
        texts: Sequence[str] = (),
        places: Sequence[str] = (),
        pattern: str = "",
    ) -> None:
        hairline_s = self._hairline_s()
        self.figure.add_bar(
            orientation="h",
            base=[round(bar.start_s, 3) for bar in bars],
            x=[round(max(bar.end_s - bar.start_s, hairline_s), 3) for bar in bars],
            y=list(y) if isinstance(y, Sequence) else [y] * len(bars),
            width=width,
            marker={
                "color": _rgba(colour, alpha),
                "line": {"width": 0},
                "pattern": {
                    "shape": pattern,
                    "bgcolor": _rgba(colour, alpha),
                    "fgcolor": "rgba(255,255,255,0.45)",
                    "size": 7,
                    "solidity": 0.2,
                },
            },
            text=[_label(text, 40) for text in texts] or None,
            textposition=list(places) or ("inside" if texts else "none"),
            insidetextanchor="middle",
            insidetextfont={"color": _TEXT_COLOURS.get(colour, "white")},
            textangle=0,
            cliponaxis=False,
            customdata=[[_label(bar.text), wording.seconds(bar.end_s - bar.start_s)] for bar in bars],
            hovertemplate="%{customdata[0]}<br>from %{base:.2f} s for %{customdata[1]}<extra></extra>",
        )

    def _recovery(self, left_s: float, right_s: float) -> None:
        line = {"color": _rgba(VERMILION), "width": 2}
        for x0, x1, y0, y1 in (
            (left_s, right_s, 0.9, 0.9),
            (left_s, left_s, 0.82, 0.98),
            (right_s, right_s, 0.0, 0.98),
        ):
            self._shapes.append(
                {"type": "line", "x0": x0, "x1": x1, "yref": "y2 domain", "y0": y0, "y1": y1, "line": line}
            )
        near_end = right_s > self.timeline.duration_s * 0.7
        self._notes.append(
            {
                "x": left_s if near_end else right_s,
                "y": 0.9,
                "yref": "y2 domain",
                "text": f"<b>back after {wording.seconds(right_s - left_s)}</b>",
                "showarrow": False,
                "xanchor": "right" if near_end else "left",
                "xshift": -6 if near_end else 6,
                "font": {"color": _rgba(VERMILION), "size": 12},
            }
        )

    def _title(self, text: str, y: float) -> None:
        if self._strips:
            self._notes.append(
                {
                    "xref": "paper",
                    "x": 0,
                    "yref": "paper",
                    "y": y,
                    "text": text,
                    "showarrow": False,
                    "xanchor": "left",
                    "yanchor": "bottom",
                    "yshift": 4,
                    "font": {"size": 12},
                }
            )

    def _hairline_s(self) -> float:
        """A shorter bar would not be visible."""
        return self.timeline.duration_s / 600


def legend() -> Iterable[tuple[str, str, str]]:
    """Group, name and CSS colour, as the page prints it beside the figure."""
    for state in ("down", "paused", "cut"):
        yield "replicas and database", state, _rgba(STATE_COLOURS[state])
    for state in ("completed", "failed", "refused", "expired", "open"):
        yield "leases", state, _rgba(STATE_COLOURS[state])
    for name, colour in _RATES:
        yield "calls", name, _rgba(colour)
    for name, colour in _QUANTILES:
        yield "latency", name, _rgba(colour)


def _rgba(colour: Colour, alpha: float = 1.0) -> str:
    red, green, blue = colour
    return f"rgba({red},{green},{blue},{alpha:g})" if alpha < 1 else f"rgb({red},{green},{blue})"


def _label(text: str, most: int = _TEXT_MAX) -> str:
    """Plotly reads a little HTML in every text; history content must not be any."""
    line = " ".join(clean(text).split())
    return html.escape(line if len(line) <= most else line[: most - 1] + "…")
