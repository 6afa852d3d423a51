"""summary.md: the verdicts as a CI job's summary shows them."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from seatrial.report import wording
from seatrial.report.markup import clean
from seatrial.verdict import DrillResult, Outcome

SUMMARY_FILE = "summary.md"
_WITNESSES_MAX = 5
_TEXT_MAX = 400


def write(report_dir: Path, results: Sequence[DrillResult], command: str) -> Path:
    lines = [
        f"## Drills: {wording.tally(results)}",
        "",
        f"Command: {_code(command)}",
        "",
        "| Drill | Promise | Outcome | Checks | Recovery | Figures | Seed |",
        "| --- | --- | --- | --- | ---: | --- | ---: |",
        *(_row(result) for result in results),
    ]
    for result in results:
        if result.outcome is not Outcome.PASS:
            lines += ["", *_not_passed(result)]
    path = report_dir / SUMMARY_FILE
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _row(result: DrillResult) -> str:
    checks = " ".join(
        f"{wording.SIGN[verdict.outcome]} {_text(verdict.check)}" for verdict in result.verdicts
    )
    figures = ", ".join(f"{_text(label)} {_text(value)}" for label, value in wording.key_figures(result))
    cells = (
        f"**{_text(result.drill)}** {_text(result.title)}",
        _text(result.promise),
        f"{wording.SIGN[result.outcome]} {result.outcome.value}",
        checks or "none",
        wording.seconds(wording.recovery_s(result)),
        figures or "—",
        str(result.seed),
    )
    return f"| {' | '.join(cells)} |"


def _not_passed(result: DrillResult) -> list[str]:
    lines = [
        f"### {wording.SIGN[result.outcome]} {_text(result.drill)} {_text(result.title)}: {result.outcome.value}",
        "",
    ]
    lines += [f"- {_text(note)}" for note in result.notes]
    for verdict in result.verdicts:
        if verdict.outcome is Outcome.PASS:
            continue
        lines.append(
            f"- **{_text(verdict.check)} {verdict.outcome.value}**: {_text(verdict.guarantee)} {_text(verdict.summary)}"
        )
        for witness in verdict.witnesses[:_WITNESSES_MAX]:
            ids = ", ".join(_code(id_) for id_ in witness.ids)
            lines.append(f"  - {_text(witness.text)}{' (' + ids + ')' if ids else ''}")
        if (more := len(verdict.witnesses) - _WITNESSES_MAX) > 0:
            lines.append(f"  - and {more} more in the report")
    return [*lines, "", f"History: {_code(result.folder)}, seed {result.seed}"]


def _text(text: str) -> str:
    """One line of plain text: nothing in it is Markdown or HTML to the reader's renderer."""
    line = " ".join(clean(text).split())
    if len(line) > _TEXT_MAX:
        line = line[: _TEXT_MAX - 1] + "…"
    return re.sub(r"([\\`*_\[\]|~#@])", r"\\\1", html.escape(line, quote=False))


def _code(text: str) -> str:
    line = " ".join(clean(text).replace("`", "'").split())
    return f"`{line}`"
