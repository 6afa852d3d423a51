"""The registry's entry for a cluster that runs already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.cluster.backend import Backend, Say, Services
from seatrial.cluster.options import Misuse, Options


def _open(options: Options, _values: Mapping[str, Any], _say: Say) -> Services:
    from seatrial.cluster.attach.services import AttachServices

    return AttachServices(options)


def _abilities(_options: Options) -> frozenset[type]:
    """None: what runs there is not ours to break, and only its addresses are known."""
    return frozenset()


def _refuse(options: Options) -> None:
    """The gRPC addresses are needed where gRPC is spoken, and nowhere else."""
    if options.engine_command or options.chart or options.values or options.replicas:
        raise Misuse(
            "--attach takes a cluster as it is; leave out --replicas, --engine-command, --chart and --values"
        )
    if options.brokers:
        raise Misuse("--attach takes a cluster with the broker that it has; leave out --brokers")
    if options.tls:
        raise Misuse(
            "--attach takes engines with the certificates that they have; leave out --tls and give https:// addresses, "
            "and their authority with --ca-file if the system does not know it"
        )
    if options.ca_file is not None and not all(url.startswith("https://") for url in options.attach):
        raise Misuse("--ca-file is for engines that speak TLS; give their addresses as https://HOST:PORT")
    speaks_grpc = options.transport != "rest"
    if options.attach_grpc and not speaks_grpc:
        raise Misuse(_GRPC_ADDRESSES_ELSEWHERE)
    if speaks_grpc and not options.attach_grpc:
        raise Misuse(
            f"--transport {options.transport} needs the gRPC addresses of the replicas of --attach; "
            "give --attach-grpc HOST:PORT,HOST:PORT in the same order"
        )


_GRPC_ADDRESSES_ELSEWHERE = (
    "--attach-grpc is for --attach with --transport grpc or both; add those, or leave it out"
)

ATTACH = Backend(
    name="attach",
    words="an attached cluster",
    chosen_by="--attach",
    open=_open,
    abilities=_abilities,
    refuse=_refuse,
    in_core=lambda drill: drill.core,
    renders_chart=False,
    own_options=("attach_grpc", "ca_file"),
    own_options_elsewhere="--attach-grpc and --ca-file are for --attach; leave them out with --backend {backend}",
)
