"""Each alert fires where it should and stays silent where it should, by Prometheus' evaluator; and has a runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from effects import ALERTED
from rendering import CHART, DATABASE, REPOSITORY, Values, merged, rendered
from values_schema import schema

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
DAY_S = 86_400
JOB = 'namespace="ns",job="rel-windlass"'
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="needs promtool on PATH: Debian's package prometheus has it"
)


def rules(values: Values = ALERTED) -> dict[str, dict[str, Any]]:
    (rule,) = rendered(values).of_kind("PrometheusRule")
    return {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}


class Trial(NamedTuple):
    """Series by their labels, in promtool's notation for a sample a minute."""

    bad: dict[str, str]
    good: dict[str, str]
    after: str = "30m"


def histogram(name: str, fast: str, slow: str) -> dict[str, str]:
    """`fast` events a minute within 25 ms, `slow` more within a second."""
    return {
        f'{name}_bucket{{{JOB},le="0.025"}}': f"0+{fast}x60",
        f'{name}_bucket{{{JOB},le="1"}}': f"0+{int(fast) + int(slow)}x60",
        f'{name}_bucket{{{JOB},le="+Inf"}}': f"0+{int(fast) + int(slow)}x60",
    }


def calls(failed: str) -> dict[str, str]:
    name = "http_requests_duration_seconds_count"
    return {
        f'{name}{{{JOB},status="200"}}': "0+1000x60",
        f'{name}{{{JOB},status="503"}}': f"0+{failed}x60",
        f'{name}{{namespace="ns",job="other",status="500"}}': "0+9999x60",
    }


def one(name: str, values: str, labels: str = "") -> dict[str, str]:
    return {f"{name}{{{JOB}{labels and f',{labels}'}}}": values}


TRIALS = {
    "WindlassDown": Trial(
        {'windlass_build_info{namespace="ns",job="other"}': "1x60"}, one("windlass_build_info", "1x60")
    ),
    "WindlassReplicaDown": Trial(one("up", "1x10 0x50", 'pod="a"'), one("up", "1x10 0x2 1x50", 'pod="a"')),
    "WindlassErrors": Trial(calls("20"), calls("5")),
    "WindlassDatabaseSlow": Trial(
        histogram("engine_db_transaction_duration_seconds", "90", "10"),
        histogram("engine_db_transaction_duration_seconds", "98", "2"),
    ),
    "WindlassJobTimeoutSpike": Trial(
        one("engine_job_timeout_total", "0+1x60 60+20x60"), one("engine_job_timeout_total", "0+20x120"), "66m"
    ),
    "WindlassJobsFailing": Trial(
        one("workflow_job_failed_total", "0+2x60"), one("workflow_job_failed_total", "0+0.5x60")
    ),
    "WindlassWakeDegraded": Trial(
        one("windlass_wake_degraded", "0x5 1x50", 'pod="a"'),
        one("windlass_wake_degraded", "0x15 1x5 0x50", 'pod="a"'),
    ),
    "WindlassRetentionBehind": Trial(
        one("windlass_retention_oldest_seconds", f"{32 * DAY_S}x120", 'pod="a"')
        | one("windlass_retention_oldest_seconds", "0x120", 'pod="b"'),
        one("windlass_retention_oldest_seconds", f"{31 * DAY_S - 60}x120", 'pod="a"'),
        "90m",
    ),
    "WindlassMemoryRefusals": Trial(
        one("windlass_memory_refused_total", "0+1x60", 'pod="a",use="body"'),
        one("windlass_memory_refused_total", "0+9x10 90x60", 'pod="a",use="body"'),
    ),
    "WindlassMemoryNearLimit": Trial(
        one("process_resident_memory_bytes", "490x60", 'pod="a"')
        | one("windlass_memory_limit_bytes", "512x60", 'pod="a"'),
        one("process_resident_memory_bytes", "490x5 100x60", 'pod="a"')
        | one("windlass_memory_limit_bytes", "512x60", 'pod="a"'),
    ),
    # promtool's clock begins with 1970
    "WindlassCertificateExpires": Trial(
        one("windlass_tls_certificate_expiry_timestamp_seconds", f"{6 * DAY_S}x60", 'pod="a"'),
        one("windlass_tls_certificate_expiry_timestamp_seconds", f"{8 * DAY_S}x60", 'pod="a"')
        | one("windlass_tls_certificate_expiry_timestamp_seconds", "0x60", 'pod="b"'),
    ),
    "WindlassCertificateUnusable": Trial(
        one("windlass_tls_certificate_unusable", "0x5 1x60", 'pod="a"'),
        one("windlass_tls_certificate_unusable", "0x23 1x2 0x60", 'pod="a"'),
    ),
    "WindlassJobsTooLarge": Trial(
        one("windlass_jobs_passed_over_total", "0+1x60", 'pod="a"'),
        one("windlass_jobs_passed_over_total", "0 1x60", 'pod="a"'),
    ),
    "WindlassPickupSlow": Trial(
        histogram("engine_job_pickup_latency_seconds", "90", "10"),
        histogram("engine_job_pickup_latency_seconds", "98", "2"),
    ),
    "WindlassOutboxBacklog": Trial(
        one("workflow_engine_dispatch_outbox_backlog", "2000x60"),
        one("workflow_engine_dispatch_outbox_backlog", "2000x3 10x60"),
    ),
    "WindlassNoRelayLeader": Trial(
        one("workflow_engine_dispatch_relay_leader", "0x60", 'pod="a"')
        | one("workflow_engine_dispatch_relay_leader", "0x60", 'pod="b"'),
        one("workflow_engine_dispatch_relay_leader", "0x60", 'pod="a"')
        | one("workflow_engine_dispatch_relay_leader", "1x60", 'pod="b"'),
    ),
    "WindlassPublishErrors": Trial(
        one("workflow_engine_dispatch_relay_publish_total", "0+1x60", 'result="error"'),
        one("workflow_engine_dispatch_relay_publish_total", "0+9x60", 'result="success"')
        | one("workflow_engine_dispatch_relay_publish_total", "0x60", 'result="error"'),
    ),
    "WindlassConsumerLag": Trial(
        one("workflow_engine_kafka_consumer_lag_seconds", "90x60", 'topic="t",group="g",partition="0"'),
        one("workflow_engine_kafka_consumer_lag_seconds", "90x5 1x60", 'topic="t",group="g",partition="0"'),
    ),
}
"""A state that each alert is for, and one beside it that is none of its business."""


