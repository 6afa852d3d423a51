"""What may be done to a cluster, one small type for each kind of thing.

A cluster hands out an object of a type by `cluster.ability(Kill)`. Those about the broker are in
`seatrial.cluster.broker`, the one about memory and descriptors is in `seatrial.cluster.resources`. What a new type
needs: an entry in `tests/ability_exercises.py`, which uses each of its methods for real on every backend that offers
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from seatrial.cluster import Cluster, Replica
from seatrial.cluster.broker import CutMode


class Kill(Protocol):
    async def kill(self, replica: str) -> None:
        """SIGKILL; returns when the process is gone."""
        ...

    async def stop(self, replica: str) -> int:
        """SIGTERM; returns the exit code."""
        ...

    async def start(self, replica: str, *, wait_ready: bool = True) -> None:
        """A replica that runs already is only waited for."""
        ...


class Schedulers(Protocol):
    """Nodes that fire timers, give expired leases back and let retention remove, and answer no calls: as many as the
    values say under `scheduler.replicas`.

    They are no replicas, for clients cannot reach them. Exits, Logs and Reconfigure know them by name, too.
    """

    def names(self) -> Sequence[str]: ...

    def running(self, scheduler: str) -> bool: ...

    def metrics_url(self, scheduler: str) -> str | None:
        """None where the harness cannot reach it."""
        ...

    async def kill(self, scheduler: str) -> None:
        """SIGKILL; returns when the process is gone."""
        ...

    async def stop(self, scheduler: str) -> int:
        """SIGTERM; returns the exit code."""
        ...

    async def start(self, scheduler: str, *, wait_ready: bool = True) -> None:
        """A scheduler that runs already is only waited for."""
        ...


class Pause(Protocol):
    async def pause(self, replica: str) -> None:
        """SIGSTOP; returns when the process is seen stopped."""
        ...

    async def resume(self, replica: str) -> None: ...


class Partition(Protocol):
    """The network between one replica and the database."""

    async def cut(self, replica: str, mode: CutMode, *, delay_s: float = 0.0) -> None:
        """`delay` adds delay_s each way; `blackhole` drops all bytes both ways and accepts new connections
        that never answer; `half-open` drops only what the database sends; `refuse` closes and refuses.
        """
        ...

    async def mend(self, replica: str) -> None: ...

    def dropped_bytes(self, replica: str) -> int:
        """How many bytes the cut has withheld since `cut`: shows that it had an effect."""
        ...

    def cut_connections(self, replica: str) -> int:
        """How many connections were open when `cut` began: with `refuse`, which withholds nothing, it shows
        that it had an effect.
        """
        ...


@dataclass(frozen=True, slots=True)
class Promotion:
    """The new primary's timeline, and where in the write-ahead log (an LSN) it left the old primary's."""

    timeline: int
    parted_at: str


class Database(Protocol):
    def dsn(self) -> str:
        """A direct connection (no proxy in the path), for observation and for faults."""
        ...

    async def crash(self) -> None:
        """SIGKILL to the postmaster and all backends."""
        ...

    async def stop(self, mode: Literal["immediate", "fast"] = "immediate") -> None: ...

    async def start(self) -> None:
        """Returns when it answers a query (recovery done)."""
        ...

    async def terminate_sessions(self, replica: str) -> int:
        """pg_terminate_backend on every session of that replica; returns how many there were."""
        ...


class ManagedFailover(Protocol):
    """Two other servers, of which a failover manager makes one the primary; from `attach` on they are the
    database's.
    """

    async def attach(self) -> None:
        """Returns when one is the primary and the other its synchronous standby, with an empty database.

        Engines that are started from now on are told both addresses, and `Database.dsn` leads to the primary.
        """
        ...

    async def kill_leader(self) -> str:
        """SIGKILL to the primary and its manager, which stay down; returns its name. Raises ClusterError."""
        ...

    async def until_taken_over(self) -> str:
        """Returns once a primary has committed a write of the harness's; its name. Raises ClusterError."""
        ...

    async def detach(self) -> None:
        """Engines that are started from now on find the database of before."""
        ...


