from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.check.retention import REMOVED_SERIES
from seatrial.verdict import Outcome, Verdict

ROWS = {"workflow_instance": 1, "step_execution": 2, "audit_log": 3}
WHOLE = {"workflow_instance": 20, "step_execution": 40, "audit_log": 60}


def judged(trial: Trial) -> Verdict:
    return CHECKS["RN"](trial.history())


def trial_of(
    *,
    without_s: Sequence[float] = (0.02,) * 10,
    beside_s: Sequence[float] = (0.03,) * 10,
    left: Mapping[str, int] | None = None,
    kept: Mapping[str, int] | None = None,
    due: int = 100,
    nodes: int = 2,
) -> Trial:
    """How long each start took in the two windows; what was left of what had to go, and of what had to stay."""
    trial = Trial(
        "RN",
        retention_due_min=100,
        retention_p99_ratio_max=2.0,
        retention_p99_floor_ms=50,
        retention_rate_ratio_min=0.7,
    )
    for prunes, all_took_s in ((False, without_s), (True, beside_s)):
        trial.note("observer", "retention_window", prunes=prunes)
        for number, took_s in enumerate(all_took_s):
            trial.start(f"i-{prunes}-{number}", took_s=took_s)
            trial.call("worker-w", "complete", {"job_id": f"j-{prunes}-{number}"})
        trial.note("observer", "retention_window", prunes=None)
        # Outside of both windows: counts for nothing.
        trial.start(f"between-{prunes}", took_s=9.0)
    row: dict[str, Any] = {"rows": ROWS}
    trial.note(
        "observer",
        "retention",
        kind="due",
        instances=due,
        goes=True,
        left=left or dict.fromkeys(ROWS, 0),
        **row,
    )
    trial.note("observer", "retention", kind="running", instances=20, goes=False, left=kept or WHOLE, **row)
    for number in range(3):
        series = {REMOVED_SERIES: 50.0} if number < nodes else {"process_start_time_seconds": 1.0}
        trial.note("observer", "metrics", node=f"replica-{number}", series=series)
    return trial


def test_what_was_due_is_gone_and_all_else_whole_and_quick() -> None:
    verdict = judged(trial_of())
    assert verdict.outcome is Outcome.PASS
    assert (verdict.figures["due"], verdict.figures["nodes_that_removed"]) == (100, 2)
    assert (verdict.figures["p99_without_ms"], verdict.figures["p99_beside_ms"]) == (20.0, 30.0)
    # A start and a completion (10 ms) each.
    assert (verdict.figures["jobs_per_s_without"], verdict.figures["jobs_per_s_beside"]) == (33.3, 25.0)


@pytest.mark.parametrize(
    ("broken", "gist"),
    [
        ({"left": {"audit_log": 3}}, "3 rows in audit_log were left of 100 instances due, not 0"),
        ({"kept": WHOLE | {"step_execution": 39}}, "39 rows in step_execution were left of 20 instances running"),
        ({"beside_s": (0.02,) * 9 + (0.06,)}, "p99 of calls beside retention was 60 ms, 20 ms without it; 50 ms are"),
        ({"beside_s": (0.04,) * 10}, "20.0 jobs a second were completed beside retention, 33.3 without it; at least"),
    ],
)  # fmt: skip
def test_rows_too_many_or_too_few_and_slower_calls_fail(broken: dict[str, Any], gist: str) -> None:
    verdict = judged(trial_of(**broken))
    assert verdict.outcome is Outcome.FAIL
    assert gist in " ".join(witness.text for witness in verdict.witnesses)


@pytest.mark.parametrize(
    "idle", [{"due": 99}, {"nodes": 1}, {"nodes": 0}, {"beside_s": ()}, {"without_s": ()}]
)
def test_nothing_to_judge_is_no_pass(idle: dict[str, Any]) -> None:
    assert judged(trial_of(**idle)).outcome in {Outcome.VACUOUS, Outcome.FAIL}


def test_a_slow_machine_is_slow_in_both_windows() -> None:
    assert judged(trial_of(without_s=(0.5,) * 10, beside_s=(0.6,) * 10)).outcome is Outcome.PASS


@given(
    st.dictionaries(st.sampled_from(sorted(ROWS)), st.integers(0, 3)),
    st.dictionaries(st.sampled_from(sorted(ROWS)), st.integers(-2, 2)),
)
def test_it_agrees_with_comparing_each_count(left: dict[str, int], change: dict[str, int]) -> None:
    kept = {table: count + change.get(table, 0) for table, count in WHOLE.items()}
    is_broken = any(left.values()) or any(change.values())
    assert (judged(trial_of(left=left or None, kept=kept)).outcome is Outcome.FAIL) == is_broken
