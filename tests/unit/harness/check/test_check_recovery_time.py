from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.check.facts import facts_of
from seatrial.check.recovery_time import longest_gap
from seatrial.history import Call, History
from seatrial.verdict import Outcome, Verdict


def judged(trial: Trial) -> Verdict:
    return CHECKS["RT"](trial.history())


def outage(length_s: float, *, bound_s: float = 5.0, fault: str | None = "crash_database") -> Trial:
    """Ten starts a second; those during the outage get no answer."""
    trial = Trial("RT", recovery_bound_s=bound_s).at(100).phase("load")
    for number in range(100):
        trial.at(100 + number / 10)
        if number == 30 and fault is not None:
            trial.fault(fault, "database")
        down = 30 <= number < 30 + length_s * 10
        trial.start(f"i{number}", outcome="info" if down else "ok")
    return trial.at(110).phase("drain")


def test_calls_get_through_again_in_time() -> None:
    verdict = judged(outage(2.0))
    assert verdict.outcome is Outcome.PASS
    assert 2.0 <= verdict.figures["recovery_s"] <= 2.2
    assert 1.9 <= verdict.figures["recovery_start_s"] <= 2.1


def test_completes_that_go_on_shorten_the_gap() -> None:
    trial = outage(4.0, bound_s=3.0)
    assert judged(trial).outcome is Outcome.FAIL
    ops = trial.ops
    trial.ops = []
    for second in range(10):
        trial.at(100.5 + second).complete(f"j{second}")
    trial.ops = sorted([*ops, *trial.ops], key=lambda op: op.t_s)
    verdict = judged(trial)
    assert verdict.figures["recovery_s"] <= 1.1
    assert verdict.outcome is Outcome.FAIL, "starts alone still failed past the bound"
    assert "start still failed" in verdict.summary


def test_the_gap_is_too_long() -> None:
    verdict = judged(outage(5.5))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].op_indexes


def test_a_call_that_hangs_is_a_gap_though_it_ends_well() -> None:
    for took_s, expected in ((4.9, Outcome.PASS), (5.5, Outcome.FAIL)):
        trial = Trial("RT", recovery_bound_s=5.0).at(100).phase("load").start("i1")
        trial.fault("blackhole", "replica-0").start("i2", took_s=took_s).phase("drain")
        assert judged(trial).outcome is expected


def test_it_never_recovers() -> None:
    verdict = judged(outage(60.0))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.figures["faults"][0]["recovery_s"] == {"start": None}


def test_a_pause_in_which_nobody_tried_is_no_gap() -> None:
    trial = (
        Trial("RT", recovery_bound_s=5.0).at(100).phase("load").start("i1").fault("kill_replica", "replica-0")
    )
    trial.start("i2").at(150).start("i3").at(160).phase("drain")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["recovery_s"] < 0.1


def test_workers_that_cannot_poll_are_load_too() -> None:
    trial = (
        Trial("RT", recovery_bound_s=5.0)
        .at(100)
        .phase("load")
        .complete("j1")
        .fault("crash_database", "database")
    )
    for second in range(101, 112):
        trial.at(second).poll(outcome="info")
    assert judged(trial.at(112).complete("j2").phase("drain")).outcome is Outcome.FAIL


def test_without_fault_or_load_it_is_vacuous() -> None:
    assert judged(outage(0.0, fault=None)).outcome is Outcome.VACUOUS
    trial = Trial("RT", recovery_bound_s=5.0).at(100).phase("load").start("i1")
    trial.at(110).fault("kill_replica", "replica-0").at(120).phase("drain")
    assert judged(trial).outcome is Outcome.VACUOUS


def test_a_fault_that_did_not_bite_is_invalid() -> None:
    trial = Trial("RT", recovery_bound_s=5.0).at(100).phase("load").start("i1")
    trial.fault("kill_replica", "replica-0", "fail").start("i2").phase("drain")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.INVALID
    assert "kill_replica of replica-0 had no effect" in verdict.summary


