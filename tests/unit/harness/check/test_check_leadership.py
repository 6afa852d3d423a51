from __future__ import annotations

from itertools import pairwise

from dispatch_trial import DispatchTrial
from hypothesis import given
from hypothesis import strategies as st

from seatrial.check import CHECKS
from seatrial.check.lead import names
from seatrial.verdict import Outcome, Verdict


def judged(trial: DispatchTrial) -> Verdict:
    return CHECKS["LD"](trial.read().history())


def led(**parameters: object) -> DispatchTrial:
    """replica-0 leads and relays a row."""
    trial = DispatchTrial("LD", **parameters).lead(1, "replica-0")
    return trial.enqueue("d1").relay("d1", epoch=1)


def test_one_leads_and_another_follows() -> None:
    trial = led().lead(2, "replica-1").enqueue("d2").record("d2", epoch=2)
    verdict = judged(trial.remove("d2", by="windlass/replica-1/engine"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["terms"] == 2


def test_a_holder_may_have_more_to_its_name_than_the_node() -> None:
    assert names("windlass/replica-0/engine", "replica-0/1c2d")
    assert names("windlass/replica-0/engine", "replica-0")
    assert not names("windlass/replica-1/engine", "replica-10")
    assert not names("windlass/replica-1/engine", "replica-0/1")


def test_epochs_rise() -> None:
    assert judged(led().lead(3, "replica-1").lead(2, "replica-0")).outcome is Outcome.FAIL
    assert judged(led().lead(1, "replica-1")).outcome is Outcome.FAIL


def test_only_the_holder_removes() -> None:
    trial = led().lead(2, "replica-1").enqueue("d2").record("d2", epoch=2)
    verdict = judged(trial.remove("d2", by="windlass/replica-0/engine"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("d2", "j2")


def test_a_session_without_a_name_is_nobody() -> None:
    trial = led().lead(2, "replica-1").enqueue("d2").record("d2")
    assert judged(trial.remove("d2", by="psql")).outcome is Outcome.PASS


def test_what_was_in_hand_may_arrive_late() -> None:
    trial = led().enqueue("d2").lead(2, "replica-1").record("d2", epoch=1)
    assert judged(trial).outcome is Outcome.PASS


def test_the_deposed_publishes_nothing_new() -> None:
    trial = led().lead(2, "replica-1").enqueue("d2").record("d2", epoch=1)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "after epoch 2 had begun" in verdict.summary


def test_a_record_of_an_epoch_that_nobody_held() -> None:
    assert judged(led().enqueue("d2").record("d2", epoch=7)).outcome is Outcome.FAIL


def claimed(overlap_s: float) -> DispatchTrial:
    trial = led(lead_overlap_s=1)
    trial.gauge("replica-0", leads=True).at(trial.now_s + 3).gauge("replica-1", leads=True)
    trial.at(trial.now_s + overlap_s).gauge("replica-0", leads=False)
    return trial.at(trial.now_s + 3).gauge("replica-1", leads=False)


def test_two_gauges_are_read_in_turn() -> None:
    assert judged(claimed(0.5)).outcome is Outcome.PASS
    assert judged(claimed(1.5)).outcome is Outcome.FAIL


def test_a_node_that_does_not_answer_claims_nothing() -> None:
    trial = led().gauge("replica-0", leads=True)
    trial.at(trial.now_s + 1).gauge("replica-0", leads=None)
    trial.at(trial.now_s + 1).gauge("replica-1", leads=True)
    assert judged(trial.at(trial.now_s + 9).gauge("replica-1", leads=False)).outcome is Outcome.PASS


def taken_over(after_s: float, target: str = "replica-0", **parameters: object) -> DispatchTrial:
    trial = led(**parameters)
    trial.fault("kill_replica", target)
    trial.at(trial.now_s + after_s).lead(2, "replica-1")
    trial.heal(target)
    return trial


def test_a_lost_leader_is_replaced_in_time() -> None:
    verdict = judged(taken_over(0.5, takeover_bound_s=1))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["leaders_hit"] == 1
    assert 0.5 <= verdict.figures["takeover_max_s"] <= 0.6
    assert judged(taken_over(1.5, takeover_bound_s=1)).outcome is Outcome.FAIL
    assert judged(taken_over(1.5, takeover_p95_bound_s=1)).outcome is Outcome.FAIL


def test_a_fault_of_another_node_takes_no_leader() -> None:
    verdict = judged(taken_over(9, target="replica-2", takeover_bound_s=1))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["leaders_hit"] == 0


def test_nobody_took_over() -> None:
    trial = led(takeover_bound_s=1)
    trial.fault("kill_replica", "replica-0").heal("replica-0")
    assert judged(trial).outcome is Outcome.FAIL


def test_an_engine_without_a_table_of_leaders_is_judged_by_its_gauges() -> None:
    trial = DispatchTrial("LD", takeover_bound_s=2).gauge("replica-0", leads=True)
    trial.at(trial.now_s + 1)
    trial.fault("kill_replica", "replica-0").gauge("replica-0", leads=None)
    trial.at(trial.now_s + 1).gauge("replica-1", leads=True)
    trial.heal("replica-0")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["leaders_hit"] == 1


def test_without_a_leader_it_is_vacuous() -> None:
    assert judged(DispatchTrial("LD")).outcome is Outcome.VACUOUS


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["replica-0", "replica-1"])), max_size=5))
def test_it_agrees_with_the_naive_restatement(terms: list[tuple[int, str]]) -> None:
    trial = DispatchTrial("LD")
    for epoch, holder in terms:
        trial.lead(epoch, holder)
    is_broken = any(
        later < earlier or (later == earlier and holder != next_)
        for (earlier, holder), (later, next_) in pairwise(terms)
    )
    assert (judged(trial).outcome is Outcome.FAIL) == is_broken
