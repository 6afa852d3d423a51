import io
import re
from pathlib import Path

import pytest
import synthetic_run

from seatrial.deadline import until_blocking
from seatrial.report.terminal import Progress
from seatrial.verdict import DrillResult, Outcome

COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def play(stream: io.StringIO, results: list[DrillResult]) -> str:
    with Progress(stream) as progress:
        progress.start([result.drill for result in results])
        for number, result in enumerate(results, 1):
            progress.drill_started(result.drill, result.title, number, len(results))
            progress.phase("load")
            progress.tick(100, 97, 3)
            progress.tick(250, 246, 4)
            progress.phase("fault")
            progress.note("killed [replica-1]\x1b[2J")
            progress.drill_finished(result)
        progress.finish(results, Path("out/report.html"), not_run={"D6": "needs PgBouncer"})
    return stream.getvalue()


@pytest.fixture
def results(tmp_path: Path) -> list[DrillResult]:
    return [synthetic_run.failing(tmp_path), synthetic_run.passing(tmp_path)]


def test_elsewhere_it_is_a_log_with_timestamps(
    results: list[DrillResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    text = play(io.StringIO(), results)

    assert "\x1b" not in text
    log, _, table = text.partition("\n\n")
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in log.splitlines())
    for said in (
        "2 drills: L5, F8",
        "L5 non-sticky lease under a replica kill [1/2]",
        "L5 phase fault",
        "100 ops · 97 ok · 3 failed · faults 0",
        "L5 killed [replica-1]\ufffd[2J",
        "✗ fail    L5",
        "NL fail: Nothing that was accepted is lost.",
        "job job-001200 was completed twice",
        "AV vacuous",
        "✓ pass    F8",
    ):
        assert said in log
    for said in (
        "✗NL",
        "✓LX",
        "∅AV",
        "✗ fail",
        "✓ pass",
        "1 of 2 drills passed; 1 fail",
        "not run: D6, which needs PgBouncer",
        "report: out/report.html",
    ):
        assert said in table


def test_on_a_terminal_it_is_live_and_the_verdicts_stay(
    results: list[DrillResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    text = play(Terminal(), results)

    assert COLOUR.search(text)
    assert "\x1b[2J" not in text
    assert "\x1b[?25h" in text, "the cursor is given back"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    for said in ("✗ fail    L5", "✓ pass    F8", "1 of 2 drills passed", "report: out/report.html", "✗NL"):
        assert said in plain


def test_the_live_display_counts_as_the_drill_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()

    with Progress(terminal) as progress:
        progress.start(["L5", "F8"])
        progress.drill_started("L5", "title", 1, 2)
        progress.phase("fault")
        progress.tick(250, 246, 4)
        until_blocking(
            lambda: "250 ops · 246 ok · 4 failed · faults 1" in terminal.getvalue(),
            within_s=10,
            every_s=0.01,
            otherwise=lambda: AssertionError(terminal.getvalue()),
        )
        seen = terminal.getvalue()

    assert "0 of 2 drills" in seen


def test_no_color_is_obeyed(results: list[DrillResult], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")

    assert not COLOUR.search(play(Terminal(), results))


def test_an_interrupt_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()

    def interrupted() -> None:
        with Progress(terminal) as progress:
            progress.drill_started("L5", "title", 1, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    hidden, shown = terminal.getvalue().rfind("\x1b[?25l"), terminal.getvalue().rfind("\x1b[?25h")
    assert 0 <= hidden < shown


def test_a_stream_that_knows_only_ascii_does_not_end_the_run(results: list[DrillResult]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)

    with Progress(stream) as progress:
        progress.drill_finished(results[0])

    assert b"fail    L5" in raw.getvalue()


def test_the_outcome_is_a_word_not_only_a_colour(tmp_path: Path) -> None:
    for outcome in Outcome:
        stream = io.StringIO()
        with Progress(stream) as progress:
            progress.drill_finished(DrillResult("X", "t", "p", outcome, 1, "", 1.0, "x", ()))
        assert outcome.value in stream.getvalue()
