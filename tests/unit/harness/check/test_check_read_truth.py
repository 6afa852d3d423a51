from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, done

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict


def judged(trial: Trial) -> Verdict:
    return CHECKS["RY"](trial.history())


def read(
    trial: Trial, instance: str, *names: str, outcome: str = "ok", status: int = 0, took_s: float = 0.01
) -> Trial:
    got = {"id": instance, "status": "ACTIVE", "variable_names": list(names)}
    trial.call(
        "client-1", "get", {"path": f"/v1/instances/{instance}"}, outcome, got if outcome == "ok" else {},
        status=status, took_s=took_s,
    )  # fmt: skip
    return trial


def test_what_was_acknowledged_is_read() -> None:
    trial = Trial("RY").start("i1", variables={"a": 1}).complete("j1")
    verdict = judged(read(trial, "i1", "a", done("j1", "n"), "more"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["reads_answered"] == 1


def test_what_was_just_started_is_not_found() -> None:
    verdict = judged(read(Trial("RY").start("i1"), "i1", outcome="fail", status=404))
    assert verdict.outcome is Outcome.FAIL
    assert "did not find instance i1" in verdict.summary


def test_an_old_state_is_read() -> None:
    trial = read(Trial("RY").start("i1", variables={"a": 1}).complete("j1"), "i1", "a")
    assert judged(trial).outcome is Outcome.FAIL
    trial = read(Trial("RY").start("i1").resume("signal", "i1", "wait", variables={"b": 1}), "i1")
    assert judged(trial).outcome is Outcome.FAIL


def test_a_read_that_is_refused_or_was_sent_before_is_not_untrue() -> None:
    trial = read(Trial("RY").start("i1"), "i1")
    read(trial, "i1", outcome="info", status=503)
    read(trial, "i9", outcome="fail", status=404)
    read(trial.start("i2", outcome="info"), "i2", outcome="fail", status=404)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["reads_refused"] == 1


def test_of_two_completions_of_a_job_the_read_may_show_either() -> None:
    trial = Trial("RY").start("i1").complete("j1", "x").complete("j1", "y")
    assert judged(read(trial, "i1", done("j1", "x"))).outcome is Outcome.PASS


def test_nothing_read_shows_nothing() -> None:
    assert judged(Trial("RY").start("i1")).outcome is Outcome.VACUOUS


@given(st.lists(st.tuples(st.sampled_from("wr"), st.booleans()), max_size=12))
def test_a_read_is_untrue_exactly_if_it_lacks_an_earlier_acknowledgement(
    steps: list[tuple[str, bool]],
) -> None:
    trial = read(Trial("RY").start("i1"), "i1")
    acked: set[str] = set()
    untrue = 0
    for number, (what, flag) in enumerate(steps):
        if what == "w":
            trial.resume("signal", "i1", "wait", "ok" if flag else "info", variables={f"v{number}": 1})
            acked |= {f"v{number}"} if flag else set()
        else:
            shown = acked if flag else set(sorted(acked)[1:])
            read(trial, "i1", *shown)
            untrue += shown != acked
    assert judged(trial).figures["untrue"] == untrue
