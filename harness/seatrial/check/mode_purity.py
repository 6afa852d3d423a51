"""MP: an engine in polling mode has no trace of the broker."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.check.assumptions import EFFECTIVE, LOADED, PAIRED, Assumption, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.history import History, Op
from seatrial.verdict import Verdict

GUARANTEE = (
    "Polling mode is pure: the outbox stays empty, or as another mode left it; no dispatch or broker metric exists, no "
    "log line names a broker, and the engine connects only to the database."
)
OUTBOX = "dispatch_outbox"


def _outbox_rows(facts: Facts) -> Sequence[Op]:
    return [op for op in facts.rows("table_count") if op.value["table"].rpartition(".")[2] == OUTBOX]


def _brokers(facts: Facts) -> Sequence[str]:
    return sorted(facts.words("broker_names"))


def _broker_scans(facts: Facts) -> Sequence[Op]:
    """Searches of a log for the name of every broker."""
    names = _brokers(facts)
    return [
        op
        for op in facts.rows("log_scan")
        if names and all(name in str(op.value["pattern"]).lower() for name in names)
    ]


def _is_left(facts: Facts) -> bool:
    return facts.flag("outbox_left", default=False) and bool(_outbox_rows(facts))


def _node(op: Op) -> str:
    return str(op.value.get("node") or op.node)


def _unseen(facts: Facts) -> str | None:
    """Purity is proved only for what was read: the outbox, and every replica's metrics and log."""
    if not _outbox_rows(facts):
        return f"the rows of {OUTBOX} were not counted"
    filled = {_node(op) for op in facts.rows("metrics") if op.value["series"]}
    scanned = {_node(op) for op in _broker_scans(facts)}
    for what, nodes in (
        ("metrics were read", filled),
        (f"logs were searched for {' and '.join(_brokers(facts)) or 'a broker'}", scanned),
    ):
        if len(nodes) < facts.header.replicas:
            return f"the {what} on {len(nodes)} of {facts.header.replicas} replicas only"
    return None


@assuming("MP", GUARANTEE, PAIRED, Assumption(_unseen), EFFECTIVE, LOADED)
def mode_purity(history: History) -> Verdict:
    """Parameters: `broker_names`: the words by which metrics and log lines would reveal a broker, in lower case;
    `outbox_left` (false): rows of another mode are there; then their number must never change.
    """
    facts = facts_of(history)
    forbidden_series = (
        "workflow_engine_dispatch_",
        *(f"workflow_engine_{name}_" for name in _brokers(facts)),
    )
    findings = Findings(facts)
    outbox_rows = 0
    left = int(_outbox_rows(facts)[0].value["rows"]) if _is_left(facts) else None
    for op in _outbox_rows(facts):
        outbox_rows = max(outbox_rows, int(op.value["rows"]))
        if op.value["rows"] != (left or 0):
            instead = "" if left is None else f" instead of {left}"
            findings.add(f"{OUTBOX} holds {op.value['rows']} rows{instead}", at=(op.index,))
    series = 0
    for op in facts.rows("metrics"):
        for name in op.value["series"]:
            series += 1
            if name.startswith(forbidden_series):
                findings.add(f"{_node(op)} exposes {name}", at=(op.index,))
    lines = 0
    for op in _broker_scans(facts):
        for line in op.value["matches"]:
            lines += 1
            findings.add(f"{_node(op)} logged {str(line)[:300]}", at=(op.index,))
    looks = 0
    for op in facts.rows("sockets"):
        looks += 1
        for peer in op.value["peers"]:
            findings.add(f"{_node(op)} is connected to {peer}, which is not the database", at=(op.index,))
    figures = {
        "outbox_rows": outbox_rows,
        "series_seen": series,
        "log_lines_matched": lines,
        "looks_at_sockets": looks,
    }
    summary = (
        f"{outbox_rows} outbox rows, {series} series seen, {lines} log lines name a broker, "
        f"sockets looked at {looks} times"
    )
    return findings.verdict("MP", GUARANTEE, summary, figures)
