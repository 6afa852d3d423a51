"""Runs mutants of the chart's templates. Exit codes: 0 enough were killed, 1 too few, 2 usage."""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mutation import Mutant, killer, mutants, sampled

RECORD = Path(__file__).parents[2] / "docs" / "chart-mutants.md"
SCORE_MIN = 0.95

EXAMPLES = """\
examples:
  scripts/chart-mutants                every mutant; a few minutes on two idle cores
  scripts/chart-mutants --sample 40    forty of them, the same ones each time
  scripts/chart-mutants --record       every mutant, and docs/chart-mutants.md written anew
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/chart-mutants",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sample", type=int, metavar="N", help="so many of them, spread over all")
    parser.add_argument("--seed", type=int, default=7, help="of the sample (7)")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="side by side (2 at most)"
    )
    parser.add_argument("--record", action="store_true", help="write the result into docs/chart-mutants.md")
    options = parser.parse_args(arguments)
    chosen = mutants()
    if options.sample is not None:
        if not 0 < options.sample <= len(chosen) or options.record:
            parser.error(f"--sample takes 1 to {len(chosen)}, and only a whole run is recorded")
        chosen = sampled(options.sample, options.seed)
    began_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        verdicts = []
        for count, verdict in enumerate(pool.imap(killer, chosen), 1):
            verdicts.append(verdict)
            if verdict == "":
                sys.stderr.write(f"survived: {chosen[count - 1]}\n")
            _progress(count, len(chosen))
    tried = sum(verdict is not None for verdict in verdicts)
    unparsed = len(chosen) - tried
    survivors = [mutant for mutant, verdict in zip(chosen, verdicts, strict=True) if verdict == ""]
    told = result(tried, unparsed, survivors)
    sys.stdout.write(f"{told}\n{time.monotonic() - began_s:.0f} s\n")
    if options.record:
        RECORD.write_text(page(told))
    return 0 if 1 - len(survivors) / tried >= SCORE_MIN else 1


def result(tried: int, unparsed: int, survivors: Sequence[Mutant]) -> str:
    killed = tried - len(survivors)
    counts = f"{killed} of {tried} mutants killed, {unparsed} could not be parsed"
    lines = [f"{counts}: {killed / tried:.1%} (at least {SCORE_MIN:.0%} must be)"]
    return "\n".join(lines + [f"survived: {mutant}" for mutant in survivors])


def page(told: str) -> str:
    return f"""\
# Mutants of the chart's templates

Written by `scripts/chart-mutants --record`. Each mutant is one small fault: a line left out, a condition negated,
a loop over nothing, a comparison turned round. It is killed when one of the offline tests fails with it; what Helm
cannot parse does not count. `scripts/test` tries a sample, and holds this page to the templates
(`tests/chart/test_template_mutants.py`).

```text
{told}
```
"""


def _progress(count: int, total: int) -> None:
    if sys.stderr.isatty() or count % 100 == 0:
        sys.stderr.write(f"{count} of {total}{chr(13) if sys.stderr.isatty() else chr(10)}")


if __name__ == "__main__":
    sys.exit(main())
