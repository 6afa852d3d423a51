from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
import synthetic_run

from seatrial.history import RunHeader
from seatrial.report import junit, markdown, wording
from seatrial.verdict import DrillResult, Outcome, Verdict, Witness

HEADER = RunHeader("L5", 7, 3, "local", "", "2026-11-22T10:00:00+00:00", (), {})


def parsed(path: Path) -> ET.Element:
    return ET.parse(path).getroot()


def result(*verdicts: Verdict, outcome: Outcome, notes: tuple[str, ...] = ()) -> DrillResult:
    return DrillResult("L5", "title", "promise", outcome, 7, "hash", 12.5, "out/L5", verdicts, notes)


def verdict(outcome: Outcome, text: str = "summary") -> Verdict:
    return Verdict(
        "NL", "Nothing is lost.", outcome, text, (Witness("job j1 is gone", ("j1", "i1")),), {"lost": 1}
    )


@pytest.mark.parametrize(
    ("outcome", "element"),
    [
        (Outcome.PASS, None),
        (Outcome.FAIL, "failure"),
        (Outcome.VACUOUS, "failure"),
        (Outcome.INVALID, "error"),
        (Outcome.UNKNOWN, "error"),
    ],
)
def test_only_a_pass_is_green(tmp_path: Path, outcome: Outcome, element: str | None) -> None:
    root = parsed(junit.write(tmp_path, [result(verdict(outcome), outcome=outcome)]))

    (case,) = root.iter("testcase")
    red = [child for child in case if child.tag in {"failure", "error", "skipped"}]
    assert [child.tag for child in red] == ([element] if element else [])
    assert (root.get("tests"), root.get("skipped"), root.get("time")) == ("1", "0", "12.500")
    assert root.get("failures") == str(int(element == "failure"))
    assert root.get("errors") == str(int(element == "error"))
    if red:
        assert red[0].get("type") == outcome.value
        assert "job j1 is gone [j1, i1]" in (red[0].text or "")


def test_a_drill_that_could_not_be_carried_out_is_an_error(tmp_path: Path) -> None:
    broken = result(outcome=Outcome.INVALID, notes=("replica-2 never became ready",))

    root = parsed(junit.write(tmp_path, [broken]))

    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    (error,) = root.iter("error")
    assert error.get("message") == "replica-2 never became ready"


def test_a_drill_worse_than_its_checks_is_red_too(tmp_path: Path) -> None:
    root = parsed(junit.write(tmp_path, [result(verdict(Outcome.PASS), outcome=Outcome.INVALID)]))

    assert (root.get("tests"), root.get("errors")) == ("2", "1")


def test_one_suite_a_drill_one_case_a_check(tmp_path: Path) -> None:
    results = [synthetic_run.failing(tmp_path), synthetic_run.passing(tmp_path)]

    root = parsed(junit.write(tmp_path, results))

    suites = {suite.get("name"): len(suite.findall("testcase")) for suite in root}
    assert suites == {f"{one.drill} {one.title}": len(one.verdicts) for one in results}


def test_junit_survives_what_xml_forbids(tmp_path: Path) -> None:
    text = "\x00\x1b[31m ]]> <b> & \ufffe\n\nsecond line"

    root = parsed(junit.write(tmp_path, [result(verdict(Outcome.FAIL, text), outcome=Outcome.FAIL)]))

    (failure,) = root.iter("failure")
    assert failure.get("message") == "\ufffd\ufffd[31m ]]> <b> & \ufffd"


