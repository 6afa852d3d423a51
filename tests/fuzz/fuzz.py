"""The command behind scripts/fuzz. Exit codes: 0 nothing found, 1 a promise was broken, 2 usage, 130 interrupted."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import guided_run
import pressure
import slow_clients
import strangers
from campaign import SHARES, STRANGERS, WIRE, Campaign, Result
from case import Case, Finding, Surface
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from subject import Subject

CASES = 10_000
FINDINGS = Path("reports/fuzz")

EXAMPLES = """\
examples:
  scripts/fuzz                                  10,000 cases, coverage-guided inputs, slow clients
  scripts/fuzz --seed 7 --cases 1000            fewer, the same each time
  scripts/fuzz --surface rest --surface grpc    some of it
  scripts/fuzz --tokens                         10,000 cases of callers who may not come in
  scripts/fuzz --replay reports/fuzz/rest-status.json
                                                a finding again, on a fresh engine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.cases < 1:
        _misused(f"--cases must be at least 1, got {options.cases}")
    if options.tokens and options.engine_command:
        _misused("--tokens starts our own engine, with tokens that it knows; leave out --engine-command")
    if options.replay:
        return _replay(options.replay, options.engine_command)
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    console = Console(highlight=False)
    tokens = " --tokens" if options.tokens else ""
    console.print(
        f"seed {seed}; again with: scripts/fuzz --seed {seed} --cases {options.cases}{tokens}", soft_wrap=True
    )
    began_s = time.monotonic()
    chosen = options.surface or (list(STRANGERS) if options.tokens else [*SHARES, "guided", "connections"])
    if options.tokens != any(name in STRANGERS for name in chosen) or (
        options.tokens and {*chosen} - {*STRANGERS}
    ):
        _misused(f"the surfaces {', '.join(STRANGERS)} go with --tokens, and no other does")
    whole = Whole(seed, options.cases, options.engine_command)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        whole.run(chosen, progress)
    console.print(whole.table())
    findings = whole.findings()
    for name, finding in findings:
        path = options.findings / f"{name}-{finding.oracle}.json".replace(" ", "-")
        finding.write(path, seed)
        told = f"\n{name}: broken: {finding.oracle}: {finding.text}"
        if finding.case is not None:
            told += f"\n  {finding.case.shown()}\n  again with: scripts/fuzz --replay {path}"
        console.print(told, markup=False, soft_wrap=True)
    word = f"{len(findings)} broken promises" if findings else "nothing found"
    console.print(f"{whole.cases:,} cases in {time.monotonic() - began_s:.0f} s: {word}")
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Sends an engine bad input by the thousand: it must refuse it, change nothing and go on as before.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="of all that is drawn; default: another each time, printed")
    parser.add_argument("--cases", type=int, default=CASES, help=f"over the wire; default {CASES}")
    parser.add_argument(
        "--surface",
        action="append",
        choices=[*SHARES, "guided", "connections", *STRANGERS],
        help="only this one; may be repeated",
    )
    parser.add_argument(
        "--tokens",
        action="store_true",
        help="an engine that asks for tokens and JWTs, and callers with none, wrong, expired or mangled ones: none may "
        "come in",
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the case of a finding again")
    parser.add_argument(
        "--findings",
        type=Path,
        default=FINDINGS,
        metavar="DIR",
        help=f"where findings are written; default {FINDINGS}",
    )
    parser.add_argument("--engine-command", metavar="CMD", help="start this in the place of our engine")
    return parser


def _misused(text: str) -> None:
    print(f"fuzz: {text}", file=sys.stderr)
    sys.exit(2)


class Whole:
    """All surfaces, one after the other, and what became of each."""

    def __init__(self, seed: int, cases: int, engine_command: str | None) -> None:
        self._seed = seed
        self._wanted = cases
        self._engine_command = engine_command
        self._total = 1.0
        self._results: list[Result] = []
        self._guided: list[guided_run.Guided] = []
        self._connections: slow_clients.Outcome | None = None

    def run(self, chosen: Sequence[str], progress: Progress) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            if any(name in STRANGERS for name in chosen):
                self._run_strangers(chosen, Path(scratch) / "strangers", progress)
                return
            surfaces = [name for name in SHARES if name in chosen]
            self._total = sum(SHARES[name] for name in surfaces)
            wire = [name for name in surfaces if name in WIRE]
            self._run_surfaces(wire, Path(scratch) / "wire", progress, {})
            pressing = [name for name in surfaces if name not in WIRE]
            self._run_surfaces(pressing, Path(scratch) / "pressure", progress, pressure.VARIABLES)
            if "guided" in chosen:
                task = progress.add_task("guided", total=len(guided_run.TARGETS))
                for target in guided_run.TARGETS:
                    self._guided.append(guided_run.run(target, self._wanted, self._seed))
                    progress.advance(task)
            if "connections" in chosen:
                self._run_connections(Path(scratch) / "connections", progress)

    def _run_surfaces(
        self, names: Sequence[Surface], folder: Path, progress: Progress, variables: Mapping[str, str]
    ) -> None:
        if not names:
            return
        with Subject(folder, engine_command=self._engine_command, **variables) as subject:
            self._run_on(subject, {name: SHARES[name] / self._total for name in names}, progress)

    def _run_strangers(self, chosen: Sequence[str], folder: Path, progress: Progress) -> None:
        shares = {name: share for name, share in STRANGERS.items() if name in chosen}
        with strangers.subject(folder) as subject:
            total = sum(shares.values())
            self._run_on(subject, {name: share / total for name, share in shares.items()}, progress)

    def _run_on(self, subject: Subject, shares: Mapping[Surface, float], progress: Progress) -> None:
        progress.console.print(f"memory of the engine: {subject.memory_bound()}")
        campaign = Campaign(subject, self._seed)
        for name, share in shares.items():
            count = max(1, round(self._wanted * share))
            task = progress.add_task(name, total=count)
            campaign.told = _stepper(progress, task)
            self._results.append(campaign.run(name, count))

    def _run_connections(self, folder: Path, progress: Progress) -> None:
        task = progress.add_task("connections", total=len(slow_clients.SCENARIOS))
        scale = min(1.0, self._wanted / CASES)
        variables = slow_clients.variables(scale)
        with Subject(folder, engine_command=self._engine_command, **variables) as subject:
            self._connections = slow_clients.run(subject, scale, lambda _name, _count: progress.advance(task))

    @property
    def cases(self) -> int:
        return sum(result.cases for result in self._results)

    def findings(self) -> list[tuple[str, Finding]]:
        found = [(result.surface, finding) for result in self._results for finding in result.findings]
        found += [
            (f"guided {each.target}", each.finding) for each in self._guided if each.finding is not None
        ]
        if self._connections is not None:
            found += [("connections", finding) for finding in self._connections.findings]
        return found

    def table(self) -> Table:
        table = Table(
            "surface", "cases", "accepted", "refused", "worst ms", "peak", "RSS / 1,000 cases", "broken"
        )
        for column in table.columns[1:]:
            column.justify = "right"
        for result in self._results:
            table.add_row(
                result.surface,
                f"{result.cases:,}",
                f"{result.accepted:,}",
                f"{result.refused:,}",
                f"{result.worst_s * 1000:.0f} ({result.worst_kind[:40]})",
                f"{result.peak_bytes / 2**20:.0f} MiB",
                f"{result.growth_per_1000 / 2**20:+.1f} MiB",
                str(len(result.findings)),
            )
        for each in self._guided:
            told = f"{each.coverage} edges reached"
            table.add_row(
                f"guided {each.target}",
                f"{each.inputs:,}",
                "",
                "",
                told,
                "",
                "",
                str(int(each.finding is not None)),
            )
        if (connections := self._connections) is not None:
            growth = f"{connections.growth_bytes / 2**20:+.0f} MiB in all"
            count = f"{connections.connections:,}"
            table.add_row("connections", count, "", "", "", "", growth, str(len(connections.findings)))
        return table


def _stepper(progress: Progress, task: object) -> Callable[[Case], None]:
    return lambda _case: progress.advance(task)  # type: ignore[arg-type]


def _replay(path: Path, engine_command: str | None) -> int:
    try:
        told = json.loads(path.read_text())
        case = Case.of_json(told["case"]) if "case" in told else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _misused(
            f"{path} holds no case of ours ({type(error).__name__}: {error}); give a file that scripts/fuzz wrote"
        )
        return 2
    if case is None:
        _misused(
            f"{path} is about a whole run and has no case; run it again: scripts/fuzz --seed {told['seed']}"
        )
        return 2
    print(case.shown())
    if case.kind == guided_run.KIND:
        finding = guided_run.replay(case)
        findings = [finding] if finding else []
    else:
        with (
            tempfile.TemporaryDirectory(prefix="fuzz-") as scratch,
            _subject_for(case, Path(scratch), engine_command) as subject,
        ):
            findings = Campaign(subject, told["seed"]).replay(case).findings
    for finding in findings:
        print(f"broken: {finding.oracle}: {finding.text}")
    print("the case breaks it again" if findings else "nothing is broken by this case now")
    return 1 if findings else 0


def _subject_for(case: Case, folder: Path, engine_command: str | None) -> Subject:
    if case.surface in STRANGERS:
        return strangers.subject(folder)
    return Subject(
        folder, engine_command=engine_command, **({} if case.surface in WIRE else pressure.VARIABLES)
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
