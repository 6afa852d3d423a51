"""What every release keeps, whatever the values: names, selectors, security, hooks, rollout, secrecy."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import utils
from rendering import (
    CHART,
    DATABASE,
    EVERYTHING,
    KAFKA,
    SELECTOR,
    SERVING,
    Values,
    deployment,
    engine,
    merged,
    pods,
    rendered,
)
from sync import references
from validity import assert_valid

from seatrial.render import Probe, Rendered, render_chart

CANARY = "canary-3f9a1c"
FAILOVER_S = 30
INLINE: Values = {
    "postgresql": {"dsn": f"postgres://u:{CANARY}@db/one"},
    "kafka": {"existingSecret": "", "saslUsername": f"{CANARY}-user", "saslPassword": f"{CANARY}-password"},
}
FULL = merged(EVERYTHING, KAFKA, INLINE)
OUTSIDE = merged(DATABASE, EVERYTHING, KAFKA)
OTHERWISE: Values = {
    "autoscaling": {"enabled": False},
    "keda": {"enabled": True, "queues": [{"jobType": "pay", "targetLength": 20}]},
    "serviceMonitor": {"enabled": False},
    "podMonitor": {"enabled": True},
}
"""What excludes a part of EVERYTHING."""


@pytest.mark.parametrize("minor", [minor for minor in utils.all_versions() if int(minor.split(".")[1]) >= 29])
def test_every_object_is_strictly_valid_from_the_oldest_kubernetes_to_the_newest(minor: str) -> None:
    for found in [
        *rendered(FULL).objects,
        *rendered(merged(FULL, OTHERWISE)).objects,
        *rendered(DATABASE).objects,
    ]:
        assert_valid(found, ".".join(minor.split(".")[:2]))


def test_a_bad_object_would_not_pass() -> None:
    found = json.loads(json.dumps(deployment(rendered(DATABASE))))
    found["spec"]["replicaCount"] = 1
    with pytest.raises(AssertionError, match="replicaCount"):
        assert_valid(found, "1.29")


def test_the_selector_is_the_one_of_the_first_release() -> None:
    for values in (DATABASE, FULL, OUTSIDE):
        assert deployment(rendered(values))["spec"]["selector"]["matchLabels"] == SELECTOR


@pytest.mark.parametrize("version", ["9.8.7", "1.0.0+sha256.abc", "1.0.0-" + "a" * 90 + "+" + "b" * 40])
def test_a_version_changes_labels_and_no_selector(tmp_path: Path, version: str) -> None:
    shutil.copytree(CHART, tmp_path / "windlass")
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (tmp_path / "windlass" / "Chart.yaml").write_text(
        yaml.safe_dump(described | {"version": version, "appVersion": version})
    )
    result = render_chart(tmp_path / "windlass", FULL | {"image": {"tag": "1"}}, "rel", "ns")
    assert deployment(result)["spec"]["selector"]["matchLabels"] == SELECTOR
    for found in [*result.objects, *pods(result)]:
        for value in found["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)


def test_every_object_carries_the_recommended_labels() -> None:
    for found in rendered(FULL).objects:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "rel"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"] == "windlass-0.1.0"


def test_two_releases_in_one_namespace_share_no_object() -> None:
    long = ["a" * 52 + end for end in "bc"]
    names = [_names(rendered(FULL, release=release)) for release in ("one", "two", *long)]
    for index, mine in enumerate(names):
        for other in names[index + 1 :]:
            assert not mine & other


@pytest.mark.parametrize(
    ("release", "values"),
    [
        ("a" * 53, {}),
        ("a" * 53, {"nameOverride": "b" * 63}),
        ("rel", {"fullnameOverride": "c" * 55}),
        ("my.release", {}),
        ("rel", {"fullnameOverride": "true"}),
        ("rel", {"nameOverride": "null", "serviceAccount": {"name": "123"}}),
    ],
)
def test_names_are_strings_that_kubernetes_takes(release: str, values: Values) -> None:
    for found in rendered(merged(FULL, values), release=release).objects:
        name = found["metadata"]["name"]
        assert isinstance(name, str)
        pattern = (
            r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?" if found["kind"] == "Service" else r"[a-z0-9][-a-z0-9]{0,62}"
        )
        assert re.fullmatch(pattern, name), (found["kind"], name)
    assert all(found["metadata"]["namespace"] == "123" for found in rendered(FULL, namespace="123").objects)


def test_a_release_is_named_once_when_it_is_named_after_the_chart() -> None:
    assert deployment(rendered(DATABASE, release="windlass"))["metadata"]["name"] == "windlass"


def _names(result: Rendered) -> set[tuple[str, str]]:
    return {(found["kind"], found["metadata"]["name"]) for found in result.objects}


def test_two_renders_are_equal() -> None:
    once, again = (render_chart(CHART, FULL, "rel", "ns") for _ in range(2))
    assert json.dumps(once.objects) == json.dumps(again.objects)
    assert once.notes == again.notes


def test_a_credential_is_in_no_object_but_the_secret() -> None:
    result = rendered(FULL)
    shown = [found for found in result.objects if found["kind"] != "Secret"]
    assert CANARY not in json.dumps(shown)
    assert CANARY not in result.notes
    assert CANARY not in repr(result)
    assert CANARY not in repr(result.containers())
    assert CANARY in result.containers()[0].env["WE_POSTGRES_DSN"]
    assert result.containers()[0].env["WE_KAFKA_SASL_PASSWORD"] == f"{CANARY}-password"


def test_existing_secrets_need_none_of_the_charts() -> None:
    assert rendered(OUTSIDE).of_kind("Secret") == []
    assert (
        "checksum/secret" not in deployment(rendered(OUTSIDE))["spec"]["template"]["metadata"]["annotations"]
    )


def test_the_pods_restart_when_the_charts_secret_changes_and_only_then() -> None:
    def template(values: Values) -> Any:
        return deployment(rendered(merged(FULL, values)))["spec"]["template"]

    assert template({"postgresql": {"dsn": "postgres://u:other@db/one"}}) != template({})
    assert template({"kafka": {"saslPassword": "other"}}) != template({})
    assert template({"service": {"annotations": {"a": "b"}}, "autoscaling": {"maxReplicas": 7}}) == template(
        {}
    )


def test_the_pods_of_a_pool_are_reached_like_the_others_and_counted_apart() -> None:
    result = rendered(FULL)
    main, pool, _ = result.of_kind("Deployment")
    assert pool["metadata"]["name"] == "rel-windlass-outbox"
    labels = [found["spec"]["template"]["metadata"]["labels"] for found in (main, pool)]
    assert all(SERVING.items() <= each.items() for each in labels)
    assert not main["spec"]["selector"]["matchLabels"].items() <= labels[1].items()
    (scaler,) = result.of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == main["metadata"]["name"]
    assert "replicas" not in main["spec"]
    assert pool["spec"]["replicas"] == 2


def test_beside_schedulers_a_pool_of_another_mode_keeps_its_own_relay() -> None:
    pools = [
        {"name": "same", "replicas": 1},
        {"name": "calm", "dispatchMode": "polling", "replicas": 1},
    ]
    values = merged(OUTSIDE, {"pools": pools, "scheduler": {"replicas": 2}})
    found = rendered(values)
    assert {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]["command"][1]
        for each in found.of_kind("Deployment")
    } == {
        "rel-windlass": "api",
        "rel-windlass-same": "api",
        "rel-windlass-calm": "serve",
        "rel-windlass-scheduler": "scheduler",
    }


def test_a_scheduler_listens_for_probes_and_metrics_alone() -> None:
    values = merged(DATABASE, {"scheduler": {"replicas": 1}, "probes": {"liveness": {"protocol": "grpc"}}})
    found = engine(rendered(values), "rel-windlass-scheduler")
    assert [port["name"] for port in found["ports"]] == ["rest", "metrics"]
    assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "rest"}
    assert "lifecycle" not in found


def test_a_pool_in_polling_mode_knows_nothing_of_kafka() -> None:
    values = merged(OUTSIDE, {"pools": [{"name": "calm", "dispatchMode": "polling", "replicas": 1}]})
    assert "kafka" not in str(deployment(rendered(values), "rel-windlass-calm")).lower()
    assert "kafka" in str(deployment(rendered(values), "rel-windlass")).lower()


def test_hooks_refer_to_nothing_that_is_not_there_yet() -> None:
    """Everything a hook's pod names is a hook of lower weight, or not the chart's."""
    result = rendered(merged(FULL, {"serviceAccount": {"name": "own"}}))
    made = {(found["kind"], found["metadata"]["name"]): found for found in result.objects}
    jobs = result.of_kind("Job")
    assert len(jobs) == 2
    for job in jobs:
        needed = [made[each] for each in references(job["spec"]["template"]["spec"]) if each in made]
        assert needed, "inline credentials come in a Secret"
        for found in needed:
            hooks = found["metadata"]["annotations"]["helm.sh/hook"]
            assert hooks == job["metadata"]["annotations"]["helm.sh/hook"]
            assert _weight(found) < _weight(job)


def _weight(found: dict[str, Any]) -> int:
    return int(found["metadata"]["annotations"]["helm.sh/hook-weight"])


def test_the_topics_job_is_a_command_that_the_engine_takes(tmp_path: Path) -> None:
    """Printed, not applied: the definitions' files are the chart's own arguments, with a folder of this test's."""
    definition = {"id": "d", "name": "d", "steps": [
        {"id": "a", "name": "a", "type": "SERVICE_TASK", "jobType": "pay", "nextStep": "z"},
        {"id": "z", "name": "z", "type": "END"},
    ]}  # fmt: skip
    (tmp_path / "order.json").write_text(json.dumps(definition))
    command = rendered(FULL).containers("Job")[1].command
    words = [
        word.replace("/etc/windlass/definitions", str(tmp_path)) for word in command if word != "--apply"
    ]
    told = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.split() == ["workflow.jobs.pay", "partitions=8", "replication-factor=3"]


