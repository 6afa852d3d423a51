"""JUnit: one suite per drill, one case per check. Everything but a pass fails a CI job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from seatrial.report.markup import clean
from seatrial.verdict import DrillResult, Outcome, Verdict, worst

JUNIT_FILE = "junit.xml"


def write(report_dir: Path, results: Sequence[DrillResult]) -> Path:
    root = ET.Element("testsuites", name="seatrial")
    suites = [_suite(result) for result in results]
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in suites)))
    root.set("time", f"{sum(result.duration_s for result in results):.3f}")
    root.extend(suites)
    ET.indent(root)
    path = report_dir / JUNIT_FILE
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
    return path


def _suite(result: DrillResult) -> ET.Element:
    suite = ET.Element(
        "testsuite", name=clean(f"{result.drill} {result.title}"), time=f"{result.duration_s:.3f}"
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("outcome", result.outcome.value),
        ("seed", str(result.seed)),
        ("schedule_hash", result.schedule_hash),
        ("folder", result.folder),
    ):
        ET.SubElement(properties, "property", name=name, value=clean(value))
    cases = [_case(result, verdict) for verdict in result.verdicts]
    # A drill that could not be carried out has no failed verdict, and neither has one that checked nothing.
    if not cases or worst(verdict.outcome for verdict in result.verdicts) is not result.outcome:
        said = "\n".join(result.notes) or f"the drill ended {result.outcome.value}"
        cases.append(_case(result, Verdict("run", result.promise, result.outcome, said)))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("skipped", "0")
    return suite


def _case(result: DrillResult, verdict: Verdict) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=clean(f"seatrial.{result.drill}"),
        name=clean(f"{verdict.check}: {verdict.guarantee}"),
        time="0",
    )
    if verdict.outcome is Outcome.PASS:
        ET.SubElement(case, "system-out").text = clean(verdict.summary)
        return case
    # A skipped test passes in CI, but a vacuous drill has proved nothing: it must fail.
    red = "failure" if verdict.outcome in {Outcome.FAIL, Outcome.VACUOUS} else "error"
    first_line = verdict.summary.strip().splitlines()[0] if verdict.summary.strip() else verdict.outcome.value
    element = ET.SubElement(case, red, type=verdict.outcome.value, message=clean(first_line))
    lines = [verdict.guarantee, verdict.summary]
    lines += [
        f"- {witness.text}{' [' + ', '.join(witness.ids) + ']' if witness.ids else ''}"
        for witness in verdict.witnesses
    ]
    lines.append(f"history: {result.folder}  seed: {result.seed}")
    element.text = clean("\n".join(lines))
    return case
