"""The judge: order, guards, shared assumptions, witnesses, and its cost."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from trial_builder import ONE_STEP, Trial, done

from seatrial.check import CHECKS, judge
from seatrial.history import History
from seatrial.verdict import Outcome

ALL = ("NL", "NP", "LX", "FN", "S1x", "DB", "RT", "LV", "AV", "MP", "BC")
BOUNDS: dict[str, Any] = {"recovery_bound_s": 5}
LIVED = ("NL", "NP", "LX", "FN", "S1x", "DB", "LV", "AV")


def outcomes(trial: Trial) -> dict[str, Outcome]:
    return {verdict.check: verdict.outcome for verdict in judge(trial.history())}


def test_the_header_says_what_is_judged_and_in_which_order() -> None:
    trial = Trial("LV", "NL", "AV").lived(1)
    assert [verdict.check for verdict in judge(trial.history())] == ["LV", "NL", "AV"]
    assert judge(Trial().history()) == ()


def test_every_check_states_its_guarantee() -> None:
    for name in ALL:
        verdict = CHECKS[name](Trial(name, **BOUNDS).upload(ONE_STEP).lived(1).history())
        assert verdict.check == name
        assert verdict.guarantee.endswith(".")


def test_a_whole_run_passes() -> None:
    trial = Trial(*LIVED, ops_min=40).upload(ONE_STEP)
    for number in range(20):
        trial.lived(number)
    assert set(outcomes(trial).values()) == {Outcome.PASS}


def test_an_unknown_check_is_unknown_and_spoils_no_other() -> None:
    assert outcomes(Trial("ZZ", "NL").lived(1)) == {"ZZ": Outcome.UNKNOWN, "NL": Outcome.PASS}


def test_a_check_that_dies_is_unknown_with_its_traceback() -> None:
    trial = Trial("LX", "AV").lived(1)
    next(op for op in trial.ops if op.f == "poll" and op.type == "ok").value["jobs"][0]["locked_at"] = (
        "yesterday"
    )
    verdicts = {verdict.check: verdict for verdict in judge(trial.history())}
    assert verdicts["LX"].outcome is Outcome.UNKNOWN
    assert "Traceback" in verdicts["LX"].summary
    assert "'yesterday' is not an ISO 8601 time" in verdicts["LX"].summary
    assert verdicts["AV"].outcome is Outcome.PASS


def test_a_missing_bound_is_named() -> None:
    verdict = judge(Trial("RT").lived(1).history())[0]
    assert verdict.outcome is Outcome.UNKNOWN
    assert "parameter recovery_bound_s is missing from the run header" in verdict.summary
    verdict = judge(Trial("RT", recovery_bound_s="soon").lived(1).history())[0]
    assert "recovery_bound_s = 'soon'" in verdict.summary


# -- assumptions first -----------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["fail", "info", "lost"])
def test_a_fault_that_did_not_bite_invalidates_every_pass(outcome: str) -> None:
    trial = Trial(*LIVED).upload(ONE_STEP).lived(1).fault("kill_replica", "replica-0", outcome)
    assert set(outcomes(trial).values()) == {Outcome.INVALID}


def test_a_broken_promise_stands_even_if_the_fault_did_not_bite() -> None:
    trial = Trial("NL", "AV").lived(1).start("i2").fault("kill_replica", "replica-0", "fail")
    assert outcomes(trial) == {"NL": Outcome.FAIL, "AV": Outcome.INVALID}


def test_a_heal_that_failed_invalidates() -> None:
    trial = Trial("NL").lived(1).fault("kill_replica", "replica-0").heal("replica-0", "fail")
    assert outcomes(trial) == {"NL": Outcome.INVALID}


def test_too_little_load_and_too_few_faults_invalidate() -> None:
    assert outcomes(Trial("NL", ops_min=3).lived(1)) == {"NL": Outcome.INVALID}
    assert outcomes(Trial("NL", ops_min=2).lived(1)) == {"NL": Outcome.PASS}
    assert outcomes(Trial("NL", faults_min=1).lived(1)) == {"NL": Outcome.INVALID}


def test_an_unfinished_observation_invalidates() -> None:
    history = Trial("NL").lived(1).start("i2").history()
    cut = History(op for op in history.ops if op.value.get("name") != "end")
    assert [verdict.outcome for verdict in judge(cut)] == [Outcome.INVALID]


def test_two_processes_of_one_name_invalidate() -> None:
    trial = Trial("NL").lived(1)
    trial.ops += trial.ops[:2]
    verdict = judge(trial.history())[0]
    assert verdict.outcome is Outcome.INVALID
    assert "used call number" in verdict.summary


# -- witnesses -------------------------------------------------------------------------------------


def test_witnesses_are_few_and_show_the_ops_around() -> None:
    trial = Trial("NL")
    for number in range(120):
        trial.start(f"i{number}").poll(f"j{number}").complete(f"j{number}")
    for nonce in range(30):
        trial.complete("j0", str(nonce))
    trial.lived("x")
    history = trial.history()
    verdict = judge(history)[0]
    assert verdict.figures["lost"] >= 240
    assert len(verdict.witnesses) == 50
    for witness in verdict.witnesses:
        assert witness.ids
        assert 0 < len(witness.op_indexes) <= 20
        assert list(witness.op_indexes) == sorted(set(witness.op_indexes))
    shown = {history.ops[index].f for index in verdict.witnesses[0].op_indexes}
    assert {"start", "poll", "complete"} <= shown


def test_a_saved_history_is_judged_the_same(tmp_path: Path) -> None:
    trial = Trial(*LIVED).upload(ONE_STEP).lived(1).start("i2").poll("j2").poll("j2", worker="b", token="2")
    assert judge(History.load(trial.save(tmp_path))) == judge(trial.history())


# -- cost ------------------------------------------------------------------------------------------


def long_run(instances: int) -> History:
    trial = Trial(*ALL, **BOUNDS, ops_min=1).upload(ONE_STEP).phase("load")
    trial.tick_s = 0.001
    trial.fault("kill_replica", "replica-0").heal("replica-0")
    for number in range(instances):
        trial.lived(number)
        if number % 10 == 0:
            trial.start("", outcome="info", key=f"lost-{number}")
    # one job with a long life of its own
    trial.start("ix").one("x", "COMPLETED", done("jx", "n"))
    for number in range(instances // 2):
        token = str(number)
        trial.poll("jx", token=token).execute("jx", token=token).fail_job("jx", token=token)
        trial.complete("jx", token, token=token, outcome="fail", status=409)
    trial.poll("jx", token="last").execute("jx", token="last").complete("jx", token="last")
    return trial.phase("drain").history()


def lines_run(history: History) -> int:
    """Executed lines of `seatrial.check`: a cost that no busy machine changes."""
    counted = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal counted
        if "seatrial/check" not in frame.f_code.co_filename:
            return None
        counted += 1
        return trace

    sys.settrace(trace)
    try:
        judge(history)
    finally:
        sys.settrace(None)
    return counted


def test_the_cost_grows_as_the_history_does() -> None:
    short, long = long_run(100), long_run(800)
    growth = len(long.ops) / len(short.ops)
    assert lines_run(long) / lines_run(short) < 1.2 * growth


@pytest.mark.parametrize("instances", [1_400, pytest.param(14_000, marks=pytest.mark.slow)])
def test_twenty_and_two_hundred_thousand_ops_are_judged(instances: int) -> None:
    history = long_run(instances)
    assert len(history.ops) > 14 * instances
    verdicts = {verdict.check: verdict.outcome for verdict in judge(history)}
    assert Outcome.UNKNOWN not in verdicts.values()
    assert {verdicts[name] for name in ("NL", "NP", "LX", "FN", "S1x", "DB", "LV")} == {Outcome.PASS}
