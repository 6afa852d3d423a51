"""A key of the values with a value, and the field of a render where it must be found."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rendering import DATABASE, Values, deployment, engine

from seatrial.render import Rendered

Getter = Callable[[Rendered], Any]


@dataclass(frozen=True)
class Case:
    key: str
    value: Any
    get: Getter
    expected: Any
    context: Values = field(default_factory=lambda: DATABASE)
    #: what the render must differ from, where `context` alone would be refused
    before: Values | None = None


def variable(name: str) -> Getter:
    """The value, the secretKeyRef, or None when the variable is not set."""
    return lambda result: _variable(engine(result), name)


def of_job(name: str) -> Getter:
    """As `variable`, of the first Job's container."""
    return lambda result: _variable(
        result.of_kind("Job")[0]["spec"]["template"]["spec"]["containers"][0], name
    )


def _variable(container: Mapping[str, Any], name: str) -> Any:
    found = {entry["name"]: entry for entry in container["env"]}.get(name, {})
    return found.get("value", found.get("valueFrom", {}).get("secretKeyRef"))


def pod(*path: str) -> Getter:
    return lambda result: _walk(deployment(result)["spec"]["template"], path)


def container(*path: str) -> Getter:
    return lambda result: _walk(engine(result), path)


def first(kind: str, *path: str) -> Getter:
    return lambda result: _walk(next(iter(result.of_kind(kind)), None), path)


def metrics_service(*path: str) -> Getter:
    return lambda result: _walk(result.of_kind("Service")[1], path)


def second(*path: str) -> Getter:
    """In the Deployment of the first pool."""
    return lambda result: _walk(result.of_kind("Deployment")[1], path)


def threshold(name: str) -> Getter:
    """The number an alert's expression ends with, or is compared with first."""
    return lambda result: alert(name, "expr")(result).split(" > ")[1].split()[0]


def dashboard(file: str) -> Getter:
    return lambda result: json.loads(result.of_kind("ConfigMap")[0]["data"][file])["uid"]


def topics_command(partitions: str, replicas: str, *files: str) -> list[str]:
    given = ["--partitions", partitions, "--replication-factor", replicas, "--definitions"]
    return ["windlass", "topics", "--apply", *given, *(f"/etc/windlass/definitions/{file}" for file in files)]


def longest_name(result: Rendered) -> int:
    """In characters."""
    return max(len(found["metadata"]["name"]) for found in result.objects)


def secret(key: str) -> Getter:
    return lambda result: result.containers()[0].env[key]


def volume(name: str) -> Getter:
    """What the main Deployment's volume is made of, without its name."""

    def get(result: Rendered) -> Any:
        volumes = deployment(result)["spec"]["template"]["spec"]["volumes"]
        found: Mapping[str, Any] = next((each for each in volumes if each["name"] == name), {})
        return {key: value for key, value in found.items() if key != "name"} or None

    return get


def alert(name: str, *path: str) -> Getter:
    def get(result: Rendered) -> Any:
        (rule,) = result.of_kind("PrometheusRule")
        return _walk({each["alert"]: each for each in rule["spec"]["groups"][0]["rules"]}, (name, *path))

    return get


def service_port(name: str) -> Getter:
    return lambda result: {
        port["name"]: port["port"]
        for service in result.of_kind("Service")
        for port in service["spec"]["ports"]
    }[name]


def _walk(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if node is None:
            return None
        node = (node[int(key)] if int(key) < len(node) else None) if isinstance(node, list) else node.get(key)
    return node
