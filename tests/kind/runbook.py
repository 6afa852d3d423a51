"""What the runbooks tell their reader to type: blocks of shell and SQL, and such commands inside their sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_SHELL_WORDS = re.compile(r"(kubectl|helm|psql|curl|windlass|kafka-[a-z-]+\.sh) ")
_SQL_WORDS = re.compile(r"(SELECT|ANALYZE|VACUUM|INSERT|UPDATE|DELETE|ALTER|REINDEX|SET) ")


@dataclass(frozen=True)
class Passage:
    """`language` is `sh`, `sql`, or what else a block is said to be in."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.split(chr(10))[0][:40]}"


def passages() -> list[Passage]:
    return [
        passage
        for path in sorted(FOLDER.glob("*.md"))
        for passage in passages_of(path.stem, path.read_text())
    ]


def passages_of(page: str, text: str) -> Iterator[Passage]:
    for language, block in _BLOCK.findall(text):
        yield Passage(page, language, block.rstrip("\n"))
    for code in _INLINE.findall(_BLOCK.sub("", text)):
        if _SHELL_WORDS.match(code):
            yield Passage(page, "sh", code)
        elif _SQL_WORDS.match(code):
            yield Passage(page, "sql", code)
