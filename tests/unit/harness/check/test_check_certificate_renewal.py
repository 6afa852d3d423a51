from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

DOORS = [("replica-0", "rest"), ("replica-0", "grpc")]
BOUND_S = 5.0
METRIC = "windlass_tls_certificate_unusable"


class Renewals:
    """A run that is as it should be, unless a test changes it: the first certificate is `a`."""

    def __init__(self, **parameters: Any) -> None:
        given = {"renewal_bound_s": BOUND_S, "doors_min": len(DOORS), "told_by": METRIC, **parameters}
        self.trial = Trial("CR", **given)
        self.shows("a")

    def shows(self, serial: str | None, *, after_s: float = 1.0, doors: Any = DOORS, cause: str = "") -> None:
        self.trial.now_s += after_s
        for node, door in doors:
            more = {"cause": cause} if cause else {}
            self.trial.note("observer", "certificate", node=node, door=door, serial=serial, **more)

    def renew(self, serial: str, outcome: str = "ok") -> None:
        self._change("renew_certificate", serial, outcome)

    def spoil(self, serial: str = "bad") -> None:
        self._change("spoil_certificate", serial, "ok")

    def tells(self, value: float, after_s: float = 3.0) -> None:
        self.trial.now_s += after_s
        self.trial.note("observer", "metrics", node="replica-0", series={METRIC: value, "other": 1.0})

    def judged(self) -> Verdict:
        return CHECKS["CR"](self.trial.history())

    def _change(self, f: str, serial: str, outcome: str) -> None:
        sent = {"target": "all", "parameters": {}}
        self.trial.call("fault-1", f, sent, outcome, {"serial": serial})


def whole() -> Renewals:
    """Renewed, spoilt, renewed."""
    run = Renewals()
    run.renew("b")
    run.shows("b", after_s=2.0)
    run.spoil()
    run.tells(1.0)
    run.renew("c")
    run.shows("c", after_s=3.0)
    run.tells(0.0)
    return run


def test_a_renewal_is_shown_and_what_cannot_be_used_is_not() -> None:
    verdict = whole().judged()
    assert verdict.outcome is Outcome.PASS, verdict.summary
    assert verdict.figures == {
        "renewals": 2,
        "doors": 2,
        "renewal_bound_s": BOUND_S,
        "renewal_s": 3.0,
        "unusable_certificates": 1,
        "unusable_told": 1,
        "violations": 0,
    }


def test_a_door_that_never_shows_it_is_named() -> None:
    run = whole()
    run.renew("d")
    run.shows("d", doors=DOORS[:1])
    run.shows("c", after_s=9.0, doors=DOORS[1:])
    verdict = run.judged()
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == ("grpc of replica-0 showed the certificate d never, the bound is 5 s")


def test_a_door_that_shows_it_late_is_named() -> None:
    run = whole()
    run.renew("d")
    run.shows("d", after_s=BOUND_S + 1.5)
    verdict = run.judged()
    assert verdict.outcome is Outcome.FAIL
    assert "showed the certificate d 6.500 s after the renewal" in verdict.witnesses[0].text


def test_a_renewal_that_the_next_one_overtook_was_shown_with_it() -> None:
    run = whole()
    run.renew("d")
    run.renew("e")
    run.shows("e")
    assert run.judged().outcome is Outcome.PASS


def test_what_a_door_must_not_do_is_named() -> None:
    for serial, cause, words in (
        ("bad", "", "rest of replica-0 shows the certificate bad, which is not a good one"),
        ("a", "", "rest of replica-0 shows the certificate a again, which was replaced"),
        (None, "Connection refused", "rest of replica-0 let nobody in: Connection refused"),
    ):
        run = whole()
        run.shows(serial, doors=DOORS[:1], cause=cause)
        run.shows("c")
        verdict = run.judged()
        assert verdict.outcome is Outcome.FAIL
        assert [witness.text for witness in verdict.witnesses] == [words]


def test_a_node_that_does_not_tell_of_it_is_named() -> None:
    run = Renewals()
    run.renew("b")
    run.shows("b")
    run.spoil()
    run.tells(0.0)
    run.shows("b")
    verdict = run.judged()
    assert verdict.outcome is Outcome.FAIL
    assert f"replica-0 did not tell by {METRIC}" in verdict.witnesses[0].text


def test_a_node_that_goes_on_telling_of_it_is_named() -> None:
    run = whole()
    run.tells(1.0)
    verdict = run.judged()
    assert verdict.outcome is Outcome.FAIL
    assert f"replica-0 still tells by {METRIC}" in verdict.witnesses[0].text


def test_what_shows_nothing_is_vacuous() -> None:
    run = Renewals()
    run.renew("b")
    run.shows("b")
    assert "none spoilt" in run.judged().summary
    run = whole()
    run.trial.header.parameters["doors_min"] = 3
    assert "only 2 doors were looked at" in run.judged().summary
    run = Renewals()
    run.spoil()
    run.tells(1.0)
    run.renew("b")
    run.shows("b")
    run.tells(0.0)
    run.spoil()
    run.tells(1.0)
    verdict = run.judged()
    assert verdict.outcome is Outcome.VACUOUS
    assert (
        "nobody looked again after the last change: rest of replica-0, grpc of replica-0" in verdict.summary
    )


def test_a_renewal_that_broke_off_shows_nothing() -> None:
    run = whole()
    run.renew("d", "info")
    assert run.judged().outcome is Outcome.INVALID


@given(st.lists(st.sampled_from(["old", "new", "bad", "none"]), max_size=6), st.booleans())
def test_it_agrees_with_the_naive_restatement(looks: list[str], is_late: bool) -> None:
    """After one renewal: each look a second later, or each as late as the bound."""
    run = Renewals()
    run.spoil()
    run.tells(1.0)
    run.renew("new-serial")
    renewed_s = run.trial.now_s
    serials = {"old": "a", "new": "new-serial", "bad": "bad", "none": None}
    step_s = BOUND_S - 0.5 if is_late else 1.0
    for look in looks:
        run.shows(serials[look], after_s=step_s)
    run.tells(0.0)
    first_new = looks.index("new") if "new" in looks else None
    is_broken = (
        "bad" in looks
        or "none" in looks
        or first_new is None
        or "old" in looks[first_new:]
        or step_s * (first_new + 1) > BOUND_S
    )
    assert run.trial.now_s >= renewed_s
    assert run.judged().outcome is (Outcome.FAIL if is_broken else Outcome.PASS)
