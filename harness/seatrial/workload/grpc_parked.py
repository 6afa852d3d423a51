"""Polls that wait over gRPC. Its library starts threads, so whoever parks them over REST alone does not import this."""

from __future__ import annotations

import asyncio

import aiohttp
import grpc

from seatrial.check.probe_truth import GRPC_LIVENESS
from seatrial.client.channel import channel_to, metadata_of
from seatrial.client.grpc import SERVICE
from seatrial.cluster import Replica
from seatrial.gen import workflow_pb2 as pb
from seatrial.history import Recorder
from seatrial.workload.pressure import Pressure

_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0))
_GIVE_UP_S = 30.0
_AGAIN_AFTER_S = 0.5
"""Between an empty answer and the next poll, as the public clients do."""
_SERVING = b"\x08\x01"
"""HealthCheckResponse with its status 1, of grpc.health.v1."""
_PROBE_EVERY_S, _PROBE_TIMEOUT_S = 0.5, 3.0


class GrpcParkedPolls(Pressure):
    """As `ParkedPolls`, all of them over one channel, which carries a probe beside them; each probe is recorded. The
    replica must have a gRPC address.
    """

    kind = "parked polls over gRPC"

    def __init__(self, replica: Replica, at_once: int, wait_s: float, recorder: Recorder) -> None:
        super().__init__(replica, at_once)
        self._wait_s = wait_s
        self._recorder = recorder
        self._channel: grpc.aio.Channel

    async def run(self) -> None:
        async with channel_to(self.replica, _OPTIONS) as self._channel:
            await asyncio.gather(super().run(), self._probe_on())

    async def call(self, session: aiohttp.ClientSession, number: int) -> int:  # noqa: ARG002
        """The status is 200 for OK, 0 for any other: `none`."""
        poll: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/{SERVICE}/PollJobs"
        )
        message = pb.PollJobsRequest(
            worker_id=f"parked-{number}", job_types=["nobody-makes-this"], wait_ms=round(self._wait_s * 1000)
        )
        try:
            limit_s = self._wait_s + _GIVE_UP_S
            answered = await poll(
                message.SerializeToString(), timeout=limit_s, metadata=metadata_of(self.replica)
            )
            self.bytes += len(answered)
        except grpc.aio.AioRpcError:
            return 0
        await asyncio.sleep(_AGAIN_AFTER_S)
        return 200

    async def _probe_on(self) -> None:
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(GRPC_LIVENESS)
        node, process = self.replica.name, f"probe-{self.replica.name}-grpc"
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            asked = {"node": node, "path": GRPC_LIVENESS}
            call = self._recorder.invoke(process, "probe", asked, node, "grpc")
            try:
                status = 200 if await check(b"", timeout=_PROBE_TIMEOUT_S) == _SERVING else 503
            except grpc.aio.AioRpcError as err:
                error = {"code": err.code().name, "status": 0, "message": err.details() or ""}
                self._recorder.end(process, "info", "probe", call, {}, node, error)
            else:
                self._recorder.end(process, "ok", "probe", call, {"status": status, "body": None}, node)
