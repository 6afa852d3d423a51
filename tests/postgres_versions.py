"""Runs the tests that need a database on one PostgreSQL version after the other, and prints a table of the results.

Called by `scripts/test --postgres`. Exit code: 0 if all passed on every version, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import psycopg

from seatrial.cluster import ClusterError
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.servers import SERVERS, VARIABLE

ALL = "all"
PARTS = ("tests/integration", "tests/acceptance", "tests/conformance")
COUNTS = ("passed", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class Row:
    asked: str
    server_version: str
    """As the server itself says; "none" when there is no such server."""
    counts: tuple[int, int, int] | None = None
    """As COUNTS; None when no test ran."""

    @property
    def is_good(self) -> bool:
        return self.counts is not None and self.counts[0] > 0 and self.counts[2] == 0


def counted(junit: Path) -> tuple[int, int, int]:
    """The numbers of a JUnit file. Raises FileNotFoundError, ParseError."""
    suites = ET.parse(junit).getroot().iter("testsuite")
    total = skipped = failed = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        skipped += int(suite.get("skipped", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return total - skipped - failed, skipped, failed


def table(rows: Sequence[Row]) -> str:
    head = ("PostgreSQL", "server_version", *COUNTS)
    cells = [head, *((row.asked, row.server_version, *map(str, row.counts or ("-",) * 3)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


async def server_version(folder: Path) -> str:
    """Of a server that runs as those of the tests will. Raises ClusterError."""
    async with (
        PostgresServer(folder / "postgres.log") as server,
        await psycopg.AsyncConnection.connect(server.dsn()) as connection,
    ):
        cursor = await connection.execute("SHOW server_version")
        row = await cursor.fetchone()
    assert row is not None
    return str(row[0]).split()[0]


def run(asked: str, words: Sequence[str]) -> Row:
    os.environ[VARIABLE] = asked
    with tempfile.TemporaryDirectory(prefix="seatrial-versions-") as name:
        folder = Path(name)
        try:
            version = asyncio.run(server_version(folder))
            if asked.isdecimal() and asked != version.partition(".")[0]:
                raise ClusterError(f"asked for {asked}, and the server says {version}")
        except ClusterError as err:
            sys.stderr.write(f"PostgreSQL {asked}: {err}\n")
            return Row(asked, "none")
        junit = folder / "junit.xml"
        print(f"\nPostgreSQL {version}", flush=True)
        subprocess.run([sys.executable, "-m", "pytest", *words, f"--junitxml={junit}"], check=False)
        try:
            return Row(asked, version, counted(junit))
        except (OSError, ET.ParseError):
            return Row(asked, version)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/test --postgres", description=__doc__)
    parser.add_argument(
        "versions", help=f"{', '.join(map(str, SERVERS))}, several with commas, a folder, or {ALL}"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, help="paths and options of pytest")
    options = parser.parse_args(arguments)
    words = options.words or ["-q", "-n", "2", "--dist", "loadgroup", "-m", "not slow", *PARTS]
    asked = map(str, SERVERS) if options.versions == ALL else options.versions.split(",")
    rows = [run(each, words) for each in asked]
    print(f"\n{table(rows)}")
    return 0 if all(row.is_good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
