"""What a drill must have met, and the bounds that its own promise adds to LV and NL."""

from __future__ import annotations

from typing import Any

import msgspec
from trial_builder import Trial, db_time

from seatrial.check import CHECKS, judge
from seatrial.verdict import Outcome, Verdict


def taken_over(*checks: str, again_s: float, **parameters: Any) -> Trial:
    """a lets its lease of 5 s lapse at 105; b gets the job at `again_s`, and completes it."""
    trial = Trial(*checks, **parameters).start("i1").at(100).poll("j1", lease_s=5).execute("j1")
    trial.at(again_s).poll("j1", worker="b", token="2").execute("j1", worker="b", token="2")
    return trial.complete("j1", worker="b", token="2").one(1, "COMPLETED", "done:j1:n")


def at_node(trial: Trial, node: str) -> None:
    trial.ops[-1] = msgspec.structs.replace(trial.ops[-1], node=node)


def first(trial: Trial) -> Verdict:
    return judge(trial.history())[0]


def wanting(least: int, name: str = "leases_lapsed") -> dict[str, Any]:
    return {"circumstances_min": {name: least}}


def test_a_run_that_met_what_the_drill_is_about() -> None:
    verdict = first(taken_over("LX", again_s=106, **wanting(1)))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["leases_lapsed"] == 1


def test_refusals_are_counted_by_what_was_asked() -> None:
    trial = Trial("NL", circumstances_min={"calls_refused": 2, "reads_refused": 1}).lived(1)
    trial.start("", outcome="info", status=503).poll(outcome="info", status=503).start("", outcome="info")
    trial.call("client-1", "get", {"path": "/v1/instances/i1"}, "info", status=503)
    verdict = first(trial)
    assert verdict.outcome is Outcome.PASS
    assert (verdict.figures["calls_refused"], verdict.figures["reads_refused"]) == (2, 1)


def test_timers_are_late_after_a_second() -> None:
    """Due at 105, 106 and 107 s; two of them took effect more than a second later."""
    trial = Trial("NL", circumstances_min={"timers_late": 2}).lived(1).instance("i2", "WAITING")
    trial.step("p", "i2", "wait", "RUNNING", step_type="WAIT", started_at=db_time(100))
    for number, (fire_s, at_s) in enumerate([(105, 105.9), (106, 107.1), (107, 109.5)]):
        trial.row(
            "timer", f"t{number}", instance_id="i2", step_execution_id="p", target_step_id=f"s{number}",
            fire_at=db_time(fire_s), interrupting=False, fired=True,
        )  # fmt: skip
        trial.step(f"e{number}", "i2", f"s{number}", "RUNNING", step_type="WAIT", started_at=db_time(at_s))
    assert first(trial).figures["timers_late"] == 2


def test_a_run_that_never_met_it_shows_nothing() -> None:
    verdict = first(taken_over("LX", again_s=106, **wanting(2)))
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.summary.startswith("1 leases lapsed, at least 2 were expected")


def test_every_verdict_is_vacuous_then_but_a_violation_stands() -> None:
    verdicts = judge(taken_over("LX", "DB", again_s=102, **wanting(1)).history())
    assert [verdict.outcome for verdict in verdicts] == [Outcome.FAIL, Outcome.FAIL]
    verdicts = judge(Trial("LX", "DB", **wanting(1)).lived(1).history())
    assert [verdict.outcome for verdict in verdicts] == [Outcome.VACUOUS, Outcome.VACUOUS]


def test_an_unknown_circumstance_is_a_mistake_of_the_drill() -> None:
    verdict = first(taken_over("LX", again_s=106, **wanting(1, "leases_eaten")))
    assert verdict.outcome is Outcome.UNKNOWN
    assert "leases_eaten" in verdict.summary


def test_a_lease_given_back_did_not_lapse_but_a_late_fail_gives_nothing_back() -> None:
    trial = Trial("DB", **wanting(1)).start("i1").poll("j1", lease_s=5).execute("j1").fail_job("j1")
    trial.at(110).poll("j1", token="2").execute("j1", token="2")
    assert first(trial).outcome is Outcome.VACUOUS
    late = taken_over("LX", again_s=106, **wanting(1)).fail_job("j1")
    assert first(late).outcome is Outcome.PASS


def raced(*, second_node: str, meet: bool) -> Trial:
    trial = Trial("LX", **wanting(1, "completes_raced")).start("i1").poll("j1")
    sent = {"job_id": "j1", "worker_id": "a", "lease_token": "1", "variables": {}}
    calls = [trial.invoke("worker-a", "complete", **sent)]
    if not meet:
        trial.at(trial.now_s + 1).end("worker-a", "complete", calls.pop())
    trial.at(trial.now_s + 1)
    calls.append(trial.invoke("worker-b", "complete", **sent))
    at_node(trial, second_node)
    trial.at(trial.now_s + 1)
    for process, call in zip(("worker-b", "worker-a"), reversed(calls), strict=False):
        trial.end(process, "complete", call)
    return trial.one(1)


