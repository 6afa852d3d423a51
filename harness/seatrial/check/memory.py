"""MEM: no node takes more memory than its chart allows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = "Memory stays within the limit: whatever callers send or ask for, no node takes more than the chart allows."
#: how Python says that an allocation failed, as it does past RLIMIT_DATA; a drill looks for it in the logs
OUT_OF_MEMORY = "MemoryError"
_MIB = 1024 * 1024


@assuming("MEM", GUARANTEE, PAIRED, EFFECTIVE)
def memory(history: History) -> Verdict:
    """One observer row `memory` for each node at the end, and rows `resources` meanwhile: a process that was ended
    shows its peak only there. A cgroup counts memory more exactly than a peak does, which has pages of files that
    processes share; where there is none the peak counts. Rows `log_scan` for OUT_OF_MEMORY tell of allocations that
    failed.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    peaks = _peaks(facts)
    limits: dict[str, int] = {}
    for op in facts.rows("memory"):
        value = op.value
        node, limit_bytes, kills = str(value["node"]), int(value["limit_bytes"]), int(value["kills"])
        limits[node] = limit_bytes
        if kills:
            times = "once" if kills == 1 else f"{kills} times"
            findings.add(
                f"the kernel ended {node} {times} at its limit of {_mib(limit_bytes)}", at=(op.index,)
            )
        if value["enforced_by"] != "cgroup" and (peak := peaks.get(node, 0)) > limit_bytes:
            findings.add(f"{node} took {_mib(peak)}, its limit is {_mib(limit_bytes)}", at=(op.index,))
    for op in facts.rows("log_scan"):
        if op.value["pattern"] == OUT_OF_MEMORY and op.value["matches"]:
            text = f"an allocation of {op.value['node']} failed: {op.value['matches'][0][:200]}"
            findings.add(text, at=(op.index,))
    figures: dict[str, Any] = {
        "memory_enforced_by": ", ".join(sorted({op.value["enforced_by"] for op in facts.rows("memory")})),
        "memory_limit_mib": round(min(limits.values(), default=0) / _MIB),
        **{f"memory_peak_{node}_mib": round(peak / _MIB, 1) for node, peak in sorted(peaks.items())},
    }
    shown = ", ".join(f"{node} {_mib(peak)}" for node, peak in sorted(peaks.items())) or "no peak known"
    summary = f"at most {shown}; the limit is {_mib(min(limits.values(), default=0))}"
    unseen = sorted(set(limits) - set(peaks))
    vacuous = None
    if not limits:
        vacuous = "the memory of no node was limited"
    elif unseen:
        vacuous = f"nobody saw what {', '.join(unseen)} took"
    return findings.verdict("MEM", GUARANTEE, summary, figures, vacuous=vacuous)


def _peaks(facts: Facts) -> Mapping[str, int]:
    """The most that each node was seen to take at one time, over all its runs."""
    peaks: dict[str, int] = defaultdict(int)
    for f in ("resources", "memory"):
        for op in facts.rows(f):
            if (peak := op.value["rss_peak_bytes"]) is not None:
                peaks[str(op.value["node"])] = max(peaks[str(op.value["node"])], int(peak))
    return peaks


def _mib(count_bytes: int) -> str:
    return f"{count_bytes / _MIB:.0f} MiB"