def told(folder: Path, name: str, series: dict[str, str], after: str, expected: int) -> str:
    """promtool's verdict on whether so many alerts of this name fire then; empty when they do."""
    assert PROMTOOL is not None
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rules()[name]]}]}))
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    trial = {
        "interval": "1m",
        "input_series": [{"series": labels, "values": values} for labels, values in series.items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": after, "exp_samples": [{"labels": "{}", "value": expected}]}
        ],
    }
    (folder / "trial.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [trial]})
    )
    verdict = subprocess.run(
        [PROMTOOL, "test", "rules", folder / "trial.yaml"], capture_output=True, text=True, check=False
    )
    return "" if verdict.returncode == 0 else verdict.stdout + verdict.stderr


@needs_promtool
@pytest.mark.parametrize("name", TRIALS)
def test_an_alert_fires_when_it_should_and_only_then(tmp_path: Path, name: str) -> None:
    trial = TRIALS[name]
    assert told(tmp_path, name, trial.bad, trial.after, 1) == ""
    assert told(tmp_path, name, trial.good, trial.after, 0) == ""


@needs_promtool
def test_a_silent_alert_would_be_seen(tmp_path: Path) -> None:
    assert "FAILED" in told(tmp_path, "WindlassDown", TRIALS["WindlassDown"].good, "30m", 1)


@needs_promtool
@pytest.mark.parametrize("group", ["engine", "polling", "kafka_outbox"])
def test_every_query_of_a_dashboard_is_promql(tmp_path: Path, group: str) -> None:
    assert PROMTOOL is not None
    text = (CHART / "files" / "dashboards" / f"{group}.json").read_text()
    queries = [target["expr"] for panel in yaml.safe_load(text)["panels"] for target in panel["targets"]]
    assert len(queries) >= 4
    recorded = [
        {"record": f"q{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": recorded}]}))
    checked = subprocess.run(
        [PROMTOOL, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tried_and_can_be_left_out() -> None:
    disabled = schema()["properties"]["prometheusRule"]["properties"]["disabled"]["items"]["enum"]
    assert set(TRIALS) == set(rules()) == set(disabled)


def test_alerts_are_there_for_the_modes_in_use() -> None:
    polling = rules(merged(DATABASE, {"prometheusRule": {"enabled": True}}))
    assert "WindlassPickupSlow" in polling
    assert "WindlassOutboxBacklog" not in polling
    assert not any("kafka" in str(rule).lower() for rule in polling.values())
    outbox: Values = {"engine": {"dispatchMode": "kafka_outbox"}, "kafka": {"seedBrokers": "kafka:9092"}}
    kafka = rules(merged(DATABASE, outbox, {"prometheusRule": {"enabled": True}}))
    assert "WindlassOutboxBacklog" in kafka
    assert "WindlassPickupSlow" not in kafka


def test_every_alert_says_what_it_is_and_where_its_runbook_stands() -> None:
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
        assert "@" not in str(rule), "a name that the template did not fill in"
        page = REPOSITORY / rule["annotations"]["runbook_url"]
        assert page.read_text().startswith(f"# {name}\n")


def test_every_runbook_is_an_alert_s_and_its_links_lead_somewhere() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(rules())
    keys = re.compile(r"`(prometheusRule\.thresholds\.\w+)`")
    thresholds = schema()["properties"]["prometheusRule"]["properties"]["thresholds"]["properties"]
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (RUNBOOKS / target).is_file(), f"{page.name}: {target}"
        for key in keys.findall(text):
            assert key.rpartition(".")[2] in thresholds, f"{page.name}: {key}"
