"""A cluster on trial, and what may be done to it.

`Cluster` is what every backend has; each fault needs one of the small ability protocols below, and a drill
that asks for an ability the backend lacks is refused before it starts (Jepsen's optional protocols).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess, CutMode


class ClusterError(Exception):
    """The cluster could not be brought up or driven: names the thing, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Replica:
    """`name` is stable over restarts (replica-0, ...); the addresses are what clients use."""

    name: str
    rest_url: str
    metrics_url: str | None
    grpc_address: str | None = None
    """host:port; None where gRPC is not spoken or not known."""


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

    def run_began_at(self, replica: str) -> int:
        """Where in it, in bytes, the output of its present run begins."""
        ...


@runtime_checkable
class Aliases(Protocol):
    def aliases(self) -> Mapping[str, str]:
        """What each replica that ever ran calls itself, where that is not its name: to its name."""
        ...


@runtime_checkable
class Exits(Protocol):
    def unasked_exits(self, replica: str) -> Sequence[int]:
        """Exit codes of its runs that ended by themselves after `up`; minus the signal's number for a crash."""
        ...


@runtime_checkable
class Sockets(Protocol):
    async def peers(self, replica: str) -> Sequence[str]:
        """`host:port` of every connection that the replica's process opened itself, other than to the database."""
        ...


@runtime_checkable
class Restarts(Protocol):
    def restarts(self, replica: str) -> int:
        """How often its kubelet started it again."""
        ...


@runtime_checkable
class Kafka(Protocol):
    def broker(self) -> Broker: ...


@runtime_checkable
class KafkaNetwork(Protocol):
    def broker_network(self) -> BrokerNetwork:
        """Raises ClusterError when the broker is somebody else's."""
        ...


@runtime_checkable
class KafkaFaults(Protocol):
    def broker_process(self) -> BrokerProcess:
        """Raises ClusterError when the broker is somebody else's."""
        ...


@runtime_checkable
class Reconfigure(Protocol):
    async def reconfigure(
        self, replica: str, values: Mapping[str, object], *, wait_ready: bool = True
    ) -> None:
        """Stops it gracefully and starts it with these chart values over the cluster's, on the same ports."""
        ...


@runtime_checkable
class RollingReconfigure(Protocol):
    async def reconfigure_all(self, values: Mapping[str, object]) -> None:
        """Every replica runs with these chart values over the cluster's, one replaced after the other; returns when all
        are ready.
        """
        ...


@dataclass(frozen=True, slots=True)
class BootReport:
    """How one start went. `exit_code` is None when it still ran at the end of its bound, or was ready before."""

    exit_code: int | None
    ready: bool
    output: str
    """Without secrets; `leaked` tells whether it held one."""
    leaked: bool
    duration_s: float
    processes_left: int


@runtime_checkable
class Boots(Protocol):
    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        """Starts one more replica with these chart values over the cluster's, until it exits, is ready, or the bound
        is over; it is gone afterwards. A cluster that is not up is given its empty database first.
        """
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


UPGRADE_WITHIN_S = 150

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

    async def upgrade(
        self, build: Build, values: Mapping[str, object] | None = None, *, within_s: int = UPGRADE_WITHIN_S
    ) -> Rollout:
        """`values` are added to those of the spec, for this and all later upgrades; Helm gives up after `within_s`."""
        ...

    async def rollback(self) -> Rollout: ...


@dataclass(frozen=True, slots=True)
class Scaled:
    """Pods that take calls, by their unique ids; those that leave are no longer among them."""

    pods_before: tuple[str, ...]
    pods_after: tuple[str, ...]


@runtime_checkable
class Scale(Protocol):
    async def scale(self, replicas: int) -> Scaled:
        """As `kubectl scale`: returns when so many take calls, though others may still be on their way out."""
        ...


@dataclass(frozen=True, slots=True)
class Exposure:
    """One place in which a password, old or new, could have been written down, and how often it was."""

    place: str
    bytes: int
    found: int


@runtime_checkable
class Credentials(Protocol):
    """By what the engines come to the database, in a Secret of the operator's."""

    async def rotate_password(self) -> None:
        """Another one for their role, and in the Secret. Connections that are open live on; pods stay as they are."""
        ...

    async def opens_with_old_password(self) -> bool: ...

    async def exposures(self) -> Sequence[Exposure]:
        """All that can be read of the release by those who may not read Secrets, and what the harness wrote."""
        ...


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
