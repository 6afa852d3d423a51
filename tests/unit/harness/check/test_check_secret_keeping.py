from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

PLACES = ("logs", "events", "release")


def judged(*looks: tuple[str, int, int], rotations: int = 1, outcome: str = "ok") -> Verdict:
    """Each look: place, how many bytes, how often a password was found in them."""
    trial = Trial("SK", places=list(PLACES))
    for _ in range(rotations):
        trial.call("fault-1", "rotate_password", {"target": "database", "parameters": {}}, outcome)
    for place, size, found in looks:
        trial.note("observer", "exposure", place=place, bytes=size, found=found)
    return CHECKS["SK"](trial.history())


CLEAN = tuple((place, 1000, 0) for place in PLACES)


def test_a_rotation_that_left_no_trace() -> None:
    verdict = judged(*CLEAN)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {"rotations": 1, "places": 3, "searched_bytes": 3000, "violations": 0}


def test_a_password_in_one_place_is_named_with_the_place() -> None:
    verdict = judged(*CLEAN, ("events", 80, 2))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == "events: 2 times a password, old or new"


def test_without_a_rotation_or_with_an_empty_place_it_is_vacuous() -> None:
    assert judged(*CLEAN, rotations=0).outcome is Outcome.VACUOUS
    empty = judged(("logs", 1000, 0), ("events", 0, 0), ("release", 10, 0))
    assert empty.outcome is Outcome.VACUOUS
    assert "events" in empty.summary


def test_a_rotation_that_broke_off_shows_nothing() -> None:
    assert judged(*CLEAN, outcome="info").outcome is Outcome.INVALID


@given(
    st.lists(
        st.tuples(st.sampled_from([*PLACES, "elsewhere"]), st.integers(0, 9), st.integers(0, 2)), max_size=8
    )
)
def test_it_agrees_with_the_naive_restatement(looks: list[tuple[str, int, int]]) -> None:
    verdict = judged(*looks)
    is_broken = any(found for _, _, found in looks)
    is_shown = all(any(place == wanted and size for place, size, _ in looks) for wanted in PLACES)
    expected = Outcome.FAIL if is_broken else Outcome.PASS if is_shown else Outcome.VACUOUS
    assert verdict.outcome is expected
