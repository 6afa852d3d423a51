"""BC: a boot that has to fail does so at once, one that has to wait does not serve, and both say why."""

from __future__ import annotations

from typing import Any

from seatrial.check.assumptions import PAIRED, assuming
from seatrial.check.facts import facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A boot that has to fail exits non-zero within its bound, names the cause, reveals no secret, and leaves nothing "
    "running; one that has to wait is not ready and says for what; a boot that succeeds logs each check that it has "
    "made, in order."
)


@assuming("BC", GUARANTEE, PAIRED)
def boot_contract(history: History) -> Verdict:
    """One observer row `boot` for each case; those that should succeed have `serves` true, those that should wait for
    an operator `waits`.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    rows = facts.rows("boot")
    for op in rows:
        for fault in _faults(op.value):
            findings.add(f"{op.value['case']}: {fault}", at=(op.index,))
    slowest_s = max((float(op.value["duration_s"]) for op in rows), default=0.0)
    figures = {"cases": len(rows), "slowest_s": slowest_s, "violations": findings.count}
    served = sum(bool(op.value.get("serves")) for op in rows)
    waiting = sum(bool(op.value.get("waits")) for op in rows)
    refused = f"{len(rows) - served - waiting} boots refused"
    waited = f", {waiting} waited" if waiting else ""
    summary = f"{refused}{waited}, {served} good ones, the slowest after {slowest_s:.2f} s"
    return findings.verdict("BC", GUARANTEE, summary, figures, vacuous=None if rows else "no boot was tried")


def _faults(boot: dict[str, Any]) -> list[str]:
    if boot.get("waits"):
        found = _wrong_wait(boot)
    else:
        found = _wrong_start(boot) if boot.get("serves") else _wrong_refusal(boot)
    if boot["duration_s"] > boot["bound_s"] and not boot.get("waits"):
        found.append(f"it took {boot['duration_s']:.2f} s, the bound is {boot['bound_s']:g} s")
    if boot["processes_left"]:
        found.append(f"it left {boot['processes_left']} processes running")
    if boot.get("leaked"):
        found.append("it wrote a secret into its log")
    return found


def _wrong_refusal(boot: dict[str, Any]) -> list[str]:
    found = []
    exit_code, stderr = boot["exit_code"], str(boot["stderr"])
    if exit_code is None:
        found.append(f"it still ran after {boot['duration_s']:g} s instead of refusing to boot")
    elif exit_code == 0:
        found.append("it exited 0 instead of refusing to boot")
    elif exit_code < 0:
        found.append(f"it was ended by signal {-exit_code} instead of refusing to boot")
    said = stderr.strip()[-300:] or "it printed nothing"
    return found + [
        f"its message does not name {text!r}: {said}" for text in _texts(boot) if text not in stderr
    ]


def _wrong_wait(boot: dict[str, Any]) -> list[str]:
    if boot["exit_code"] is not None:
        return [f"it exited with {boot['exit_code']}: {str(boot['stderr']).strip()[-300:]}"]
    found = ["it was ready, though it had to wait"] if boot["ready"] else []
    return found + [
        f"its log does not name {text!r}" for text in _texts(boot) if text not in str(boot["stderr"])
    ]


def _wrong_start(boot: dict[str, Any]) -> list[str]:
    if boot["exit_code"] is not None:
        return [f"it exited with {boot['exit_code']}: {str(boot['stderr']).strip()[-300:]}"]
    position = 0
    for text in _texts(boot):
        at = str(boot["stderr"]).find(text, position)
        if at < 0:
            return [f"its log does not say {text!r} where it was to"]
        position = at + len(text)
    return []


def _texts(boot: dict[str, Any]) -> list[str]:
    expected = boot["expected"]
    return [expected] if isinstance(expected, str) else list(expected)
