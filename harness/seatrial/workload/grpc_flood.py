"""Large starts over gRPC. Its library starts threads, so whoever floods over REST alone does not import this."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import grpc

from seatrial.client.channel import channel_to, metadata_of
from seatrial.client.grpc import SERVICE
from seatrial.cluster import Replica
from seatrial.gen import workflow_pb2 as pb
from seatrial.workload.pressure import Pressure

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
)
_CALL_TIMEOUT_S = 30.0
_REFUSED = 429


class GrpcFlood(Pressure):
    """As `Flood`, with messages; each call has a channel of its own. The replica must have a gRPC address."""

    kind = "flood of starts over gRPC"

    def __init__(self, replica: Replica, at_once: int, messages: Sequence[bytes]) -> None:
        super().__init__(replica, at_once)
        self._messages = messages

    async def call(self, session: aiohttp.ClientSession, number: int) -> int:  # noqa: ARG002
        """The status is gRPC's: 0 is `none` for the library's UNAVAILABLE, 200 for OK, else the HTTP twin."""
        message = self._messages[number % len(self._messages)]
        async with channel_to(self.replica, _OPTIONS) as channel:
            start: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/{SERVICE}/StartInstance"
            )
            try:
                await start(message, timeout=_CALL_TIMEOUT_S, metadata=metadata_of(self.replica))
                status = 200
            except grpc.aio.AioRpcError as err:
                status = _STATUSES.get(err.code(), 500)
        # Of a lost connection nobody knows how much it took, and a message can be refused before it is read.
        self.bytes += len(message) if status not in {0, _REFUSED} else 0
        return status


_STATUSES = {
    grpc.StatusCode.UNAVAILABLE: 0,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _REFUSED,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
}


def large_messages(definition_id: str, size_bytes: int) -> Sequence[bytes]:
    """Starts with one variable each: a text, and many empty lists."""
    text = pb.StartInstanceRequest(definition_id=definition_id, variables={"large": "x" * size_bytes})
    named = pb.StartInstanceRequest(definition_id=definition_id).SerializeToString()
    # Written as bytes: the library takes seconds for a list of a million lists.
    empty_list = _field(1, _field(6, b""))
    return [text.SerializeToString(), named + _with_list(empty_list * (size_bytes // len(empty_list)))]


def _with_list(values: bytes) -> bytes:
    """The field `variables` of a start: a Struct whose entry `large` is the list of these values."""
    entry = _field(1, b"large") + _field(2, _field(6, values))
    return _field(3, _field(1, entry))


def _field(number: int, content: bytes) -> bytes:
    """A field of length-delimited content (the encoding page of Protocol Buffers)."""
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
