from __future__ import annotations

from dispatch_trial import DispatchTrial
from hypothesis import given
from hypothesis import strategies as st

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict


def judged(trial: DispatchTrial) -> Verdict:
    return CHECKS["PO"](trial.read().history())


def made(*rows: str, instance: str = "i1", **rest: object) -> DispatchTrial:
    trial = DispatchTrial("PO")
    trial.one(1)
    for row in rows:
        trial.enqueue(row, instance=instance, **rest)  # type: ignore[arg-type]
    return trial


def published(trial: DispatchTrial, *rows: str) -> DispatchTrial:
    for row in rows:
        trial.record(row, instance="i1")
    return trial


def test_jobs_of_one_instance_come_in_their_order() -> None:
    verdict = judged(published(made("d1", "d2", "d3"), "d1", "d2", "d3"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["pairs_compared"] == 2


def test_one_overtook_another() -> None:
    verdict = judged(published(made("d1", "d2", "d3"), "d1", "d3", "d2"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids == ("i1", "d3", "d2")


def test_a_copy_is_no_new_publication() -> None:
    assert judged(published(made("d1", "d2"), "d1", "d2", "d1")).outcome is Outcome.PASS


def test_instances_and_topics_are_independent() -> None:
    trial = made("d1").enqueue("d2", instance="i2").enqueue("d3", instance="i1", job_type="other")
    trial.record("d3", instance="i1", job_type="other").record("d2", instance="i2").record(
        "d1", instance="i1"
    )
    assert judged(trial).outcome is Outcome.PASS


def test_one_key_in_two_partitions() -> None:
    trial = made("d1", "d2").record("d1", instance="i1").record("d2", instance="i1", partition=1)
    assert judged(trial).outcome is Outcome.FAIL


def test_what_is_not_published_is_not_judged() -> None:
    assert judged(published(made("d1", "d2", "d3"), "d1", "d3")).outcome is Outcome.PASS
    assert judged(made("d1")).outcome is Outcome.VACUOUS


@given(st.lists(st.sampled_from(["d1", "d2", "d3", "d4"]), max_size=8))
def test_it_agrees_with_the_naive_restatement(order: list[str]) -> None:
    first = list(dict.fromkeys(order))
    is_broken = first != sorted(first)
    verdict = judged(published(made("d1", "d2", "d3", "d4"), *order))
    assert (verdict.outcome is Outcome.FAIL) == is_broken
