"""Who is told that jobs may be waiting: the parts of this node, and the others."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from windlass.dispatch.hints import Hints


class Part:
    def __init__(self) -> None:
        self.told: list[object] = []

    def wake(self, job_types: Iterable[str]) -> None:
        self.told.append(tuple(job_types))

    def wake_all(self) -> None:
        self.told.append("all")


@pytest.fixture
def parts() -> tuple[Hints, Part, Part, list[tuple[str, ...]]]:
    hints, polls, relay = Hints(), Part(), Part()
    sent: list[tuple[str, ...]] = []
    hints.subscribe(polls)
    hints.subscribe(relay)
    hints.forward_to(lambda job_types: sent.append(tuple(job_types)))
    return hints, polls, relay, sent


Wired = tuple[Hints, Part, Part, list[tuple[str, ...]]]


def test_what_happens_here_is_told_to_every_part_and_to_the_other_nodes(parts: Wired) -> None:
    hints, polls, relay, sent = parts
    hints.jobs_waiting(name for name in ("a", "b"))
    assert polls.told == relay.told == sent == [("a", "b")]


def test_what_another_node_says_goes_no_further_than_this_node(parts: Wired) -> None:
    """Otherwise two nodes would send one hint to and fro for ever."""
    hints, polls, relay, sent = parts
    hints.heard(iter(["a"]))
    hints.heard_anything()
    assert polls.told == relay.told == [("a",), "all"]
    assert sent == []


def test_events_that_another_node_relays_wake_the_other_nodes_alone(parts: Wired) -> None:
    hints, polls, relay, sent = parts
    hints.events_written()
    assert polls.told == relay.told == []
    assert sent == [("",)]
