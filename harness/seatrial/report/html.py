"""report.html: one file that opens anywhere, needs no network and shows the verdicts first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from plotly.offline import get_plotlyjs

from seatrial.history import BrokenHistory, History
from seatrial.report import store, wording
from seatrial.report.markup import Html, el, join
from seatrial.report.section import Study, command, figures, pill, section
from seatrial.report.timeline import timeline
from seatrial.report.traffic import actors, traffic
from seatrial.report.witness import Events
from seatrial.verdict import DrillResult, Outcome

REPORT_FILE = "report.html"
# Nothing may be loaded or sent, whatever a hostile history manages to put on the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath d='M8 1v10H2zM9 4l5 7H9z' fill='%232f86c9'/%3E%3Cpath d='M1 13h14' stroke='%23009e73' stroke-width='2'/%3E"
    "%3C/svg%3E"
)
_SAIL = Html(
    '<svg class="sail" viewBox="0 0 32 32" aria-hidden="true"><path d="M15 3v19H4z"/><path d="M18 8l9 14h-9z"/>'
    '<path class="wave" d="M2 27c3-3 6-3 9 0s6 3 9 0 6-3 10 0"/></svg>'
)


def write(report_dir: Path, results: Sequence[DrillResult], command_line: str) -> Path:
    """A drill whose history is missing or broken gets a section that says so."""
    opened = {result.drill for result in results if result.outcome is not Outcome.PASS}
    if not opened and results:
        opened = {results[0].drill}
    studies: list[Study] = []
    sections: list[Html] = []
    for result in results:
        study = _study(result, store.folder_of(report_dir, result))
        sections.append(section(study, is_open=result.drill in opened))
        studies.append(_without_events(study))
    path = report_dir / REPORT_FILE
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_page(studies, sections, command_line))
    return path


def _study(result: DrillResult, folder: Path) -> Study:
    try:
        history = History.load(folder)
    except BrokenHistory as err:
        return Study(result, folder, None, None, None, 0.0, str(err))
    zero_s = min(op.t_s for op in history.ops)
    return Study(
        result,
        folder,
        history.header,
        timeline(history),
        Events(history, result.verdicts),
        zero_s,
        problem="",
        traffic=traffic(history),
        actors=actors(history),
    )


def _without_events(study: Study) -> Study:
    """Releases the history: many long ones do not fit in memory together."""
    return replace(study, events=None)


def _page(studies: Sequence[Study], sections: Sequence[Html], command_line: str) -> Iterator[str]:
    title = f"Drills: {wording.tally([study.result for study in studies])}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("link", rel="icon", href=_ICON),
        el("style", _asset("page.css")),
    )
    yield '<!doctype html>\n<html lang="en">\n'
    yield head
    yield "\n<body>\n"
    yield _header(studies, command_line)
    yield "<main>\n"
    yield _tiles(studies)
    yield _table(studies)
    yield _bar()
    for one in sections:
        yield one
        yield "\n"
    yield "</main>\n"
    yield el(
        "footer",
        "Seatrial judges from the history alone: ",
        el("code", "seatrial judge DIR"),
        " computes the same verdicts again.",
    )
    # Not run until the first figure comes into view, so that the verdicts are on screen at once.
    yield el("script", Html(get_plotlyjs()), type="text/plain", id="plotly")
    yield el("script", _asset("page.js"))
    yield "\n</body>\n</html>\n"


def _asset(name: str) -> Html:
    return Html(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _header(studies: Sequence[Study], command_line: str) -> Html:
    results = [study.result for study in studies]
    passed = all(result.outcome is Outcome.PASS for result in results) and bool(results)
    headers = [study.header for study in studies if study.header is not None]
    started = wording.instant(min((header.started_at for header in headers), default=""))
    about = [
        started,
        ", ".join(sorted({f"{header.backend}, {header.replicas} replicas" for header in headers})),
        f"{wording.seconds(sum(result.duration_s for result in results))} of drills",
    ]
    return el(
        "header",
        _SAIL,
        el(
            "div",
            el("p", "Seatrial report", class_="kicker"),
            el("h1", wording.tally(results), class_="good" if passed else "bad"),
            el("p", " · ".join(part for part in about if part), class_="about"),
            command(command_line),
        ),
    )


def _tiles(studies: Sequence[Study]) -> Html:
    results = [study.result for study in studies]
    lines = [study.timeline for study in studies if study.timeline is not None]
    verdicts = [verdict for result in results for verdict in result.verdicts]
    impacts = [impact for line in lines for impact in line.impacts]
    bit = sum(impact.episode.effective_s is not None for impact in impacts)
    passed = sum(result.outcome is Outcome.PASS for result in results)
    held = sum(verdict.outcome is Outcome.PASS for verdict in verdicts)
    slowest = max(
        (
            (recovered_s, result.drill)
            for result in results
            if (recovered_s := wording.recovery_s(result)) is not None
        ),
        default=None,
    )
    tiles = (
        ("drills passed", f"{passed}", f"of {len(results)}", passed == len(results)),
        ("guarantees held", f"{held}", f"of {len(verdicts)}", held == len(verdicts)),
        ("operations judged", f"{sum(line.operations for line in lines):,}", "", None),
        (
            "faults injected",
            f"{len(impacts)}",
            ("all had an effect" if bit == len(impacts) else f"only {bit} had an effect") if impacts else "",
            None if bit == len(impacts) else False,
        ),
        (
            "worst recovery",
            wording.seconds(slowest[0]) if slowest else "—",
            slowest[1] if slowest else "",
            None,
        ),
    )
    return el(
        "section",
        *(
            el(
                "div",
                el("span", label, class_="label"),
                el("span", el("b", value), " ", note, class_="value"),
                class_="tile" + ("" if good is None else " good" if good else " bad"),
            )
            for label, value, note, good in tiles
        ),
        class_="tiles",
        aria_label="Summary",
    )


def _table(studies: Sequence[Study]) -> Html:
    names = ("Outcome", "Drill and promise", "Checks", "Recovery", "Key figures", "Seed")
    legend = el(
        "p",
        *(join(pill(outcome), " ", meaning, "  ") for outcome, meaning in wording.MEANING.items()),
        class_="outcomes",
    )
    return join(
        el(
            "table",
            el("thead", el("tr", *(el("th", name) for name in names))),
            el("tbody", *(_row(study) for study in studies)),
            class_="verdicts",
        ),
        el("details", el("summary", "What the outcomes mean"), legend, class_="meaning"),
    )


def _row(study: Study) -> Html:
    result = study.result
    pairs = wording.key_figures(result, most=3)
    if study.timeline is not None and study.timeline.accepted["complete"]:
        pairs.insert(0, ("jobs completed", f"{study.timeline.accepted['complete']:,}"))
    return el(
        "tr",
        el("td", pill(result.outcome), data_label="outcome"),
        el(
            "td",
            el("a", el("span", result.drill, class_="id"), " ", result.title, href=f"#{study.anchor}"),
            el("span", result.promise, class_="promise"),
            command(wording.rerun_command(result, study.header)),
        ),
        el(
            "td",
            *(join(pill(v.outcome, v.check), " ") for v in result.verdicts),
            class_="checks",
            data_label="checks",
        ),
        el("td", wording.seconds(wording.recovery_s(result)), class_="number", data_label="recovery"),
        el("td", figures(pairs), data_label="key figures"),
        el("td", str(result.seed), class_="number", data_label="seed"),
        class_=result.outcome.value,
    )


def _bar() -> Html:
    return el(
        "div",
        el("h2", "Drill by drill"),
        el("button", "open all", type="button", data_all="open"),
        el("button", "close all", type="button", data_all="close"),
        class_="bar",
    )
