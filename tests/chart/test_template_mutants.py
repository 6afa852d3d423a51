"""A sample of the templates' mutants is killed, and docs/chart-mutants.md counts those of these very templates."""

import re

import mutation
import pytest
from mutate import RECORD, SCORE_MIN
from mutation import TEMPLATES, Mutant, killer, mutants, sampled

SAMPLE = 10
PAGE = RECORD.read_text()
SURVIVORS = set(re.findall(r"^survived: (.*)$", PAGE, re.MULTILINE))


def test_a_sample_is_killed() -> None:
    """Whoever changes a template has the whole run, scripts/chart-mutants; this much everybody has."""
    fates = {str(mutant): killer(mutant) for mutant in sampled(SAMPLE)}
    assert {mutant for mutant, fate in fates.items() if fate == ""} <= SURVIVORS
    assert sum(fate is not None for fate in fates.values()) > SAMPLE / 2


def test_the_page_counts_the_mutants_of_these_templates() -> None:
    found = re.search(r"^(\d+) of (\d+) mutants killed, (\d+) could not be parsed", PAGE, re.MULTILINE)
    assert found is not None
    killed, tried, unparsed = map(int, found.groups())
    assert tried + unparsed == len(mutants()), "run: scripts/chart-mutants --record"
    assert killed / tried >= SCORE_MIN
    assert tried - killed == len(SURVIVORS)
    assert {str(mutant) for mutant in mutants()} >= SURVIVORS, "run: scripts/chart-mutants --record"


@pytest.mark.parametrize(
    ("old", "new", "fate"),
    [
        ("containerPort: {{ int64 $values.engine.grpc.port }}", "containerPort: 1", "golden default"),
        ("containerPort: {{ int64 $values.engine.grpc.port }}", "containerPort: {{ nonsense }}", None),
        ("", "", ""),
    ],
    ids=["a fault", "no template", "no fault"],
)
def test_the_fate_of_a_mutant_is_told(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str, fate: str | None
) -> None:
    monkeypatch.setattr(mutation, "judges", lambda _: mutation.all_judges()[:3])
    lines = (TEMPLATES / "_deployment.tpl").read_text().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if "engine.grpc.port" in line)
    line = lines[number - 1]
    assert old in line
    assert killer(Mutant("_deployment.tpl", number, "", line.replace(old, new))) == fate
