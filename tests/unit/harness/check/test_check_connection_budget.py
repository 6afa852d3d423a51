from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

MOST, MOST_PER_NODE = 12, 6


def judged(*looks: dict[str, int], strangers: int = 0, **parameters: int) -> Verdict:
    """Each look: connections by engine; `strangers` name no engine and count in the total alone."""
    bounds = {"connections_max": MOST, "connections_per_node_max": MOST_PER_NODE, **parameters}
    trial = Trial("CB", **bounds)
    for nodes in looks:
        trial.note("observer", "sessions", total=sum(nodes.values()) + strangers, nodes=nodes)
    return CHECKS["CB"](trial.history())


def test_engines_that_come_and_go_within_the_budget() -> None:
    verdict = judged({"a": 5}, {"a": 6, "b": 2}, {"a": 6, "b": 6}, {"b": 1}, {})
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["connections"] == MOST
    assert (verdict.figures["connections_of_a_node"], verdict.figures["nodes_connected"]) == (6, 2)


def test_an_engine_that_takes_more_than_its_pool_and_two_fails() -> None:
    verdict = judged({"a": 5}, {"a": 7})
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == "a held 7 connections, it may 6"


def test_one_engine_too_many_fails_though_each_keeps_to_its_own() -> None:
    verdict = judged({"a": 5, "b": 5, "c": 5})
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == "15 connections at one time, the budget is 12"


def test_connections_that_name_no_engine_count_in_the_total() -> None:
    assert judged({"a": 6, "b": 5}, strangers=1).outcome is Outcome.PASS
    assert judged({"a": 6, "b": 5}, strangers=2).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"nodes_connected_min": 3}, "2 engines were connected"),
        ({"connections_of_a_node_min": 5}, "no pool was full"),
    ],
)
def test_a_budget_that_nobody_came_near_shows_nothing(wanted: dict[str, int], words: str) -> None:
    verdict = judged({"a": 4, "b": 4}, **wanted)
    assert verdict.outcome is Outcome.VACUOUS
    assert words in verdict.summary


def test_without_a_look_it_is_vacuous() -> None:
    assert judged().outcome is Outcome.VACUOUS


@given(
    st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 8), min_size=1), min_size=1, max_size=6)
)
def test_it_agrees_with_the_naive_restatement(looks: list[dict[str, int]]) -> None:
    is_broken = any(sum(nodes.values()) > MOST or max(nodes.values()) > MOST_PER_NODE for nodes in looks)
    assert (judged(*looks).outcome is Outcome.FAIL) == is_broken
