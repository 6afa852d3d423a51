"""SK: a password that is changed under load does not appear anywhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A secret stays secret when it is changed: neither the old nor the new password shows in a log, an event, an "
    "object other than its own Secret, Helm's output, or the history."
)

ROTATION = "rotate_password"


@assuming("SK", GUARANTEE, PAIRED, EFFECTIVE)
def secret_keeping(history: History) -> Verdict:
    """One observer row `exposure` for each place that was searched. Parameter `places`: those that must have been
    searched and must not be empty, or nothing was proved.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    searched: Counter[str] = Counter()
    for op in facts.rows("exposure"):
        place, found = str(op.value["place"]), int(op.value["found"])
        searched[place] += int(op.value["bytes"])
        if found:
            findings.add(f"{place}: {found} times a password, old or new", at=(op.index,))
    rotations = sum(call.outcome == "ok" for call in facts.calls_of(ROTATION))
    figures: dict[str, Any] = {
        "rotations": rotations,
        "places": len(searched),
        "searched_bytes": searched.total(),
        "violations": findings.count,
    }
    summary = f"{rotations} rotations, no password in {searched.total()} bytes of {len(searched)} places"
    if findings.count:
        summary = f"{rotations} rotations, {searched.total()} bytes of {len(searched)} places searched"
    lacking = sorted(place for place in facts.words("places") if not searched[place])
    vacuous = None if rotations else "no password was changed"
    if lacking:
        vacuous = f"there was nothing to search: {', '.join(lacking)}"
    return findings.verdict("SK", GUARANTEE, summary, figures, vacuous=vacuous)
