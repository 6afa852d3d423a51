"""The Jobs before the pods, under Helm, Argo CD and Flux: first install, no change, another DSN, a failure, the end."""

import copy
import re
from typing import Any

import pytest
from effects import TOPICS
from rendering import DATABASE, Values, merged, refusal_of, rendered
from sync import TOOLS, Cluster, Objects, SyncError, Tool, helm_test, helm_uninstall

OLD, NEW = "postgres://u:pw@old/one", "postgres://u:pw@new/one"
OUTSIDE = {("Secret", "windlass-db"), ("Secret", "windlass-kafka"), ("ConfigMap", "definitions")}
MIGRATED: Values = {"migrations": {"enabled": True}}
PLAIN: Values = {"migrations": {"enabled": True, "useHelmHooks": False}}
WAITING: Values = {"migrations": {"enabled": True, "onStartup": False}}
ACCOUNTS: Values = {"jobs": {"serviceAccount": {"create": True, "annotations": {"example.com/role": "jobs"}}}}
TOPICS_PLAIN = merged(TOPICS, PLAIN, {"topics": {"useHelmHooks": False}})
WAYS = {
    "hook": MIGRATED,
    "hook, pods wait": WAITING,
    "plain Job": PLAIN,
    "hooks, topics": merged(TOPICS, MIGRATED),
    "plain Jobs, topics": TOPICS_PLAIN,
    "hooks with identities": merged(TOPICS, WAITING, ACCOUNTS),
    "plain Jobs with identities": merged(TOPICS_PLAIN, ACCOUNTS),
    "wave": merged(MIGRATED, {"migrations": {"annotations": {"argocd.argoproj.io/sync-wave": "-1"}}}),
}

pytestmark = [pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))]
ways = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def objects(way: Values, *layers: Values, dsn: str = OLD) -> Objects:
    inline: Values = {"postgresql": {"dsn": dsn, "existingSecret": ""}}
    return rendered(merged(way, inline, *layers)).objects


def migrations(cluster: Cluster) -> list[str]:
    return [event for event in cluster.events if re.match(r"run rel-windlass-migrate\b", event)]


@ways
def test_a_first_install_needs_nothing_but_what_the_operator_made(tool: Tool, way: Values) -> None:
    cluster = Cluster(OUTSIDE)
    tool(cluster, objects(way), None)
    assert ("Deployment", "rel-windlass") in cluster.objects
    cluster = Cluster(OUTSIDE)
    tool(cluster, rendered(merged(DATABASE, way)).objects, None)
    assert ("Deployment", "rel-windlass") in cluster.objects


def test_pods_that_do_not_migrate_find_it_done(tool: Tool) -> None:
    cluster = Cluster()
    tool(cluster, objects(WAITING), None)
    (migrated,) = migrations(cluster)
    assert cluster.events.index(migrated) < cluster.events.index("apply Deployment rel-windlass")


@ways
def test_a_sync_with_nothing_new_passes_again_and_again(tool: Tool, way: Values) -> None:
    cluster = Cluster(OUTSIDE)
    same = objects(way)
    tool(cluster, same, None)
    there = copy.deepcopy(cluster.objects)
    for _ in range(3):
        tool(cluster, same, same)
        assert cluster.objects == there


@ways
def test_an_upgrade_migrates_the_database_it_goes_to(tool: Tool, way: Values) -> None:
    """With another DSN and another image at once: the Job sees both, before the pods or beside them."""
    cluster = Cluster(OUTSIDE)
    before, after = objects(way), objects(way, {"image": {"tag": "0.2.0"}}, dsn=NEW)
    tool(cluster, before, None)
    cluster.events.clear()
    tool(cluster, after, before)
    assert [event.split(" on ")[1] for event in migrations(cluster)] == [NEW]
    jobs = [found for (kind, _), found in cluster.objects.items() if kind == "Job"]
    for job in jobs:
        assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "windlass:0.2.0", (
            "old Jobs are gone"
        )


