"""How many pods there are while manifests are applied and an autoscaler looks, told on a model of the cluster.

Sources: Kubernetes' page on declarative management (kubectl apply clears what was in the last manifest and is not in
this one; Helm 3 and Argo CD merge in the same way), on server-side apply (a field that its only owner applies no more
is removed; Helm 4), on Deployments (without replicas there is one pod) and on the autoscaler (its bounds hold whatever
it measures).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from validity import Object

Merge = Callable[[Object, Object, Object], Object]


def three_way(last: Object, new: Object, live: Object) -> Object:
    """`live` with all that `new` says, and without what only `last` said."""
    merged = copy.deepcopy(live)
    for key, value in new.items():
        there, said = merged.get(key), last.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            merged[key] = three_way(said if isinstance(said, dict) else {}, value, there)
        else:
            merged[key] = copy.deepcopy(value)
    for key in last.keys() - new.keys():
        merged.pop(key, None)
    return merged


@dataclass
class Pods:
    """Those of all Deployments together; `fewest` is the smallest number since it was last set."""

    merge: Merge
    owns_apart: bool
    """Fields have owners: what the autoscaler has written is its own, and stays."""
    fewest: int = 0
    _live: dict[str, Object] = field(default_factory=dict)
    _last: dict[str, Object] = field(default_factory=dict)
    _scaled: set[str] = field(default_factory=set)
    _bounds: dict[str, tuple[int, int]] = field(default_factory=dict)

    def serving(self) -> int:
        return sum(self.of(name) for name in self._live)

    def of(self, name: str) -> int:
        return int(self._live[name]["spec"]["replicas"])

    def apply(self, objects: Sequence[Object]) -> None:
        """One install or upgrade: Deployments, then autoscalers, then what is no more in the manifest."""
        deployments = {found["metadata"]["name"]: found for found in objects if found["kind"] == "Deployment"}
        for name, found in deployments.items():
            there = self._live.get(name)
            merged = self.merge(self._last.get(name, {}), found, there) if there else copy.deepcopy(found)
            if there and self.owns_apart and name in self._scaled and "replicas" not in found["spec"]:
                merged["spec"]["replicas"] = there["spec"]["replicas"]
            merged["spec"].setdefault("replicas", 1)
            self._live[name] = merged
            self._look()
        self._last = copy.deepcopy(deployments)
        self._bounds = dict(_bounds_of(found) for found in objects if found["kind"] in BOUNDS)
        for gone in self._live.keys() - deployments.keys():
            del self._live[gone]
            self._look()

    def scale(self, wanted: int = 0) -> None:
        """The autoscaler looks: as many as it wants, within its bounds."""
        for name, (least, most) in self._bounds.items():
            self._live[name]["spec"]["replicas"] = max(least, min(most, wanted or self.of(name)))
            self._scaled.add(name)
        self._look()

    def _look(self) -> None:
        self.fewest = min(self.fewest, self.serving())


BOUNDS: Mapping[str, tuple[str, str]] = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
}


def _bounds_of(found: Object) -> tuple[str, tuple[int, int]]:
    least, most = (int(found["spec"][key]) for key in BOUNDS[found["kind"]])
    return found["spec"]["scaleTargetRef"]["name"], (least, most)


TOOLS: Mapping[str, Callable[[], Pods]] = {
    "Helm 3": lambda: Pods(three_way, owns_apart=False),
    "Argo CD": lambda: Pods(three_way, owns_apart=False),
    "Helm 4": lambda: Pods(three_way, owns_apart=True),
}