class Failover(Protocol):
    """A second server, which streams from the database's and can take its place. `Database` acts on the primary."""

    async def attach(self, *, synchronous: bool, gives_both_hosts: bool = False) -> None:
        """Returns when it streams; once in the life of a cluster.

        The engines reach the primary by an address that `move` leads to another server; with `gives_both_hosts`, those
        that are started from now on are told two addresses, of which one is the primary's.
        """
        ...

    async def hold_back(self) -> None:
        """What the primary commits from now on does not reach the standby, which does not notice."""
        ...

    async def promote(self) -> Promotion:
        """The standby takes over; returns when it takes writes. The primary must be down, and stays so."""
        ...

    async def move(self, *replicas: str) -> None:
        """The address by which these replicas (all of them if none is named) reach the primary now leads to it.
        Open connections are reset.
        """
        ...

    async def rejoin(self, *, lag_s: float = 0.0) -> None:
        """The primary before, down by now, comes back at its old address, as the standby of the new one. What it
        receives can be read there `lag_s` later.
        """
        ...

    def alone(self) -> AbstractAsyncContextManager[str]:
        """Starts the primary before where no engine can reach it, to see what it has; hands out its DSN."""
        ...


class Disk(Protocol):
    """The file system under the database's data."""

    async def limit(self, free_bytes: int) -> None:
        """It is a small one from now on, with so much free; the server restarts for it. Once in a cluster's life."""
        ...

    async def fill(self) -> int:
        """Takes all that is free; returns how many bytes that was."""
        ...

    async def empty(self) -> None:
        """Gives back what was taken."""
        ...


class Pooler(Protocol):
    """A pooler in transaction mode between the engines and the database."""

    async def attach(self) -> None:
        """Every replica is led through it from now on; open connections are reset. Once in a cluster's life."""
        ...

    async def stop(self) -> None:
        """All its connections are closed; returns when it has ended."""
        ...

    async def start(self) -> None: ...

    async def cut(self) -> int:
        """Its sessions with the database are reset, and new ones refused; returns how many there were."""
        ...

    async def mend(self) -> None: ...


class Balancer(Protocol):
    """What chooses the server for each call, where the entrance is `service`."""

    def servers(self) -> Sequence[Replica]:
        """Those behind it, with addresses of their own, by the names that `Kill`, `Pause` and `Partition` know."""
        ...

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        ...

    async def stop(self) -> int:
        """SIGTERM, or what its image says; returns the exit code."""
        ...

    async def start(self, *, wait_ready: bool = True) -> None:
        """One that runs already is only waited for: until some server is ready, by its own answer."""
        ...


class Service(Protocol):
    """One address in front of some of the replicas, as a Kubernetes Service is: each new connection goes to one of
    them, in turn, and stays there.
    """

    async def open(self, *replicas: str) -> Replica:
        """Leads to these; once in a cluster's life."""
        ...

    def lead_to(self, *replicas: str) -> None:
        """New connections; those that are open stay where they are."""
        ...


class WakeBus(Protocol):
    """A Redis by which the engines tell each other of jobs."""

    async def attach(self) -> None:
        """It runs, and engines that are started from now on use it. Once in a cluster's life."""
        ...

    async def stop(self) -> None:
        """All its connections are closed; returns when it has ended."""
        ...

    async def start(self) -> None: ...

    async def cut(self) -> int:
        """The engines' connections with it are reset, and new ones refused; returns how many there were."""
        ...

    async def mend(self) -> None: ...


class Logs(Protocol):
    def log_path(self, replica: str) -> Path:
        """All the output of that replica since `up`, over restarts."""
        ...

    def run_began_at(self, replica: str) -> int:
        """At which byte of it the output of the replica's current run begins."""
        ...


