from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, db_time

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

BOUND_S = 1.0
USUAL_S = 0.1
SETTLE_S = 3.0


def judged(trial: Trial) -> Verdict:
    return CHECKS["PK"](trial.history())


def trial(**parameters: Any) -> Trial:
    bounds: dict[str, Any] = {
        "pickup_bound_s": BOUND_S,
        "pickup_usual_s": USUAL_S,
        "pickup_settle_s": SETTLE_S,
    }
    return Trial("PK", **{**bounds, **parameters}).at(100).phase("load")


def picked_up(history: Trial, at_s: float, waited_s: float) -> Trial:
    """One job that is made at `at_s`, and leased that much later."""
    number = len(history.rows.get("job", ()))
    history.one(number).job(f"j{number}", created_at=db_time(at_s))
    history.tick_s = 0.0
    return history.at(at_s + waited_s).poll(f"j{number}").complete(f"j{number}")


def several(history: Trial, at_s: float, waits_s: Sequence[float], every_s: float = 0.1) -> Trial:
    for number, waited_s in enumerate(waits_s):
        picked_up(history, at_s + number * every_s, waited_s)
    return history


def interrupted(history: Trial, from_s: float, to_s: float) -> Trial:
    history.at(from_s).fault("stop_wake_bus", "wake bus")
    return history.at(to_s).heal("wake bus")


def probe(history: Trial, at_s: float, status: int, outcome: str = "ok") -> Trial:
    got = {"status": status, "body": {}} if outcome == "ok" else {}
    history.at(at_s).call("client-9", "probe", {"node": "replica-0", "path": "/ready"}, outcome, got)
    return history


def whole(*, before_s: float = 0.01, meanwhile_s: float = 0.4, after_s: float = 0.01) -> Trial:
    """Ten jobs before the bus is away from 110 to 115, ten meanwhile, ten some seconds after its return."""
    history = several(trial(pickups_min=10), 101, [before_s] * 10)
    history.at(110).fault("stop_wake_bus", "wake bus")
    several(history, 111, [meanwhile_s] * 10)
    history.at(115).heal("wake bus")
    return several(history, 119, [after_s] * 10).at(125).phase("drain")


def test_jobs_wait_longer_while_the_bus_is_away_and_no_longer_before_and_after() -> None:
    verdict = judged(whole())
    assert verdict.outcome is Outcome.PASS, verdict.summary
    assert verdict.figures["pickups"] == 30
    assert verdict.figures["pickup_max_s"] == 0.4
    assert verdict.figures["pickup_median_s"] == [0.01, 0.01]
    assert verdict.figures["pickup_median_during_faults_s"] == [0.4]


def test_a_job_that_waited_too_long_is_named() -> None:
    verdict = judged(picked_up(whole(), 112.5, 1.5))
    assert verdict.outcome is Outcome.FAIL
    (witness,) = verdict.witnesses
    assert witness.text == "job j30 waited 1.500 s for a waiting worker, the bound is 1 s"
    assert witness.ids == ("j30",)


@pytest.mark.parametrize(("slow", "stretch"), [({"before_s": 0.3}, 1), ({"after_s": 0.3}, 2)])
def test_a_stretch_in_which_jobs_wait_as_if_nobody_told_is_named(
    slow: dict[str, float], stretch: int
) -> None:
    verdict = judged(whole(**slow))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == (
        f"half of the jobs of stretch {stretch} waited 0.300 s or more, 0.1 s is usual"
    )


def test_soon_after_its_return_jobs_may_still_wait() -> None:
    assert judged(several(whole(), 115.1, [0.5] * 20)).outcome is Outcome.PASS


def test_without_a_usual_time_only_the_bound_counts() -> None:
    history = several(Trial("PK", pickup_bound_s=BOUND_S).at(100).phase("load"), 101, [0.45] * 20)
    assert judged(history.at(110).phase("drain")).outcome is Outcome.PASS


def test_later_leases_of_a_job_are_no_pickup() -> None:
    history = picked_up(trial(), 101, 0.01)
    history.at(140).poll("j0", token="2")
    assert judged(history.at(150).phase("drain")).figures["pickup_max_s"] == 0.01


def test_too_few_jobs_show_nothing() -> None:
    history = several(trial(pickups_min=3), 101, [0.01] * 10)
    interrupted(history, 110, 115)
    verdict = judged(several(history, 119, [0.01] * 10).at(125).phase("drain"))
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.summary.startswith("0 pickups in a stretch of time, at least 3 were expected")


def test_a_node_that_is_unready_for_it_is_named_and_one_that_does_not_answer_is_not() -> None:
    assert judged(probe(probe(whole(), 112, 200), 113, 0, "info")).outcome is Outcome.PASS
    verdict = judged(probe(whole(), 112, 503))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == (
        "replica-0 /ready answered 503, although at most hints between nodes were missing"
    )


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=30))
def test_it_agrees_with_the_waits_themselves(waits_ms: list[int]) -> None:
    waits_s = [each / 1000 for each in waits_ms]
    # Whether one of exactly the bound is within it is not the point: times are rounded to microseconds.
    history = several(trial(pickup_bound_s=1.0005, pickup_usual_s=0.5005), 101, waits_s)
    verdict = judged(history.at(120).phase("drain"))
    is_kept = max(waits_s) <= 1.0005 and statistics.median(waits_s) <= 0.5005
    assert (verdict.outcome is Outcome.PASS) is is_kept
    assert verdict.figures["pickup_max_s"] == max(waits_s)
