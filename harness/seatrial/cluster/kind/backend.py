"""The registry's entry for Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import (
    Aliases,
    Boots,
    Commands,
    Credentials,
    Database,
    Kill,
    Logs,
    Nodes,
    Pause,
    Restarts,
    RollingReconfigure,
    Scale,
    ScaleOut,
    Siblings,
    Sockets,
    Upgrade,
)
from seatrial.cluster.backend import Backend, Say, Services
from seatrial.cluster.broker import Broker, BrokerNetwork
from seatrial.cluster.options import Misuse, Options

_ABILITIES = frozenset(
    {
        *(Aliases, Boots, Broker, BrokerNetwork, Commands, Credentials, Database, Kill, Logs, Nodes, Pause),
        *(Restarts, RollingReconfigure, Scale, ScaleOut, Siblings, Sockets, Upgrade),
    }
)


def _open(options: Options, values: Mapping[str, Any], _say: Say) -> Services:
    from seatrial.cluster.kind.services import KindServices

    return KindServices(options, values)


def _abilities(_options: Options) -> frozenset[type]:
    return _ABILITIES


def _refuse(options: Options) -> None:
    if options.engine_command or options.attach:
        raise Misuse(
            "--backend kind runs images; leave out --engine-command and --attach, and name yours in --values"
        )
    if options.brokers:
        raise Misuse("--backend kind runs a broker of its own in the cluster; leave out --brokers")
    if options.node_image and options.context:
        raise Misuse("--image makes a kind cluster and --context takes one that runs; keep one of the two")


KIND = Backend(
    name="kind",
    words="a cluster on Kubernetes",
    chosen_by="--backend kind",
    open=_open,
    abilities=_abilities,
    refuse=_refuse,
    in_core=lambda drill: drill.on_kind,
    own_options=("node_image", "context"),
    own_options_elsewhere="--image and --context are for --backend kind, and the backend is {backend}",
)
