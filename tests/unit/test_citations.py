"""Every citation leads somewhere: to a section of docs/contract.md, or to a page and a heading that are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from citations import (
    CONTRACT,
    anchors,
    citation_faults,
    citations,
    link_fault,
    linked,
    links,
    sections,
    unlinked,
)
from folders import FOLDERS

ROOT = Path(__file__).parents[2]
UNREAD = frozenset({"__pycache__", "node_modules", "build", "dist", "corpus", "secrets"})
BINARY = frozenset({".png", ".pyc", ".tgz", ".so", ".gz"})
ITSELF = "tests/unit/test_citations.py"

LEADS_NOWHERE: Mapping[str, str] = {
    r"(?<![\w/-])(?:drills|design|brokers|style|chart)\.md\b": "(drills.md A.4)",
    r"\bcontract-2\.md\b": "(contract-2.md 7)",
    r"(?<!docs/)(?<!\]\()(?<!\")\bcontract\.md\b": "written from contract.md 2.1",
    r"\b[Dd]esign \d": "in the pure core (design 2.4)",
    r"\b[Ss]eeds?(?:'s)? 0\d\d\b": "Seed 001 promises a job",
    r"\b[Ss]eed (?:engine|promise|document)s?\b": "as the seed engine spells it",
    r"\b[Qq]uickstart (?:Path|[A-F]\.\d)": "the mode flips (quickstart Path E)",
    r"\bPath [A-F]\b": "in order (Path D)",
    r"(?<![\w%'\".-])[A-E]\.\d{1,2}\b(?!['\".])": "every one that is (B.2, B.4)",
    r"(?<![\w%'\".-])[CR] \d{1,2}\b(?!['\"])": "a poison job ends (C 24)",
    r"\(R\d{1,2}\)|\bR\d{1,2}[,;]? (?:and|in)\b": "its relay goes on (R7)",
    r"(?<![\w/.&#%{-])[a-z][a-z_-]*#\d{2,}\b": "nobody drills it (aegra#547)",
}
"""Words that stand for a document that is not in the repository, each with a sentence that has them."""


@cache
def files() -> Mapping[str, Path]:
    """By the path from the root; `.git` is a file in a worktree."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    found += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {path.relative_to(ROOT).as_posix(): path for path in sorted(found)}
    return {
        name: path
        for name, path in named.items()
        if not UNREAD & set(name.split("/")) and ".egg-info/" not in name
    }


@cache
def texts() -> Mapping[str, str]:
    """Every text file; locks hold no sentences of ours."""
    return {
        name: path.read_text(encoding="utf-8")
        for name, path in files().items()
        if path.suffix not in BINARY | {".lock"}
    }


@cache
def paths() -> frozenset[str]:
    folders = {folder.as_posix() for name in files() for folder in Path(name).parents}
    return frozenset({*files(), *folders})


@cache
def pages() -> Mapping[str, str]:
    return {path: text for path, text in texts().items() if path.endswith(".md")}


# -- the rules, each for one file


def cites_what_is_there(path: str, text: str) -> Iterator[str]:
    for cited in citations(text):
        for fault in citation_faults(cited, texts()[CONTRACT]):
            yield f"{path}: {fault} of {CONTRACT}"


def links_to_what_is_there(path: str, text: str) -> Iterator[str]:
    if path.endswith(".md"):
        yield from filter(None, (link_fault(path, target, pages(), paths()) for target in links(text)))


def links_its_citations(path: str, text: str) -> Iterator[str]:
    if path.endswith(".md"):
        for cited in unlinked(text):
            yield f"{path}: {cited!r} is no link; readers of a page follow one"


def names_what_is_there(path: str, text: str) -> Iterator[str]:
    if path != ITSELF:
        for pattern, compiled in _nowhere().items():
            for match in compiled.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {match[0]!r} leads nowhere ({pattern})"


@cache
def _nowhere() -> Mapping[str, re.Pattern[str]]:
    return {pattern: re.compile(pattern) for pattern in LEADS_NOWHERE}


