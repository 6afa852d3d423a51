"""Progress of a run: a live display on a terminal, a log with timestamps anywhere else; the verdicts in both."""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from seatrial.report import wording
from seatrial.report.markup import clean
from seatrial.verdict import DrillResult, Outcome

_STYLES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.VACUOUS: "magenta",
    Outcome.INVALID: "yellow",
    Outcome.UNKNOWN: "bold yellow",
}
_RATE_WINDOW_S = 3.0
_PLAIN_TICK_INTERVAL_S = 10.0
_PLAIN_WIDTH = 140
_WITNESSES_MAX = 3


@dataclass
class _Current:
    """The drill that is running."""

    id: str
    title: str
    index: int
    started_s: float
    phase: str = "set-up"
    faults: int = 0
    ops: int = 0
    ok: int = 0
    failed: int = 0
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def tick(self, now_s: float, ops: int, ok: int, failed: int) -> None:
        self.ops, self.ok, self.failed = ops, ok, failed
        self.seen.append((now_s, ops))
        while now_s - self.seen[0][0] > _RATE_WINDOW_S:
            self.seen.popleft()

    @property
    def ops_per_s(self) -> float:
        if len(self.seen) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self.seen[0], self.seen[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class Progress:
    """Used as a context manager, so that the terminal is whole again after Ctrl-C.

    `tick` takes totals of the current drill so far. Colours obey NO_COLOR.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        target = stream or sys.stdout
        if isinstance(target, io.TextIOWrapper):
            # A log in plain ASCII is better than a run that crashes on a check mark.
            target.reconfigure(errors="replace")
        is_terminal = target.isatty()
        self._console = Console(
            file=target,
            highlight=False,
            force_terminal=is_terminal,
            width=None if is_terminal else _PLAIN_WIDTH,
            no_color=None if is_terminal else True,
        )
        self._is_live = is_terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._current: _Current | None = None
        self._total = 0
        self._done = 0
        self._started_s = time.monotonic()
        self._ticked_s = 0.0

    def __enter__(self) -> Self:
        if self._is_live:
            self._live = Live(
                get_renderable=self._display, console=self._console, refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_live()

    def start(self, drills: Sequence[str]) -> None:
        self._total, self._done = len(drills), 0
        self._started_s = time.monotonic()
        self._log(f"{len(drills)} {'drill' if len(drills) == 1 else 'drills'}: {', '.join(drills)}")

    def drill_started(self, id: str, title: str, index: int, total: int) -> None:
        """`index` counts from 1."""
        self._total = total
        self._current = _Current(id, title, index, time.monotonic())
        self._log(f"{title} [{index}/{total}]", only_plain=True)

    def phase(self, name: str) -> None:
        if self._current is not None:
            self._current.phase = name
            self._current.faults += name == "fault"
        self._log(f"phase {name}", only_plain=True)

    def tick(self, ops: int, ok: int, failed: int) -> None:
        now_s = time.monotonic()
        if self._current is None:
            return
        self._current.tick(now_s, ops, ok, failed)
        if now_s - self._ticked_s >= _PLAIN_TICK_INTERVAL_S:
            self._ticked_s = now_s
            self._log(_counts(self._current), only_plain=True)

    def note(self, text: str) -> None:
        self._log(text)

    def drill_finished(self, result: DrillResult) -> None:
        """One permanent line, and below it what a drill that did not pass found."""
        self._done += 1
        self._current = None
        self._print(_finished_line(result))
        if result.outcome is not Outcome.PASS:
            for line in _findings(result):
                self._print(line)

    def finish(
        self, results: Sequence[DrillResult], report_path: Path, *, not_run: Mapping[str, str] | None = None
    ) -> None:
        """`not_run`: by drill, what this machine lacks for it."""
        self._end_live()
        self._console.print()
        self._console.print(_verdict_table(results))
        passed = bool(results) and all(result.outcome is Outcome.PASS for result in results)
        elapsed = wording.seconds(time.monotonic() - self._started_s)
        self._console.print(
            Text.assemble((wording.tally(results), "bold green" if passed else "bold red"), f" in {elapsed}")
        )
        for drill, lack in (not_run or {}).items():
            self._console.print(Text(f"not run: {drill}, which {lack}", style="yellow"), soft_wrap=True)
        self._console.print(Text(f"report: {report_path}"), soft_wrap=True)

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _log(self, text: str, *, only_plain: bool = False) -> None:
        """A remark: with drill and time in the plain log, dimmed above the live display."""
        if not self._is_live:
            drill = f"{self._current.id} " if self._current is not None else ""
            self._print(Text(clean(f"{drill}{text}")))
        elif not only_plain:
            self._print(Text(clean(text), style="dim"))

    def _print(self, line: Text) -> None:
        if not self._is_live:
            line = Text.assemble(f"{datetime.now().astimezone():%H:%M:%S} ", line)
        self._console.print(line, soft_wrap=True)

    def _display(self) -> RenderableType:
        current = self._current
        elapsed = wording.seconds(time.monotonic() - self._started_s)
        overall = Table.grid(padding=(0, 2))
        overall.add_row(
            ProgressBar(total=max(self._total, 1), completed=self._done, width=30),
            Text(f"{self._done} of {self._total} drills", style="dim"),
            Text(elapsed, style="dim"),
        )
        if current is None:
            return overall
        head = Table.grid(padding=(0, 2))
        head.add_row(
            self._spinner,
            Text.assemble((clean(current.id), "bold"), " ", clean(current.title)),
            Text(f"[{current.index}/{self._total}]", style="dim"),
            Text(current.phase, style="yellow" if current.phase == "fault" else "cyan"),
            Text(wording.seconds(time.monotonic() - current.started_s)),
        )
        return Group(head, Text(f"  {_counts(current)}", style="dim"), overall)


def _counts(current: _Current) -> str:
    return (
        f"{current.ops_per_s:,.0f} ops/s · {current.ops:,} ops · {current.ok:,} ok · "
        f"{current.failed:,} failed · faults {current.faults}"
    )


def _finished_line(result: DrillResult) -> Text:
    recovery_s = wording.recovery_s(result)
    line = Text.assemble(
        (f"{wording.SIGN[result.outcome]} {result.outcome.value:<8}", _STYLES[result.outcome]),
        (f"{clean(result.drill):<6}", "bold"),
        f"{clean(result.title)}  ",
        (wording.seconds(result.duration_s), "dim"),
    )
    return line.append(f"  recovery {wording.seconds(recovery_s)}", "dim") if recovery_s is not None else line


def _findings(result: DrillResult) -> list[Text]:
    lines = [Text(f"    {clean(note)}") for note in result.notes]
    for verdict in result.verdicts:
        if verdict.outcome is Outcome.PASS:
            continue
        lines.append(
            Text.assemble(
                "    ",
                (f"{verdict.check} {verdict.outcome.value}", _STYLES[verdict.outcome]),
                clean(f": {verdict.guarantee} {verdict.summary}"),
            )
        )
        lines += [Text(f"      {clean(witness.text)}") for witness in verdict.witnesses[:_WITNESSES_MAX]]
        if (more := len(verdict.witnesses) - _WITNESSES_MAX) > 0:
            lines.append(Text(f"      and {more} more in the report"))
    return lines


def _verdict_table(results: Sequence[DrillResult]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("drill", "", "outcome", "checks", "recovery", "took", "seed"):
        is_number = name in {"recovery", "took", "seed"}
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name not in {"", "checks"})
    for result in results:
        checks = Text(" ").join(
            Text(f"{wording.SIGN[verdict.outcome]}{clean(verdict.check)}", style=_STYLES[verdict.outcome])
            for verdict in result.verdicts
        )
        table.add_row(
            Text(clean(result.drill), style="bold"),
            Text(clean(result.title)),
            Text(f"{wording.SIGN[result.outcome]} {result.outcome.value}", style=_STYLES[result.outcome]),
            checks,
            wording.seconds(wording.recovery_s(result)),
            wording.seconds(result.duration_s),
            str(result.seed),
        )
    return table
