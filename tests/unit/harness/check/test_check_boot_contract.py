from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

REFUSED: dict[str, Any] = {
    "case": "wrong DSN",
    "exit_code": 1,
    "stderr": "WE_POSTGRES_DSN: no database answers at 127.0.0.1:1; start it or correct the DSN",
    "expected": "WE_POSTGRES_DSN",
    "duration_s": 0.4,
    "bound_s": 10.0,
    "processes_left": 0,
}


def judged(*boots: dict[str, Any]) -> Verdict:
    trial = Trial("BC")
    for boot in boots:
        trial.note("observer", "boot", **boot)
    return CHECKS["BC"](trial.history())


def test_a_boot_is_refused_with_its_cause() -> None:
    verdict = judged(
        REFUSED, {**REFUSED, "case": "both named", "expected": ["WE_POSTGRES_DSN", "correct the DSN"]}
    )
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["cases"] == 2


def test_it_may_take_as_long_as_its_bound() -> None:
    assert judged({**REFUSED, "duration_s": 10.0}).outcome is Outcome.PASS


def test_each_broken_promise_is_named() -> None:
    for change, words in (
        ({"exit_code": 0}, "exited 0"),
        ({"exit_code": None}, "still ran"),
        ({"exit_code": -9}, "signal 9"),
        ({"duration_s": 10.5}, "the bound is 10 s"),
        ({"expected": "sslmode"}, "does not name 'sslmode'"),
        ({"expected": ["WE_POSTGRES_DSN", "sslmode"]}, "does not name 'sslmode'"),
        ({"processes_left": 2}, "left 2 processes"),
        ({"leaked": True}, "a secret"),
    ):
        verdict = judged(REFUSED, {**REFUSED, **change})
        assert verdict.outcome is Outcome.FAIL, change
        assert words in verdict.witnesses[0].text
        assert "wrong DSN" in verdict.witnesses[0].text


SERVED: dict[str, Any] = {
    **REFUSED,
    "case": "all is there",
    "serves": True,
    "exit_code": None,
    "stderr": "mode=kafka_outbox ... all topics present ... relay started",
    "expected": ["mode=kafka_outbox", "all topics present", "relay started"],
}


def test_a_good_boot_says_what_it_made_sure_of_in_order() -> None:
    verdict = judged(SERVED, REFUSED)
    assert verdict.outcome is Outcome.PASS
    assert "1 boots refused, 1 good ones" in verdict.summary
    for change, words in (
        ({"exit_code": 1}, "exited with 1"),
        ({"expected": ["all topics present", "mode=kafka_outbox"]}, "'mode=kafka_outbox' where it was to"),
        ({"expected": "SASL auth ok"}, "'SASL auth ok' where it was to"),
        ({"duration_s": 10.5}, "the bound is 10 s"),
        ({"leaked": True}, "a secret"),
    ):
        verdict = judged(SERVED, {**SERVED, **change})
        assert verdict.outcome is Outcome.FAIL, change
        assert words in verdict.witnesses[0].text


WAITS: dict[str, Any] = {
    **REFUSED,
    "case": "its migration is missing",
    "waits": True,
    "ready": False,
    "exit_code": None,
    "stderr": "listening ... migrations pending",
    "expected": ["migrations pending"],
    "duration_s": 10.5,
}


def test_a_boot_that_waits_is_not_ready_and_says_for_what() -> None:
    verdict = judged(WAITS, SERVED)
    assert verdict.outcome is Outcome.PASS
    assert "0 boots refused, 1 waited, 1 good ones" in verdict.summary
    for change, words in (
        ({"exit_code": 1}, "exited with 1"),
        ({"ready": True}, "it was ready"),
        ({"expected": "no right to"}, "does not name 'no right to'"),
        ({"leaked": True}, "a secret"),
    ):
        verdict = judged(WAITS, {**WAITS, **change})
        assert verdict.outcome is Outcome.FAIL, change
        assert words in verdict.witnesses[0].text


def test_without_a_boot_it_is_vacuous() -> None:
    assert judged().outcome is Outcome.VACUOUS


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "exit_code": st.sampled_from([None, -9, 0, 1, 2]),
                "expected": st.sampled_from(["WE_", ["WE_", "DSN"], "absent", ["WE_", "absent"], []]),
                "duration_s": st.sampled_from([1.0, 10.0, 11.0]),
                "processes_left": st.sampled_from([0, 0, 1]),
            }
        ),
        max_size=3,
    )
)
def test_it_agrees_with_the_naive_restatement(changes: list[dict[str, Any]]) -> None:
    boots = [{**REFUSED, **change} for change in changes]
    kept = [
        boot["exit_code"] in (1, 2)
        and boot["expected"] in ("WE_", ["WE_", "DSN"], [])
        and boot["duration_s"] < 10.5
        and boot["processes_left"] == 0
        for boot in boots
    ]
    assert (judged(*boots).outcome is Outcome.FAIL) == (not all(kept))