def test_the_migration_runs_on_the_database_of_this_very_upgrade() -> None:
    migrate, topics = rendered(FULL).containers("Job")
    assert migrate.command == ("windlass", "migrate")
    assert topics.command[:3] == ("windlass", "topics", "--apply")
    assert migrate.env["WE_POSTGRES_DSN"] == INLINE["postgresql"]["dsn"]
    assert topics.env["WE_KAFKA_SASL_PASSWORD"] == f"{CANARY}-password"
    assert "WE_POSTGRES_DSN" not in topics.env, "a Job gets no credentials that it does not use"
    assert not any("KAFKA" in name for name in migrate.env)
    job = rendered(OUTSIDE).of_kind("Job")[0]
    dsn = job["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]
    assert dsn == {"name": "windlass-db", "key": "dsn"}


def test_a_failed_migration_keeps_its_log() -> None:
    for job in rendered(FULL).of_kind("Job"):
        policy = job["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded"
        assert "ttlSecondsAfterFinished" not in job["spec"]


def test_a_rollout_never_takes_a_ready_pod_first_and_lets_it_drain() -> None:
    spec = deployment(rendered(DATABASE))["spec"]
    assert spec["minReadySeconds"] == 5
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    pre_stop_s = int(engine(rendered(DATABASE))["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= pre_stop_s + 30 + 5


def test_the_container_is_what_a_backend_runs() -> None:
    (container,) = rendered(DATABASE | {"postgresql": {"dsn": "postgres://db/one"}}).containers()
    assert (container.name, container.command) == ("engine", ("windlass", "serve"))
    assert container.ports == {"rest": 8080, "grpc": 9090, "metrics": 9091}
    assert container.probes == {
        "startup": Probe("/healthz", 8080, period_s=1, timeout_s=2, failure_threshold=600, initial_delay_s=0),
        "liveness": Probe("/healthz", 8080, period_s=10, timeout_s=5, failure_threshold=6, initial_delay_s=0),
        "readiness": Probe("/ready", 8080, period_s=2, timeout_s=3, failure_threshold=2, initial_delay_s=0),
    }
    startup = container.probes["startup"]
    assert startup.period_s * startup.failure_threshold >= 600, "migrations take their time"
    assert container.termination_grace_s == 45


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_failover_of_half_a_minute_makes_pods_unready_and_restarts_none(protocol: str) -> None:
    """That /healthz and the gRPC health service do without a database is the engine's: drill U6, test_read_only.py."""
    probes = engine(rendered(merged(DATABASE, {"probes": {"liveness": {"protocol": protocol}}})))
    for kind in ("startupProbe", "livenessProbe"):
        asked = probes[kind].get("httpGet", {}).get("path") or probes[kind]["grpc"]
        assert asked in ("/healthz", {"port": 9090}), "what asks the database is /ready alone"
    ready = probes["readinessProbe"]
    noticed_s = ready["failureThreshold"] * (ready["periodSeconds"] + ready["timeoutSeconds"])
    assert ready["httpGet"]["path"] == "/ready"
    assert noticed_s <= FAILOVER_S / 3, "most of it no call reaches a pod that can only refuse it"
    assert ready["periodSeconds"] <= 2, "and afterwards none is kept waiting for the probe"


def test_metrics_are_published_by_no_load_balancer() -> None:
    result = rendered(merged(DATABASE, {"service": {"type": "LoadBalancer"}}))
    public = [found for found in result.of_kind("Service") if found["spec"]["type"] != "ClusterIP"]
    assert [[(port["name"], port["appProtocol"]) for port in found["spec"]["ports"]] for found in public] == [
        [("rest", "http"), ("grpc", "kubernetes.io/h2c")]
    ]


def test_replicas_spread_over_zones_and_nodes_by_themselves() -> None:
    constraints = deployment(rendered(DATABASE))["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [constraint["topologyKey"] for constraint in constraints] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert all(constraint["labelSelector"]["matchLabels"] == SELECTOR for constraint in constraints)


@pytest.mark.parametrize(
    ("replicas", "budget"), [(2, 1), (3, 2), (3, "50%"), (10, "90%"), (0, 1), (3, 0), (1, "0%")]
)
def test_a_budget_that_lets_drains_through_is_taken(replicas: int, budget: object) -> None:
    values = {"replicaCount": replicas, "podDisruptionBudget": {"enabled": True, "minAvailable": budget}}
    (found,) = rendered(merged(DATABASE, values)).of_kind("PodDisruptionBudget")
    assert found["spec"]["minAvailable"] == budget
    assert found["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
