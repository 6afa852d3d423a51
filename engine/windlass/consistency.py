"""Settings that have to fit each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, MutableMapping
from typing import Any

from windlass.memory import Budget, Use
from windlass.variable import Reader, as_text


def judge(reader: Reader, values: Mapping[str, Any]) -> None:
    """`values` are by field of Settings; what does not fit is recorded as a problem."""
    _judge_ports(reader, values)
    _judge_bind(reader, values)
    _judge_waits(reader, values)
    _judge_bodies(reader, values)
    _judge_wake(reader, values)


def judge_pool(reader: Reader, values: Mapping[str, Any]) -> None:
    if values["db_min_conns"] > values["db_max_conns"]:
        reader.problems.append(
            f"config: DB_MIN_CONNS must be <= DB_MAX_CONNS ({values['db_max_conns']}), "
            f"got {values['db_min_conns']}; lower the one or raise the other"
        )


def settle_name(reader: Reader, made_up: object, values: MutableMapping[str, Any]) -> None:
    """A node has one name, which two variables may give; one that nobody has given is `made_up`."""
    given = values["node_name"] if values["node_name"] != made_up else None
    if given and values["server_id"] and given != values["server_id"]:
        reader.problems.append(
            f"config: WINDLASS_SERVER_ID is {values['server_id']!r} and WINDLASS_NODE_NAME {given!r}, two names of "
            "one thing; unset one of the two"
        )
    values["server_id"] = given or values["server_id"]
    values["node_name"] = values["server_id"] or values["node_name"]


def _judge_ports(reader: Reader, values: Mapping[str, Any]) -> None:
    names = {"rest_port": "WE_REST_PORT", "grpc_port": "WE_GRPC_PORT", "metrics_port": "WE_METRICS_PORT"}
    taken: dict[int, str] = {}
    for field, name in names.items():
        port = values[field]
        if port and port in taken:
            reader.problems.append(
                f"config: {name} is {port}, which {taken[port]} already uses; give each its own port"
            )
        taken.setdefault(port, name)


def _judge_bind(reader: Reader, values: Mapping[str, Any]) -> None:
    try:
        ipaddress.ip_address(values["bind"] or "::")
    except ValueError:
        reader.problems.append(
            f"config: WINDLASS_BIND must be one IP address without a port, got {values['bind']!r}; for example "
            "127.0.0.1 or ::1, or unset it for all addresses"
        )


def _judge_waits(reader: Reader, values: Mapping[str, Any]) -> None:
    if values["long_poll_s_max"] >= values["request_timeout_s"]:
        reader.problems.append(
            f"config: WINDLASS_LONG_POLL_SECONDS_MAX must be below WINDLASS_REQUEST_TIMEOUT_SECONDS "
            f"({as_text(values['request_timeout_s'])}), got {as_text(values['long_poll_s_max'])}; "
            "a longer poll would be answered 504: lower the one or raise the other"
        )


def _judge_bodies(reader: Reader, values: Mapping[str, Any]) -> None:
    most = Budget(values["memory_bytes_max"]).most(Use.BODY)
    if values["body_bytes_max"] > most:
        reader.warnings.append(
            f"WINDLASS_BODY_BYTES_MAX is {values['body_bytes_max']}, but WINDLASS_MEMORY_BYTES_MAX "
            f"({values['memory_bytes_max']}) leaves {most} bytes for a request body; larger ones get 413"
        )


def _judge_wake(reader: Reader, values: Mapping[str, Any]) -> None:
    mode, bus = values["wake_mode"], values["wake_bus"]
    if mode == "event_driven" and bus == "none":
        reader.problems.append(
            "config: WINDLASS_WAKE_BUS is none, but WINDLASS_WAKE_MODE=event_driven relies on what other nodes say; "
            "set a bus, or the mode to hybrid or polling"
        )
    elif mode == "polling" and bus == "redis":
        reader.problems.append(
            "config: WINDLASS_WAKE_BUS is redis, but WINDLASS_WAKE_MODE=polling uses none; set the mode to hybrid, or "
            "leave out the bus"
        )
