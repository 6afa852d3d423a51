"""CB: engines do not use more connections than the operator has planned for, however many engines there are."""

from __future__ import annotations

from typing import Any

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "Connections stay within the budget: an engine holds at most its pool and two more, and all engines together at "
    "most what the formula gives for the largest number of pods."
)


@assuming("CB", GUARANTEE, PAIRED, EFFECTIVE)
def connection_budget(history: History) -> Verdict:
    """One observer row `sessions` for each change of what the database counts. Parameters: `connections_max`, of all
    engines together; `connections_per_node_max`; `nodes_connected_min` (1) and `connections_of_a_node_min` (1): without
    that many engines at one time, and one that held that many, the budget was not tested.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    most, most_per_node = int(facts.number("connections_max")), int(facts.number("connections_per_node_max"))
    rows = facts.rows("sessions")
    for op in rows:
        total, nodes = int(op.value["total"]), op.value["nodes"]
        if total > most:
            findings.add(f"{total} connections at one time, the budget is {most}", at=(op.index,))
        for node, count in nodes.items():
            if count > most_per_node:
                findings.add(f"{node} held {count} connections, it may {most_per_node}", at=(op.index,))
    seen_of_node = max((count for op in rows for count in op.value["nodes"].values()), default=0)
    seen_nodes = max((len(op.value["nodes"]) for op in rows), default=0)
    figures: dict[str, Any] = {
        "looks": len(rows),
        "connections": max((int(op.value["total"]) for op in rows), default=0),
        "connections_bound": most,
        "connections_of_a_node": seen_of_node,
        "nodes_connected": seen_nodes,
        "violations": findings.count,
    }
    summary = (
        f"at most {figures['connections']} of {most} connections, {seen_of_node} of {most_per_node} by one engine, "
        f"of up to {seen_nodes} engines at one time"
    )
    vacuous = None
    if seen_nodes < (wanted := int(facts.number("nodes_connected_min", 1))):
        vacuous = f"{seen_nodes} engines were connected at one time, {wanted} were expected"
    elif seen_of_node < (wanted := int(facts.number("connections_of_a_node_min", 1))):
        vacuous = f"no engine held {wanted} connections: no pool was full"
    return findings.verdict("CB", GUARANTEE, summary, figures, vacuous=vacuous)
