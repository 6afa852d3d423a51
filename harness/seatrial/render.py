"""The chart, rendered in process: every backend runs what the chart says."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import helm_python
import yaml

Object = dict[str, Any]
ProbeKind = Literal["startup", "liveness", "readiness"]

_PROBE_KINDS: tuple[ProbeKind, ...] = ("startup", "liveness", "readiness")
_TERMINATION_GRACE_DEFAULT_S = 30
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_UNITS = {
    "": 1,
    **{unit: 1000 ** (power + 1) for power, unit in enumerate(("k", "M", "G", "T"))},
    **{unit: 1024 ** (power + 1) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"))},
}
_QUANTITY = re.compile(r"([0-9.]+(?:[eE][0-9]+)?)([kMGT]|[KMGT]i|)")
_HELM_PREFIXES = (
    re.compile(r"^execution error at \([^)]*\): "),
    re.compile(
        r"^values don't meet the specifications of the schema\(s\) in the following chart\(s\):\n\S+:\n"
    ),
)
#: A pattern's message quotes the value, which may be a credential in the wrong place.
_QUOTED_VALUE = re.compile(r"^( *- at '[^']*': )'.*' (?=does not match pattern )", re.MULTILINE)


class RenderError(Exception):
    """The chart refused the values, with its own message; or a container needs something that was not rendered."""


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe; `port` is a number, whatever the chart calls it."""

    path: str
    port: int
    period_s: int
    timeout_s: int
    failure_threshold: int
    initial_delay_s: int
    scheme: str = "HTTP"
    """HTTP or HTTPS."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What a kubelet would start. `env` holds credentials in the clear, so it is never shown."""

    name: str
    command: tuple[str, ...]
    ports: dict[str, int]
    probes: dict[ProbeKind, Probe]
    termination_grace_s: int
    memory_bytes_max: int | None
    """Its limit of memory; None where the chart gives none."""
    env: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Every object of one render, in Helm's file order. Secrets are among them, so they are never shown."""

    chart: str
    release: str
    namespace: str
    objects: list[Object] = field(repr=False)
    notes: str = field(repr=False)

    def of_kind(self, kind: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind]

    def containers(
        self, kind: str = "Deployment", *, pod_name: str = "windlass-0"
    ) -> Sequence[ContainerSpec]:
        """List the containers of every object of that kind, in a pod called `pod_name`.

        Raises RenderError if there is none, or if a variable needs an object that the chart did not make.
        """
        owners = self.of_kind(kind)
        if not owners:
            raise RenderError(f"release {self.release} renders no {kind}: it renders {_kinds(self.objects)}")
        environment = _Environment(self.objects, pod_name=pod_name, namespace=self.namespace)
        return [
            _container(container, owner["spec"]["template"]["spec"], environment)
            for owner in owners
            for container in owner["spec"]["template"]["spec"]["containers"]
        ]


def default_chart(start: Path | None = None) -> Path:
    """`charts/windlass` of the repository that holds `start` (default: this package).

    Raises RenderError outside a repository.
    """
    origin = (start or Path(__file__)).resolve()
    for folder in (origin, *origin.parents):
        if (folder / "charts" / "windlass" / "Chart.yaml").is_file():
            return folder / "charts" / "windlass"
    raise RenderError(f"no charts/windlass above {origin}: name the chart's folder")


def render_chart(
    chart: Path, values: Mapping[str, object], release: str = "windlass", namespace: str = "default"
) -> Rendered:
    """Render the objects that `helm install RELEASE CHART -f VALUES` would make.

    Raises RenderError with the chart's message when it refuses the values. No cluster is asked.
    """
    try:
        with helm_python.Chart.load(chart) as loaded:
            name = loaded.name
            manifests = loaded.render(dict(values), name=release, namespace=namespace)
    except (helm_python.HelmValuesError, helm_python.HelmRenderError) as refused:
        raise RenderError(_own_message(str(refused))) from None
    except helm_python.HelmError as broken:
        raise RenderError(f"{chart} is no chart that renders: {broken}") from broken
    except TypeError as odd:
        raise RenderError(f"values must be what YAML can say: {odd}") from odd
    return Rendered(
        chart=name,
        release=release,
        namespace=namespace,
        objects=[found for path in sorted(manifests) for found in _documents(path, manifests[path])],
        notes=manifests.get(f"{name}/templates/NOTES.txt", ""),
    )


def _own_message(message: str) -> str:
    for prefix in _HELM_PREFIXES:
        message = prefix.sub("", message)
    return _QUOTED_VALUE.sub(r"\1", message).strip()


def _documents(path: str, manifest: str) -> Sequence[Object]:
    if not path.endswith((".yaml", ".yml")):
        return ()
    try:
        return _parsed(manifest)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f": line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        # Without the library's text: it quotes the object, which may be a Secret.
        raise RenderError(f"{path} renders to what is not YAML{where}") from None


@functools.lru_cache(maxsize=1024)
def _parsed(manifest: str) -> Sequence[Object]:
    """Parsing costs more than rendering, and most manifests of two renders are the same; nobody changes an object."""
    return tuple(found for found in yaml.load_all(manifest, yaml.CSafeLoader) if found)


