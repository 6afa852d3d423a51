from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

UPGRADED: dict[str, Any] = {
    "revision": 2,
    "status": "deployed",
    "pods_before": ["a", "b", "c"],
    "pods_after": ["d", "e", "f"],
    "image_after": "windlass:next",
    "ready_min": 3,
    "message": "",
}
FAILED: dict[str, Any] = {
    **UPGRADED,
    "status": "failed",
    "pods_after": ["a", "b", "c"],
    "message": "pre-upgrade hooks failed",
}
DRAINED: dict[str, Any] = {"evicted": 3, "refused": 4, "ready_min": 3}


def judged(*operations: tuple[str, str, dict[str, Any]], **parameters: Any) -> Verdict:
    """(operation, expects, what was seen) in the order they were made."""
    trial = Trial("RO", **{"ready_min": 3, **parameters})
    for name, expects, seen in operations:
        sent = {"target": ["service"], "parameters": {"expects": expects}}
        trial.call("fault-1", name, sent, "ok", seen)
    return CHECKS["RO"](trial.history())


def test_an_upgrade_a_rollback_and_a_drain_as_they_should_be() -> None:
    verdict = judged(
        ("upgrade_release", "deployed", UPGRADED),
        ("roll_back_release", "deployed", {**UPGRADED, "pods_before": ["d", "e", "f"], "pods_after": ["g", "h", "i"]}),
        ("drain_node", "", DRAINED),
    )  # fmt: skip
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {
        "operations": 3,
        "pods_replaced": 6,
        "evictions_refused": 4,
        "ready_min": 3,
        "pickup_p99_s": None,
        "pickup_max_s": None,
    }


def test_what_jobs_waited_for_their_first_lease_is_told() -> None:
    """Of those asked for while it went on. A later lease of a job is no pickup, nor is a job that nobody took."""
    trial = Trial("RO", ready_min=3)
    trial.poll("j0", locked_s=130).job("j0").at(trial.now_s + 1)
    sent = {"target": ["service"], "parameters": {"expects": "deployed"}}
    call = trial.invoke("fault-1", "upgrade_release", **sent)
    for number in range(1, 101):
        trial.poll(f"j{number}", locked_s=100 + number / 1000).job(f"j{number}")
    trial.poll("j1", token="2", locked_s=140).job("j101", "UNLOCKED")
    trial.end("fault-1", "upgrade_release", call, "ok", UPGRADED)
    trial.at(trial.now_s + 1).poll("j102", locked_s=150).job("j102")
    verdict = CHECKS["RO"](trial.history())
    assert verdict.outcome is Outcome.PASS
    assert (verdict.figures["pickup_p99_s"], verdict.figures["pickup_max_s"]) == (0.099, 0.1)
    assert verdict.summary.endswith("jobs taken within 0.100 s (p99 0.099 s)")


def test_a_failed_upgrade_that_touched_nothing() -> None:
    assert judged(("upgrade_release", "failed", FAILED)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("name", "expects", "seen", "words"),
    [
        (
            "upgrade_release",
            "deployed",
            {**UPGRADED, "status": "failed", "message": "timed out"},
            "timed out",
        ),
        (
            "upgrade_release",
            "deployed",
            {**UPGRADED, "pods_after": ["a", "d", "e"]},
            "1 of 3 pods are the old",
        ),
        ("upgrade_release", "deployed", {**UPGRADED, "ready_min": 2}, "only 2 pods were ready"),
        ("upgrade_release", "failed", {**FAILED, "pods_after": ["a", "b", "d"]}, "1 of 3 pods are gone"),
        ("upgrade_release", "failed", UPGRADED, "should be 'failed'"),
        ("roll_back_release", "deployed", {**UPGRADED, "pods_after": ["a", "b", "c"]}, "3 of 3 pods"),
        ("drain_node", "", {**DRAINED, "ready_min": 0}, "only 0 pods were ready"),
    ],
)
def test_each_broken_promise_is_named(name: str, expects: str, seen: dict[str, Any], words: str) -> None:
    verdict = judged((name, expects, seen))
    assert verdict.outcome is Outcome.FAIL
    assert words in verdict.witnesses[0].text


def test_without_an_operation_or_a_refused_eviction_it_is_vacuous() -> None:
    assert judged().outcome is Outcome.VACUOUS
    untested = judged(("drain_node", "", {**DRAINED, "refused": 0}), evictions_refused_min=1)
    assert untested.outcome is Outcome.VACUOUS
    assert "no budget was tested" in untested.summary


PODS = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["upgrade_release", "roll_back_release"]),
            st.sampled_from(["deployed", "failed"]),
            st.fixed_dictionaries(
                {
                    "status": st.sampled_from(["deployed", "failed"]),
                    "pods_before": PODS,
                    "pods_after": PODS,
                    "ready_min": st.integers(1, 4),
                }
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_it_agrees_with_the_naive_restatement(operations: list[tuple[str, str, dict[str, Any]]]) -> None:
    def is_kept(expects: str, seen: dict[str, Any]) -> bool:
        if seen["ready_min"] < 3 or seen["status"] != expects:
            return False
        if expects == "failed":
            return sorted(seen["pods_before"]) == sorted(seen["pods_after"])
        return all(pod not in seen["pods_after"] for pod in seen["pods_before"])

    verdict = judged(*((name, expects, {**UPGRADED, **seen}) for name, expects, seen in operations))
    assert (verdict.outcome is Outcome.FAIL) == (
        not all(is_kept(expects, seen) for _, expects, seen in operations)
    )
