"""What the repository cites: sections of docs/contract.md by number, and pages of Markdown by link and anchor."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import cache

CONTRACT = "docs/contract.md"

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]: +(\S+)|(?:src|href)=\"([^\"]+)\"",
    re.MULTILINE,
)
_SECTION = re.compile(r"^#{2,3} +(\d+(?:\.\d+)?)\.? ", re.MULTILINE)
_ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)

#: A wrapped comment: what stands between the last word of a line and the first of the next.
_WRAPPED = re.compile(r"[ \t]*\n[ \t]*(?:#:?|--|//)?[ \t]*")
_NUMBER = r"\d+(?:\.\d+)?(?!\.?\d)"
_JOINT = r"(?:,|,? and|,? or| to)"
_ROWS = rf" rows? \d+(?!\.?\d)(?:{_JOINT} \d+(?!\.?\d))*"
#: `contract 6.3`, `contract 2.1 to 2.3`, `contract 11 row 24`, `contract 1 rows 1 to 4, 1.5 and 3.6`.
CITATION = re.compile(rf"\b[Cc]ontract ({_NUMBER}(?:{_ROWS})?(?:{_JOINT} \d+\.\d+(?!\.?\d)(?:{_ROWS})?)*)")
_PART = re.compile(rf"({_NUMBER})({_ROWS})?")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page, and those that it sets itself."""
    plain = _FENCE.sub("", text)
    found: dict[str, int] = {}
    names = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", plain))
    for heading in _HEADING.findall(plain):
        name = slug(heading)
        times = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{times}" if times else name)
    return names


def slug(heading: str) -> str:
    """As GitHub makes it: the text without marks, in lower case, with hyphens for blanks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links(text: str) -> Iterator[str]:
    """Targets within the repository, as written."""
    for groups in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        target = next(filter(None, groups))
        if not re.match(r"[a-z]+:", target):
            yield target


def link_fault(page: str, target: str, pages: Mapping[str, str], paths: frozenset[str]) -> str | None:
    """Why the target does not lead anywhere; `paths` are all files and folders of the repository."""
    path, _, anchor = target.partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    if found not in paths:
        return f"{page}: {target} leads to no file"
    if anchor and anchor not in page_anchors(found, pages):
        return f"{page}: {target} leads to no heading"
    return None


def page_anchors(page: str, pages: Mapping[str, str]) -> frozenset[str]:
    return _kept_anchors(pages.get(page, ""))


@cache
def _kept_anchors(text: str) -> frozenset[str]:
    return frozenset(anchors(text))


@cache
def sections(contract: str) -> Mapping[str, frozenset[int]]:
    """Number of each section -> the numbered rows of its tables; a chapter has those of all its sections."""
    starts = [(m[1], m.start()) for m in _SECTION.finditer(contract)]
    ends = [*(start for _, start in starts[1:]), len(contract)]
    rows: dict[str, set[int]] = {}
    for (number, start), end in zip(starts, ends, strict=True):
        here = {int(row) for row in _ROW.findall(contract[start:end])}
        rows[number] = here
        rows.setdefault(number.partition(".")[0], set()).update(here)
    return {number: frozenset(found) for number, found in rows.items()}


@cache
def section_anchors(contract: str) -> Mapping[str, str]:
    """Number of each section -> its anchor."""
    headings = _HEADING.findall(contract)
    return {m[1]: slug(h) for h in headings if (m := re.match(r"(\d+(?:\.\d+)?)\.? ", h))}


def citations(text: str) -> Iterator[str]:
    """What follows `contract` in each citation, also where a comment is wrapped in the middle of it."""
    if "ontract" in text:
        yield from CITATION.findall(_WRAPPED.sub(" ", text))


def citation_faults(cited: str, contract: str) -> Iterator[str]:
    known = sections(contract)
    for number, rows in _PART.findall(cited):
        if number not in known:
            yield f"contract {number} is no section"
            continue
        for row in re.findall(r"\d+", rows):
            if int(row) not in known[number]:
                yield f"contract {number} has no row {row}"


def linked(text: str, contract: str, to_contract: str) -> str:
    """Make each citation a link; `to_contract` is the way to the page from where the text will stand."""

    def link(match: re.Match[str]) -> str:
        number = _PART.findall(match[1])[0][0]
        return f"[{match[0]}]({to_contract}#{section_anchors(contract)[number]})"

    return CITATION.sub(link, text)


def unlinked(text: str) -> Iterator[str]:
    """Citations of a page of Markdown that are no link."""
    plain = _CODE.sub("", _FENCE.sub("", text))
    yield from (match[0] for match in CITATION.finditer(re.sub(r"\[[^\]]*\]\([^)]*\)", "", plain)))
