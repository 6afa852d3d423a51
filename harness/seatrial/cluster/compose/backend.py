"""The registry's entry for compose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster.ability import (
    Aliases,
    Balancer,
    Boots,
    Commands,
    Database,
    Kill,
    Logs,
    Partition,
    Pause,
    Reconfigure,
    Restarts,
    RollingReconfigure,
    Scale,
    Schedulers,
    Sockets,
    WakeBus,
)
from seatrial.cluster.backend import Backend, Say, Services
from seatrial.cluster.options import Misuse, Options

_OF_CONTAINERS = frozenset(
    {
        *(Aliases, Balancer, Commands, Database, Kill, Logs, Partition, Pause, Restarts, Schedulers, Sockets),
        WakeBus,
    }
)
#: they change what the project is made of, which is its owner's business
_OF_OWN_PROJECT = frozenset({Boots, Reconfigure, RollingReconfigure, Scale})


def _open(options: Options, values: Mapping[str, Any], say: Say) -> Services:
    from seatrial.cluster.compose.services import ComposeServices

    return ComposeServices(options, values, say)


def _abilities(options: Options) -> frozenset[type]:
    return _OF_CONTAINERS if options.compose_project else _OF_CONTAINERS | _OF_OWN_PROJECT


def _refuse(options: Options) -> None:
    if options.tls:
        raise Misuse(
            "--backend compose runs a balancer that speaks no TLS; leave out --tls, or run it on --backend local"
        )
    if options.engine_command or options.attach:
        raise Misuse(
            "--backend compose runs images; leave out --engine-command and --attach, and name yours in WINDLASS_IMAGE "
            "or --images"
        )
    if options.brokers:
        raise Misuse("--backend compose runs what its file says; leave out --brokers")
    if options.compose_project and (options.chart or options.values or options.replicas or options.digests):
        raise Misuse(
            "--project takes a compose project as it runs; leave out --replicas, --chart, --values and --images"
        )
    if options.compose_file is not None and not options.compose_file.is_file():
        raise Misuse(f"--file {options.compose_file}: there is no such file; give a compose file")
    if options.digests is not None:
        from seatrial.cluster.compose.images import read_digests

        read_digests(options.digests)


COMPOSE = Backend(
    name="compose",
    words="a compose project",
    chosen_by="--backend compose",
    open=_open,
    abilities=_abilities,
    refuse=_refuse,
    in_core=lambda drill: drill.on_compose,
    own_options=("compose_file", "compose_project", "digests"),
    own_options_elsewhere="--file, --project and --images are for --backend compose, and the backend is {backend}",
)
