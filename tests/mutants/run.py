"""Runs mutants against their drills. Exit codes: 0 all caught, 1 one survived or is broken, 2 usage.

That the unmutated engine passes the same drill is shown elsewhere (scripts/drill); here a mutant is caught only by a
verdict `fail` of a check that was named for it beforehand. One that does not start is broken, and caught nothing.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catalogue import MUTANTS, Mutant

from seatrial.cluster import backends
from seatrial.cluster.options import Options
from seatrial.drill import NOT_UP
from seatrial.drills import CATALOGUE
from seatrial.report.store import BrokenResult, read_results
from seatrial.verdict import Outcome

HERE = Path(__file__).resolve().parent
SEED = 7
#: no drill takes this long; a run that does is taken down as broken
RUN_WITHIN_S = 300.0
STOP_WITHIN_S = 30.0

EXAMPLES = """\
examples:
  scripts/mutants                          every mutant against its drill
  scripts/mutants --fast                   the subset that CI runs
  scripts/mutants no_fence --seed 11       one of them, another schedule
  scripts/mutants --report out/mutants     keep the histories and reports there
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one mutant fared. `caught` is None for a broken one."""

    mutant: Mutant
    outcome: str
    failed: tuple[str, ...]
    """The checks whose verdict was `fail`."""
    caught: bool | None
    text: str
    """What caught it, or why nothing did."""
    took_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.list:
        _print_catalogue()
        return 0
    chosen = _chosen(options.names, fast=options.fast)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        report_dir = options.report or Path(scratch)
        trials = [
            _announced(number, len(chosen), mutant, report_dir / mutant.name, options.seed)
            for number, mutant in enumerate(chosen, 1)
        ]
    print(f"\n{_table(trials)}\n")
    unguarded = () if options.names or options.fast else _unguarded(trials)
    if unguarded:
        print(f"no mutant was caught by {', '.join(unguarded)}, which drills of this backend rely on")
    survivors = [trial.mutant.name for trial in trials if not trial.caught]
    print(
        f"{len(trials) - len(survivors)} of {len(trials)} mutants caught in {sum(t.took_s for t in trials):.0f} s"
        + (f"; not caught: {', '.join(survivors)}" if survivors else "")
    )
    return 1 if survivors or unguarded else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/mutants",
        description="Runs engines with one promise broken; each is caught by its drill, with this seed or the next.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="MUTANT", help="which; default: all")
    parser.add_argument("--fast", action="store_true", help="the fast subset, as CI runs it")
    parser.add_argument("--list", action="store_true", help="show the catalogue and exit")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of every drill's schedule; default {SEED}")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="keep the reports in DIR, which must be new"
    )
    return parser


def _print_catalogue() -> None:
    width = max((len(mutant.name) for mutant in MUTANTS), default=0)
    for mutant in MUTANTS:
        speed = "fast" if mutant.fast else "    "
        print(
            f"{mutant.name:<{width}}  {speed}  {mutant.drill:<4} {'/'.join(mutant.caught_by):<10}  {mutant.breaks}"
        )


def _chosen(names: Sequence[str], *, fast: bool) -> list[Mutant]:
    """Exits with 2 for a name that is none, and for an entry of the catalogue that cannot be run."""
    known = {mutant.name: mutant for mutant in MUTANTS}
    for name in names:
        if name not in known:
            _misused(f"no mutant {name!r}; there are: {', '.join(known)}")
    for mutant in known.values():
        if not (HERE / f"{mutant.name}.py").is_file():
            _misused(f"the catalogue names {mutant.name}, and there is no {HERE / mutant.name}.py")
        drill = CATALOGUE.get(mutant.drill)
        if drill is None:
            _misused(f"mutant {mutant.name}: no drill {mutant.drill!r}; there are: {', '.join(CATALOGUE)}")
        elif strange := set(mutant.caught_by) - set(drill.checks):
            _misused(f"mutant {mutant.name}: drill {drill.id} does not check {', '.join(sorted(strange))}")
    return [mutant for mutant in MUTANTS if (not names or mutant.name in names) and (mutant.fast or not fast)]


def _misused(text: str) -> None:
    print(f"mutants: {text}", file=sys.stderr)
    sys.exit(2)


def _announced(number: int, count: int, mutant: Mutant, report_dir: Path, seed: int) -> Trial:
    print(f"[{number}/{count}] {mutant.name} against {mutant.drill}: {mutant.breaks}", flush=True)
    trial = _run(mutant, report_dir, seed)
    if trial.caught is False:
        # What it breaks may need a race, which this schedule did not meet.
        print(f"        not caught with seed {seed}: {trial.text}; another seed", flush=True)
        trial = _run(mutant, report_dir.with_name(f"{report_dir.name}-again"), seed + 1)
    word = {True: "caught", False: "SURVIVED", None: "BROKEN"}[trial.caught]
    print(f"        {word} after {trial.took_s:.1f} s: {trial.text}", flush=True)
    return trial


def _run(mutant: Mutant, report_dir: Path, seed: int) -> Trial:
    began_s = time.monotonic()
    engine = shlex.join([sys.executable, str(HERE / f"{mutant.name}.py"), "serve"])
    command = [sys.executable, "-m", "seatrial", "run", mutant.drill, "--engine-command", engine]
    command += ["--transport", mutant.transport, "--seed", str(seed), "--report", str(report_dir)]
    said = _output(command)
    took_s = time.monotonic() - began_s
    try:
        result = read_results(report_dir / mutant.drill)[0]
    except BrokenResult:
        return Trial(mutant, "none", (), None, f"the drill gave no result: {said[-300:]}", took_s)
    failed = {
        verdict.check: verdict.summary for verdict in result.verdicts if verdict.outcome is Outcome.FAIL
    }
    caught_by = [check for check in mutant.caught_by if check in failed]
    caught: bool | None = bool(caught_by)
    if caught_by:
        text = f"{caught_by[0]}: {failed[caught_by[0]]}"
    elif any(note.startswith(NOT_UP) for note in result.notes):
        caught, text = None, f"the engine did not start: {result.notes[0]}"
    else:
        text = "; ".join(result.notes or [f"{v.check} {v.outcome}: {v.summary}" for v in result.verdicts])
    return Trial(mutant, result.outcome, tuple(failed), caught, _shortened(text), took_s)


def _output(command: Sequence[str]) -> str:
    """What it printed; its exit code says no more than the result does. Ctrl-C reaches it too: it cleans up itself."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said, _ = process.communicate(timeout=RUN_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            said, _ = process.communicate(timeout=STOP_WITHIN_S)
        except KeyboardInterrupt:
            process.communicate(timeout=STOP_WITHIN_S)
            raise
    return said.strip()


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:400]}..."


def _table(trials: Sequence[Trial]) -> str:
    rows = [("mutant", "drill", "expected", "outcome", "failed", "caught", "seconds")]
    rows += [
        (
            trial.mutant.name,
            trial.mutant.drill,
            "/".join(trial.mutant.caught_by),
            trial.outcome,
            "/".join(trial.failed) or "-",
            {True: "yes", False: "NO", None: "BROKEN"}[trial.caught],
            f"{trial.took_s:.1f}",
        )
        for trial in trials
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _unguarded(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Checks that judge drills of this backend and that no mutant was caught by.

    Those of drills that only Kubernetes can run have their mutants in `chart_catalogue.py`.
    """
    options = Options(seed=SEED, report_dir=HERE)
    able = [drill for drill in CATALOGUE.values() if not backends.refusal(drill.needs, options)]
    relied_on = dict.fromkeys(check for drill in able for check in drill.checks)
    guarded = {
        check for trial in trials if trial.caught for check in trial.mutant.caught_by if check in trial.failed
    }
    return tuple(check for check in relied_on if check not in guarded)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
