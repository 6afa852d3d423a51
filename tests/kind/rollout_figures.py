"""What clients feel of an upgrade and of a rollback, kept from a report for the chart's README.

    scripts/drill U1 U4 --backend kind --report reports/kind
    python tests/kind/rollout_figures.py reports/kind

writes rollout_figures.json beside this file; tests/unit/readme_tables.py makes the table of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from seatrial.drill import judge_folder
from seatrial.drills import CATALOGUE
from seatrial.verdict import DrillResult, Outcome

RECORDED = Path(__file__).with_suffix(".json")
DRILLS = {"U1": "an upgrade with a migration", "U4": "an upgrade and the rollback from it"}


def main(report: Path) -> None:
    """Raises SystemExit when a drill of the report did not pass: its figures are worth nothing."""
    found = {drill: _figures(judge_folder(report / drill, CATALOGUE)) for drill in DRILLS}
    RECORDED.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


def _figures(result: DrillResult) -> dict[str, Any]:
    if result.outcome is not Outcome.PASS:
        raise SystemExit(f"{result.drill} is {result.outcome}; only what passed is recorded")
    of = {verdict.check: verdict.figures for verdict in result.verdicts}
    return {
        "stall_s": of["RT"]["recovery_s"],
        "pickup_p99_s": of["RO"]["pickup_p99_s"],
        "pickup_max_s": of["RO"]["pickup_max_s"],
        "pods_replaced": of["RO"]["pods_replaced"],
        "seed": result.seed,
    }


def rows() -> list[str]:
    """The table's, of what is recorded."""
    recorded = json.loads(RECORDED.read_text())
    lines = ["| | longest stall | jobs picked up, p99 | the slowest |", "| --- | --- | --- | --- |"]
    for drill, what in DRILLS.items():
        figures = recorded[drill]
        measured = (f"{figures[name]:.2f} s" for name in ("stall_s", "pickup_p99_s", "pickup_max_s"))
        lines.append(f"| {what} ({drill}) | {' | '.join(measured)} |")
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
