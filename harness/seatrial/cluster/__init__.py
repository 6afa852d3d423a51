"""A cluster on trial, and what may be done to it.

`Cluster` is what every backend has; each fault needs one of the small ability protocols below, and a drill
that asks for an ability the backend lacks is refused before it starts (Jepsen's optional protocols).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable


class ClusterError(Exception):
    """The cluster could not be brought up or driven: names the thing, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Replica:
    """`name` is stable over restarts (replica-0, ...); the URLs are what clients use."""

    name: str
    rest_url: str
    metrics_url: str | None


Entrance = Literal["replicas", "service"]


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What to bring up. `values` go into the chart as an operator's -f file would.

    By the entrance `replicas` clients choose a replica for each call; by `service` there is one address, and the
    cluster chooses who answers, as for its real users. Only one whose pods come and go has the second.
    """

    replicas: int = 3
    values: Mapping[str, object] = field(default_factory=dict)
    #: replaces the rendered container command; same env, same ports (for mutants and other engines)
    engine_command: str | None = None
    folder: Path = Path()
    entrance: Entrance = "replicas"


@runtime_checkable
class Cluster(Protocol):
    spec: ClusterSpec

    async def up(self) -> None:
        """Returns when every replica's readiness probe passes; raises ClusterError with the log's tail."""
        ...

    async def down(self) -> None:
        """Heals every fault and removes everything that `up` made; safe to call twice and half-way."""
        ...

    def replicas(self) -> Sequence[Replica]: ...


@runtime_checkable
class Kill(Protocol):
    async def kill(self, replica: str) -> None:
        """SIGKILL; returns when the process is gone."""
        ...

    async def stop(self, replica: str) -> int:
        """SIGTERM; returns the exit code."""
        ...

    async def start(self, replica: str, *, wait_ready: bool = True) -> None: ...


@runtime_checkable
class Pause(Protocol):
    async def pause(self, replica: str) -> None:
        """SIGSTOP; returns when the process is seen stopped."""
        ...

    async def resume(self, replica: str) -> None: ...


CutMode = Literal["delay", "blackhole", "half-open", "refuse"]


@runtime_checkable
class Partition(Protocol):
    """The network between one replica and the database."""

    async def cut(self, replica: str, mode: CutMode, *, delay_s: float = 0.0) -> None:
        """`delay` adds delay_s each way; `blackhole` drops all bytes both ways and accepts new connections
        that never answer; `half-open` drops only what the database sends; `refuse` closes and refuses.
        """
        ...

    async def mend(self, replica: str) -> None: ...

    def dropped_bytes(self, replica: str) -> int:
        """What the cut has swallowed since `cut`: shows that it bit."""
        ...

    def cut_connections(self, replica: str) -> int:
        """How many connections were open when `cut` began: with `refuse`, which swallows nothing, it shows
        that it bit.
        """
        ...


@runtime_checkable
class Database(Protocol):
    def dsn(self) -> str:
        """A direct connection (no proxy in the path), for observation and for faults."""
        ...

    async def crash_database(self) -> None:
        """SIGKILL to the postmaster and all backends."""
        ...

    async def stop_database(self, mode: Literal["immediate", "fast"] = "immediate") -> None: ...

    async def start_database(self) -> None:
        """Returns when it answers a query (recovery done)."""
        ...

    async def terminate_sessions(self, replica: str) -> int:
        """pg_terminate_backend on every session of that replica; returns how many there were."""
        ...


@runtime_checkable
class Logs(Protocol):
    def log_path(self, replica: str) -> Path:
        """All the output of that replica since `up`, over restarts."""
        ...


@runtime_checkable
class Sockets(Protocol):
    def peers(self, replica: str) -> Sequence[str]:
        """`host:port` of every connection that the replica's process opened itself, other than to the database."""
        ...


@runtime_checkable
class Restarts(Protocol):
    def restarts(self, replica: str) -> int:
        """How often its kubelet started it again."""
        ...


@runtime_checkable
class Siblings(Protocol):
    def sibling(self, folder: Path, *, replicas: int, values: Mapping[str, object]) -> Sibling:
        """Another installation of the same chart and engine on the same server, with an empty database of its own.

        Not yet up; whoever made it takes it down.
        """
        ...


@runtime_checkable
class Sibling(Cluster, Protocol):
    async def run_command(self, replica: str, *words: str) -> None:
        """Runs the chart's own program with other words and that replica's environment, as an operator would.

        Raises ClusterError with what it said when it does not exit 0.
        """
        ...


Build = Literal["this", "next", "broken"]
"""The engine on trial; one with one more additive migration; one whose migration fails."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a change of the release did. Pods by their unique ids; `ready_min` is the fewest that were ready."""

    revision: int
    status: str
    pods_before: tuple[str, ...]
    pods_after: tuple[str, ...]
    image_after: str
    ready_min: int
    message: str = ""
    """Why it failed; empty when it did not."""


@runtime_checkable
class Upgrade(Protocol):
    """The release as an operator changes it; each returns when the cluster is as asked, or Helm has given up."""

    async def upgrade(self, build: Build, values: Mapping[str, object] | None = None) -> Rollout:
        """`values` are added to those of the spec, for this and all later upgrades."""
        ...

    async def rollback(self) -> Rollout: ...


@dataclass(frozen=True, slots=True)
class Drained:
    """`refused` counts the evictions that a disruption budget put off; `ready_min` as in Rollout."""

    evicted: int
    refused: int
    ready_min: int


@runtime_checkable
class Nodes(Protocol):
    """The machines under the replicas."""

    def placement(self) -> Mapping[str, int]:
        """How many of the release's pods are on each node, of those that may take any."""
        ...

    async def drain(self, node: str) -> Drained:
        """Cordons it and evicts the release's pods as `kubectl drain` does; returns when they are gone from it."""
        ...

    async def uncordon(self, node: str) -> None: ...