@pytest.mark.parametrize("way", [MIGRATED, WAITING, merged(TOPICS, MIGRATED)])
def test_a_failed_job_leaves_the_old_pods_alone_and_its_log(tool: Tool, way: Values) -> None:
    cluster = Cluster(OUTSIDE)
    before, after = objects(way), objects(way, {"image": {"tag": "0.2.0"}}, dsn=NEW)
    tool(cluster, before, None)
    there = cluster.objects["Deployment", "rel-windlass"]
    cluster.broken = True
    with pytest.raises(SyncError, match=r"rel-windlass-(migrate|topics) failed"):
        tool(cluster, after, before)
    assert cluster.objects["Deployment", "rel-windlass"] == there
    assert any(kind == "Job" for kind, _ in cluster.objects), "its pod's log is still there"
    cluster.broken = False
    tool(cluster, after, before)


@ways
def test_nothing_stays_after_the_release(tool: Tool, way: Values) -> None:
    cluster = Cluster(OUTSIDE)
    same = objects(way)
    tool(cluster, same, None)
    helm_test(cluster, same)
    tool(cluster, same, same)
    helm_uninstall(cluster, same)
    assert cluster.objects == {}


def test_argo_hooks_beside_helm_s_test_are_refused(tool: Tool) -> None:
    """An Argo CD hook switches Helm's off: the test would become a pod like any other, which can never change."""
    argo_hook: Values = {"annotations": {"argocd.argoproj.io/hook": "PreSync"}}
    values = merged(DATABASE, MIGRATED, {"migrations": argo_hook})
    assert "migrations.annotations sets argocd.argoproj.io/hook" in refusal_of(values)
    cluster, way = Cluster(OUTSIDE), merged(MIGRATED, {"migrations": argo_hook, "tests": {"enabled": False}})
    before, after = objects(way), objects(way, dsn=NEW)
    tool(cluster, before, None)
    tool(cluster, after, before)
    assert migrations(cluster)[-1].endswith(NEW)


# -- what the model must not let through


def test_a_hook_with_the_chart_s_service_account_would_be_seen(tool: Tool) -> None:
    planted = copy.deepcopy(objects(WAITING))
    _job(planted)["spec"]["template"]["spec"]["serviceAccountName"] = "rel-windlass"
    with pytest.raises(SyncError, match="needs ServiceAccount rel-windlass, which is not there"):
        tool(Cluster(), planted, None)


def test_a_hook_that_reads_the_release_s_secret_would_be_seen(tool: Tool) -> None:
    def planted(dsn: str) -> Objects:
        found = copy.deepcopy(objects(WAITING, dsn=dsn))
        dsn_of = _job(found)["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]
        dsn_of["secretKeyRef"]["name"] = "rel-windlass"
        return found

    with pytest.raises(SyncError, match="needs Secret rel-windlass, which is not there"):
        tool(Cluster(), planted(OLD), None)
    (there,) = [found for found in objects({}) if found["kind"] == "Secret"]
    cluster = Cluster(objects={("Secret", "rel-windlass"): there})
    tool(cluster, planted(NEW), objects({}))
    assert migrations(cluster)[-1].endswith(OLD), "the stale one"


def test_a_plain_job_that_keeps_its_name_would_be_seen(tool: Tool) -> None:
    def planted(tag: str) -> Objects:
        found = copy.deepcopy(objects(PLAIN, {"image": {"tag": tag}}))
        _job(found)["metadata"]["name"] = "rel-windlass-migrate"
        return found

    cluster = Cluster()
    tool(cluster, planted("1"), None)
    with pytest.raises(SyncError, match=r"Job rel-windlass-migrate: spec\.template is immutable"):
        tool(cluster, planted("2"), planted("1"))


def _job(objects: Objects) -> Any:
    (job,) = [found for found in objects if found["kind"] == "Job"]
    return job
