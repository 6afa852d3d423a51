from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict

DURING: dict[str, Any] = {
    "error_statuses_allowed": [0],
    "errors_only_during_fault": True,
    "recovery_bound_s": 5,
}


def judged(trial: Trial) -> Verdict:
    return CHECKS["AV"](trial.history())


def faulted(error_at_s: float, *, heals: bool = True, **parameters: Any) -> Trial:
    """A replica is away from 110 to 120; one call gets no answer at `error_at_s`."""
    trial = Trial("AV", **parameters).at(100).start("i1").at(110).fault("kill_replica", "replica-0")
    if heals:
        trial.at(120).heal("replica-0")
    trial.at(error_at_s).start("", outcome="info", status=0, code="timeout").at(140).phase("drain")
    return trial.at(150).start("i2")


def test_no_error_at_all() -> None:
    trial = Trial("AV")
    for number in range(20):
        trial.lived(number)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["calls"] == 60


def test_allowed_errors_are_counted() -> None:
    trial = Trial("AV", error_statuses_allowed=[0, 409]).lived(1)
    trial.complete("j1", "m", outcome="fail", status=409, code="conflict").start("", outcome="fail")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["errors_by_status"] == {"0": 1, "409": 1}


def test_an_error_that_is_not_allowed() -> None:
    verdict = judged(Trial("AV", error_statuses_allowed=[409]).lived(1).start("", outcome="info", status=500))
    assert verdict.outcome is Outcome.FAIL
    assert "500" in verdict.witnesses[0].text


def test_a_replica_that_ended_by_itself_even_during_a_fault() -> None:
    trial = faulted(115, **DURING)
    trial.note("observer", "exit", node="replica-1", exit_code=-11)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "replica-1 exited by itself, with exit code -11" in verdict.summary


def test_a_replica_that_is_told_to_stop_ends_in_order() -> None:
    for exit_code, expected in ((0, Outcome.PASS), (1, Outcome.FAIL), (-9, Outcome.FAIL)):
        trial = Trial("AV", **DURING).at(100).start("i1").at(110)
        trial.call(
            "fault-0", "stop_replica", {"target": "replica-0", "parameters": {"signal": "SIGTERM"}},
            got={"exit_code": exit_code},
        )  # fmt: skip
        verdict = judged(trial.at(120).heal("replica-0").at(150).start("i2"))
        assert verdict.outcome is expected
        assert verdict.figures["stops"] == 1
        if expected is Outcome.FAIL:
            assert f"replica-0 was told to stop and ended with exit code {exit_code}" in verdict.summary


def test_an_error_code_that_is_not_allowed() -> None:
    for codes, expected in ((["conflict"], Outcome.PASS), (["bad-request"], Outcome.FAIL)):
        trial = Trial("AV", error_statuses_allowed=[409], error_codes_allowed=codes).lived(1)
        assert (
            judged(trial.complete("j1", "m", outcome="fail", status=409, code="conflict")).outcome is expected
        )


def test_a_kind_of_call_that_may_never_fail() -> None:
    for kinds, expected in ((["get"], Outcome.PASS), (["get", "start"], Outcome.FAIL)):
        verdict = judged(faulted(115, **DURING, never_failing=kinds))
        assert verdict.outcome is expected
    assert "got no answer: it may never fail" in verdict.summary


def test_errors_only_while_the_fault_can_be_felt() -> None:
    assert judged(faulted(115, **DURING)).outcome is Outcome.PASS
    assert judged(faulted(124, **DURING)).outcome is Outcome.PASS
    assert judged(faulted(105, **DURING)).outcome is Outcome.FAIL
    assert judged(faulted(126, **DURING)).outcome is Outcome.FAIL


@pytest.mark.parametrize(("target", "outcome"), [("replica-0", Outcome.PASS), ("replica-1", Outcome.FAIL)])
def test_errors_may_count_at_the_node_of_the_fault_alone(target: str, outcome: Outcome) -> None:
    """The call of `start` goes to replica-0."""
    trial = Trial("AV", **DURING, errors_only_at_target=True).at(100).start("i1").at(110)
    trial.fault("replace_node", target).start("", outcome="fail", code="connection-refused")
    verdict = judged(trial.heal(target).at(140).phase("drain"))
    assert verdict.outcome is outcome
    assert (outcome is Outcome.PASS) == (not verdict.witnesses)


@pytest.mark.parametrize(("at_s", "outcome"), [(114, Outcome.PASS), (117, Outcome.FAIL)])
def test_a_fault_may_be_felt_for_a_while_only_although_it_lasts(at_s: float, outcome: Outcome) -> None:
    trial = Trial("AV", **DURING, errors_within_s=5).at(100).start("i1").at(110).fault("cut_off", "replica-0")
    trial.at(at_s).start("", outcome="info").at(125).heal("replica-0")
    assert judged(trial.at(140).phase("drain")).outcome is outcome


