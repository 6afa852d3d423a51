"""Calls over gRPC (contract 2), each result mapped to the HTTP status and code that REST would have, so that a check
need not know the transport.

Nothing hides a dead replica: a call does not wait for a connection and is never tried again by the library, and the
pause before the next attempt to connect is as short as the library allows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import grpc
import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from seatrial.client.answer import (
    MESSAGE_CHARS_MAX,
    OVERLOADED,
    Answer,
    jobs_of,
    lost,
    overdue,
    refused,
    unreadable,
)
from seatrial.client.channel import channel_to, metadata_of
from seatrial.client.message import body_of, message_of
from seatrial.client.request import Poll, Request
from seatrial.cluster import Replica
from seatrial.gen import workflow_pb2 as pb
from seatrial.history import OpType

Code = grpc.StatusCode

SERVICE = "workflow.v1.WorkflowEngine"
#: the library accepts no less
RECONNECT_AFTER_MS = 100
#: a client that falls silent gives its connection back: drills make clients by the hundred
IDLE_AFTER_MS = 5_000
#: a deadline is kept in whole milliseconds, on either side of the wire
_DEADLINE_SLACK_S = 0.05

_OPTIONS = (
    # Otherwise all clients of this process would share one connection to a replica, and queue for it.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_AFTER_MS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_AFTER_MS),
    ("grpc.client_idle_timeout_ms", IDLE_AFTER_MS),
    # Directly to the replica, whatever the environment says about proxies, as for REST.
    ("grpc.enable_http_proxy", 0),
    # An answer refused for its size would look like a call refused for its size, which did nothing.
    ("grpc.max_receive_message_length", -1),
)

REFUSALS: Mapping[grpc.StatusCode, tuple[int, str]] = {
    Code.INVALID_ARGUMENT: (400, "bad-request"),
    Code.OUT_OF_RANGE: (400, "bad-request"),
    Code.UNAUTHENTICATED: (401, "unauthenticated"),
    Code.PERMISSION_DENIED: (403, "forbidden"),
    Code.NOT_FOUND: (404, "not-found"),
    Code.FAILED_PRECONDITION: (409, "conflict"),
    Code.ALREADY_EXISTS: (409, "conflict"),
    Code.RESOURCE_EXHAUSTED: (413, "too-large"),
    Code.UNIMPLEMENTED: (501, "not-implemented"),
}
"""The codes that say that nothing happened, as 4xx does on REST."""

FAULTS: Mapping[grpc.StatusCode, tuple[int, str]] = {
    Code.UNAVAILABLE: (503, "unavailable"),
    Code.DEADLINE_EXCEEDED: (504, "http-504"),
}
"""The HTTP counterparts of two more; for these and all others nobody knows whether it happened."""

POLL_DISABLED = (410, "poll path disabled")
"""What FAILED_PRECONDITION means to a poll (contract 1.7, 2.4)."""

PUSHBACK = "grpc-retry-pushback-ms"
"""A refusal with this trailer is one for load: nothing was done, and the same may be tried again (contract 2.4)."""

_NEVER_SENT = "failed to connect to all addresses"
#: How the library begins when it tells of a broken connection: it gives that the code a server gives for being busy.
_CONNECTION_BROKE = ("Stream removed", "Socket closed", "GOAWAY", "Cancelling all calls", "Connection reset")


class GrpcTransport:
    """One channel for each replica, made with the first call to it."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def exchange(self, replica: Replica, request: Request, limit_s: float) -> Answer:
        try:
            message = message_of(request)
        except json_format.ParseError as err:
            # A definition with a field that the messages do not have; REST refuses unknown fields too (contract 1.3).
            return _ended(replica.name, "fail", REFUSALS[Code.INVALID_ARGUMENT], f"not sent: {err}")
        rpc = type(message).__name__.removesuffix("Request")
        channel = self._channel(replica)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/{rpc}")
        began_s = time.monotonic()
        try:
            data = await call(
                message.SerializeToString(),
                timeout=limit_s,
                metadata=metadata_of(replica),
                wait_for_ready=False,
            )
        except grpc.aio.AioRpcError as err:
            if err.code() is Code.DEADLINE_EXCEEDED and _is_over(began_s, limit_s):
                return overdue(replica.name, limit_s)
            is_connected = channel.get_state() is grpc.ChannelConnectivity.READY
            if PUSHBACK in dict(err.trailing_metadata() or ()):
                return _ended(replica.name, "fail", OVERLOADED, f"{err.code().name}: {err.details()}")
            return _judge(replica.name, request, err.code(), err.details() or "", is_connected=is_connected)
        return _read(replica.name, request, rpc, data)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels = {}

    def _channel(self, replica: Replica) -> grpc.aio.Channel:
        if replica.name not in self._channels:
            assert replica.grpc_address is not None  # the recording client refuses such replicas
            self._channels[replica.name] = channel_to(replica, _OPTIONS)
        return self._channels[replica.name]


def _is_over(began_s: float, limit_s: float) -> bool:
    """Whether the deadline that passed was the caller's own; the engine has one too."""
    return time.monotonic() - began_s >= limit_s - _DEADLINE_SLACK_S


def _read(node: str, request: Request, rpc: str, data: bytes) -> Answer:
    answered: type[Message] = getattr(pb, f"{rpc}Response")
    try:
        body = body_of(request, answered.FromString(data))
        jobs = jobs_of(body) if isinstance(request, Poll) else ()
    except (DecodeError, ValueError, msgspec.ValidationError) as err:
        return unreadable(node, 200, err)
    return Answer("ok", node, 200, body, jobs=jobs)


def _judge(node: str, request: Request, code: grpc.StatusCode, details: str, *, is_connected: bool) -> Answer:
    said = f"{code.name}: {details}"
    if code in REFUSALS:
        is_poll_disabled = isinstance(request, Poll) and code is Code.FAILED_PRECONDITION
        return _ended(node, "fail", POLL_DISABLED if is_poll_disabled else REFUSALS[code], said)
    if details.startswith(_NEVER_SENT):
        return refused(node, said)
    # A status that the engine sent came over a connection that is still there.
    if not is_connected or details.startswith(_CONNECTION_BROKE):
        return lost(node, said)
    return _ended(node, "info", FAULTS.get(code, (500, "internal-error")), said)


def _ended(node: str, outcome: OpType, twin: tuple[int, str], said: str) -> Answer:
    status, code = twin
    return Answer(outcome, node, status, code=code, message=said[:MESSAGE_CHARS_MAX])
