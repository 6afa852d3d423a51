"""The rows of the contract as data: `rows/*.yaml`, one file a chapter.

A row's key is `<section> <name>`, such as `1.6 complete-other`. A row is shown by a case, or it says why none
shows it: `elsewhere` names the test of ours that does, because no caller can provoke it or it needs a broker; `kafka`
rows are about runners on a broker, which Seatrial's drills play.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROWS = Path(__file__).with_name("rows")


@dataclass(frozen=True, slots=True)
class Row:
    section: str
    name: str
    text: str
    """What must be so."""
    kafka: bool = False
    elsewhere: str | None = None
    """`path::test`, from the root of the repository."""
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The row's own values, where the contract gives examples."""

    @property
    def key(self) -> str:
        return f"{self.section} {self.name}"


@dataclass(frozen=True, slots=True)
class Section:
    number: str
    title: str
    rows: tuple[Row, ...]


@cache
def sections() -> tuple[Section, ...]:
    """In the order of the contract."""
    found = [
        section
        for path in ROWS.glob("*.yaml")
        for section in _sections(yaml.safe_load(path.read_text(encoding="utf-8")))
    ]
    return tuple(sorted(found, key=lambda section: [int(part) for part in section.number.split(".")]))


@cache
def rows() -> Mapping[str, Row]:
    """Every row by its key, in the order of the contract."""
    return {row.key: row for section in sections() for row in section.rows}


def matches(row: Row, patterns: Sequence[str]) -> bool:
    """Whether its key matches one of these shell patterns; every row does when there is none."""
    return not patterns or any(fnmatch.fnmatchcase(row.key, pattern) for pattern in patterns)


def _sections(chapter: Mapping[str, Any]) -> Iterator[Section]:
    for number, content in chapter.items():
        plain = (_row(number, name, value) for name, value in content.get("rows", {}).items())
        examples = (_example(number, str(name), data) for name, data in content.get("examples", {}).items())
        yield Section(number, content["title"], (*plain, *examples))


def _row(section: str, name: str, value: str | Mapping[str, Any]) -> Row:
    return Row(section, name, value) if isinstance(value, str) else Row(section, name, **value)


def _example(section: str, name: str, data: Mapping[str, Any]) -> Row:
    result = "an error" if data.get("error") else repr(data["result"])
    shown = f"`{data['expression']}`" if data["expression"] else "the empty string"
    return Row(section, name, f"{shown} is {result}", data=data)