def test_the_summary_is_one_table_and_what_did_not_pass(tmp_path: Path) -> None:
    failing, passing = synthetic_run.failing(tmp_path), synthetic_run.passing(tmp_path)

    text = markdown.write(tmp_path, [failing, passing], "seatrial run").read_text()

    assert text.startswith("## Drills: 1 of 2 drills passed; 1 fail\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert "### ✗ L5" in text
    assert "### ✓" not in text
    for witness in failing.verdicts[0].witnesses:
        assert witness.text in text
    assert "`job-000820`" in text


def test_markdown_in_a_verdict_is_only_text(tmp_path: Path) -> None:
    text = "a | b\n| c | <img src=x> `code` [link](x) *bold* @all"
    hostile = msgspec.structs.replace(result(verdict(Outcome.FAIL, text), outcome=Outcome.FAIL), title=text)

    written = markdown.write(tmp_path, [hostile], text).read_text()

    (row,) = [line for line in written.splitlines() if line.startswith("| **")]
    assert row.replace("\\|", "").count("|") == 8
    assert "<img" not in written.replace("`" + " ".join(text.replace("`", "'").split()) + "`", "")
    assert "\\[link\\]" in written


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("recovery_s", 3.214, ("recovery", "3.21 s")),
        ("p95_ms", 17.25, ("p95", "17.2 ms")),
        ("starts_per_s", 1234.5, ("starts", "1,234.5/s")),
        ("lost", 0, ("lost", "0")),
        ("is_ordered", True, ("is ordered", "yes")),
        ("slowest_s", None, ("slowest s", "—")),
        ("errors_by_status", {"503": 2, "0": 1}, ("errors by status", "503 2, 0 1")),
        ("faults", [{"fault": "kill", "effect_at_s": 1.5}], ("faults", "fault kill, effect at 1.5 s")),
        ("odd", float("inf"), ("odd", "inf")),
    ],
)
def test_figures_speak_with_their_units(name: str, value: object, shown: tuple[str, str]) -> None:
    assert wording.figure(name, value) == shown


def test_key_figures_are_findings_not_bounds() -> None:
    first = Verdict(
        "AV", "", Outcome.PASS, "", (), {"calls": 9, "calls_max": 99, "violations": 0, "note": "x"}
    )
    second = Verdict(
        "RT", "", Outcome.PASS, "", (), {"recovery_s": 2.5, "recovery_bound_s": 10, "gap_from_s": 1e6}
    )
    third = Verdict("NL", "", Outcome.PASS, "", (), {"lost": 0})

    one = result(first, second, third, outcome=Outcome.PASS)

    assert wording.key_figures(one) == [("lost", "0"), ("calls", "9")]
    assert wording.recovery_s(one) == 2.5


@pytest.mark.parametrize(
    ("header", "command"),
    [
        (HEADER, "seatrial run L5 --backend local --replicas 3 --seed 7"),
        (
            msgspec.structs.replace(HEADER, engine_command="./engine serve; rm"),
            "seatrial run L5 --backend local --replicas 3 --engine-command './engine serve; rm' --seed 7",
        ),
        (msgspec.structs.replace(HEADER, backend="attach"), "seatrial run L5 --attach URL,URL,URL --seed 7"),
        (
            msgspec.structs.replace(HEADER, transport="both"),
            "seatrial run L5 --backend local --replicas 3 --transport both --seed 7",
        ),
        (
            msgspec.structs.replace(HEADER, backend="attach", replicas=2, transport="grpc"),
            "seatrial run L5 --attach URL,URL --attach-grpc HOST:PORT,HOST:PORT --transport grpc --seed 7",
        ),
        (
            msgspec.structs.replace(HEADER, tls=True, principal="seatrial"),
            "seatrial run L5 --backend local --replicas 3 --tls --token-file FILE --seed 7",
        ),
        (
            msgspec.structs.replace(HEADER, backend="attach", tls=True, principal=""),
            "seatrial run L5 --attach URL,URL,URL --token-file FILE --seed 7",
        ),
        (None, "seatrial run L5 --seed 7"),
    ],
)
def test_the_command_that_runs_it_again(header: RunHeader | None, command: str) -> None:
    assert wording.rerun_command(result(outcome=Outcome.PASS), header) == command


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (None, "—"),
        (0.0374, "37 ms"),
        (2.412, "2.4 s"),
        (0.9996, "1.0 s"),
        (59.99, "1 min 00 s"),
        (61.0, "1 min 01 s"),
    ],
)
def test_seconds_as_people_say_them(value_s: float | None, text: str) -> None:
    assert wording.seconds(value_s) == text
