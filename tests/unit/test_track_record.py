"""The track record names commits, guards, drills and mutants that exist."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from seatrial.drills import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/track-record.md"
MUTANTS = ROOT / "tests/mutants"

COLUMNS = 4
_COMMIT = re.compile(r"`([0-9a-f]{7})`")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_DRILL = re.compile(rf"\bdrill {_LINK.pattern}")
_MUTANT = re.compile(rf"\bmutant {_LINK.pattern}")


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, without headings."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [
        row
        for n, row in enumerate(cells)
        if set("".join(row)) - set("- |")
        and not (n + 1 < len(cells) and set("".join(cells[n + 1])) <= set("- |"))
    ]


ROWS = rows(PAGE.read_text(encoding="utf-8"))


def history() -> frozenset[str]:
    """The abbreviated hash of every commit that led here.

    Where they cannot be known, the test ends with the reason. A shallow clone is an expected failure and no skip, since
    CI may have made it and cannot install what is missing.
    """
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone: these files came without the repository's history")

    def said(*arguments: str) -> str:
        return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    if said("rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.xfail("needs the whole history, and this clone is shallow: git fetch --unshallow")
    return frozenset(commit[:7] for commit in said("rev-list", "HEAD").split())


def mutant_files() -> dict[str, Path]:
    """Mutant -> the file that holds it."""
    engines = runpy.run_path(str(MUTANTS / "catalogue.py"))["MUTANTS"]
    charts = runpy.run_path(str(MUTANTS / "chart_catalogue.py"))["CHART_MUTANTS"]
    return {each.name: MUTANTS / f"{each.name}.py" for each in engines} | {
        each.name: MUTANTS / "chart_catalogue.py" for each in charts
    }


def test_rows_are_read_without_headings() -> None:
    text = "# A\n\n| what | by |\n| --- | --- |\n| a | b |\n| c | - |\n\n| what | by |\n| --- | --- |\n| d | e |\n"
    assert rows(text) == [["a", "b"], ["c", "-"], ["d", "e"]]
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_says_what_by_whom_where_and_what_guards_it(row: list[str]) -> None:
    assert len(row) == COLUMNS, row
    assert all(row), row
    assert _COMMIT.fullmatch(row[2]), f"one commit of seven digits, in backticks: {row[2]}"
    assert _LINK.search(row[3]), f"the guard is a link to a test, a drill or a mutant: {row[3]}"


def test_each_commit_is_in_the_history() -> None:
    known = history()
    named = {commit for row in ROWS for cell in row for commit in _COMMIT.findall(cell)}
    assert named <= known, f"no such commits: {sorted(named - known)}"


def test_each_guard_exists() -> None:
    for row in ROWS:
        for text, target in _LINK.findall(row[3]):
            assert (PAGE.parent / target).is_file(), f"{text} leads to {target}"


def test_each_drill_is_in_the_catalogue_and_leads_to_its_file() -> None:
    named = _DRILL.findall(PAGE.read_text(encoding="utf-8"))
    assert named
    for id, target in named:
        assert id in CATALOGUE, id
        module = f"{CATALOGUE[id].scenario.__module__.replace('.', '/')}.py"
        assert (PAGE.parent / target).resolve() == ROOT / "harness" / module, id


def test_each_mutant_exists_and_leads_to_its_file() -> None:
    files = mutant_files()
    named = _MUTANT.findall(PAGE.read_text(encoding="utf-8"))
    assert named
    for name, target in named:
        assert name in files, name
        assert (PAGE.parent / target).resolve() == files[name], name
