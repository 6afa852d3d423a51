"""scripts/conformance: measures an engine against the contract, row by row."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from suite import contract, report, table
from suite.boot import NotUp
from suite.run import Outcome, Result, chosen, in_order, run, untried
from suite.target import Target, attached, started

#: the address of the database holds a password, which has no place among arguments
DSN_VARIABLE = "CONFORMANCE_POSTGRES_DSN"

EXAMPLES = f"""\
examples:
  scripts/conformance                                      our engine, every row
  scripts/conformance --rows '1.6*' --rows '5.7*'          some of them
  scripts/conformance --engine-command "./engine serve"    another engine, on a database made for it
  scripts/conformance --rest http://host:8080 --grpc host:9090 --metrics http://host:9091
                                                           one that runs already; the cases' data stays in it

An engine command finds its database in WE_POSTGRES_DSN and its ports in WE_REST_PORT, WE_GRPC_PORT and
WE_METRICS_PORT. For one that runs already, {DSN_VARIABLE} and --log are needed for the rows about tables and logs.

exit codes: 0 no row differs, 1 a row differs, 2 the arguments are wrong or the engine is not up, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{row.key:<40} {row.text}" for row in contract.rows().values()))
        return 0
    if options.write_table:
        table.PAGE.parent.mkdir(exist_ok=True)
        table.PAGE.write_text(table.page(), encoding="utf-8")
        return 0
    if not any(contract.matches(row, options.rows) for row in contract.rows().values()):
        print(
            f"conformance: no row matches {', '.join(options.rows)}; --list names them all", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        try:
            results = asyncio.run(_measure(options, Path(folder)))
        except NotUp as error:
            print(f"conformance: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("conformance: interrupted; everything it started is stopped", file=sys.stderr)
            return 130
    if options.junit:
        report.write_junit(options.junit, results)
    print(report.table(results))
    print(f"\n{report.summary(results)}")
    return int(any(result.outcome is Outcome.DIFFERS for result in results))


async def _measure(options: argparse.Namespace, folder: Path) -> list[Result]:
    cases = chosen(options.rows)
    async with _target(options, folder) as target:
        results = await run(target, cases, _Progress(sum(len(case.transports) for case in cases)))
    return in_order([*results, *untried()], options.rows)


def _target(options: argparse.Namespace, folder: Path) -> AbstractAsyncContextManager[Target]:
    if options.rest or options.grpc:
        return attached(
            options.rest,
            options.grpc,
            options.metrics,
            dsn=os.environ.get(DSN_VARIABLE),
            log_path=options.log,
        )
    return started(shlex.split(options.engine_command), folder)


class _Progress:
    """A line that counts on a terminal, nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._different = 0

    def __call__(self, outcome: Outcome) -> None:
        self._done += 1
        self._different += outcome is Outcome.DIFFERS
        if sys.stderr.isatty():
            end = "\n" if self._done == self._total else ""
            print(
                f"\r{self._done}/{self._total} tried, {self._different} differ",
                end=end,
                file=sys.stderr,
                flush=True,
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conformance",
        description="Measures an engine against the contract, row by row.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--engine-command", default="windlass", metavar="CMD", help="what starts it (default: ours)"
    )
    parser.add_argument("--rest", metavar="URL", help="the REST address of an engine that is already running")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="its gRPC address")
    parser.add_argument("--metrics", metavar="URL", help="its metrics address")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where its standard output goes")
    parser.add_argument(
        "--rows", action="append", default=[], metavar="PATTERN", help="only rows like this; repeatable"
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results there as JUnit")
    parser.add_argument("--list", action="store_true", help="name every row and end")
    parser.add_argument("--write-table", action="store_true", help="write docs/conformance.md anew and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