def _kinds(objects: Sequence[Object]) -> str:
    return ", ".join(sorted({found["kind"] for found in objects})) or "nothing"


def _container(container: Object, pod: Object, environment: _Environment) -> ContainerSpec:
    env = environment.of(container)
    ports = {port["name"]: int(port["containerPort"]) for port in container.get("ports", ())}
    return ContainerSpec(
        name=container["name"],
        command=tuple(
            _expand(word, env) for word in (*container.get("command", ()), *container.get("args", ()))
        ),
        env=env,
        ports=ports,
        probes={
            kind: _probe(f"{container['name']}.{kind}Probe", container[f"{kind}Probe"], ports)
            for kind in _PROBE_KINDS
            if f"{kind}Probe" in container
        },
        termination_grace_s=int(pod.get("terminationGracePeriodSeconds", _TERMINATION_GRACE_DEFAULT_S)),
        memory_bytes_max=_memory(container),
    )


def _memory(container: Object) -> int | None:
    limit = container.get("resources", {}).get("limits", {}).get("memory")
    return None if limit is None else bytes_of(str(limit))


def bytes_of(quantity: str) -> int:
    """Of a quantity of Kubernetes, as 512Mi, 1G or 1e9. Raises RenderError."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        raise RenderError(f"{quantity!r} is no amount of memory; give one as 512Mi")
    return int(float(found[1]) * _UNITS[found[2]])


def _probe(name: str, probe: Object, ports: Mapping[str, int]) -> Probe:
    if "httpGet" not in probe:
        raise RenderError(f"{name} is not an httpGet probe: a process can only be probed over HTTP")
    port = probe["httpGet"]["port"]
    if port in ports:
        port = ports[port]
    if not isinstance(port, int):
        raise RenderError(
            f"{name} asks port {port!r}, which the container does not name: it has {sorted(ports)}"
        )
    return Probe(
        path=probe["httpGet"].get("path", "/"),
        port=port,
        period_s=int(probe.get("periodSeconds", 10)),
        timeout_s=int(probe.get("timeoutSeconds", 1)),
        failure_threshold=int(probe.get("failureThreshold", 3)),
        initial_delay_s=int(probe.get("initialDelaySeconds", 0)),
        scheme=probe["httpGet"].get("scheme", "HTTP"),
    )


def _expand(text: str, env: Mapping[str, str]) -> str:
    """Kubernetes' $(NAME): an unknown name stays as written, $$ is a dollar."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[1] is None else env.get(found[1], found[0])

    return _REFERENCE.sub(replacement, text)


class _Environment:
    """Resolves a container's variables as a kubelet would, from the rendered Secrets and ConfigMaps."""

    def __init__(self, objects: Sequence[Object], *, pod_name: str, namespace: str) -> None:
        self._fields = {"metadata.name": pod_name, "metadata.namespace": namespace}
        self._maps = {
            (found["kind"], found["metadata"]["name"]): _contents(found)
            for found in objects
            if found["kind"] in {"Secret", "ConfigMap"}
        }

    def of(self, container: Object) -> dict[str, str]:
        env: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            for kind, reference in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if reference in source:
                    contents = self._map(kind, source[reference], f"envFrom of {container['name']}") or {}
                    env |= {source.get("prefix", "") + key: value for key, value in contents.items()}
        for variable in container.get("env", ()):
            value = self._value(variable, env)
            if value is not None:
                env[variable["name"]] = value
        return env

    def _value(self, variable: Object, env: Mapping[str, str]) -> str | None:
        """None for an optional reference that leads nowhere: the variable is then not set."""
        source = variable.get("valueFrom")
        name = variable["name"]
        if source is None:
            return _expand(variable.get("value", ""), env)
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            if path not in self._fields:
                raise RenderError(
                    f"{name} reads the pod's {path}: outside Kubernetes only {sorted(self._fields)} are known"
                )
            return self._fields[path]
        for kind, key in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            if key in source:
                return self._key(kind, source[key], name)
        raise RenderError(f"{name} reads {sorted(source)}: outside Kubernetes there is no such source")

    def _key(self, kind: str, reference: Object, name: str) -> str | None:
        contents = self._map(kind, reference, name)
        if contents is None:
            return None
        if reference["key"] in contents:
            return contents[reference["key"]]
        if reference.get("optional", False):
            return None
        raise RenderError(
            f"{name} reads key {reference['key']} of {kind} {reference['name']}, which has {sorted(contents)}"
        )

    def _map(self, kind: str, reference: Object, name: str) -> dict[str, str] | None:
        contents = self._maps.get((kind, reference["name"]))
        if contents is None and not reference.get("optional", False):
            raise RenderError(
                f"{name} reads {kind} {reference['name']}, which the chart does not render: "
                "outside Kubernetes give the value itself (postgresql.dsn, kafka.saslUsername, extraEnv)"
            )
        return contents


def _contents(found: Object) -> dict[str, str]:
    data: dict[str, str] = found.get("data") or {}
    if found["kind"] == "Secret":
        data = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return data | (found.get("stringData") or {})
