"""The fast part of scripts/fuzz: some six hundred cases of one seed, guided inputs, and a few of each slow client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import guided_run
import pressure_cases
import pytest
import slow_clients
from campaign import SHARES, STRANGERS, WIRE, Campaign
from case import Case, Surface
from guided_run import Target
from subject import Subject

CASES = 600
NUMBERS = 20
GUIDED_INPUTS = 500
SCALE = 0.04

pytestmark = pytest.mark.xdist_group("fuzz")


@pytest.mark.parametrize("surface", [name for name in WIRE if name in SHARES])
def test_bad_input_is_refused_and_changes_nothing(campaign: Campaign, surface: Surface) -> None:
    count = round(CASES * SHARES[surface])
    result = campaign.run(surface, count)
    assert [f"{finding.oracle}: {finding.text} {finding.case}" for finding in result.findings] == []
    assert result.cases == count
    # Both happen: an engine that refused or accepted everything would show nothing.
    assert result.refused > count / 4
    assert result.accepted > 0


@pytest.mark.parametrize("surface", STRANGERS)
def test_strangers_do_not_come_in(let_guess: Campaign, surface: Surface) -> None:
    count = round(CASES * STRANGERS[surface])
    result = let_guess.run(surface, count)
    assert [f"{finding.oracle}: {finding.text} {finding.case}" for finding in result.findings] == []
    assert result.cases == count
    assert result.refused > count / 2


def test_a_number_that_one_door_takes_is_told_by_all(campaign: Campaign) -> None:
    result = campaign.run("numbers", NUMBERS)
    assert [f"{finding.oracle}: {finding.text} {finding.case}" for finding in result.findings] == []
    assert result.cases == NUMBERS


def cases(chosen: Sequence[Case], *marks: pytest.MarkDecorator) -> list[Any]:
    return [pytest.param(case, marks=marks, id=f"{case.surface} {case.kind}") for case in chosen]


@pytest.mark.parametrize(
    "case", [*cases(pressure_cases.LIGHT), *cases(pressure_cases.HEAVY, pytest.mark.slow)]
)
def test_what_an_adversary_found_presses_on_nobody(pressed: Campaign, case: Case) -> None:
    result = pressed.replay(case)
    assert [f"{finding.oracle}: {finding.text}" for finding in result.findings] == []
    assert result.peak_bytes > 0


@pytest.mark.parametrize("target", guided_run.TARGETS)
def test_the_pure_readers_stand_guided_inputs(target: Target) -> None:
    guided = guided_run.run(target, GUIDED_INPUTS, 1)
    assert guided.finding is None
    assert guided.inputs >= GUIDED_INPUTS
    assert guided.coverage > 100


def test_slow_clients_cost_the_others_nothing(tmp_path: Path) -> None:
    with Subject(tmp_path, **slow_clients.variables(SCALE)) as subject:
        outcome = slow_clients.run(subject, SCALE)
    assert [f"{finding.oracle}: {finding.text}" for finding in outcome.findings] == []
    assert outcome.connections > sum(slow_clients.SCENARIOS.values()) * SCALE
