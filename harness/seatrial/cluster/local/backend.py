"""The registry's entry for local processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import (
    Boots,
    Commands,
    Database,
    Disk,
    Exits,
    Failover,
    Kill,
    Logs,
    ManagedFailover,
    NextRelease,
    Partition,
    Pause,
    Reconfigure,
    Restarts,
    RollingReconfigure,
    Siblings,
    Sockets,
)
from seatrial.cluster.backend import Backend, Say, Services
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess
from seatrial.cluster.options import Options
from seatrial.cluster.small_disk import can_mount

_ALWAYS = frozenset(
    {
        *(Boots, Broker, Commands, Database, Exits, Failover, Kill, Logs, ManagedFailover, NextRelease),
        *(Partition, Pause, Reconfigure, Restarts, RollingReconfigure, Siblings, Sockets),
    }
)
_WITH_OWN_BROKER = frozenset({BrokerNetwork, BrokerProcess})


def _open(options: Options, _values: Mapping[str, Any], say: Say) -> Services:
    from seatrial.cluster.local.services import LocalServices

    return LocalServices(options, say)


def _abilities(options: Options) -> frozenset[type]:
    with_broker = frozenset() if options.brokers else _WITH_OWN_BROKER
    return _ALWAYS | with_broker | (frozenset({Disk}) if can_mount() else frozenset())


def _failover_manager() -> str | None:
    from seatrial.cluster.patroni import need

    return need()


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
    programs={ManagedFailover: _failover_manager},
)
