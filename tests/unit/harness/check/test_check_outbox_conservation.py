from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatch_trial import DispatchTrial
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import db_time

from seatrial.check import CHECKS
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict


def judged(trial: DispatchTrial) -> Verdict:
    return CHECKS["OC"](trial.read().history())


def trial(**parameters: object) -> DispatchTrial:
    made = DispatchTrial("OC", **parameters)
    made.one(1)
    return made


def test_every_row_is_published_or_waits() -> None:
    verdict = judged(trial().enqueue("d1").enqueue("d2").relay("d1"))
    assert verdict.outcome is Outcome.PASS
    assert (verdict.figures["published"], verdict.figures["left"]) == (1, 1)


def test_a_row_may_be_dropped_when_nobody_waits_for_its_job() -> None:
    verdict = judged(trial().enqueue("d1").remove("d1", status="COMPLETED"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["dropped"] == 1


def test_a_row_may_be_dropped_for_a_later_one_of_its_job() -> None:
    made = trial().enqueue("d1").remove("d1").fail_job("j1").enqueue("d2", job="j1", instance="i1")
    assert judged(made.relay("d2", job="j1", instance="i1")).outcome is Outcome.PASS


def test_a_row_that_is_removed_unpublished_is_lost() -> None:
    verdict = judged(trial().enqueue("d1").remove("d1"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].ids[:2] == ("d1", "j1")


def test_a_row_is_never_removed_before_the_broker_has_it() -> None:
    made = trial().enqueue("d1")
    early_s = made.now_s + 0.001
    verdict = judged(made.record("d1").remove("d1", at_s=early_s))
    assert verdict.outcome is Outcome.FAIL
    assert "before the broker had it" in verdict.summary


def test_a_row_that_vanished_without_a_removal() -> None:
    made = trial().enqueue("d1").record("d1")
    made.waiting.clear()
    assert judged(made).outcome is Outcome.FAIL


def test_copies_share_the_dedup_id_and_may_be_limited() -> None:
    assert judged(trial().enqueue("d1").record("d1").relay("d1")).figures["republished"] == 1
    assert judged(trial(republished_max=1).enqueue("d1").record("d1").relay("d1")).outcome is Outcome.PASS
    assert judged(trial(republished_max=0).enqueue("d1").record("d1").relay("d1")).outcome is Outcome.FAIL


def test_what_came_after_the_outbox_audit_was_read_is_not_judged() -> None:
    made = trial().enqueue("d1").relay("d1").read().at(150)
    made.record("d9")
    assert CHECKS["OC"](made.history()).outcome is Outcome.PASS


def test_a_record_of_nobody() -> None:
    assert judged(trial().enqueue("d1").relay("d1").record("d9")).outcome is Outcome.FAIL


def test_a_record_that_is_no_event() -> None:
    made = trial().enqueue("d1").relay("d1")
    place = {"destination": made.destinations["work"], "partition": 0, "position": 9}
    made.note("observer", "record", **place, at=db_time(made.now_s), cause="truncated")
    assert judged(made).outcome is Outcome.FAIL


def test_a_record_says_what_its_row_says() -> None:
    changes: Mapping[str, Any]
    for changes in (
        {"job_id": "j2"},
        {"instance_id": "i2"},
        {"destination": "queue of other"},
        {"ordering_key": "i2"},
        {"envelope_dedup_id": "d2"},
        {"envelope_dedup_id": None},
    ):
        verdict = judged(trial().enqueue("d1").relay("d1", **changes))
        assert verdict.outcome is Outcome.FAIL, changes


def test_a_redelivery_that_was_due() -> None:
    made = trial(redelivery_s=5).enqueue("d1").relay("d1")
    verdict = judged(made.at(made.now_s + 5).enqueue("d2", job="j1", instance="i1"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["redelivered"] == 1


def test_a_redelivery_that_was_not_due() -> None:
    made = trial(redelivery_s=5).enqueue("d1").relay("d1")
    assert judged(made.at(made.now_s + 4).enqueue("d2", job="j1", instance="i1")).outcome is Outcome.FAIL
    waiting = trial(redelivery_s=5).enqueue("d1")
    assert (
        judged(waiting.at(waiting.now_s + 9).enqueue("d2", job="j1", instance="i1")).outcome is Outcome.FAIL
    )


def test_a_retry_is_dispatched_at_once() -> None:
    made = trial(redelivery_s=5).enqueue("d1").relay("d1").fail_job("j1", token=None)
    assert judged(made.enqueue("d2", job="j1", instance="i1")).outcome is Outcome.PASS
    refused = trial(redelivery_s=5).enqueue("d1").relay("d1").fail_job("j1", token=None, outcome="fail")
    assert judged(refused.enqueue("d2", job="j1", instance="i1")).outcome is Outcome.FAIL


def test_without_a_row_it_is_vacuous_and_without_the_outbox_audit_invalid() -> None:
    assert judged(trial()).outcome is Outcome.VACUOUS
    assert CHECKS["OC"](trial().enqueue("d1").relay("d1").history()).outcome is Outcome.INVALID


# -- against a naive restatement -------------------------------------------------------------------


@st.composite
def trials(draw: st.DrawFn) -> DispatchTrial:
    made = trial(redelivery_s=5)
    for number in range(draw(st.integers(1, 4))):
        row = f"d{number}"
        made.at(made.now_s + draw(st.sampled_from([0.0, 2.0, 6.0])))
        made.enqueue(row, job="j1", instance="i1")
        happens = draw(st.lists(st.sampled_from(["record", "remove", "fail"]), max_size=4))
        for what in happens:
            if what == "record":
                made.record(row, job="j1", instance="i1")
            elif what == "fail":
                made.fail_job("j1", token=None, retryable=draw(st.booleans()))
            elif row in made.waiting:
                made.remove(row, status=draw(st.sampled_from(["UNLOCKED", "COMPLETED"])))
    return made


def is_broken(history: History) -> bool:
    lines = [op.value for op in history.rows("outbox_line")]
    records = [op.value for op in history.rows("record")]
    enqueued = [line for line in lines if line["what"] == "enqueued"]
    removed = {line["dedup_id"]: line for line in lines if line["what"] == "removed"}
    hasty = 0
    for number, line in enumerate(enqueued):
        gone = removed.get(line["dedup_id"])
        own = [record for record in records if record["dedup_id"] == line["dedup_id"]]
        is_last = number == len(enqueued) - 1
        if gone and own and gone["at"] < min(record["at"] for record in own):
            return True
        if gone and not own and gone["job_status"] == "UNLOCKED" and is_last:
            return True
        if not is_last:
            taken = min([record["at"] for record in own] or [gone["at"]]) if gone else ""
            hasty += not gone or not _is_due(taken, enqueued[number + 1]["at"])
    fails = sum(bool(call.invoke.value["retryable"]) for call in history.calls_of("fail_job"))
    return hasty > fails


def _is_due(gone: str, later: str) -> bool:
    from datetime import datetime

    return (datetime.fromisoformat(later) - datetime.fromisoformat(gone)).total_seconds() >= 5


@given(trials())
def test_it_agrees_with_the_naive_restatement(made: DispatchTrial) -> None:
    history = made.read().history()
    assert (CHECKS["OC"](history).outcome is Outcome.FAIL) == is_broken(history)
