"""The generators: what they make is what they say, the same for the same seed, and can be kept in a file."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis
import msgspec
import pytest
from broken_json import NO_NUMBERS
from campaign import STRATEGIES
from case import INSTANCE_ID, JOB_ID, Case, Finding, Surface
from hypothesis import given

import fuzz

ULID_CHARS = 26


def drawn(surface: Surface, count: int, seed: int = 1) -> list[Case]:
    cases: list[Case] = []
    settings = hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate,),
        suppress_health_check=tuple(hypothesis.HealthCheck),
    )

    def keep(case: Case) -> None:
        cases.append(case)

    hypothesis.seed(seed)(settings(given(STRATEGIES[surface])(keep)))()
    return cases


@pytest.mark.parametrize("surface", STRATEGIES)
def test_a_seed_draws_the_same_cases(surface: Surface) -> None:
    first = drawn(surface, 40)
    assert first == drawn(surface, 40)
    assert first != drawn(surface, 40, seed=2)
    assert {case.surface for case in first} == {surface}


@pytest.mark.parametrize("surface", STRATEGIES)
def test_a_case_survives_its_file(surface: Surface) -> None:
    for case in drawn(surface, 40):
        assert Case.of_json(json.loads(json.dumps(case.as_json()))) == case


@pytest.mark.parametrize("surface", ["rest", "grpc", "definition"])
def test_there_are_cases_of_many_kinds(surface: Surface) -> None:
    cases = drawn(surface, 150)
    assert len({case.kind for case in cases}) > 12
    assert any(case.must_refuse for case in cases)
    assert not all(case.must_refuse for case in cases)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_none_anywhere(text: str) -> None:
    for document in (text, f"[{text}]", f'{{"a":{text}}}', f'{{"a":[1,{text},1]}}'):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(document)


def test_aiming_keeps_every_length() -> None:
    assert len(INSTANCE_ID) == len(JOB_ID) == ULID_CHARS
    for case in drawn("rest", 60):
        aimed = case.aimed("I" * ULID_CHARS, "J" * ULID_CHARS)
        assert len(aimed.sent) == len(case.sent)
        assert INSTANCE_ID.encode() not in aimed.sent


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no case of ours"),
        ('{"case": {"surface": "rest"}}', "no case of ours"),
        ('{"oracle": "quiet log", "text": "t", "seed": 9}', "scripts/fuzz --seed 9"),
    ],
)
def test_a_file_without_a_case_is_refused(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "finding.json"
    path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        fuzz.main(["--replay", str(path)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_finding_is_written_with_its_seed(tmp_path: Path) -> None:
    case = Case("rest", "k", b"\xff", must_refuse=True, metadata=(("a-bin", b"\0"), ("b", "c")))
    path = tmp_path / "deep" / "finding.json"
    Finding("status", "answered 500", case).write(path, 7)
    told = json.loads(path.read_text())
    assert (told["seed"], told["oracle"], Case.of_json(told["case"])) == (7, "status", case)
