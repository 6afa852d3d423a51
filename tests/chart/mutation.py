"""Small faults in the chart's templates, one at a time: whether the offline tests would see each of them.

What judges a mutant is what judges the chart: the kept renders (golden.py), the table of keys (value_cases.py), the
refusals in values/bad, and the rules that rendering.py holds every render to. A mutant is killed by the first that
fails. One that Helm cannot parse is none.

Most faults change few of the renders, and what a judge thinks of an unchanged one is known: only those that differ are
judged again.
"""

import functools
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import helm_python
from fields import Case
from golden import CASES as GOLDEN
from golden import path_of, text_of
from overlay import BAD, read
from rendering import CHART, DATABASE, Values, merged, refusal_of, rendered
from value_cases import CASES, OWN_VARIABLES, values_of

TEMPLATES = CHART / "templates"
COMMENT = re.compile(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", re.DOTALL)
CONTROL = re.compile(r"\{\{-?\s*(if|else|end|range|with|define)")
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
        for number, line in enumerate(_without_comments(path.read_text()).splitlines(), 1)
        for mutant in _of_line(path.name, number, line, is_prose=path.suffix == ".txt")
    ]


def sampled(count: int, seed: int = 7) -> list[Mutant]:
    """So many of them, spread over all; the same ones each time."""
    return random.Random(seed).sample(mutants(), count)


def _without_comments(text: str) -> str:
    """Each line stays at its number."""
    return COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)


def _of_line(template: str, number: int, line: str, *, is_prose: bool) -> Iterator[Mutant]:
    said = line.strip()
    if not said or (said.startswith("#") and not is_prose):
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
        if line.rfind("{{", 0, found.start()) > line.rfind("}}", 0, found.start()):
            swap = SWAPS[found[0]]
            yield _replaced(template, number, line, found.span(), swap, f"{found[0]} -> {swap}")


def _replaced(template: str, number: int, line: str, span: tuple[int, int], by: str, fault: str) -> Mutant:
    return Mutant(template, number, fault, line[: span[0]] + by + line[span[1] :])


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Path]:
    """A copy of the chart with this fault, and without its schema: that has its own tests, and doubles each render."""
    with _copied() as chart:
        path = chart / "templates" / mutant.template
        lines = path.read_text().splitlines()
        lines[mutant.line - 1] = mutant.text
        path.write_text("\n".join(lines) + "\n")
        yield chart


@contextmanager
def _copied() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / "windlass"
        shutil.copytree(CHART, chart)
        (chart / "values.schema.json").unlink()
        yield chart


@dataclass(frozen=True, eq=False)
class Judge:
    """`finds` raises for a chart that is wrong, as its render with `values` shows."""

    name: str
    values: Values
    finds: Callable[[Path], None]
    release: str = "rel"


def killer(mutant: Mutant) -> str | None:
    """What fails with this fault: its name, "" when nothing does, None for a chart that cannot be parsed."""
    with mutated(mutant) as chart, helm_python.Chart.load(chart) as loaded:
        for judge in judges(mutant):
            told = _told(loaded, judge)
            if isinstance(told, str) and PARSE_ERROR.search(told):
                return None
            if told == _told_without_fault(judge):
                continue
            try:
                judge.finds(chart)
            except Exception:
                return judge.name
    return ""


Told = Mapping[str, str] | str


def _told(chart: helm_python.Chart, judge: Judge) -> Told:
    """Each template's text, or why there is none."""
    try:
        return chart.render(dict(judge.values), name=judge.release, namespace="ns")
    except helm_python.HelmError as refused:
        return str(refused)


@functools.cache
def _told_without_fault(judge: Judge) -> Told:
    """Raises when the judge finds one nevertheless: it would kill every mutant."""
    judge.finds(CHART)
    with helm_python.Chart.load(CHART) as loaded:
        return _told(loaded, judge)


def judges(mutant: Mutant) -> Sequence[Judge]:
    """For what only refuses, those first that speak of what stands on the line: a fault is seen by few of them."""
    if not mutant.template.startswith("_check"):
        return all_judges()
    lines = (TEMPLATES / mutant.template).read_text().splitlines()
    said = _words("\n".join(lines[max(0, mutant.line - 2) : mutant.line + 1]))
    return sorted(all_judges(), key=lambda judge: -len(said & _words(judge.name + repr(judge.values))))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-zA-Z]{4,}", text))


@functools.cache
def all_judges() -> Sequence[Judge]:
    kept = [Judge(f"golden {name}", values, _golden(name, values)) for name, values in GOLDEN.items()]
    keys = [
        Judge(f"key {case.key}={case.value}"[:60], values_of(case), functools.partial(_key, case))
        for case in CASES
    ]
    refusals = [
        Judge(f"refusal {path.stem}", read(path), functools.partial(_refused, path))
        for path in BAD
        if not refusal_of(read(path)).startswith("- at '")  # by the schema, and no template sees it
    ]
    return [
        *kept,
        *keys,
        *refusals,
        Judge("refusal of the chart's own variables", OWN, _own_variables),
        Judge("refusal of a release's name", DATABASE, _own_name, release="1st"),
    ]


def _golden(name: str, values: Values) -> Callable[[Path], None]:
    def judge(chart: Path) -> None:
        assert text_of(values, chart) == path_of(name).read_text()

    return judge


def _key(case: Case, chart: Path) -> None:
    assert case.get(rendered(values_of(case), chart=chart)) == case.expected


OWN: Values = merged(DATABASE, {"extraEnv": [{"name": name, "value": "x"} for name in OWN_VARIABLES]})


def _own_variables(chart: Path) -> None:
    told = refusal_of(OWN, chart=chart).splitlines()
    assert [line.split(": set ")[0] for line in told] == [f"extraEnv sets {name}" for name in OWN_VARIABLES]


def _refused(path: Path, chart: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    assert expected in refusal_of(read(path), chart=chart)


def _own_name(chart: Path) -> None:
    assert "gives the Service name 1st-windlass" in refusal_of(DATABASE, "1st", chart)
