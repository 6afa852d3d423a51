"""Small faults in the chart's templates, one at a time: whether the offline tests would see each of them.

What judges a mutant is what judges the chart: the kept renders (golden.py), the table of keys (value_cases.py), the
refusals in values/bad, and the rules that rendering.py holds every render to. A mutant is killed by the first that
fails. One that Helm cannot parse is none.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from golden import CASES as GOLDEN
from golden import path_of, text_of
from overlay import BAD, read
from rendering import CHART, DATABASE, Values, merged, refusal_of, rendered
from value_cases import CASES, OWN_VARIABLES, Case, values_of

from seatrial.render import RenderError

TEMPLATES = CHART / "templates"
CONTROL = re.compile(r"\{\{-?\s*(if|else|end|range|with|define|/\*)|\*/\s*-?\}\}")
CONDITION = re.compile(r"\{\{-?\s*(?:else )?if (?P<condition>.+?)\s*-?\}\}")
BLOCK = re.compile(r"\{\{-?\s*(?:range|with) (?:\$\w+(?:, ?\$\w+)? := )?(?P<source>.+?)\s*-?\}\}")
SWAPS = {
    "and": "or",
    "or": "and",
    "eq": "ne",
    "ne": "eq",
    "gt": "lt",
    "lt": "gt",
    "ge": "lt",
    "hasPrefix": "hasSuffix",
}
PARSE_ERROR = re.compile(r"parse error|function \".*\" not defined|unexpected|undefined variable")


@dataclass(frozen=True)
class Mutant:
    """`line` counts from 1; `text` stands in the file in its place."""

    template: str
    line: int
    fault: str
    text: str

    def __str__(self) -> str:
        return f"{self.template}:{self.line} {self.fault}"


def mutants() -> list[Mutant]:
    """Every mutant there is, in the order of the files."""
    return [
        mutant
        for path in sorted(TEMPLATES.iterdir())
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for mutant in _of_line(path.name, number, line, is_prose=path.suffix == ".txt")
    ]


def _of_line(template: str, number: int, line: str, *, is_prose: bool) -> Iterator[Mutant]:
    said = line.strip()
    if not said or (said.startswith(("#", "{{/*")) and not is_prose) or said.endswith("*/}}"):
        return
    if not CONTROL.search(line):
        yield Mutant(template, number, f"without {said[:60]!r}", "")
    for found in CONDITION.finditer(line):
        condition = found["condition"]
        yield _replaced(template, number, line, found.span("condition"), f"not ({condition})", "negated")
    for found in BLOCK.finditer(line):
        yield _replaced(
            template, number, line, found.span("source"), "list", f"nothing of {found['source'][:40]!r}"
        )
    for found in re.finditer(r"(?<=[ (])(and|or|eq|ne|gt|lt|ge|hasPrefix)(?= )", line):
        if "{{" in line[: found.start()]:
            swap = SWAPS[found[0]]
            yield _replaced(template, number, line, found.span(), swap, f"{found[0]} -> {swap}")


def _replaced(template: str, number: int, line: str, span: tuple[int, int], by: str, fault: str) -> Mutant:
    return Mutant(template, number, fault, line[: span[0]] + by + line[span[1] :])


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Path]:
    """A copy of the chart with this fault."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / "windlass"
        shutil.copytree(CHART, chart)
        path = chart / "templates" / mutant.template
        lines = path.read_text().splitlines()
        lines[mutant.line - 1] = mutant.text
        path.write_text("\n".join(lines) + "\n")
        yield chart


def killer(mutant: Mutant) -> str | None:
    """What fails with this fault: its name, "" when nothing does, None for a chart that cannot be parsed."""
    with mutated(mutant) as chart:
        for name, judge in judges(mutant.template):
            try:
                judge(chart)
            except RenderError as refused:
                return None if PARSE_ERROR.search(str(refused)) else name
            except Exception:
                return name
    return ""


Judge = Callable[[Path], None]


def judges(template: str) -> Sequence[tuple[str, Judge]]:
    """Those first that tell most; the refusals first for what only refuses."""
    kept = [(f"golden {name}", _golden(name, values)) for name, values in GOLDEN.items()]
    keys = [(f"key {case.key}", lambda chart, case=case: _key(case, chart)) for case in CASES]
    refusals = [(f"refusal {path.stem}", lambda chart, path=path: _refused(path, chart)) for path in BAD]
    refusals += [("refusal of the chart's own variables", _own_variables)]
    return [*refusals, *kept, *keys] if template.startswith("_check") else [*kept, *keys, *refusals]


def _golden(name: str, values: Values) -> Judge:
    def judge(chart: Path) -> None:
        assert text_of(values, chart) == path_of(name).read_text()

    return judge


def _key(case: Case, chart: Path) -> None:
    assert case.get(rendered(values_of(case), chart=chart)) == case.expected


def _own_variables(chart: Path) -> None:
    given = merged(DATABASE, {"extraEnv": [{"name": name, "value": "x"} for name in OWN_VARIABLES]})
    told = refusal_of(given, chart=chart).splitlines()
    assert [line.split(": set ")[0] for line in told] == [f"extraEnv sets {name}" for name in OWN_VARIABLES]


def _refused(path: Path, chart: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    assert expected in refusal_of(read(path), chart=chart)
