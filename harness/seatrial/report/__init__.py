"""A run's results for people and machines: HTML, JUnit, JSON and Markdown, from the histories alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seatrial.report import html, junit, markdown, store
from seatrial.verdict import DrillResult


def write(report_dir: Path, results: Sequence[DrillResult], command: str) -> Path:
    """Writes report.html, junit.xml, results.json and summary.md into `report_dir`; returns report.html's path."""
    report_dir.mkdir(parents=True, exist_ok=True)
    store.write_results(report_dir, results, command)
    junit.write(report_dir, results)
    markdown.write(report_dir, results, command)
    return html.write(report_dir, results, command)
