"""The nodes of a local cluster, replicas and schedulers: what runs for each, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.local.kubelet import Kubelet
from seatrial.cluster.memory_limit import MemoryLimit
from seatrial.cluster.process import Process
from seatrial.cluster.proxy import Proxy
from seatrial.render import ContainerSpec


@dataclass(frozen=True, slots=True)
class LocalReplica:
    """One engine, and the path between it and the database."""

    address: Replica
    container: ContainerSpec
    process: Process
    kubelet: Kubelet
    proxy: Proxy
    memory: MemoryLimit | None
    takes_calls: bool = True
    """A scheduler does not."""

    @property
    def name(self) -> str:
        return self.address.name


class Replicas:
    """In the order in which they were added; schedulers are among them."""

    def __init__(self) -> None:
        self._by_name: dict[str, LocalReplica] = {}

    def __iter__(self) -> Iterator[LocalReplica]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def that_take_calls(self) -> list[LocalReplica]:
        return [each for each in self if each.takes_calls]

    def schedulers(self) -> list[LocalReplica]:
        return [each for each in self if not each.takes_calls]

    def put(self, replica: LocalReplica) -> None:
        """In place of the one that has its name, if there is one."""
        self._by_name[replica.name] = replica

    def clear(self) -> None:
        self._by_name.clear()

    def named(self, name: str) -> LocalReplica:
        """Raises ClusterError."""
        try:
            return self._by_name[name]
        except KeyError:
            names = ", ".join(self._by_name) or "none: the cluster is not up"
            raise ClusterError(f"no replica {name!r}; there are {names}") from None
