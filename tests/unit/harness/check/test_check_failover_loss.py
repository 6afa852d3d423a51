"""FL, and what the other checks make of operations that the database itself lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial, done

from seatrial.check import CHECKS, judge
from seatrial.check.facts import Facts
from seatrial.check.held import lost_by_database
from seatrial.verdict import Outcome, Verdict

ASYNCHRONOUS = {"database_may_lose": True}


class Failover(Trial):
    """Calls before `takes_over` were answered by the old primary; `had` says what a server held then."""

    def had(self, *servers: str, number: int = 1, status: str = "COMPLETED", key: bool = True) -> Failover:
        for server in servers:
            keys = [done(f"j{number}", "n")] if key else []
            job = "COMPLETED" if key else "LOCKED"
            self.note("observer", "held_instance", server=server, id=f"i{number}", status=status, keys=keys)
            self.note(
                "observer", "held_job", server=server, id=f"j{number}", instance_id=f"i{number}", status=job
            )
        return self

    def takes_over(self) -> Failover:
        self.note("observer", "held_wal", server="old", at="1/20")
        self.note("observer", "promotion", timeline=2, parted_at="0/FFFFFFF0")
        return self


def judged(trial: Trial) -> Verdict:
    return CHECKS["FL"](trial.history())


def of_the_engine(trial: Trial) -> dict[str, Outcome]:
    return {verdict.check: verdict.outcome for verdict in judge(trial.history())}


def lost_start(*checks: str, **parameters: Any) -> Failover:
    """i1 lived before the failover and survived; i2 was started, and only the old primary had it."""
    trial = Failover(*checks, **parameters)
    trial.lived(1).start("i2")
    return trial.had("old", "new").had("old", number=2, status="ACTIVE", key=False).takes_over()


def test_whatever_was_acknowledged_is_on_the_synchronous_standby() -> None:
    trial = Failover("FL").lived(1)
    verdict = judged(trial.had("old", "new").takes_over())
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["lost_by_database"] == 0
    assert verdict.figures["wal_bytes_not_replicated"] == 0x30


def test_a_synchronous_standby_lacks_what_was_acknowledged() -> None:
    verdict = judged(lost_start("FL"))
    assert verdict.outcome is Outcome.FAIL
    assert "although replication is synchronous" in verdict.summary


def test_what_an_asynchronous_standby_lacks_is_counted_and_nobodys_fault() -> None:
    trial = lost_start("FL", "NL", "NP", "LV", **ASYNCHRONOUS)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["lost_by_database_of"] == {"start": 1}
    assert "1 x start" in verdict.summary
    assert set(of_the_engine(trial).values()) == {Outcome.PASS}


def test_without_the_excuse_it_is_a_loss() -> None:
    assert of_the_engine(lost_start("NL")) == {"NL": Outcome.FAIL}


def test_what_the_old_primary_never_had_the_engine_has_lost() -> None:
    trial = lost_start("FL", "NL", **ASYNCHRONOUS)
    at = trial.ops.index(next(op for op in trial.ops if op.f == "held_instance"))
    late = trial.ops[at:]
    del trial.ops[at:]
    trial.start("i3").ops += late
    assert of_the_engine(trial)["NL"] is Outcome.FAIL


def test_what_is_answered_after_the_failover_has_no_excuse() -> None:
    trial = lost_start("FL", "NL", **ASYNCHRONOUS)
    trial.at(200).start("i3")
    assert of_the_engine(trial)["NL"] is Outcome.FAIL


def test_a_completion_is_lost_with_the_end_of_its_job() -> None:
    trial = Failover("FL", "NL", "NP", **ASYNCHRONOUS)
    trial.lived(1)
    trial.had("old").had("new", status="ACTIVE", key=False).takes_over()
    verdict = judged(trial)
    assert verdict.figures["lost_by_database_of"] == {"complete": 1}
    trial.at(200).poll("j1", worker="b", token="2").complete("j1", "again", worker="b", token="2")
    trial.one(1, "COMPLETED", done("j1", "again"))
    assert of_the_engine(trial) == {"FL": Outcome.PASS, "NL": Outcome.PASS, "NP": Outcome.PASS}


def test_other_calls_are_lost_by_their_traces() -> None:
    trial = Failover("FL", **ASYNCHRONOUS)
    trial.start("i1").resume("signal", "i1", "wait", variables={"word": 1}).cancel("i1").poll("j9", "j1")
    for server, status, keys in (("old", "CANCELLED", ["word"]), ("new", "WAITING", [])):
        trial.note("observer", "held_instance", server=server, id="i1", status=status, keys=keys)
        trial.note("observer", "held_job", server=server, id="j1", instance_id="i1", status="LOCKED")
    trial.note("observer", "held_job", server="old", id="j9", instance_id="i1", status="LOCKED")
    trial.takes_over().instance("i1", "WAITING").job("j1", "LOCKED")
    assert judged(trial).figures["lost_by_database_of"] == {"cancel": 1, "poll": 1, "signal": 1}


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (Trial().instance("i9"), "i1 had survived and is gone"),
        (Trial().one(1, "FAILED"), "i1 had survived as COMPLETED and is FAILED"),
        (Trial().one(1, "COMPLETED"), "i1 had survived with done:j1:n, which it has not"),
        (
            Trial().one(1, "COMPLETED", done("j1", "n")).job("j1", "UNLOCKED"),
            "job j1 had survived as COMPLETED",
        ),
    ],
)
def test_what_survived_must_stay(end: Trial, text: str) -> None:
    trial = Failover("FL").had("old", "new").takes_over()
    trial.rows = end.rows
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert any(text in witness.text for witness in verdict.witnesses), verdict.summary


def test_it_is_invalid_without_a_survey_or_with_the_wrong_server() -> None:
    assert judged(Trial("FL").lived(1)).outcome is Outcome.INVALID
    trial = Failover("FL").lived(1)
    trial.had("old", "new").had("new", number=2).takes_over()
    verdict = judged(trial)
    assert verdict.outcome is Outcome.INVALID
    assert "it was not its standby" in verdict.summary


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_a_start_is_lost_by_the_database_exactly_if_only_the_old_primary_had_it(
    fates: list[tuple[bool, bool, bool]],
) -> None:
    """(acknowledged, the old one had it, the new one, too)"""
    trial = Failover("FL", **ASYNCHRONOUS)
    expected = 0
    for number, (is_acked, had, has) in enumerate(fates):
        trial.start(f"i{number}", outcome="ok" if is_acked else "info")
        servers = (["old"] if had else []) + (["new"] if had and has else [])
        trial.had(*servers, number=number, status="ACTIVE", key=False)
        expected += is_acked and had and not has
    assert len(lost_by_database(Facts(trial.takes_over().history()))) == expected