class LogReader(Protocol):
    """Whoever reads what a replica writes to its standard output."""

    async def attach(self, replica: str) -> None:
        """Restarts it; from now on its output goes through a small pipe to this reader, which writes the log. Once in a
        cluster's life for each replica.
        """
        ...

    def stop(self, replica: str) -> None:
        """Nothing is read any more; the pipe stays open."""
        ...

    def resume(self, replica: str) -> None: ...

    def unread_bytes(self, replica: str) -> int:
        """What is in the pipe now."""
        ...


class Aliases(Protocol):
    def aliases(self) -> Mapping[str, str]:
        """For engines that do not know their replica's name: the replica's name by the name that the engine has."""
        ...


class Exits(Protocol):
    def unasked_exits(self, replica: str) -> Sequence[int]:
        """Exit codes of its runs that ended by themselves after `up`; minus the signal's number for a crash."""
        ...


class Sockets(Protocol):
    async def peers(self, replica: str) -> Sequence[str]:
        """`host:port` of every connection that the replica's process opened itself, other than to the database."""
        ...


class Restarts(Protocol):
    def restarts(self, replica: str) -> int:
        """How often its kubelet started it again."""
        ...


class Reconfigure(Protocol):
    async def reconfigure(
        self, replica: str, values: Mapping[str, object], *, wait_ready: bool = True
    ) -> None:
        """Stops it gracefully and starts it with these chart values over the cluster's, on the same ports."""
        ...


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


class Certificates(Protocol):
    """The certificate that all doors of the engines show, as files that change under them; a mounted Secret."""

    async def renew(self) -> str:
        """Another good one is there; its serial in hexadecimal."""
        ...

    async def spoil(self) -> str:
        """A certificate is there beside a key that does not belong to it; its serial."""
        ...


class Boots(Protocol):
    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        """Starts one more replica with these chart values over the cluster's, until it exits, is ready, or the bound
        is over; it is gone afterwards. A cluster that is not up is given its empty database first.
        """
        ...


class Siblings(Protocol):
    def sibling(self, folder: Path, *, replicas: int, values: Mapping[str, object]) -> Cluster:
        """Another installation of the same chart and engine on the same server, with an empty database of its own.

        Not yet up; whoever asked for it takes it down.
        """
        ...


class Commands(Protocol):
    async def run_command(self, replica: str, *words: str) -> None:
        """Runs the chart's own program with other arguments and that replica's environment, as an operator would.

        Raises ClusterError with its output when it does not exit 0.
        """
        ...


class NextRelease(Protocol):
    """The release after the engine under test: it has one more migration, which adds a column to `job`."""

    def values(self) -> Mapping[str, object]:
        """Chart values over the cluster's with which a replica, or a boot, runs it."""
        ...


UPGRADE_WITHIN_S = 150

Build = Literal["this", "next", "broken"]
"""The engine under test; one with one more additive migration; one whose migration fails."""


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


class Scale(Protocol):
    async def scale(self, replicas: int) -> Scaled:
        """As `kubectl scale`: returns when so many take calls; others may still be shutting down. Raises ClusterError
        for more than there can be.
        """
        ...


class ScaleOut(Scale, Protocol):
    """To any number."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One place in which a password, old or new, could have been written down, and how often it was."""

    place: str
    bytes: int
    found: int


class Credentials(Protocol):
    """The password with which the engines open their connections to the database, in a Secret of the operator's."""

    async def rotate_password(self) -> None:
        """Sets another one for their role, and in the Secret. Open connections stay open; pods stay as they are."""
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


class Nodes(Protocol):
    """The machines under the replicas."""

    def placement(self) -> Mapping[str, int]:
        """How many of the release's pods are on each node that accepts pods."""
        ...

    async def drain(self, node: str) -> Drained:
        """Cordons it and evicts the release's pods as `kubectl drain` does; returns when they are gone from it."""
        ...

    async def uncordon(self, node: str) -> None: ...