def test_a_fault_that_is_never_healed_is_felt_until_the_drain() -> None:
    assert judged(faulted(139, heals=False, **DURING)).outcome is Outcome.PASS
    assert judged(faulted(141, heals=False, **DURING)).outcome is Outcome.FAIL


def test_a_call_under_way_when_the_fault_strikes_may_fail() -> None:
    trial = Trial("AV", **DURING).at(100).start("i1").at(108)
    trial.start("", outcome="info", took_s=4, code="timeout").at(110).fault("kill_replica", "replica-0")
    trial.ops.sort(key=lambda op: op.t_s)
    assert judged(trial.at(120).heal("replica-0")).outcome is Outcome.PASS


def test_a_fault_late_in_the_load_is_felt_for_its_bound() -> None:
    trial = (
        Trial("AV", **DURING).start("i1").at(138).fault("kill_replica", "replica-0").at(140).phase("drain")
    )
    assert judged(trial.at(141).start("", outcome="info")).outcome is Outcome.PASS
    assert judged(trial.at(145).start("", outcome="info")).outcome is Outcome.FAIL


def test_a_heal_ends_its_own_fault_only() -> None:
    def twice(second: str) -> Trial:
        trial = Trial("AV", **DURING).at(100).start("i1").fault("kill_replica", "replica-0").at(101)
        trial.heal("replica-0").at(110).fault("kill_replica", second).at(111)
        return trial.heal("replica-2").at(130).start("", outcome="info").at(140).phase("drain")

    assert judged(twice("replica-0")).outcome is Outcome.PASS
    assert judged(twice("replica-2")).outcome is Outcome.FAIL


def test_what_a_client_gave_up_itself_is_no_error() -> None:
    trial = Trial("AV").lived(1).poll(outcome="info", status=0, code="cancelled").poll(outcome="lost")
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["unanswered"] == 1


def test_probes_and_faults_are_no_clients() -> None:
    trial = Trial("AV").lived(1)
    trial.call("probe-0", "probe", {"node": "replica-0", "path": "/ready"}, "info")
    assert judged(trial).outcome is Outcome.PASS


def test_without_clients_it_is_vacuous() -> None:
    assert judged(Trial("AV")).outcome is Outcome.VACUOUS


# -- against a naive restatement -------------------------------------------------------------------


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    trial = Trial(
        "AV",
        error_statuses_allowed=draw(st.lists(st.sampled_from([0, 409, 503]), unique=True)),
        errors_only_during_fault=draw(st.booleans()),
        recovery_bound_s=2,
    )
    for number in range(draw(st.integers(0, 2))):
        trial.at(100 + draw(st.integers(0, 10))).fault("pause", "replica-0", process=f"fault-{number}")
        if draw(st.booleans()):
            trial.at(trial.now_s + draw(st.integers(0, 5))).heal("replica-0", process=f"fault-{number}")
    for _ in range(draw(st.integers(1, 4))):
        trial.at(97 + draw(st.integers(0, 25)))
        outcome = draw(st.sampled_from(["ok", "fail", "info", "lost"]))
        trial.start(
            "",
            outcome=outcome,
            status=draw(st.sampled_from([0, 409, 503])),
            took_s=draw(st.sampled_from([0.1, 4])),
        )
    return trial.at(115).phase("drain")


def is_broken(history: History) -> bool:
    parameters = history.header.parameters
    for call in history.calls_of("start"):
        if call.end is None or call.end.error is None:
            continue
        if call.end.error["status"] not in parameters["error_statuses_allowed"]:
            return True
        if not parameters["errors_only_during_fault"]:
            continue
        is_felt = False
        for fault in history.calls_of("pause"):
            heals = [heal for heal in history.calls_of("heal") if heal.invoke.process == fault.invoke.process]
            assert fault.end is not None
            ends = [heal.end.t_s + 2 for heal in heals if heal.end] or [max(115, fault.end.t_s + 2)]
            is_felt |= call.end.t_s >= fault.invoke.t_s and call.invoke.t_s <= ends[0]
        if not is_felt:
            return True
    return False


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["AV"](history).outcome is Outcome.FAIL) == is_broken(history)


@pytest.mark.parametrize(("allowed", "outcome"), [([503], Outcome.PASS), ([0, 409], Outcome.FAIL)])
def test_a_call_refused_early_counts_as_one_that_nobody_could_serve(
    allowed: list[int], outcome: Outcome
) -> None:
    trial = (
        Trial("AV", error_statuses_allowed=allowed, error_codes_allowed=["unavailable"]).at(100).start("i1")
    )
    trial.at(110).start("", outcome="fail", status=429, code="overloaded")
    assert judged(trial).outcome is outcome
