"""CR: a certificate that is renewed under load is the one that doors show, in time; one that cannot be used changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "A renewed certificate is what new connections get at each door within the bound, without a restart; one whose key "
    "does not belong to it is told of, and changes nothing."
)
RENEWAL, SPOILING = "renew_certificate", "spoil_certificate"


class _Door(msgspec.Struct, frozen=True):
    node: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} of {self.node}"


@assuming("CR", GUARANTEE, PAIRED, EFFECTIVE)
def certificate_renewal(history: History) -> Verdict:
    """Observer rows `certificate` tell what each door shows from then on. Parameters: `renewal_bound_s`, from the
    change of the files to the certificate; `doors_min`, of all nodes together; `told_by`, the metric that is not 0
    while the certificate cannot be used, which observer rows `metrics` tell.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    bound_s = facts.number("renewal_bound_s")
    renewals, spoilings = _done(facts, RENEWAL), _done(facts, SPOILING)
    doors = _by_door(facts)
    took_s = [
        found
        for door, rows in doors.items()
        for found in _shown_after(door, rows, renewals, bound_s, findings)
    ]
    told = _told_by_all(facts, spoilings, {door.node for door in doors}, findings)
    changed_s = max((_at_s(call) for call in (*renewals, *spoilings)), default=0.0)
    unseen = [str(door) for door, rows in doors.items() if rows[-1].t_s <= changed_s]
    figures: dict[str, Any] = {
        "renewals": len(renewals),
        "doors": len(doors),
        "renewal_bound_s": bound_s,
        "renewal_s": round(max(took_s), 3) if took_s else None,
        "unusable_certificates": len(spoilings),
        "unusable_told": told,
        "violations": findings.count,
    }
    summary = (
        f"{len(renewals)} renewals at {len(doors)} doors, the slowest after {max(took_s, default=0.0):.1f} s of at "
        f"most {bound_s:g} s; {len(spoilings)} certificates that cannot be used"
    )
    vacuous = None
    if not renewals or not spoilings:
        vacuous = "no certificate was renewed, or none spoilt"
    elif len(doors) < facts.number("doors_min"):
        vacuous = f"only {len(doors)} doors were looked at"
    elif unseen:
        vacuous = f"nobody looked again after the last change: {', '.join(unseen)}"
    return findings.verdict("CR", GUARANTEE, summary, figures, vacuous=vacuous)


def _done(facts: Facts, f: str) -> Sequence[Call]:
    return [call for call in facts.calls_of(f) if call.outcome == "ok"]


def _at_s(call: Call) -> float:
    return call.end.t_s if call.end is not None else call.invoke.t_s


def _by_door(facts: Facts) -> dict[_Door, list[Op]]:
    found: dict[_Door, list[Op]] = {}
    for op in facts.rows("certificate"):
        found.setdefault(_Door(op.value["node"], op.value["door"]), []).append(op)
    return found


def _shown_after(
    door: _Door, rows: Sequence[Op], renewals: Sequence[Call], bound_s: float, findings: Findings
) -> list[float]:
    """How long each renewal took there. All else that the door shows is found: what nobody put there as good, what a
    renewal has replaced already, and no certificate at all.
    """
    good = [rows[0].value["serial"], *(_serial(call) for call in renewals)]
    newest = 0
    for op in rows:
        serial = op.value["serial"]
        if serial is None:
            findings.add(f"{door} let nobody in: {op.value.get('cause')}", at=(op.index,))
        elif serial not in good:
            findings.add(f"{door} shows the certificate {serial}, which is not a good one", at=(op.index,))
        elif good.index(serial) < newest:
            findings.add(f"{door} shows the certificate {serial} again, which was replaced", at=(op.index,))
        else:
            newest = good.index(serial)
    took_s = []
    for number, call in enumerate(renewals, 1):
        later = [op.t_s for op in rows if op.value["serial"] in good[number:]]
        after_s = max(0.0, min(later) - _at_s(call)) if later else None
        if after_s is None or after_s > bound_s:
            when = "never" if after_s is None else f"{after_s:.3f} s after the renewal"
            text = f"{door} showed the certificate {good[number]} {when}, the bound is {bound_s:g} s"
            findings.add(text, at=(call.invoke.index,))
        else:
            took_s.append(after_s)
    return took_s


def _serial(call: Call) -> str:
    return str(call.end.value["serial"]) if call.end is not None else ""


def _told_by_all(facts: Facts, spoilings: Sequence[Call], nodes: set[str], findings: Findings) -> int:
    """How many nodes told of a certificate that cannot be used; each that did not is found, and each that still does
    when a good one is there.
    """
    metric = facts.word("told_by")
    if metric is None or not spoilings:
        return 0
    spoilt = spoilings[-1]
    renewed_s = max((_at_s(call) for call in _done(facts, RENEWAL)), default=0.0)
    told: dict[str, list[bool]] = {node: [] for node in nodes}
    for op in facts.rows("metrics"):
        if op.t_s > _at_s(spoilt) and op.value["node"] in told:
            told[op.value["node"]].append(_is_set(metric, op.value["series"]))
    for node, looks in sorted(told.items()):
        if not any(looks):
            text = f"{node} did not tell by {metric} of the certificate whose key does not belong to it"
            findings.add(text, at=(spoilt.invoke.index,))
        elif renewed_s > _at_s(spoilt) and looks[-1]:
            findings.add(f"{node} still tells by {metric} of a certificate that was replaced")
    return sum(any(looks) for looks in told.values())


def _is_set(metric: str, series: Mapping[str, float]) -> bool:
    return any(name.partition("{")[0] == metric and value for name, value in series.items())
