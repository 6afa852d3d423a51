"""What came of a run, as a table for people and as JUnit for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from suite.contract import Row
from suite.run import Outcome, Result

_WORST_FIRST = (Outcome.DIFFERS, Outcome.NOT_TRIED, Outcome.SAME)


def table(results: Sequence[Result]) -> str:
    """A line a row with its worst outcome; below it, each difference and each reason why it was not tried."""
    lines: list[str] = []
    section = ""
    for row, each in _by_row(results):
        if row.section != section:
            section = row.section
            lines.append("")
        outcome = next(
            outcome for outcome in _WORST_FIRST if any(result.outcome is outcome for result in each)
        )
        over = " ".join(dict.fromkeys(result.transport for result in each if result.transport))
        lines.append(f"{outcome:<9} {over:<9} {row.key:<32} {row.text}")
        lines += [f"{'':<20}{note}" for note in dict.fromkeys(_notes(each))]
    return "\n".join(lines)


def _notes(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        if result.outcome is not Outcome.SAME:
            over = (
                f"over {result.transport}: " if result.transport and result.outcome is Outcome.DIFFERS else ""
            )
            yield f"{over}{result.text}"


def summary(results: Sequence[Result]) -> str:
    """The rows counted by their worst outcome."""
    counts = Counter(
        next(outcome for outcome in _WORST_FIRST if any(result.outcome is outcome for result in each))
        for _, each in _by_row(results)
    )
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in reversed(_WORST_FIRST))


def write_junit(path: Path, results: Sequence[Result]) -> None:
    """One case a row and transport; what was not tried is skipped, with its reason."""
    suite = ET.Element("testsuite", name="conformance", tests=str(len(results)), errors="0")
    for result in results:
        name = f"{result.row.name} over {result.transport}" if result.transport else result.row.name
        case = ET.SubElement(suite, "testcase", classname=f"contract.{result.row.section}", name=name)
        if result.outcome is Outcome.DIFFERS:
            ET.SubElement(case, "failure", message=_xml(result.text)).text = _xml(result.row.text)
        elif result.outcome is Outcome.NOT_TRIED:
            ET.SubElement(case, "skipped", message=_xml(result.text))
    for kind, outcome in (("failures", Outcome.DIFFERS), ("skipped", Outcome.NOT_TRIED)):
        suite.set(kind, str(sum(result.outcome is outcome for result in results)))
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _by_row(results: Sequence[Result]) -> list[tuple[Row, list[Result]]]:
    found: dict[str, tuple[Row, list[Result]]] = {}
    for result in results:
        found.setdefault(result.row.key, (result.row, []))[1].append(result)
    return list(found.values())


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold: an engine may answer anything."""
    return "".join(each if each.isprintable() or each in "\t\n" else "\ufffd" for each in text)
