from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

PRIVATE: dict[str, Any] = {
    "case": "smoke", "streams": 4, "bytes": 9000, "plain_streams": 0, "needles_seen": 0, "logs_with_secrets": 0,
}  # fmt: skip


def judged(*looks: dict[str, Any]) -> Verdict:
    trial = Trial("PW")
    for look in looks:
        trial.note("observer", "wire", **look)
    return CHECKS["PW"](trial.history())


def test_all_is_tls() -> None:
    verdict = judged(PRIVATE, PRIVATE)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["bytes"] == 18_000


def test_each_leak_is_named() -> None:
    for name, words in (
        ("plain_streams", "not TLS"),
        ("needles_seen", "on the wire"),
        ("logs_with_secrets", "hold a secret"),
    ):
        verdict = judged(PRIVATE, {**PRIVATE, "case": "wrong password", name: 1})
        assert verdict.outcome is Outcome.FAIL
        assert words in verdict.witnesses[0].text
        assert "wrong password" in verdict.witnesses[0].text


def test_a_silent_wire_shows_nothing() -> None:
    assert judged().outcome is Outcome.VACUOUS
    assert judged({**PRIVATE, "streams": 0, "bytes": 0}).outcome is Outcome.VACUOUS


@given(st.lists(st.tuples(*[st.sampled_from([0, 0, 0, 1])] * 3), max_size=3))
def test_it_agrees_with_the_naive_restatement(leaks: list[tuple[int, int, int]]) -> None:
    looks = [
        {**PRIVATE, "plain_streams": plain, "needles_seen": seen, "logs_with_secrets": logs}
        for plain, seen, logs in leaks
    ]
    assert (judged(*looks).outcome is Outcome.FAIL) == any(any(each) for each in leaks)
