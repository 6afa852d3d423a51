from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

WITHIN_S = 6.0
NEW = ("b", "c", "d")
NODES = ("a", *NEW)


def judged(made: Sequence[int], *, before: Sequence[int] = (500,), calls_min: int = 100) -> Verdict:
    """`made`: the calls of each of NODES from the bound to the end of the load; `before`: those until the fault."""
    trial = Trial(
        "SPREAD", spread_within_s=WITHIN_S, spread_share_min=0.3, spread_calls_min=calls_min, faults_min=1
    )
    trial.at(100).phase("load")
    trial.note("observer", "calls", nodes=dict(zip(NODES, before, strict=False)))
    trial.at(110).fault("join_service", "all")
    # What comes before the bound does not count: callers are still where they were.
    trial.at(113).note("observer", "calls", nodes={"a": 900, "b": 0, "c": 0, "d": 0})
    trial.at(110 + WITHIN_S + 1).note("observer", "calls", nodes={"a": 1000, "b": 7, "c": 7, "d": 7})
    ends = dict(zip(NODES, (1000 + made[0], *(7 + count for count in made[1:])), strict=False))
    trial.at(130).note("observer", "calls", nodes=ends)
    trial.at(131).phase("drain")
    return CHECKS["SPREAD"](trial.history())


def test_every_node_with_a_share_passes() -> None:
    verdict = judged((100, 80, 120, 60))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["calls"] == {"a": 100, "b": 80, "c": 120, "d": 60}
    assert verdict.figures["new_nodes"] == list(NEW)


def test_a_new_node_without_its_share_fails() -> None:
    verdict = judged((300, 90, 10, 0))
    assert verdict.outcome is Outcome.FAIL
    assert [each.text for each in verdict.witnesses] == [
        "c answered 10 of 400 calls after join_service of all, its share is 30 or more",
        "d answered 0 of 400 calls after join_service of all, its share is 30 or more",
    ]


def test_an_old_node_that_gets_nothing_any_more_fails_too() -> None:
    assert judged((0, 100, 100, 100)).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("made", "before", "words"),
    [
        ((20, 20, 20, 20), (500,), "80 calls were counted after the bound, 100 were expected"),
        ((100, 100, 100, 100), (500, 5, 5, 5), "no node was new"),
    ],
)
def test_what_shows_nothing_is_vacuous(made: Sequence[int], before: Sequence[int], words: str) -> None:
    verdict = judged(made, before=before)
    assert verdict.outcome is Outcome.VACUOUS
    assert words in verdict.summary


def test_without_a_look_after_the_bound_it_is_vacuous() -> None:
    trial = Trial("SPREAD", spread_within_s=WITHIN_S, spread_share_min=0.3, spread_calls_min=1)
    trial.phase("load").at(110).fault("join_service", "all").at(131).phase("drain")
    assert CHECKS["SPREAD"](trial.history()).outcome is Outcome.VACUOUS


@given(st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(sum))
def test_it_agrees_with_the_naive_restatement(made: list[int]) -> None:
    is_broken = any(count < 0.3 * sum(made) / 4 for count in made)
    assert (judged(made, calls_min=0).outcome is Outcome.FAIL) == is_broken
