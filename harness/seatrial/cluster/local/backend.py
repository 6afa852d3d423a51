"""The registry's entry for local processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import (
    Boots,
    Certificates,
    Commands,
    Database,
    Disk,
    Exits,
    Failover,
    Kill,
    LogReader,
    Logs,
    ManagedFailover,
    NextRelease,
    Partition,
    Pause,
    Pooler,
    Reconfigure,
    Restarts,
    RollingReconfigure,
    Schedulers,
    Service,
    Siblings,
    Sockets,
    WakeBus,
)
from seatrial.cluster.backend import Backend, Say, Services
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess
from seatrial.cluster.options import Options
from seatrial.cluster.pgbouncer import find_pgbouncer
from seatrial.cluster.redis import find_redis
from seatrial.cluster.resources import Resources
from seatrial.cluster.small_disk import can_mount

_ALWAYS = frozenset(
    {
        *(Boots, Broker, Commands, Database, Disk, Exits, Failover, Kill, Logs, ManagedFailover, NextRelease),
        *(Partition, Pause, Pooler, Reconfigure, Restarts, RollingReconfigure, Schedulers, Siblings, Sockets),
        *(Certificates, LogReader, Resources, Service, WakeBus),
    }
)
_WITH_OWN_BROKER = frozenset({BrokerNetwork, BrokerProcess})


def _open(options: Options, _values: Mapping[str, Any], say: Say) -> Services:
    from seatrial.cluster.local.services import LocalServices

    return LocalServices(options, say)


def _abilities(options: Options) -> frozenset[type]:
    return _ALWAYS if options.brokers else _ALWAYS | _WITH_OWN_BROKER


def _failover_manager() -> str | None:
    from seatrial.cluster.patroni import need

    return need()


def _small_disk() -> str | None:
    return None if can_mount() else "a file system of its own (root that may mount: CAP_SYS_ADMIN)"


def _pooler() -> str | None:
    return None if find_pgbouncer() else "PgBouncer (apt-get install pgbouncer)"


def _wake_bus() -> str | None:
    return None if find_redis() else "Redis or Valkey (apt-get install redis-server)"


def _refuse(_options: Options) -> None:
    """All options that are not another backend's own are supported."""


LOCAL = Backend(
    name="local",
    words="a cluster of local processes",
    chosen_by="--backend local",
    open=_open,
    abilities=_abilities,
    refuse=_refuse,
    in_core=lambda drill: drill.core,
    programs={Disk: _small_disk, ManagedFailover: _failover_manager, Pooler: _pooler, WakeBus: _wake_bus},
)
