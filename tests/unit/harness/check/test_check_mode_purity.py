from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

POLLING_SERIES = {"workflow_instances_started_total": 3.0, "engine_job_pickup_latency_seconds_count": 2.0}


def judged(trial: Trial) -> Verdict:
    return CHECKS["MP"](trial.history())


def pure(*, replicas: int = 3, ops_min: int = 1, **parameters: Any) -> Trial:
    trial = Trial(
        "MP", replicas=replicas, ops_min=ops_min, **{"broker_names": ["kafka"], **parameters}
    ).lived(1)
    trial.note("observer", "table_count", table="dispatch_outbox", rows=0)
    for number in range(replicas):
        trial.note("observer", "metrics", node=f"replica-{number}", series=dict(POLLING_SERIES))
        trial.note("observer", "log_scan", node=f"replica-{number}", pattern="(?i)kafka", matches=[])
    return trial


def test_polling_has_no_trace_of_the_broker() -> None:
    assert judged(pure()).outcome is Outcome.PASS


def test_other_tables_metrics_and_log_lines_do_not_matter() -> None:
    trial = pure()
    trial.note("observer", "table_count", table="job", rows=7)
    trial.note("observer", "log_scan", node="replica-0", pattern="ERROR", matches=["ERROR: kafka"])
    trial.note("observer", "metrics", node="replica-0", series={"process_dispatch_total": 1.0})
    assert judged(trial).outcome is Outcome.PASS


def test_the_outbox_was_written() -> None:
    trial = pure()
    trial.note("observer", "table_count", table="public.dispatch_outbox", rows=2)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.figures["outbox_rows"] == 2


def test_a_dispatch_metric_exists() -> None:
    for name in (
        "workflow_engine_dispatch_outbox_backlog",
        'workflow_engine_kafka_producer_errors_total{code="x"}',
    ):
        trial = pure()
        trial.note("observer", "metrics", node="replica-1", series={name: 0.0})
        assert judged(trial).outcome is Outcome.FAIL


def test_a_log_line_names_the_broker() -> None:
    trial = pure()
    trial.note("observer", "log_scan", node="replica-2", pattern="Kafka", matches=["connecting to Kafka"])
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "replica-2" in verdict.witnesses[0].text


def test_it_is_invalid_where_nobody_looked() -> None:
    for unseen in ("table_count", "metrics", "log_scan"):
        trial = pure()
        trial.ops = [op for op in trial.ops if op.f != unseen]
        assert judged(trial).outcome is Outcome.INVALID, unseen
    trial = pure()
    trial.ops = [op for op in trial.ops if op.value.get("node") != "replica-2"]
    assert judged(trial).outcome is Outcome.INVALID


def test_every_broker_is_looked_for() -> None:
    both = ["kafka", "rabbitmq"]
    trial = pure(broker_names=both)
    assert judged(trial).outcome is Outcome.INVALID
    for number in range(3):
        trial.note("observer", "log_scan", node=f"replica-{number}", pattern="(?i)kafka|rabbitmq", matches=[])
    assert judged(trial).outcome is Outcome.PASS
    trial.note("observer", "metrics", node="replica-0", series={"workflow_engine_rabbitmq_channels": 1.0})
    assert judged(trial).outcome is Outcome.FAIL
    assert judged(pure(broker_names=[])).outcome is Outcome.INVALID


def test_without_load_it_is_invalid() -> None:
    assert judged(pure(ops_min=3)).outcome is Outcome.INVALID


@given(
    rows=st.integers(0, 1),
    names=st.lists(
        st.sampled_from(
            ["workflow_engine_dispatch_x", "workflow_engine_kafka_y", "other", "xworkflow_engine_kafka_"]
        )
    ),
    scans=st.lists(st.tuples(st.sampled_from(["kafka", "KAFKA", "broker"]), st.sampled_from([[], ["line"]]))),
)
def test_it_agrees_with_the_naive_restatement(
    rows: int, names: list[str], scans: list[tuple[str, list[Any]]]
) -> None:
    trial = pure()
    trial.note("observer", "table_count", table="dispatch_outbox", rows=rows)
    trial.note("observer", "metrics", node="replica-0", series=dict.fromkeys(names, 1.0))
    for pattern, matches in scans:
        trial.note("observer", "log_scan", node="replica-0", pattern=pattern, matches=matches)
    is_broken = rows > 0 or any(
        name[:23] == "workflow_engine_kafka_y" or name[:25] == "workflow_engine_dispatch_" for name in names
    )
    is_broken |= any(pattern != "broker" and matches for pattern, matches in scans)
    assert (judged(trial).outcome is Outcome.FAIL) == is_broken


def test_a_connection_to_anything_but_the_database_is_a_trace() -> None:
    trial = pure()
    trial.note("observer", "sockets", node="replica-0", peers=[])
    assert judged(trial).outcome is Outcome.PASS
    trial.note("observer", "sockets", node="replica-1", peers=["127.0.0.1:9092"])
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "replica-1 is connected to 127.0.0.1:9092" in verdict.summary


def test_what_another_mode_left_may_lie_there_unchanged() -> None:
    left = pure(outbox_left=True)
    left.ops = [op for op in left.ops if op.f != "table_count"]
    for rows in (7, 7):
        left.note("observer", "table_count", table="dispatch_outbox", rows=rows)
    assert judged(left).outcome is Outcome.PASS
    left.note("observer", "table_count", table="dispatch_outbox", rows=6)
    verdict = judged(left)
    assert verdict.outcome is Outcome.FAIL
    assert "6 rows instead of 7" in verdict.summary
