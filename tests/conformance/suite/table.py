"""docs/conformance.md, every row of the contract with the test that shows it: `scripts/conformance --write-table`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from suite import cases, contract
from suite.case import Transport

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "conformance.md"

_HEAD = """\
# Conformance

Every row of [the contract](contract.md), under the numbers of its sections, and the test that shows that Windlass does
what the contract says. The rows are data ([suite/rows](../tests/conformance/suite/rows)); the cases use only the API,
so they can measure any engine:

```sh
scripts/conformance                                      # our engine, every row
scripts/conformance --rows '1.6*' --rows '5.7*'          # some of them
scripts/conformance --engine-command "./engine serve"    # another engine, on a database made for it
scripts/conformance --rest http://host:8080 --grpc host:9090 --metrics http://host:9091
```

It prints each row as same, differs (with the expected and the actual answer) or not tried (with the reason), and
exits 1 if one differs. `--junit FILE` writes the same for machines. A row that needs tables, log lines or a restart is
tried only if those are available: always with `--engine-command`, and with `CONFORMANCE_POSTGRES_DSN` and `--log` on
an engine that is already running.

This page is written by `scripts/conformance --write-table`, and a test compares it.
"""


def page() -> str:
    lines = [_HEAD, *_counts()]
    for section in contract.sections():
        lines += ["", f"## {section.number} {section.title}", ""]
        lines += ["| row | what must be so | over | shown by |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {_cell(row.name)} | {_cell(row.text)} | {_over(row)} | {_shown_by(row)} |"
            for row in section.rows
        ]
    return "\n".join(lines) + "\n"


def _counts() -> Iterator[str]:
    rows = contract.rows().values()
    kafka, elsewhere = sum(row.kafka for row in rows), sum(row.elsewhere is not None for row in rows)
    yield f"{len(rows)} rows: {len(rows) - kafka - elsewhere} are shown by a case of the suite,"
    yield f"{elsewhere}, which no caller can provoke or which need a broker, by another test, and {kafka} are about"
    yield "runners on a broker, which Seatrial's drills play."


def _over(row: contract.Row) -> str:
    over = {transport for case in cases.CASES if row in case.rows for transport in case.transports}
    return " ".join(transport for transport in Transport if transport in over)


def _shown_by(row: contract.Row) -> str:
    if row.kafka:
        return "Seatrial's drills of kafka_outbox"
    if row.elsewhere:
        path, _, test = row.elsewhere.partition("::")
        return f"[{test}](../{path})"
    shown = dict.fromkeys((case.test, case.module) for case in cases.CASES if row in case.rows)
    return ", ".join(
        f"[{test}](../tests/conformance/{module.replace('.', '/')}.py)" for test, module in shown
    )


def _cell(text: str) -> str:
    """Markdown that shows the text as it is."""
    return (
        "".join(f"\\{each}" if each in "|*_<>[]" else each for each in text)
        if "`" not in text
        else text.replace("|", r"\|")
    )
