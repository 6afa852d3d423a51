from __future__ import annotations

import msgspec
from dispatch_trial import DispatchTrial
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

BOUNDS = {"transaction_age_max_s": 2, "drain_ratio_min": 3}


def judged(trial: DispatchTrial) -> Verdict:
    return CHECKS["BO"](trial.read().history())


def away(
    *,
    ages: list[float] | None = None,
    drain_s: float = 1.0,
    rows: int = 20,
    refused: bool = False,
    **parameters: object,
) -> DispatchTrial:
    """The broker is away for 10 s, in which `rows` rows come in evenly; they drain within `drain_s`."""
    trial = DispatchTrial("BO", **{**BOUNDS, **parameters})
    begun = trial.now_s
    trial.fault("stop_broker", "broker")
    for number in range(rows):
        trial.at(begun + 10 * (number + 1) / (rows + 1)).enqueue(f"d{number}")
        trial.start(f"i{number}", outcome="info" if refused and number == 3 else "ok")
        age_s = (ages or [0.0])[number % len(ages or [0.0])]
        trial.note("observer", "outbox_depth", rows=number + 1, transaction_age_s=age_s)
    trial.at(begun + 10).heal("broker")
    trial.at(begun + 10.2).note("observer", "outbox_depth", rows=rows, transaction_age_s=0.0)
    trial.at(begun + 10.2 + drain_s).note("observer", "outbox_depth", rows=0, transaction_age_s=0.0)
    return trial


def test_starts_go_on_and_the_backlog_drains() -> None:
    verdict = judged(away())
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["backlog"] == 20
    assert verdict.figures["arrival_per_s"] == 2.1
    assert verdict.figures["drain_ratio"] == 9.5


def test_a_transaction_stayed_open() -> None:
    assert judged(away(ages=[0.0, 1.9])).outcome is Outcome.PASS
    assert judged(away(ages=[0.0, 2.1])).outcome is Outcome.FAIL


def test_a_start_was_refused() -> None:
    assert judged(away(refused=True)).outcome is Outcome.FAIL


def test_a_replica_that_is_not_there_says_nothing_about_the_broker() -> None:
    trial = away()
    first = next(number for number, op in enumerate(trial.ops) if op.f == "start")
    trial.at(trial.ops[first].t_s)
    again = Trial("BO").at(trial.now_s).start("i99", outcome="fail", status=0, code="connection-refused")
    trial.ops[first:first] = [msgspec.structs.replace(op, call=900) for op in again.ops]
    assert judged(trial).outcome is Outcome.PASS


def test_the_backlog_drained_too_slowly_or_never() -> None:
    assert judged(away(drain_s=3.0)).outcome is Outcome.PASS
    assert judged(away(drain_s=5.0)).outcome is Outcome.FAIL
    trial = away()
    trial.ops = trial.ops[:-1]
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "never drained" in verdict.summary


def test_it_is_vacuous_where_nothing_waited() -> None:
    assert judged(away(backlog_min=50)).outcome is Outcome.VACUOUS
    assert judged(DispatchTrial("BO", **BOUNDS)).outcome is Outcome.VACUOUS


@given(
    ages=st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=1, max_size=5),
    drain_s=st.sampled_from([0.5, 2.0, 6.0]),
    refused=st.booleans(),
)
def test_it_agrees_with_the_naive_restatement(ages: list[float], drain_s: float, *, refused: bool) -> None:
    arrival_per_s = 20 / (10 * 20 / 21)
    is_broken = max(ages) > 2 or 20 / drain_s / arrival_per_s < 3 or refused
    assert (judged(away(ages=ages, drain_s=drain_s, refused=refused)).outcome is Outcome.FAIL) == is_broken
