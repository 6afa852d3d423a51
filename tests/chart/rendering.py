"""Renders the chart once per distinct input, and holds every object of every render to the rules all must keep."""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
from kubernetes_validate import utils
from referencing import Registry, Resource

from seatrial.render import Rendered, default_chart, render_chart

Object = dict[str, Any]
Values = dict[str, Any]

CHART = default_chart()
REPOSITORY = CHART.parents[1]
MINORS = ("1.29", "1.33", "1.37")
"""Oldest supported, middle, newest that the wheel knows; test_chart_objects.py takes all of them once."""

SELECTOR = {
    "app.kubernetes.io/name": "windlass",
    "app.kubernetes.io/instance": "rel",
    "app.kubernetes.io/component": "engine",
}
"""What every release of the chart selects by: a Deployment's selector can never change."""

DATABASE: Values = {"postgresql": {"existingSecret": "windlass-db"}}
KAFKA: Values = {
    "engine": {"dispatchMode": "kafka_outbox"},
    "kafka": {"seedBrokers": "kafka:9092", "transport": "sasl_scram_tls", "existingSecret": "windlass-kafka"},
}
EVERYTHING: Values = {
    "replicaCount": 3,
    "migrations": {"enabled": True},
    "autoscaling": {"enabled": True, "minReplicas": 2},
    "podDisruptionBudget": {"enabled": True},
}


def merged(*layers: Mapping[str, Any]) -> Values:
    """As helm merges -f after -f: objects key by key, all else by replacement."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            mine = result.get(key)
            both = isinstance(mine, dict) and isinstance(value, Mapping)
            result[key] = merged(mine, value) if both and mine is not None else value
    return result


def rendered(values: Mapping[str, Any], release: str = "rel", namespace: str = "ns") -> Rendered:
    return _rendered(json.dumps(values), release, namespace, CHART)


def refusal_of(values: Mapping[str, Any], release: str = "rel") -> str:
    """Render, and return the chart's message; empty when it does not refuse."""
    from seatrial.render import RenderError

    try:
        render_chart(CHART, values, release, "ns")
    except RenderError as refused:
        return str(refused)
    return ""


@functools.cache
def _rendered(values: str, release: str, namespace: str, chart: Path) -> Rendered:
    result = render_chart(chart, json.loads(values), release, namespace)
    for found in result.objects:
        for minor in MINORS:
            assert_valid(found, minor)
        assert found["metadata"]["namespace"] == namespace, found["metadata"]
    for pod in pods(result):
        assert_restricted(pod["spec"])
        assert_unambiguous(pod["spec"])
    assert_selected(result)
    return result


def pods(result: Rendered) -> Iterator[Object]:
    """Every pod template."""
    for found in result.objects:
        if "template" in found.get("spec", {}):
            yield found["spec"]["template"]


def deployment(result: Rendered) -> Object:
    (found,) = result.of_kind("Deployment")
    return found


def engine(result: Rendered) -> Object:
    (container,) = deployment(result)["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def assert_valid(found: Object, minor: str) -> None:
    _assert_valid(json.dumps(found, sort_keys=True), minor)


@functools.cache
def _assert_valid(text: str, minor: str) -> None:
    found = json.loads(text)
    error = jsonschema.exceptions.best_match(
        _validator(found["kind"], found["apiVersion"], minor).iter_errors(found)
    )
    assert error is None, f"Kubernetes {minor}, {found['kind']} {found['metadata']['name']}: {error}"


@functools.cache
def _validator(kind: str, api_version: str, minor: str) -> jsonschema.Draft202012Validator:
    """kubernetes_validate.validate with its strict schema, read once in place of at every call."""
    group, _, version = api_version.rpartition("/")
    suffix = "-".join(part for part in (group.split(".")[0], version) if part)
    folder = f"kubernetes-json-schema/v{minor}.0-local-strict"
    schema = utils.schema_contents(f"{folder}/{kind.lower()}-{suffix}.json", minor)
    registry = Registry().with_resources(
        (resource.id() or "", resource)
        for resource in (
            Resource.from_contents(schema),
            Resource.from_contents(utils.schema_contents(f"{folder}/_definitions.json", minor)),
        )
    )
    return jsonschema.Draft202012Validator(schema, registry=registry)


def assert_restricted(pod: Object) -> None:
    """Pod security standard `restricted`, and the stricter things that the chart promises."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"].get("runAsUser") != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def assert_unambiguous(pod: Object) -> None:
    """No name twice, and every name that is used is there."""
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(set(volumes)) == len(volumes)
    for container in pod["containers"]:
        names = [variable["name"] for variable in container["env"]]
        assert len(set(names)) == len(names), names
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(set(paths)) == len(paths)
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        assert len(set(ports.values())) == len(ports)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert probe not in container or container[probe]["httpGet"]["port"] in ports


def assert_selected(result: Rendered) -> None:
    """Services, budget and Deployment select the engine's pods, and only those."""
    labels = deployment(result)["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment(result)["spec"]["selector"]["matchLabels"]]
    selectors += [found["spec"]["selector"] for found in result.of_kind("Service")]
    selectors += [found["spec"]["selector"]["matchLabels"] for found in result.of_kind("PodDisruptionBudget")]
    for selector in selectors:
        assert selector == {key: labels[key] for key in SELECTOR}
        for job in result.of_kind("Job"):
            assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    named = {port["name"] for port in engine(result)["ports"]}
    for service in result.of_kind("Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
