"""What Helm, Argo CD and Flux do with the chart's objects, told on a model of a cluster.

Sources: Helm's hooks page (order, delete policies), Argo CD's page on Helm (which hook is which phase, weights are
waves, an Argo CD hook anywhere switches Helm's off), Flux's helm-controller (Helm's actions, then the look for drift).
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from validity import Object

Reference = tuple[str, str]
Objects = Sequence[Object]

HOOK, WEIGHT, POLICY = "helm.sh/hook", "helm.sh/hook-weight", "helm.sh/hook-delete-policy"
ARGO_HOOK, ARGO_WAVE = "argocd.argoproj.io/hook", "argocd.argoproj.io/sync-wave"
PHASES = {
    "pre-install": "PreSync",
    "pre-upgrade": "PreSync",
    "post-install": "PostSync",
    "post-upgrade": "PostSync",
}
"""Helm's events that Argo CD knows; it leaves objects of the others out."""
FIRST_KINDS = (
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "Service",
    "Pod",
    "Deployment",
)
"""A part of Helm's install order; whatever is not named comes after."""


class SyncError(Exception):
    """The tool would have stopped here."""


@dataclass
class Cluster:
    """`outside` are Secrets and ConfigMaps of the operator's. `events` tells what happened, in order."""

    outside: set[Reference] = field(default_factory=set)
    objects: dict[Reference, Object] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    made: dict[Reference, Reference] = field(default_factory=dict)
    """Secrets that an operator keeps, each with the object it is made of."""
    broken: bool = False
    """Jobs fail."""

    def apply(self, found: Object) -> None:
        """As `kubectl apply`: SyncError on a change of what can never change."""
        there = self.objects.get(_reference(found))
        if there is not None and there != found:
            for path in IMMUTABLE.get(found["kind"], ()):
                if _at(there, path) != _at(found, path):
                    raise SyncError(
                        f"{found['kind']} {found['metadata']['name']}: {'.'.join(path)} is immutable"
                    )
        if there != found:
            self.events.append(f"apply {found['kind']} {found['metadata']['name']}")
            self.objects[_reference(found)] = found
            if found["kind"] in {"Job", "Pod"}:
                self.run(found)
            if found["kind"] in SECRET_OF:
                self.made["Secret", SECRET_OF[found["kind"]](found)] = _reference(found)
                self.events.append(f"make Secret {SECRET_OF[found['kind']](found)}")

    def delete(self, reference: Reference) -> None:
        """What an operator has made of it goes with it, unless it is to be left."""
        gone = self.objects.pop(reference, None)
        if gone is None or _outlives(gone):
            return
        for secret in [secret for secret, source in self.made.items() if source == reference]:
            del self.made[secret]
            self.events.append(f"lose Secret {secret[1]}")

    def run(self, job: Object) -> None:
        """Starts its pod, which needs all that it names."""
        name = job["metadata"]["name"]
        spec = job["spec"]["template"]["spec"] if "template" in job["spec"] else job["spec"]
        for needed in references(spec):
            if needed not in self.objects and needed not in self.outside and needed not in self.made:
                raise SyncError(f"{name} needs {needed[0]} {needed[1]}, which is not there")
        if self.broken:
            raise SyncError(f"{name} failed")
        self.events.append(f"run {name} on {self._database(spec)}")

    def _database(self, spec: Object) -> str:
        """The DSN that the pod was given, or the outside Secret it comes from."""
        for variable in spec["containers"][0]["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if variable["name"] == "WE_POSTGRES_DSN" and reference:
                secret = self.objects.get(("Secret", reference["name"]))
                return (
                    base64.b64decode(secret["data"][reference["key"]]).decode()
                    if secret
                    else reference["name"]
                )
        return "nothing"


IMMUTABLE: Mapping[str, Sequence[Sequence[str]]] = {
    "Job": [("spec", "template")],
    "Deployment": [("spec", "selector")],
    "Pod": [("spec",)],
}


SECRET_OF: Mapping[str, Callable[[Object], str]] = {
    "ExternalSecret": lambda found: str(found["spec"]["target"].get("name", found["metadata"]["name"])),
    "SealedSecret": lambda found: str(found["metadata"]["name"]),
}
"""By the kind of object: the name of the Secret that its operator makes."""


def _outlives(found: Object) -> bool:
    """Whether its Secret stays: it then has no owner whose end would be its own."""
    if found["kind"] == "ExternalSecret":
        return bool(found["spec"]["target"].get("creationPolicy") == "Orphan")
    if found["kind"] == "SealedSecret":
        made = found["spec"]["template"].get("metadata", {}).get("annotations", {})
        return bool(made.get("sealedsecrets.bitnami.com/skip-set-owner-references") == "true")
    return True


def references(spec: Object) -> Iterator[Reference]:
    """Everything in the namespace that a pod cannot start without."""
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec.get("volumes", ()):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    for container in spec["containers"]:
        sources = [variable.get("valueFrom", {}) for variable in container.get("env", ())]
        for source in [*sources, *container.get("envFrom", ())]:
            for kind, names in (
                ("Secret", ("secretKeyRef", "secretRef")),
                ("ConfigMap", ("configMapKeyRef", "configMapRef")),
            ):
                yield from ((kind, source[name]["name"]) for name in names if name in source)


def helm(cluster: Cluster, objects: Objects, before: Objects | None = None) -> None:
    """`helm install`, or `helm upgrade` from the objects of `before`."""
    event = "install" if before is None else "upgrade"
    own = [found for found in objects if not _annotation(found, HOOK)]
    _hooks(cluster, objects, f"pre-{event}")
    for found in sorted(own, key=_install_order):
        cluster.apply(found)
    for gone in {_reference(found) for found in before or () if not _annotation(found, HOOK)} - {
        *map(_reference, own)
    }:
        cluster.delete(gone)
    _hooks(cluster, objects, f"post-{event}")


def helm_test(cluster: Cluster, objects: Objects) -> None:
    _hooks(cluster, objects, "test")


def helm_uninstall(cluster: Cluster, objects: Objects) -> None:
    for found in objects:
        if not _annotation(found, HOOK):
            cluster.delete(_reference(found))


def flux(cluster: Cluster, objects: Objects, before: Objects | None = None) -> None:
    """Helm's action, then the look for drift, which leaves hooks out."""
    helm(cluster, objects, before)
    _no_drift(cluster, [found for found in objects if not _annotation(found, HOOK)])


def argo(cluster: Cluster, objects: Objects, before: Objects | None = None) -> None:
    """One sync. Argo CD renders always as for an install of revision 1, so a first sync is no other than the next."""
    helms = not any(_annotation(found, ARGO_HOOK) for found in objects)
    phases: dict[str, list[Object]] = {"PreSync": [], "Sync": [], "PostSync": []}
    for found in objects:
        events = _annotation(found, HOOK).split(",") if helms and _annotation(found, HOOK) else []
        known = [PHASES[event] for event in events if event in PHASES]
        phase = _annotation(found, ARGO_HOOK) or (known[0] if known else "" if events else "Sync")
        if phase:
            phases[phase].append(found)
    for phase, found_in in phases.items():
        for found in sorted(found_in, key=lambda each: (_wave(each, helms=helms), _install_order(each))):
            policy = _annotation(found, POLICY) if helms else "before-hook-creation"
            if phase != "Sync" and "before-hook-creation" in policy:
                cluster.delete(_reference(found))
            cluster.apply(found)
        for found in found_in:
            if phase != "Sync" and helms and "hook-succeeded" in _annotation(found, POLICY):
                cluster.delete(_reference(found))
    gone = {_reference(found) for found in before or ()} - {_reference(found) for found in objects}
    for reference in gone:
        cluster.delete(reference)
    _no_drift(cluster, phases["Sync"])


Tool = Callable[[Cluster, Objects, Objects | None], None]
TOOLS: dict[str, Tool] = {"helm": helm, "argo": argo, "flux": flux}


def _hooks(cluster: Cluster, objects: Objects, event: str) -> None:
    hooks = [found for found in objects if event in _annotation(found, HOOK).split(",")]
    for found in sorted(hooks, key=lambda each: (int(_annotation(each, WEIGHT) or 0), _install_order(each))):
        if "before-hook-creation" in _annotation(found, POLICY):
            cluster.delete(_reference(found))
        cluster.apply(found)
    for found in hooks:
        if "hook-succeeded" in _annotation(found, POLICY):
            cluster.delete(_reference(found))


def _no_drift(cluster: Cluster, desired: Objects) -> None:
    for found in desired:
        if cluster.objects.get(_reference(found)) != found:
            raise SyncError(f"{found['kind']} {found['metadata']['name']} stays out of sync")


def _wave(found: Object, *, helms: bool) -> int:
    return int(_annotation(found, ARGO_WAVE) or (_annotation(found, WEIGHT) if helms else "") or 0)


def _install_order(found: Object) -> tuple[int, str]:
    kind = found["kind"]
    return FIRST_KINDS.index(kind) if kind in FIRST_KINDS else len(FIRST_KINDS), found["metadata"]["name"]


def _annotation(found: Object, name: str) -> str:
    text: str = found["metadata"].get("annotations", {}).get(name, "")
    return text


def _reference(found: Object) -> Reference:
    return found["kind"], found["metadata"]["name"]


def _at(found: Object, path: Sequence[str]) -> str:
    node = found
    for key in path:
        node = node[key]
    return json.dumps(node, sort_keys=True)
