"""The checks: one guarantee per file, pure, history in, verdict out."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import msgspec

from seatrial.check.availability import availability
from seatrial.check.boot_contract import boot_contract
from seatrial.check.broker_outage import broker_outage
from seatrial.check.certificate_renewal import certificate_renewal
from seatrial.check.circumstance import counted, missing
from seatrial.check.claim_cost import claim_cost
from seatrial.check.connection_budget import connection_budget
from seatrial.check.duplicate_budget import duplicate_budget
from seatrial.check.facts import facts_of
from seatrial.check.failover_loss import failover_loss
from seatrial.check.fencing import fencing
from seatrial.check.held import surviving
from seatrial.check.latency import latency
from seatrial.check.leadership import leadership
from seatrial.check.lease_exclusive import lease_exclusive
from seatrial.check.liveness import liveness
from seatrial.check.memory import memory
from seatrial.check.mode_purity import mode_purity
from seatrial.check.no_loss import no_loss
from seatrial.check.no_phantom import no_phantom
from seatrial.check.outbox_conservation import outbox_conservation
from seatrial.check.pickup import pickup
from seatrial.check.private_wire import private_wire
from seatrial.check.probe_truth import probe_truth
from seatrial.check.publish_order import publish_order
from seatrial.check.punctuality import punctuality
from seatrial.check.read_truth import read_truth
from seatrial.check.recovery_time import recovery_time
from seatrial.check.retention import retention
from seatrial.check.rollout import rollout
from seatrial.check.secret_keeping import secret_keeping
from seatrial.check.spread import spread
from seatrial.check.steadiness import steadiness
from seatrial.check.step_once import step_once
from seatrial.history import History
from seatrial.verdict import Check, Outcome, Verdict

CHECKS: Mapping[str, Check] = {
    "NL": no_loss,
    "NP": no_phantom,
    "LX": lease_exclusive,
    "FN": fencing,
    "S1x": step_once,
    "DB": duplicate_budget,
    "RT": recovery_time,
    "LV": liveness,
    "AV": availability,
    "TP": punctuality,
    "PT": probe_truth,
    "PK": pickup,
    "CC": claim_cost,
    "CB": connection_budget,
    "OC": outbox_conservation,
    "PO": publish_order,
    "LD": leadership,
    "BO": broker_outage,
    "PW": private_wire,
    "MP": mode_purity,
    "BC": boot_contract,
    "RO": rollout,
    "SK": secret_keeping,
    "CR": certificate_renewal,
    "FL": failover_loss,
    "RY": read_truth,
    "RN": retention,
    "MEM": memory,
    "LAT": latency,
    "FLAT": steadiness,
    "SPREAD": spread,
}


OF_THE_STATE = frozenset({"NL", "NP", "S1x", "LV"})
"""They compare answers with the final state, so they leave out what the database itself lost in a failover."""


def judge(history: History) -> tuple[Verdict, ...]:
    """One verdict for each check that the header names, in its order; none for a header that names none.

    A check that crashes is UNKNOWN, with its traceback; so is one that does not exist. One that passes is VACUOUS
    when the
    run did not meet the circumstances that the drill is about (see `circumstance`); the first one shows their counts.
    """
    facts = facts_of(history)
    try:
        by_engine = surviving(history, facts)
        counts = counted(facts)
        nothing = missing(facts, counts)
    except Exception:
        return tuple(_unknown(name) for name in history.header.checks)
    verdicts = [
        _judged(name, by_engine if name in OF_THE_STATE else history, nothing)
        for name in history.header.checks
    ]
    if verdicts:
        verdicts[0] = msgspec.structs.replace(verdicts[0], figures={**verdicts[0].figures, **counts})
    return tuple(verdicts)


def _judged(name: str, history: History, nothing_shown: str | None) -> Verdict:
    check = CHECKS.get(name)
    if check is None:
        known = ", ".join(CHECKS)
        return Verdict(name, "", Outcome.UNKNOWN, f"there is no check {name!r}; known are {known}")
    try:
        verdict = check(history)
    except Exception:
        return _unknown(name)
    if nothing_shown is None or verdict.outcome is not Outcome.PASS:
        return verdict
    summary = f"{nothing_shown} ({verdict.summary})"
    return msgspec.structs.replace(verdict, outcome=Outcome.VACUOUS, summary=summary)


def _unknown(name: str) -> Verdict:
    return Verdict(name, "", Outcome.UNKNOWN, traceback.format_exc())