# -- against a naive restatement -------------------------------------------------------------------


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    trial = Trial("RT", recovery_bound_s=5.0).at(100).phase("load")
    for second in range(draw(st.integers(0, 8))):
        trial.at(100 + 3 * second + draw(st.integers(0, 2)))
        outcome = draw(st.sampled_from(["ok", "ok", "info", "fail", "lost"]))
        took_s = draw(st.sampled_from([0.25, 2.5, 7.5]))
        status = draw(st.sampled_from([0, 409, 503]))
        if draw(st.booleans()):
            trial.start(f"i{second}", outcome=outcome, took_s=took_s, status=status)
        else:
            trial.poll(outcome=outcome, took_s=took_s, status=status)
    trial.ops.sort(key=lambda op: op.t_s)
    trial.at(100 + draw(st.integers(0, 30))).fault("kill_replica", "replica-0")
    trial.ops.sort(key=lambda op: op.t_s)
    return trial.at(draw(st.integers(125, 135))).phase("drain")


def naive_gap_s(history: History) -> float | None:
    """For each success (and the opening), the next one; then the first instant between at which a call was open."""
    drain_s = next(op.t_s for op in history.ops if op.f == "phase" and op.value["name"] == "drain")
    starts = list(history.calls_of("start"))
    fault_s = next(history.calls_of("kill_replica")).invoke.t_s

    def is_broken(call: Call) -> bool:
        error = call.end.error if call.end is not None else None
        return error is not None and error["status"] in (0, 503)

    tries = starts + [call for call in history.calls_of("poll") if is_broken(call)]
    spans = [(call.invoke.t_s, call.end.t_s if call.end else call.invoke.t_s) for call in tries]
    wins = [call.end.t_s for call in starts if call.end and call.end.type == "ok" and call.end.t_s <= drain_s]
    marks = sorted({*wins, drain_s})
    opening = min([*wins, *([fault_s] if fault_s <= drain_s else [])], default=None)
    if opening is None:
        return None
    marks = [opening, *(mark for mark in marks if mark > opening)]
    if drain_s not in marks[1:]:
        marks.append(drain_s)
    gaps = []
    for before, after in pairwise(marks):
        begins = [
            max(begun, before)
            for begun, ended in spans
            if begun <= after and (begun > before or ended > before)
        ]
        if begins:
            gaps.append(after - min(begins))
    return max(gaps, default=None)


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    gap = longest_gap(facts_of(history))
    assert (gap.length_s if gap is not None else None) == naive_gap_s(history)


def healed(first_success_s: float, *, still_fails_at_s: float | None = None) -> Trial:
    """A heal at 106; calls are answered again from `first_success_s` after it on."""
    trial = Trial("RT", recovery_bound_s=60, recovery_after_heal_bound_s=2).at(100).phase("load")
    trial.start("i0").fault("lose_primary", "database").at(106).heal("database")
    for number in range(1, 60):
        at_s = number / 10
        is_down = at_s < first_success_s or at_s == still_fails_at_s
        trial.at(106 + at_s).start(f"i{number}", outcome="info" if is_down else "ok")
    return trial.at(113).phase("drain")


def test_calls_succeed_in_time_after_the_heal_however_long_the_fault_lasted() -> None:
    verdict = judged(healed(1.0))
    assert verdict.outcome is Outcome.PASS
    assert 0.9 <= verdict.figures["recovery_after_heal_s"] <= 1.1


def test_failures_of_a_later_fault_are_not_those_of_one_that_was_healed() -> None:
    """A call that the second one ends was made before it."""
    for second, expected in ((True, Outcome.PASS), (False, Outcome.FAIL)):
        trial = Trial("RT", recovery_bound_s=2, recovery_after_heal_bound_s=2).at(100).phase("load")
        trial.start("i0").fault("kill_replica", "replica-0").at(101).heal("replica-0")
        for number in range(90):
            trial.at(101.2 + number / 10).start(f"i{number}")
        trial.ops.sort(key=lambda op: op.t_s)
        trial.at(107.9).complete("j1", "m", outcome="info", took_s=0.4)
        trial.at(108)
        if second:
            trial.fault("kill_replica", "replica-1").at(109).heal("replica-1")
        trial.at(108.1).complete("j2", "m", outcome="info", took_s=0.1).at(108.5).complete("j3")
        trial.ops.sort(key=lambda op: op.t_s)
        assert judged(trial.at(112).phase("drain")).outcome is expected, second


def test_calls_fail_too_long_after_the_heal() -> None:
    late = judged(healed(3.0))
    assert late.outcome is Outcome.FAIL
    assert "still failed" in late.summary
    again = judged(healed(0.5, still_fails_at_s=4.0))
    assert "start still failed 3.990 s after lose_primary of database was healed" in again.summary