Rule = Callable[[str, str], Iterator[str]]
RULES: tuple[Rule, ...] = (
    cites_what_is_there,
    links_to_what_is_there,
    links_its_citations,
    names_what_is_there,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file(rule: Rule) -> None:
    assert [fault for path, text in texts().items() if path != ITSELF for fault in rule(path, text)] == []


# -- that the rules find what they should


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("# as contract 6.3 and 6.4 have it\n", 0),
        ("# as contract 6.9 has it\n", 1),
        ("# every row (contract 5.1, 5.2 and 13.1)\n", 1),
        ("# the relay (contract\n# 6.99) waits\n", 1),
        ("-- Contract 2.1 to 2.9 are messages.\n", 1),
        ('"""Contract 1 rows 1 to 4, 1.5 and 3.6: uploads."""\n', 0),
        ('"""Contract 1 rows 1 to 99, 1.5 and 3.66: uploads."""\n', 2),
        ("# nothing is open (contract 11 row 14), and 99 others\n", 0),
        ("# nothing is open (contract 11\n#: row 77)\n", 1),
        ("# a contract for 12 months\n", 0),
    ],
)
def test_a_section_or_row_that_is_not_there_is_seen(text: str, faults: int) -> None:
    assert len(list(cites_what_is_there("engine/windlass/x.py", text))) == faults


@pytest.mark.parametrize(
    ("target", "faults"),
    [
        ("contract.md", 0),
        ("contract.md#63-relay", 0),
        ("contract.md#63-relays", 1),
        ("#63-relay", 1),
        ("../engine/README.md#fencing", 0),
        ("../engine/windlass/", 0),
        ("../engine/READYOU.md", 1),
        ("https://www.postgresql.org/docs/", 0),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(target: str, faults: int) -> None:
    for form in ("See [this]({}).\n", "[this]: {}\n", '<a href="{}">this</a>\n'):
        assert len(list(links_to_what_is_there("docs/rest.md", form.format(target)))) == faults


def test_links_in_code_are_no_links() -> None:
    assert list(links_to_what_is_there("docs/rest.md", "```md\n[a](b.md)\n```\n`[a](b.md)`\n")) == []


def test_a_citation_in_markdown_is_a_link() -> None:
    assert len(list(links_its_citations("README.md", "leases end (contract 5.5)\n"))) == 1
    contract = "# The contract\n\n## 5. Execution\n\n### 5.5 Expired leases\n"
    text = linked("leases end (contract 5.5)", contract, "docs/contract.md")
    assert text == "leases end ([contract 5.5](docs/contract.md#55-expired-leases))"
    assert list(links_its_citations("README.md", text)) == []


@pytest.mark.parametrize("pattern", LEADS_NOWHERE)
def test_a_word_that_leads_nowhere_is_seen(pattern: str) -> None:
    found = list(names_what_is_there("harness/seatrial/drills/x.py", f'"""{LEADS_NOWHERE[pattern]}"""\n'))
    assert any(f"({pattern})" in fault for fault in found)


@pytest.mark.parametrize(
    "text",
    [
        "[the contract](contract.md#1-rest)",
        "docs/contract.md",
        "random.Random(seed)",
        "a%C3%A9",
        "helm/charts#7127",
    ],
)
def test_words_that_lead_somewhere_are_let_be(text: str) -> None:
    assert list(names_what_is_there("docs/rest.md", text)) == []


def test_the_files_are_looked_at() -> None:
    known = {
        "README.md",
        "scripts/drill",
        "engine/windlass/store/sql/job.sql",
        "charts/windlass/README.md",
        ".ci/run",
    }
    assert known <= texts().keys()
    assert sum(len(list(citations(text))) for text in texts().values()) > 150
    assert "fencing" in anchors(pages()["engine/README.md"])


def test_the_sections_of_the_contract_are_whole() -> None:
    """Each chapter is there, and its sections count from 1 without a gap: a number once given stays."""
    found = sections(texts()[CONTRACT])
    assert [number for number in found if "." not in number] == [str(n) for n in range(1, 13)]
    for chapter in range(1, 13):
        numbers = [int(number.partition(".")[2]) for number in found if number.startswith(f"{chapter}.")]
        assert numbers == list(range(1, len(numbers) + 1))
    assert found["11"] == frozenset(range(1, 36))
