"""What holds for any object of any chart: Kubernetes' own schema, restricted security, no name twice."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
from kubernetes_validate import utils

Object = dict[str, Any]

CUSTOM = Path(__file__).parent / "crd"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def assert_valid(found: Object, minor: str) -> None:
    errors = _validator(found["kind"], found["apiVersion"], minor).iter_errors(found)
    told = [f"at {'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]
    assert not told, f"Kubernetes {minor}, {found['kind']} {found['metadata']['name']}: {'; '.join(told)}"


@functools.cache
def _validator(kind: str, api_version: str, minor: str) -> jsonschema_rs.Draft202012Validator:
    """The strict schema of the kubernetes-validate wheel, in a validator fast enough for thousands of objects.

    For kinds that Kubernetes does not bring, the schema in crd/.
    """
    group, _, version = api_version.rpartition("/")
    custom = CUSTOM / f"{kind.lower()}.json"
    if custom.exists():
        return jsonschema_rs.Draft202012Validator(json.loads(custom.read_text()))
    suffix = "-".join(part for part in (group.split(".")[0], version) if part)
    folder = f"kubernetes-json-schema/v{minor}.0-local-strict"
    definitions = utils.schema_contents(f"{folder}/_definitions.json", minor)
    return jsonschema_rs.Draft202012Validator(
        utils.schema_contents(f"{folder}/{kind.lower()}-{suffix}.json", minor),
        registry=jsonschema_rs.Registry([(definitions["$id"], definitions)]),
    )


def assert_restricted(pod: Object) -> None:
    """Pod security standard `restricted`, and the stricter things that the chart promises."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"].get("runAsUser") != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        promised = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert promised.items() <= container["securityContext"].items(), container["name"]


def assert_unambiguous(pod: Object) -> None:
    """No name twice, and every name that is used is there."""
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(set(volumes)) == len(volumes)
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    assert len({container["name"] for container in containers}) == len(containers)
    for container in containers:
        names = [variable["name"] for variable in container.get("env", ())]
        assert len(set(names)) == len(names), names
        mounts = container.get("volumeMounts", ())
        assert {mount["name"] for mount in mounts} <= set(volumes)
        paths = [mount["mountPath"] for mount in mounts]
        assert len(set(paths)) == len(paths)
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        assert len(set(ports.values())) == len(ports)
        for probe in (container[name] for name in PROBES if name in container):
            assert probe.get("httpGet", {"port": "rest"})["port"] in ports
            assert "grpc" not in probe or probe["grpc"]["port"] == ports["grpc"]
