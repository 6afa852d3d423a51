"""Renders the chart once per distinct input, and holds every object of every render to the rules all must keep."""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from validity import Object, assert_restricted, assert_unambiguous, assert_valid

from seatrial.render import Rendered, RenderError, default_chart, render_chart

Values = dict[str, Any]

CHART = default_chart()
REPOSITORY = CHART.parents[1]
MINORS = ("1.29", "1.33", "1.37")
"""Oldest supported, middle, newest that the wheel knows; test_chart_objects.py takes all of them once."""

INSTANCE = {"app.kubernetes.io/name": "windlass", "app.kubernetes.io/instance": "rel"}
COMPONENT = "app.kubernetes.io/component"
SELECTOR = INSTANCE | {COMPONENT: "engine"}
"""What every release of the chart selects by: a Deployment's selector can never change."""
SERVING = INSTANCE | {"windlass/serves": "api"}
"""The engine pods of all pools: what Services and the budget select by."""
EVERY_ROLE = [{"key": "windlass/serves", "operator": "Exists"}]
"""Engines and schedulers, but no Job: what a PodMonitor selects by where there are both."""

DATABASE: Values = {"postgresql": {"existingSecret": "windlass-db"}}
KAFKA: Values = {
    "engine": {"dispatchMode": "kafka_outbox"},
    "kafka": {"seedBrokers": "kafka:9092", "transport": "sasl_scram_tls", "existingSecret": "windlass-kafka"},
}
EVERYTHING: Values = {
    "replicaCount": 3,
    "pools": [{"name": "outbox", "dispatchMode": "kafka_outbox", "replicas": 2}],
    "scheduler": {"replicas": 2},
    "kafka": {"seedBrokers": "kafka:9092"},
    "migrations": {"enabled": True},
    "topics": {
        "enabled": True,
        "definitions": {"existingConfigMap": "order-definitions", "files": ["order.json"]},
    },
    "autoscaling": {"enabled": True, "minReplicas": 2},
    "podDisruptionBudget": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "service": {"ipFamilyPolicy": "PreferDualStack"},
    "ingress": {
        "enabled": True,
        "hosts": [{"host": "jobs.example"}],
        "grpc": {"enabled": True, "hosts": ["grpc.example"]},
    },
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["jobs.example"]},
    "grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["grpc.example"]},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
}
"""Every object there is, but those that exclude one of these: PodMonitor and ScaledObject."""


def merged(*layers: Mapping[str, Any]) -> Values:
    """As helm merges -f after -f: objects key by key, all else by replacement."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            mine = result.get(key)
            both = isinstance(mine, dict) and isinstance(value, Mapping)
            result[key] = merged(mine, value) if both and mine is not None else value
    return result


def rendered(
    values: Mapping[str, Any], release: str = "rel", namespace: str = "ns", chart: Path = CHART
) -> Rendered:
    return _rendered(json.dumps(values), release, namespace, chart)


def refusal_of(values: Mapping[str, Any], release: str = "rel", chart: Path = CHART) -> str:
    """Render, and return the chart's message; empty when it does not refuse."""
    try:
        render_chart(chart, values, release, "ns")
    except RenderError as refused:
        return str(refused)
    return ""


@functools.lru_cache(maxsize=2000)
def _rendered(values: str, release: str, namespace: str, chart: Path) -> Rendered:
    given = json.loads(values)
    result = render_chart(chart, given, release, namespace)
    for found in result.objects:
        for minor in MINORS:
            assert_valid(found, minor)
        assert found["metadata"]["namespace"] == (given.get("namespaceOverride") or namespace), found[
            "metadata"
        ]
    for pod in pods(result):
        assert_restricted(pod["spec"])
        assert_unambiguous(pod["spec"])
    assert_selected(result)
    return result


def pods(result: Rendered) -> Iterator[Object]:
    """Every pod and pod template."""
    yield from result.of_kind("Pod")
    for found in result.objects:
        if "spec" in found.get("spec", {}).get("template", {}):  # a SealedSecret's has none
            yield found["spec"]["template"]


def deployment(result: Rendered, name: str | None = None) -> Object:
    """The main Deployment, or the one of this name."""
    for found in result.of_kind("Deployment"):
        if name in {None, found["metadata"]["name"]}:
            return found
    raise AssertionError(
        f"no Deployment {name}: {[found['metadata'] for found in result.of_kind('Deployment')]}"
    )


def engine(result: Rendered, name: str | None = None) -> Object:
    container = deployment(result, name)["spec"]["template"]["spec"]["containers"][0]
    assert isinstance(container, dict)
    assert container["name"] == "engine"
    return container


def assert_selected(result: Rendered) -> None:
    """Each selector finds the pods it means, and no others: Deployments their own, the rest all that serve, or all
    schedulers.
    """
    deployments = result.of_kind("Deployment")
    engines = [found["spec"]["template"]["metadata"]["labels"] for found in deployments]
    schedulers = [labels for labels in engines if labels[COMPONENT] == "scheduler"]
    serving = [labels for labels in engines if labels not in schedulers]
    others = [job["spec"]["template"]["metadata"]["labels"] for job in result.of_kind("Job")]
    others += [pod["metadata"]["labels"] for pod in result.of_kind("Pod")]
    for found, labels in zip(deployments, engines, strict=True):
        own = found["spec"]["selector"]["matchLabels"]
        assert set(own) == set(SELECTOR)
        assert [own.items() <= other.items() for other in [*engines, *others]].count(True) == 1
        assert own.items() <= labels.items()
    selectors = [found["spec"]["selector"] for found in result.of_kind("Service")]
    monitors = [found["spec"]["selector"] for found in result.of_kind("PodMonitor")]
    budgets = [found["spec"]["selector"] for found in result.of_kind("PodDisruptionBudget")]
    selectors += [found["matchLabels"] for found in budgets + ([] if schedulers else monitors)]
    for selector in selectors:
        meant, shape = (schedulers, SELECTOR) if COMPONENT in selector else (serving, SERVING)
        assert set(selector) == set(shape)
        assert [labels for labels in engines + others if selector.items() <= labels.items()] == meant
    for selector in monitors if schedulers else ():
        assert selector["matchExpressions"] == EVERY_ROLE
        assert all(selector["matchLabels"].items() <= labels.items() for labels in engines)
        assert not any("windlass/serves" in labels for labels in others)
    named = {port["name"] for port in engine(result)["ports"]}
    for service in result.of_kind("Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for monitor in result.of_kind("ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        scraped = [
            found
            for found in result.of_kind("Service")
            if selector.items() <= found["metadata"]["labels"].items()
        ]
        assert len(scraped) == 1 + bool(schedulers)
        for service in scraped:
            ports = {port["name"] for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    for policy in result.of_kind("NetworkPolicy"):
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert all(chosen.items() <= labels.items() for labels in [*serving, *others])