def test_completions_race_when_two_replicas_have_them_at_once() -> None:
    assert first(raced(second_node="replica-1", meet=True)).outcome is Outcome.PASS
    assert first(raced(second_node="replica-0", meet=True)).outcome is Outcome.VACUOUS
    assert first(raced(second_node="replica-1", meet=False)).outcome is Outcome.VACUOUS


def completed_at(node: str, name: str, *, killed: bool) -> Trial:
    trial = Trial("LX", **wanting(1, name)).start("i1").poll("j1")
    if killed:
        trial.fault("kill_replica", "replica-0").heal("replica-0")
    trial.complete("j1")
    trial.ops[-2] = msgspec.structs.replace(trial.ops[-2], node=node)
    return trial.one(1, "COMPLETED", "done:j1:n")


def answered(*outcomes: str) -> Trial:
    """a has the job in its hands once for each; each outcome is what its completions came to, in one word."""
    trial = Trial("LX", **wanting(1, "answers_lost")).start("i1")
    for outcome in outcomes:
        trial.at(trial.now_s + 1).execute("j1")
        for one in outcome.split():
            trial.at(trial.now_s + 1).complete("j1", outcome=one)
    return trial.one(1, "COMPLETED", "done:j1:n")


def test_an_answer_is_lost_when_nobody_took_it_in_that_execution() -> None:
    assert first(answered("fail fail", "ok")).figures["answers_lost"] == 1
    assert first(answered("info", "ok")).figures["answers_lost"] == 1
    for taken in (answered("fail ok"), answered("ok"), answered("", "ok")):
        assert first(taken).outcome is Outcome.VACUOUS


def test_a_lease_is_completed_elsewhere() -> None:
    name = "leases_completed_elsewhere"
    assert first(completed_at("replica-1", name, killed=False)).outcome is Outcome.PASS
    assert first(completed_at("replica-0", name, killed=False)).outcome is Outcome.VACUOUS


def test_a_lease_outlives_the_replica_that_gave_it() -> None:
    assert first(completed_at("replica-1", "leases_orphaned", killed=True)).outcome is Outcome.PASS
    assert first(completed_at("replica-1", "leases_orphaned", killed=False)).outcome is Outcome.VACUOUS


def test_a_drain_that_left_no_pod_ready_is_one_of_all() -> None:
    def drained(ready_min: int) -> Verdict:
        trial = Trial("RO", ready_min=0, circumstances_min={"drains_of_all": 1})
        seen = {"evicted": 3, "refused": 0, "ready_min": ready_min}
        trial.call("fault-1", "drain_node", {"target": ["service"], "parameters": {"node": "a"}}, "ok", seen)
        return first(trial)

    assert drained(0).outcome is Outcome.PASS
    assert drained(1).outcome is Outcome.VACUOUS


def test_a_lapsed_lease_is_in_other_hands_in_time() -> None:
    verdict = CHECKS["LV"](taken_over("LV", again_s=107, reclaim_bound_s=3).history())
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["reclaim_s"] == 2


def test_a_lapsed_lease_is_in_other_hands_too_late() -> None:
    verdict = CHECKS["LV"](taken_over("LV", again_s=109, reclaim_bound_s=3).history())
    assert verdict.outcome is Outcome.FAIL
    assert "4.000 s after the lease of a had expired" in verdict.witnesses[0].text
    assert verdict.witnesses[0].ids == ("j1", "i1")
    assert CHECKS["LV"](taken_over("LV", again_s=109).history()).outcome is Outcome.PASS


def doomed(status: str, reason: str | None = None, *, poison: bool = True) -> Verdict:
    trial = Trial("NL", doomed_variable="poison", doomed_reason="lapsed")
    trial.start("i1", variables={"poison": poison}).one(1, status)
    return CHECKS["NL"](
        trial.instance("i1", status, variables={"poison": poison}, failure_reason=reason).history()
    )


def test_who_is_bound_to_fail_fails_for_the_right_reason() -> None:
    assert doomed("FAILED", "its lease lapsed 3 times").outcome is Outcome.PASS
    assert doomed("FAILED", "boom").outcome is Outcome.FAIL
    assert doomed("FAILED").outcome is Outcome.FAIL
    assert doomed("COMPLETED").outcome is Outcome.FAIL


def test_nobody_else_does() -> None:
    assert doomed("COMPLETED", poison=False).outcome is Outcome.PASS
    verdict = doomed("FAILED", "its lease lapsed 3 times", poison=False)
    assert verdict.outcome is Outcome.FAIL
    assert "could complete but is FAILED" in verdict.witnesses[0].text
