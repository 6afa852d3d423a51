"""PW: with TLS nothing between engine and broker can be read, and no secret is written down."""

from __future__ import annotations

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import facts_of
from seatrial.check.finding import Findings
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "With a login over TLS every byte between engine and broker is TLS, in each direction of each connection, and "
    "neither credentials nor jobs show on the wire or in a log."
)


@assuming("PW", GUARANTEE, PAIRED, EFFECTIVE)
def private_wire(history: History) -> Verdict:
    """One observer row `wire` for each reading of what went through the broker's proxy."""
    facts = facts_of(history)
    findings = Findings(facts)
    total_bytes = streams = 0
    for op in facts.rows("wire"):
        value = op.value
        total_bytes += int(value["bytes"])
        streams += int(value["streams"])
        for count, words in (
            (value["plain_streams"], "streams are not TLS from their first byte to their last"),
            (value["needles_seen"], "of the words that must not appear were on the wire"),
            (value["logs_with_secrets"], "logs hold a secret"),
        ):
            if count:
                findings.add(f"{value['case']}: {count} {words}", at=(op.index,))
    figures = {
        "looks": len(facts.rows("wire")),
        "streams": streams,
        "bytes": total_bytes,
        "violations": findings.count,
    }
    summary = (
        f"{total_bytes} bytes in {streams} streams, all of them TLS"
        if not findings.count
        else f"{streams} streams"
    )
    return findings.verdict(
        "PW", GUARANTEE, summary, figures, vacuous=None if total_bytes else "no byte went to the broker"
    )
