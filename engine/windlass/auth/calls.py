"""The table "call x role": what may be called by whom, over both transports.

Routes and calls look themselves up here when they are made, so that none can be served without a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from windlass.auth.principal import Role

EVERY_ROLE = frozenset(Role)


class Call(NamedTuple):
    """`action` completes "may not ...". `roles`: None = open to all, without a token."""

    action: str
    roles: frozenset[Role] | None
    rest: Sequence[str] = ()
    """Method and pattern, as `POST /v1/instances`; a GET is also a HEAD."""
    rpcs: Sequence[str] = ()


def _by(*roles: Role) -> frozenset[Role]:
    return frozenset({*roles, Role.ADMIN})


METRICS = Call("read metrics", _by(Role.METRICS, Role.OPERATOR), ("GET /metrics", "GET /metrics/{jobType}"))
"""On the metrics port, if WINDLASS_METRICS_TOKENS is set."""

UNKNOWN = Call("call what is not there", EVERY_ROLE)
"""A path or method without a route: 404 or 405, but not for strangers."""

CALLS: Sequence[Call] = (
    Call("upload definitions", _by(Role.OPERATOR), ("POST /v1/definitions",), ("UploadDefinition",)),
    Call(
        "read definitions",
        _by(Role.CLIENT, Role.OPERATOR),
        ("GET /v1/definitions", "GET /v1/definitions/{id}", "GET /v1/definitions/{id}/versions/{version}"),
        ("GetDefinition", "ListDefinitions"),
    ),
    Call("start instances", _by(Role.CLIENT), ("POST /v1/instances",), ("StartInstance",)),
    Call(
        "read instances",
        _by(Role.CLIENT, Role.OPERATOR),
        ("GET /v1/instances", "GET /v1/instances/{id}", "GET /v1/instances/{id}/history"),
        ("GetInstance", "ListInstances", "GetInstanceHistory"),
    ),
    Call(
        "cancel instances",
        _by(Role.CLIENT, Role.OPERATOR),
        ("POST /v1/instances/{id}/cancel",),
        ("CancelInstance",),
    ),
    Call(
        "complete user tasks",
        _by(Role.CLIENT),
        ("POST /v1/instances/{instanceId}/user-tasks/{userTaskId}/complete",),
        ("CompleteUserTask",),
    ),
    Call(
        "signal waits",
        _by(Role.CLIENT),
        ("POST /v1/instances/{instanceId}/signals/{waitStepId}",),
        ("SignalWait",),
    ),
    Call("poll jobs", _by(Role.WORKER), ("POST /v1/jobs/poll",), ("PollJobs",)),
    Call("complete jobs", _by(Role.WORKER), ("POST /v1/jobs/{id}/complete",), ("CompleteJob",)),
    Call("fail jobs", _by(Role.WORKER), ("POST /v1/jobs/{id}/fail",), ("FailJob",)),
    Call(
        "register workers",
        _by(Role.WORKER),
        ("POST /v1/workers", "POST /v1/workers/{id}/heartbeat", "DELETE /v1/workers/{id}"),
    ),
    Call("list workers", _by(Role.OPERATOR), ("GET /v1/workers",)),
    Call(
        "read the state of nodes",
        _by(Role.OPERATOR),
        ("GET /health/detailed", "GET /cluster/info", "GET /api/cluster/info"),
    ),
    Call("read the API's document", EVERY_ROLE, ("GET /openapi.json",)),
    METRICS,
    Call(
        "ask for health",
        None,
        ("GET /healthz", "GET /health", "GET /ready", "GET /readyz", "GET /api/health", "GET /api/ready"),
        ("grpc.health.v1.Health",),
    ),
)

_REST: Mapping[str, Call] = {name: call for call in CALLS for name in call.rest}
_RPCS: Mapping[str, Call] = {name: call for call in CALLS for name in call.rpcs}


def of_route(method: str, pattern: str) -> Call:
    """LookupError when the table lacks the route."""
    name = f"{method} {pattern}"
    if name not in _REST:
        raise LookupError(f"windlass.auth.calls lacks {name!r}; say there which roles may call it")
    return _REST[name]


def of_rpc(name: str) -> Call:
    """LookupError when the table lacks the call."""
    if name not in _RPCS:
        raise LookupError(
            f"windlass.auth.calls lacks the gRPC call {name!r}; say there which roles may call it"
        )
    return _RPCS[name]
