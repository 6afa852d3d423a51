from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import EPOCH, Trial, db_time

from seatrial.check import CHECKS
from seatrial.history import History
from seatrial.verdict import Outcome, Verdict


def judged(trial: Trial) -> Verdict:
    return CHECKS["LV"](trial.history())


def parked(step_type: str, *, open_task: bool = True, **parameters: Any) -> Trial:
    trial = Trial("LV", **parameters).lived(1).start("i2").instance("i2", "WAITING", current_step_ids=["ask"])
    trial.step("s2", "i2", "ask", "RUNNING", step_type=step_type)
    return trial.row(
        "user_task", "u2", instance_id="i2", step_id="ask", status="OPEN" if open_task else "COMPLETED"
    )


def test_everything_ended() -> None:
    trial = Trial("LV")
    for number in range(20):
        trial.lived(number)
    assert judged(trial).outcome is Outcome.PASS


def test_an_instance_may_wait_for_an_outside_call() -> None:
    assert judged(parked("USER_TASK", parked_allowed=["USER_TASK", "WAIT"])).outcome is Outcome.PASS
    assert judged(parked("WAIT", parked_allowed=["WAIT"])).outcome is Outcome.PASS


def test_it_may_not_wait_where_the_drill_does_not_allow_it() -> None:
    assert judged(parked("USER_TASK", parked_allowed=["WAIT"])).outcome is Outcome.FAIL
    assert judged(parked("USER_TASK")).outcome is Outcome.FAIL


def test_it_waits_for_what_is_gone() -> None:
    assert judged(parked("USER_TASK", open_task=False, parked_allowed=["USER_TASK"])).outcome is Outcome.FAIL


def test_a_job_still_waits() -> None:
    verdict = judged(Trial("LV").lived(1).start("i2").one(2, "ACTIVE"))
    assert verdict.outcome is Outcome.FAIL
    assert any("j2" in witness.ids for witness in verdict.witnesses)


def test_an_instance_that_nothing_will_move() -> None:
    trial = (
        Trial("LV", parked_allowed=["SERVICE_TASK"]).start("i1").instance("i1", "ACTIVE", current_step_ids=[])
    )
    assert judged(trial).outcome is Outcome.FAIL


def locked(expires_s: float) -> Trial:
    trial = (
        Trial("LV", parked_allowed=["SERVICE_TASK"], lease_sweep_interval_s=15)
        .start("i1")
        .poll("j1", lease_s=5)
    )
    trial.one(1, "ACTIVE").job("j1", "LOCKED", lock_expires_at=db_time(expires_s))
    return trial.at(130)


def test_a_lease_may_last_until_its_expiry_and_the_sweep() -> None:
    assert judged(locked(116)).outcome is Outcome.PASS
    assert judged(locked(105)).outcome is Outcome.FAIL


def test_a_lease_without_expiry_lasts_for_ever() -> None:
    trial = locked(116).job("j1", "LOCKED")
    assert judged(trial).outcome is Outcome.FAIL


def test_without_the_end_state_it_is_invalid() -> None:
    assert judged(Trial("LV").start("i1")).outcome is Outcome.INVALID


# -- against a naive restatement -------------------------------------------------------------------

types = st.sampled_from(["SERVICE_TASK", "USER_TASK", "WAIT"])


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    trial = Trial("LV", parked_allowed=draw(st.lists(types, unique=True)), lease_sweep_interval_s=5)
    trial.start("i1")
    for second in draw(st.lists(st.integers(100, 120), max_size=3)):
        trial.at(second).poll("j1", locked_s=second - draw(st.sampled_from([0.0, 0.5])))
    for number in range(1, draw(st.integers(1, 2)) + 1):
        trial.instance(f"i{number}", draw(st.sampled_from(["COMPLETED", "ACTIVE", "WAITING"])))
        trial.rows["instance"][f"i{number}"]["current_step_ids"] = draw(st.sampled_from([[], ["ask"]]))
        for visit in range(draw(st.integers(0, 2))):
            status = draw(st.sampled_from(["RUNNING", "COMPLETED"]))
            trial.step(f"s{number}{visit}", f"i{number}", "ask", status, step_type=draw(types))
    for number in range(draw(st.integers(0, 2))):
        trial.job(
            f"j{number}",
            draw(st.sampled_from(["UNLOCKED", "LOCKED", "COMPLETED"])),
            step_execution_id=f"s1{number}",
            lock_expires_at=draw(st.sampled_from([None, db_time(110), db_time(125)])),
        )
    task = draw(st.sampled_from(["OPEN", "COMPLETED"]))
    return trial.row("user_task", "u", instance_id="i1", step_id="ask", status=task).at(135)


def is_broken(history: History) -> bool:
    allowed = history.header.parameters["parked_allowed"]
    rows = {f: [op.value for op in history.rows(f)] for f in ("instance", "step", "job", "user_task")}
    for instance in rows["instance"]:
        if instance["status"] == "COMPLETED":
            continue
        running = [
            step
            for step in rows["step"]
            if step["instance_id"] == instance["id"] and step["status"] == "RUNNING"
        ]
        if not running:
            return True
        for step in running:
            movers = {
                "SERVICE_TASK": [
                    job
                    for job in rows["job"]
                    if job["step_execution_id"] == step["id"] and job["status"] != "COMPLETED"
                ],
                "USER_TASK": [
                    task
                    for task in rows["user_task"]
                    if task["instance_id"] == instance["id"] and task["status"] == "OPEN"
                ],
                "WAIT": instance["current_step_ids"],
            }
            if step["step_type"] not in allowed or not movers[step["step_type"]]:
                return True
    polls = [
        (call.end, job) for call in history.calls_of("poll") if call.end for job in call.end.value["jobs"]
    ]
    clocks = [
        datetime.fromisoformat(job["locked_at"]) + timedelta(seconds=135 - end.t_s) for end, job in polls
    ]
    now = max(clocks, default=EPOCH)
    for job in rows["job"]:
        if job["status"] == "UNLOCKED" and "SERVICE_TASK" not in allowed:
            return True
        if job["status"] == "LOCKED":
            expires = job["lock_expires_at"]
            if expires is None or now > datetime.fromisoformat(expires) + timedelta(seconds=5):
                return True
    return False


@given(trials())
def test_it_agrees_with_the_naive_restatement(trial: Trial) -> None:
    history = trial.history()
    assert (CHECKS["LV"](history).outcome is Outcome.FAIL) == is_broken(history)
