"""The Limits table in engine/README.md is measured: each row has a test that is marked with its first words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import readme_limits

FOLDER = Path(__file__).parents[1] / "acceptance"


def measured(text: str) -> Iterator[str]:
    """The rows that the tests of a module say they measure."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.limit":
                    yield ast.literal_eval(mark.args[0])


def test_each_row_is_measured_and_nothing_else() -> None:
    found = {row for path in FOLDER.glob("test_*.py") for row in measured(path.read_text())}
    assert found == {what for what, *_ in readme_limits.rows()}


def test_each_row_says_what_it_protects_and_nothing_else_does() -> None:
    assert set(readme_limits.PROTECTS) == {what for what, *_ in readme_limits.rows()}


def test_a_mark_is_seen_only_on_a_test() -> None:
    mark = "@pytest.mark.limit('a row')\n"
    assert list(measured(f"{mark}async def test_it(): ...")) == ["a row"]
    assert list(measured(f"{mark}async def it(): ...")) == []
    assert list(measured("@pytest.mark.slow\nasync def test_it(): ...")) == []
