"""BC: a boot that cannot keep its promise is refused at once, and says why."""

from __future__ import annotations

from typing import Any

from seatrial.check.assumptions import PAIRED, assuming
from seatrial.check.facts import facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A boot that cannot keep its promise exits non-zero within its bound, names the cause, "
    "and leaves nothing running."
)


@assuming("BC", GUARANTEE, PAIRED)
def boot_contract(history: History) -> Verdict:
    """One observer row `boot` for each case."""
    facts = facts_of(history)
    findings = Findings(facts)
    rows = facts.rows("boot")
    for op in rows:
        for fault in _faults(op.value):
            findings.add(f"{op.value['case']}: {fault}", at=(op.index,))
    slowest_s = max((float(op.value["duration_s"]) for op in rows), default=0.0)
    figures = {"cases": len(rows), "slowest_s": slowest_s, "violations": findings.count}
    summary = f"{len(rows)} boots refused, the slowest after {slowest_s:.2f} s"
    return findings.verdict("BC", GUARANTEE, summary, figures, vacuous=None if rows else "no boot was tried")


def _faults(boot: dict[str, Any]) -> list[str]:
    found = []
    exit_code, stderr = boot["exit_code"], str(boot["stderr"])
    if exit_code is None:
        found.append(f"it still ran after {boot['duration_s']:g} s instead of refusing to boot")
    elif exit_code == 0:
        found.append("it exited 0 instead of refusing to boot")
    elif exit_code < 0:
        found.append(f"it was ended by signal {-exit_code} instead of refusing to boot")
    if boot["duration_s"] > boot["bound_s"]:
        found.append(f"it took {boot['duration_s']:.2f} s, the bound is {boot['bound_s']:g} s")
    expected = boot["expected"]
    said = stderr.strip()[-300:] or "it said nothing"
    texts = [expected] if isinstance(expected, str) else expected
    found += [f"its message does not name {text!r}: {said}" for text in texts if text not in stderr]
    if boot["processes_left"]:
        found.append(f"it left {boot['processes_left']} processes running")
    return found
