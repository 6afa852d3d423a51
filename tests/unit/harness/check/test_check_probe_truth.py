from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

NOTICE_S, RECOVERY_S = 2, 10
AWAY = {"reasons": ["the database is away; try again"]}
PENDING = {"reasons": ["migrations pending: the schema is at 0"]}
#: the database is seen gone at 120 and back at 130
GONE_S, BACK_S = 120.0, 130.0


def judged(trial: Trial) -> Verdict:
    return CHECKS["PT"](trial.history())


def probe(
    trial: Trial, at_s: float, path: str, status: int, body: Any = None, node: str = "replica-0"
) -> Trial:
    """Status 0: no answer."""
    got = {"status": status, "body": body}
    trial.at(at_s).call(
        f"probe-{node}",
        "probe",
        {"node": node, "path": path},
        "ok" if status else "info",
        got if status else {},
    )
    return trial


def outage(*, told: bool = True, reasons: dict[str, str] | None = None) -> Trial:
    """The database goes and comes back; with `told` one probe of each kind sees it as it should."""
    trial = Trial(
        "PT",
        probe_notice_bound_s=NOTICE_S,
        recovery_bound_s=RECOVERY_S,
        unready_reasons={"crash_database": "database", "migrations_pending": "migrations"}
        if reasons is None
        else reasons,
    )
    probe(probe(trial, 110, "/healthz", 200), 111, "/ready", 200)
    trial.tick_s = 0.0
    trial.at(GONE_S).fault("crash_database", "database")
    if told:
        probe(probe(trial, 125, "/health", 200), 126, "/ready", 503, AWAY)
    trial.at(BACK_S).heal("database")
    return trial


def test_probes_that_tell_the_truth_pass() -> None:
    verdict = judged(probe(probe(outage(), 131, "/ready", 503, AWAY), 135, "/readyz", 200))
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["unready_told"] == 1


def test_a_silent_readiness_is_a_no() -> None:
    assert judged(probe(outage(), 127, "/ready", 0)).outcome is Outcome.PASS


def test_a_yes_just_after_the_bite_may_be_a_remembered_one() -> None:
    assert judged(probe(outage(), GONE_S + 1, "/ready", 200)).outcome is Outcome.PASS


def test_a_liveness_that_follows_the_database_fails() -> None:
    for status in (503, 0):
        verdict = judged(probe(outage(), 126, "/healthz", status))
        assert verdict.outcome is Outcome.FAIL
        assert "a kubelet would restart it" in verdict.summary


def test_a_readiness_that_says_yes_without_a_database_fails() -> None:
    assert judged(probe(outage(), 127, "/ready", 200)).outcome is Outcome.FAIL


def test_a_no_without_its_reason_fails() -> None:
    body: object
    for body in (None, "no", {"reasons": []}, PENDING):
        assert judged(probe(outage(), 127, "/ready", 503, body)).outcome is Outcome.FAIL
    assert judged(probe(outage(), 127, "/ready", 500, AWAY)).outcome is Outcome.FAIL


def test_a_no_without_a_cause_fails() -> None:
    for at_s in (112, BACK_S + RECOVERY_S + 1):
        assert judged(probe(outage(), at_s, "/ready", 503, AWAY)).outcome is Outcome.FAIL


def test_a_node_has_its_own_reasons() -> None:
    def pending() -> Trial:
        trial = outage().at(150)
        trial.fault("migrations_pending", "unmigrated", process="fault-1")
        probe(trial, 155, "/ready", 503, PENDING, "unmigrated")
        return trial.at(160).heal("unmigrated", process="fault-1")

    assert judged(pending()).outcome is Outcome.PASS
    assert judged(probe(pending(), 156, "/ready", 200, node="unmigrated")).outcome is Outcome.FAIL
    assert judged(probe(pending(), 156, "/ready", 200)).outcome is Outcome.PASS
    assert judged(probe(pending(), 156, "/ready", 503, PENDING)).outcome is Outcome.FAIL


def test_a_restart_fails() -> None:
    trial = outage()
    trial.note("observer", "restarts", node="replica-0", count=0)
    assert judged(trial).outcome is Outcome.PASS
    trial.note("observer", "restarts", node="replica-1", count=2)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "replica-1 was restarted 2 times" in verdict.summary


def test_nobody_asked_in_the_right_moment() -> None:
    assert judged(outage(told=False)).outcome is Outcome.VACUOUS
    assert judged(probe(outage(told=False), 126, "/ready", 503, AWAY)).outcome is Outcome.VACUOUS
    assert judged(probe(outage(told=False), 126, "/healthz", 200)).outcome is Outcome.VACUOUS
    assert judged(outage(reasons={})).outcome is not Outcome.PASS


def test_where_nothing_is_wrong_all_probes_must_say_yes() -> None:
    trial = Trial("PT", probes_min=2)
    for at_s in (110, 111):
        probe(probe(trial, at_s, "/healthz", 200), at_s + 0.5, "/ready", 200)
    assert judged(trial).outcome is Outcome.PASS
    assert judged(Trial("PT", probes_min=2)).outcome is Outcome.VACUOUS
    verdict = judged(probe(trial, 112, "/ready", 0))
    assert verdict.outcome is Outcome.FAIL
    assert "/ready did not answer although nothing was wrong" in verdict.summary


def test_a_fault_that_did_not_bite_is_invalid() -> None:
    trial = outage()
    trial.fault("crash_database", "database", "fail", process="fault-2")
    assert judged(trial).outcome is Outcome.INVALID


@given(
    st.lists(
        st.tuples(
            st.integers(100, 150),
            st.sampled_from(["/ready", "/healthz"]),
            st.sampled_from([0, 200, 503, 500]),
            st.sampled_from([None, AWAY, PENDING]),
        )
    )
)
def test_it_agrees_with_the_naive_restatement(probes: list[tuple[int, str, int, Any]]) -> None:
    trial = outage()
    is_broken = False
    for at, path, status, body in probes:
        probe(trial, at, path, status, body)
        if path == "/healthz" or at < GONE_S or at > BACK_S + RECOVERY_S:
            is_broken |= status != 200
        elif GONE_S + NOTICE_S <= at <= BACK_S:
            is_broken |= status != 0 and not (status == 503 and body == AWAY)
    assert (judged(trial).outcome is Outcome.FAIL) == is_broken
